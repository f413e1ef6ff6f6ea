//! Binding, the accept loop, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::admission::{Admission, AuthTask, ConnectionRate, NameTask, Places, ReleaseTask};
use super::api::CommentPages;
use super::connection::{MAX_HTTP_CONNECTIONS, Service};
use super::listener::{GatewayError, listen};
use super::routes;
use super::state::{GatewayState, Operations};
use super::tls::{CertificateRenewal, Tls};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{Config, GatewayConfig};
use crate::daemon::base::handoff::{AuthRequest, Submission, ViewerSink};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::directory::{Sanctions, Streams};
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::daemon::engines::registry::SharedRegistry;
use crate::daemon::stages::auth::Verifier;
use crate::daemon::stages::control::Control;
use crate::protocol::NodeId;

/// After a failure to accept (descriptors ran out): long enough for some to come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two warnings that accepting fails.
const ACCEPT_WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Everything the gateway works with.
#[derive(Debug)]
pub struct GatewayParts {
    pub config: Arc<Config>,
    pub clock: SharedClock,
    pub verifier: Arc<Verifier>,
    pub streams: Streams,
    pub sanctions: Sanctions,
    pub registry: SharedRegistry,
    pub comments: SharedCommentStore,
    pub metadata: SharedMetadataStore,
    pub log: SharedLog,
    /// Makes streams and changes them.
    pub control: Control,
    pub board: StatusBoard,
    pub sink: Arc<dyn ViewerSink>,
    /// Ingest's queue, bounded in comments; when it is full the caller is told `overloaded`.
    pub submissions: mpsc::Sender<Submission>,
    /// `auth` messages of viewers that connected without a token, from delivery.
    pub auth_requests: mpsc::Receiver<AuthRequest>,
    pub node: NodeId,
}

/// A gateway that has its address, and the tasks that must run beside it.
#[derive(Debug)]
pub struct Bound {
    pub gateway: Gateway,
    pub viewers: ViewerTasks,
}

/// What runs beside a gateway that takes viewers.
#[derive(Debug)]
pub struct ViewerTasks {
    pub auth: AuthTask,
    pub names: NameTask,
    /// To be stopped last, after the viewers are gone.
    pub releases: ReleaseTask,
}

/// The accept loop and what it serves.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    local_addr: SocketAddr,
    service: Service,
    certificate: Option<CertificateRenewal>,
    slots: Arc<Semaphore>,
    handshakes: TaskTracker,
}

impl Gateway {
    /// Binds the address and reads the certificate, so that what is wrong with either is known before
    /// anything else starts. Connections wait in the kernel until [`Self::run`].
    ///
    /// # Errors
    /// The address cannot be had, or the certificate or key cannot be used; the text says what to do.
    pub fn bind(parts: GatewayParts) -> Result<Bound, GatewayError> {
        let config = &parts.config.gateway;
        let (tls, certificate) = tls(config)?;
        let (listener, local_addr) = bind(config.listen)?;
        let (admission, releases, names) = Admission::new(&parts);
        let auth = AuthTask::new(parts.auth_requests, admission.clone(), parts.sink.clone());
        let handshakes = TaskTracker::new();
        let handshake_timeout = config.handshake_timeout;
        let operations = Operations { board: parts.board.clone(), log: parts.log };
        let state = Arc::new(GatewayState {
            places: Arc::new(Places::new(config)),
            rate: ConnectionRate::new(config.connections_per_second, config.connection_burst),
            clock: parts.clock,
            config: config.clone(),
            deflate: parts.config.delivery.deflate,
            streams: parts.streams,
            history: CommentPages::new(parts.comments),
            control: parts.control,
            board: parts.board,
            sink: parts.sink,
            submissions: parts.submissions,
            admission,
            handshakes: handshakes.clone(),
        });
        let router = routes::router(state, operations);
        let gateway = Self {
            listener,
            local_addr,
            service: service(router, tls, handshake_timeout),
            certificate,
            slots: Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS)),
            handshakes,
        };
        Ok(Bound { gateway, viewers: ViewerTasks { auth, names, releases } })
    }

    /// A gateway for a node without the role `edge`: health and metrics, no viewers.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn bind_operations(
        config: &GatewayConfig,
        board: StatusBoard,
        log: SharedLog,
    ) -> Result<Self, GatewayError> {
        let (tls, certificate) = tls(config)?;
        let (listener, local_addr) = bind(config.listen)?;
        let router = routes::operations_router(Operations { board, log });
        Ok(Self {
            listener,
            local_addr,
            service: service(router, tls, config.handshake_timeout),
            certificate,
            slots: Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS)),
            handshakes: TaskTracker::new(),
        })
    }

    /// Where it listens; the port is the real one if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Whether viewers connect with wss and https.
    pub fn is_tls(&self) -> bool {
        self.service.tls.is_some()
    }

    /// How its certificate is renewed while it runs, if it comes from files.
    pub fn certificate(&self) -> Option<CertificateRenewal> {
        self.certificate.clone()
    }

    /// Accepts and serves until `stop`; then answers what was asked already, for at most the
    /// handshake timeout, and returns. Viewers handed to delivery are not touched.
    pub async fn run(self, stop: CancellationToken) {
        info!(address = %self.local_addr, tls = self.is_tls(), "gateway listens");
        let Self { listener, service, slots, handshakes, .. } = self;
        let connections = TaskTracker::new();
        let mut last_warning = None;
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &slots) => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer, slot)) => {
                    connections.spawn(service.clone().serve(stream, peer, Arc::new(slot)));
                }
                Err(error) => pause_after(&error, &mut last_warning).await,
            }
        }
        // Closed first, so that clients which come now go to another node at once.
        drop(listener);
        service.finish.cancel();
        connections.close();
        handshakes.close();
        let finished = async {
            connections.wait().await;
            handshakes.wait().await;
        };
        if tokio::time::timeout(service.handshake_timeout, finished).await.is_err() {
            service.cut.cancel();
            connections.wait().await;
        }
        info!("gateway has stopped accepting");
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), GatewayError> {
    let listener = listen(address)?;
    let local_addr =
        listener.local_addr().map_err(|cause| GatewayError::Listen { address, cause })?;
    Ok((listener, local_addr))
}

fn tls(
    config: &GatewayConfig,
) -> Result<(Option<TlsAcceptor>, Option<CertificateRenewal>), GatewayError> {
    Ok(match Tls::new(config)? {
        Some(Tls { acceptor, renewal }) => (Some(acceptor), renewal),
        None => (None, None),
    })
}

fn service(router: Router, tls: Option<TlsAcceptor>, handshake_timeout: Duration) -> Service {
    let (finish, cut) = (CancellationToken::new(), CancellationToken::new());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let turns = Arc::new(Semaphore::new(processors));
    Service { router, tls, turns, handshake_timeout, finish, cut }
}

/// Waits for a place first: what cannot be served waits in the kernel, not here.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}

/// A connection that was reset while it waited is no reason to pause; anything else would repeat.
async fn pause_after(error: &std::io::Error, last_warning: &mut Option<tokio::time::Instant>) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return;
    }
    if last_warning.is_none_or(|at| at.elapsed() >= ACCEPT_WARNING_INTERVAL) {
        warn!(%error, "cannot accept connections; is the limit of open files too low?");
        *last_warning = Some(tokio::time::Instant::now());
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn without_a_place_a_client_waits_in_the_kernel_and_is_served_when_there_is_one() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let slots = Arc::new(Semaphore::new(0));
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut accepting = Box::pin(accept(&listener, &slots));
        assert!(accepting.as_mut().now_or_never().is_none(), "no place, nothing accepted");
        slots.add_permits(1);
        let (_, peer, slot) = accepting.await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(slots.available_permits(), 0);
        drop(slot);
        assert_eq!(slots.available_permits(), 1);
    }
}
