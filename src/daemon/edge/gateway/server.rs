//! The gateway as a whole: bound, run, and stopped.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::admission::{
    Admission, AdmissionEnds, AuthTask, ConnectionRate, NameTask, ReleaseTask, ViewerSlots,
};
use super::comment_pages::{CommentPages, PageSources};
use super::connection::{ConnectionService, MAX_HTTP_CONNECTIONS};
use super::farewell::Farewell;
use super::listener::{BoundListener, GatewayError, listen};
use super::message_door::MessageDoor;
use super::parts::GatewayParts;
use super::poll_sessions::{PollSessions, PollTask};
use super::proxy::{Forwarding, believe};
use super::reaction_door::ReactionDoor;
use super::room_task::RoomTask;
use super::routes;
use super::state::{GatewayState, Operations};
use super::tls::Tls;
use crate::daemon::base::config::GatewayConfig;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::edge::http::{CertificateRenewal, HttpServer, PresentedCertificate};
use crate::daemon::engines::eventlog::SharedLog;
use crate::protocol::admin::StageName;

/// A gateway that owns its address, and the tasks that must run beside it.
#[derive(Debug)]
pub struct BoundGateway {
    pub gateway: Gateway,
    pub viewers: ViewerTasks,
}

/// The tasks that run beside a gateway that takes viewers.
#[derive(Debug)]
pub struct ViewerTasks {
    pub auth: AuthTask,
    pub rooms: RoomTask,
    pub names: NameTask,
    /// Ends the sessions of pollers that have left.
    pub polls: PollTask,
    /// Must be stopped last, after the viewers are gone.
    pub releases: ReleaseTask,
}

/// The listening socket and the service behind it.
#[derive(Debug)]
pub struct Gateway {
    bound: BoundListener,
    server: HttpServer,
    service: ConnectionService,
    certificate: Option<CertificateRenewal>,
    presented: Option<PresentedCertificate>,
    begun: BegunTasks,
}

/// Work for clients that may have left, which a gateway that stops waits for.
#[derive(Debug, Default)]
struct BegunTasks {
    /// Handshakes between their HTTP answer and their hand-over to delivery.
    handshakes: TaskTracker,
    /// Changes of streams and rooms.
    changes: TaskTracker,
    /// Cancelled when the gateway stops, for answers that would wait for long.
    stopping: CancellationToken,
}

impl BegunTasks {
    async fn finish(self) {
        self.handshakes.close();
        self.changes.close();
        tokio::join!(self.handshakes.wait(), self.changes.wait());
    }
}

impl Gateway {
    /// Binds the address and reads the certificate, so that a mistake in either is reported before
    /// anything else starts. Connections wait in the kernel until [`Self::run`].
    ///
    /// # Errors
    /// The address cannot be bound, or the certificate or key cannot be used. The text says what to
    /// do.
    pub fn bind(parts: GatewayParts) -> Result<BoundGateway, GatewayError> {
        let config = parts.config.gateway.clone();
        let AdmissionEnds { admission, releases, names } = Admission::with_tasks(&parts);
        let auth = AuthTask::new(parts.auth_requests, admission.clone(), parts.sink.clone());
        let rooms = RoomTask::new(parts.room_requests, parts.control.clone(), parts.sink.clone());
        let begun = BegunTasks::default();
        let operations = Operations { board: parts.board.clone(), log: parts.log };
        let sources = PageSources {
            comments: parts.comments,
            recent: parts.recent,
            streams: parts.streams.clone(),
            clock: parts.clock.clone(),
            pins_timeout: parts.config.redis.timeout,
        };
        let board = parts.board.clone();
        let polls = Arc::<PollSessions>::default();
        let jitter = parts.config.shutdown.reconnect_jitter;
        let state = Arc::new(GatewayState {
            polls: polls.clone(),
            reactions: ReactionDoor::new(&parts.config.reactions, parts.reactions),
            messages: MessageDoor::new(
                &parts.config.messages,
                parts.sanctions,
                parts.pipeline,
                parts.context,
            ),
            votes: parts.votes,
            farewell: Farewell::new(begun.stopping.clone(), jitter),
            slots: Arc::new(ViewerSlots::new(&config)),
            rate: ConnectionRate::new(config.connections_per_second, config.connection_burst),
            clock: parts.clock.clone(),
            config: config.clone(),
            deflate: parts.config.delivery.deflate,
            streams: parts.streams,
            history: CommentPages::new(sources),
            control: parts.control,
            meter: parts.board.telemetry().stage(StageName::Gateway),
            board: parts.board,
            sink: parts.sink,
            submissions: parts.submissions,
            admission,
            handshakes: begun.handshakes.clone(),
            changes: begun.changes.clone(),
        });
        let gateway = Self::bind_router(&config, routes::router(state, operations), board, begun)?;
        let polls = PollTask::new(polls);
        Ok(BoundGateway { gateway, viewers: ViewerTasks { auth, rooms, names, polls, releases } })
    }

    /// Binds a gateway for a node without the role `edge`: health and metrics, no viewers.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn bind_operations(
        config: &GatewayConfig,
        board: StatusBoard,
        log: SharedLog,
    ) -> Result<Self, GatewayError> {
        let router = routes::operations_router(Operations { board: board.clone(), log });
        Self::bind_router(config, router, board, BegunTasks::default())
    }

    fn bind_router(
        config: &GatewayConfig,
        router: Router,
        board: StatusBoard,
        begun: BegunTasks,
    ) -> Result<Self, GatewayError> {
        let router = match Forwarding::new(config, &board) {
            Some(forwarding) => router.layer(from_fn_with_state(forwarding, believe)),
            None => router,
        };
        let Tls { acceptor, renewal, presented } = Tls::new(config)?;
        let bound = listen(config.listen)?;
        let server = HttpServer::new("gateway", MAX_HTTP_CONNECTIONS);
        let finish = server.finish_token().clone();
        let service = ConnectionService::new(router, acceptor, config, board, finish);
        Ok(Self { bound, server, service, certificate: renewal, presented, begun })
    }

    /// Returns the address it listens on. The port is the real one where 0 was configured.
    pub fn local_addr(&self) -> SocketAddr {
        self.bound.local_addr
    }

    /// Returns whether viewers connect with wss and https.
    pub fn is_tls(&self) -> bool {
        self.service.is_tls()
    }

    /// Returns the handle that renews its certificate while it runs, if that comes from files.
    pub fn certificate(&self) -> Option<CertificateRenewal> {
        self.certificate.clone()
    }

    /// Returns the certificate it presents, now and after renewals; `None` without TLS.
    pub fn presented(&self) -> Option<PresentedCertificate> {
        self.presented.clone()
    }

    /// Accepts and serves until `stop`. Then answers the requests it has, for at most the handshake
    /// timeout, and returns. Viewers that were handed to delivery are not affected.
    pub async fn run(self, stop: CancellationToken) {
        info!(address = %self.local_addr(), tls = self.is_tls(), "gateway is listening");
        let Self { bound, server, service, begun, .. } = self;
        let serve = |stream, peer, slot| service.clone().serve(stream, peer, slot);
        server.accept_until(&stop, &bound.listener, serve).await;
        // Closed first, so that clients that connect now reach another node at once.
        drop(bound);
        begun.stopping.cancel();
        server.close(service.handshake_timeout, begun.finish()).await;
        info!("gateway has stopped accepting");
    }
}
