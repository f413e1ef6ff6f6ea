//! A gateway on a free port with test doubles behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::sink::{RecordedViewers, RecordingSink, recording_sink};
use crate::daemon::base::config::{Config, GatewayConfig};
use crate::daemon::base::handoff::{AuthRequest, NewViewer, ReactionCounts, Submission};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::supervise::Supervisor;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::edge::gateway::{Gateway, GatewayParts};
use crate::daemon::engines::comments::in_memory::InMemoryComments;
use crate::daemon::engines::directory::{Grants, Sanctions, Streams, Subjects};
use crate::daemon::engines::eventlog::{ConsumerGroup, Topic};
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, sanction, stream};
use crate::daemon::engines::registry::ConnectionRegistry as _;
use crate::daemon::stages::auth::fixtures::{self, NOW_S, SECRET, StoppedClock};
use crate::daemon::stages::auth::{IssuerKeys, Verifier};
use crate::daemon::stages::control::{Control, ControlParts, LocalEndpoint};
use crate::daemon::stages::moderation::{
    ModerationContext, ModerationContextParts, build_pipeline,
};
use crate::daemon::testing::bus::TestBus;
use crate::daemon::testing::event_log::InMemoryLog;
use crate::daemon::testing::recent::TestRecent;
use crate::daemon::testing::registry::TestRegistry;
use crate::protocol::NodeId;
use crate::protocol::admin::SanctionKind;
use crate::protocol::stream::StreamState::{Ended, Live, Scheduled};
use crate::protocol::stream::{ModerationMode, Stream};

/// The bound of every wait. Only a failing test reaches it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Rig {
    pub(super) address: SocketAddr,
    pub(super) metadata: Arc<InMemoryMetadata>,
    pub(super) comments: Arc<InMemoryComments>,
    pub(super) recent: Arc<TestRecent>,
    pub(super) registry: Arc<TestRegistry>,
    pub(super) board: StatusBoard,
    pub(super) bus: Arc<TestBus>,
    pub(super) sink: Arc<RecordingSink>,
    pub(super) kept: RecordedViewers,
    pub(super) submissions: mpsc::Receiver<Submission>,
    pub(super) reactions: mpsc::Receiver<Vec<ReactionCounts>>,
    pub(super) auth_requests: mpsc::Sender<AuthRequest>,
    pub(super) sanctions: Sanctions,
    pub(super) streams: Streams,
    pub(super) control: Control,
    stop: CancellationToken,
    gateway: JoinHandle<()>,
    beside: Vec<JoinHandle<()>>,
}

impl Rig {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A gateway that also accepts tokens signed with keys of an issuer.
    pub(super) async fn start_trusting(keys: Arc<IssuerKeys>) -> Self {
        Self::build(|_| {}, Some(keys)).await
    }

    pub(super) async fn start_with(adjust: impl FnOnce(&mut GatewayConfig)) -> Self {
        Self::build(adjust, None).await
    }

    /// Streams: 1 live and open, 2 live and closed to anonymous viewers, 3 ended, 4 scheduled.
    async fn build(
        adjust: impl FnOnce(&mut GatewayConfig),
        issuer_keys: Option<Arc<IssuerKeys>>,
    ) -> Self {
        let mut config = Config::default();
        config.gateway.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        adjust(&mut config.gateway);
        let clock = Arc::new(StoppedClock);
        let metadata = Arc::new(InMemoryMetadata::default());
        for (id, state, anonymous) in
            [(1, Live, true), (2, Live, false), (3, Ended, true), (4, Scheduled, true)]
        {
            metadata.put_stream(Stream { state, anonymous, ..stream(id, ModerationMode::Async) });
        }
        let comments = Arc::new(InMemoryComments::default());
        let registry = Arc::new(TestRegistry::new("one", &["two"]));
        let log = Arc::new(lagging_log());
        let recent = Arc::<TestRecent>::default();
        let streams = Streams::load(metadata.clone()).await.unwrap();
        let grants = Grants::load(metadata.clone()).await.unwrap();
        let sanctions = Sanctions::load(metadata.clone(), clock.clone()).await.unwrap();
        let verifier = Verifier::new(&config.auth, Some(SECRET), clock.clone()).unwrap();
        let verifier = match issuer_keys {
            Some(keys) => verifier.with_issuer_keys(keys),
            None => verifier,
        };
        let board = StatusBoard::default();
        board.set_ready(true);
        let (sink, kept) = recording_sink();
        let bus = Arc::<TestBus>::default();
        let node = NodeId::new("one");
        let endpoint = Arc::new(LocalEndpoint {
            sink: sink.clone(),
            sanctions: sanctions.clone(),
            grants: grants.clone(),
            streams: streams.clone(),
            clock: clock.clone(),
            throttle: mpsc::channel(1).0,
            board: board.clone(),
            jitter: Duration::ZERO,
            supervisor: Supervisor::new(CancellationToken::new()),
        });
        registry.set_command_handler(endpoint.clone());
        let control = Control::new(ControlParts {
            node: node.clone(),
            metadata: metadata.clone(),
            comments: comments.clone(),
            registry: registry.clone(),
            endpoint,
            log: log.clone(),
            bus: bus.clone(),
            streams: streams.clone(),
            grants: grants.clone(),
            clock: clock.clone(),
            problems: board.problems().clone(),
            reputation: None,
        });
        let (submit, submissions) = mpsc::channel(1);
        let (report_reactions, reactions) = mpsc::channel(16);
        let (auth_requests, auth_end) = mpsc::channel(16);
        let pipeline = Arc::new(build_pipeline(&config.moderation, &board, None).unwrap());
        let context = Arc::new(ModerationContext::new(ModerationContextParts {
            metadata: metadata.clone(),
            metadata_breaker: Arc::new(Breaker::new("metadata")),
            clock: clock.clone(),
            config: config.moderation.reputation.clone(),
        }));
        let bound = Gateway::bind(GatewayParts {
            config: Arc::new(config),
            clock,
            verifier: Arc::new(verifier),
            subjects: Subjects::new(
                metadata.clone(),
                Arc::new(Breaker::new("metadata")),
                Arc::new(StoppedClock),
            ),
            streams: streams.clone(),
            sanctions: sanctions.clone(),
            grants: grants.clone(),
            registry: registry.clone(),
            comments: comments.clone(),
            recent: recent.clone(),
            metadata: metadata.clone(),
            log,
            control: control.clone(),
            board: board.clone(),
            pipeline,
            context,
            sink: sink.clone(),
            submissions: submit,
            reactions: report_reactions,
            // No viewer of these tests votes.
            votes: mpsc::channel(1).0,
            auth_requests: auth_end,
            // No viewer of these tests changes a room.
            room_requests: mpsc::channel(1).1,
            node,
        })
        .unwrap();
        let stop = CancellationToken::new();
        let address = bound.gateway.local_addr();
        let beside = vec![
            tokio::spawn(bound.viewers.auth.run(stop.clone())),
            tokio::spawn(bound.viewers.names.run(stop.clone())),
            tokio::spawn(bound.viewers.polls.run(stop.clone())),
            tokio::spawn(bound.viewers.releases.run(stop.clone())),
        ];
        let gateway = tokio::spawn(bound.gateway.run(stop.clone()));
        Self {
            address,
            metadata,
            comments,
            recent,
            registry,
            board,
            bus,
            sink,
            kept,
            submissions,
            reactions,
            auth_requests,
            sanctions,
            streams,
            control,
            stop,
            gateway,
            beside,
        }
    }

    /// Returns the next viewer handed to delivery.
    pub(super) async fn viewer(&mut self) -> NewViewer {
        let attached = self.kept.attached.recv();
        tokio::time::timeout(PATIENCE, attached).await.expect("a viewer").unwrap()
    }

    pub(super) fn no_viewer(&mut self) -> bool {
        self.kept.attached.try_recv().is_err()
    }

    pub(super) async fn sanction(&self, user_id: u64, kind: SanctionKind) {
        self.metadata.put_sanction(sanction(user_id, kind, None));
        self.sanctions.reload().await.unwrap();
    }

    /// Stops everything and waits until it has stopped.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        for task in self.beside.into_iter().chain([self.gateway]) {
            tokio::time::timeout(PATIENCE, task).await.expect("stops").unwrap();
        }
    }

    /// Stops only the gateway, as in the first step of a shutdown.
    pub(super) fn begin_stop(&self) {
        self.stop.cancel();
    }

    pub(super) async fn gateway_stopped(self) {
        tokio::time::timeout(PATIENCE, self.gateway).await.expect("stops").unwrap();
    }
}

/// Returns a log with a consumer that is 7 records behind.
fn lagging_log() -> InMemoryLog {
    let log = InMemoryLog::new();
    (0..12).for_each(|_| log.put(Topic::CommentEvents, 1, 0, Vec::new()));
    log.set_committed(Topic::CommentEvents, ConsumerGroup::Archiver, 6);
    log
}

/// Returns a valid token.
pub(super) fn token(user_id: u64, role: &str) -> String {
    sign(&json!({"sub": user_id, "name": format!("user{user_id}"), "role": role,
                 "exp": NOW_S + 60}))
}

pub(super) fn sign(claims: &Value) -> String {
    fixtures::sign("HS256", None, claims)
}

/// Waits until another task has made a condition true.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
