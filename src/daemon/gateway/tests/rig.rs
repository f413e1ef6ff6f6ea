//! A gateway on a free port with fakes behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::contracts::{LagOnlyLog, MemoryComments, MemoryMetadata, MemoryRegistry, stream};
use super::sink::{KeepingSink, Kept, keeping_sink};
use crate::daemon::auth::Verifier;
use crate::daemon::auth::fixtures::{self, NOW_S, SECRET, StoppedClock};
use crate::daemon::config::{Config, GatewayConfig};
use crate::daemon::directory::{Sanctions, Streams};
use crate::daemon::gateway::{Gateway, GatewayParts};
use crate::daemon::handoff::{AuthRequest, NewViewer, Submission};
use crate::daemon::status::StatusBoard;
use crate::protocol::admin::{Sanction, SanctionKind};
use crate::protocol::stream::StreamState::{Ended, Live, Scheduled};
use crate::protocol::{NodeId, UserId};

/// Longer than anything here takes; only a failing test waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Rig {
    pub(super) address: SocketAddr,
    pub(super) metadata: Arc<MemoryMetadata>,
    pub(super) comments: Arc<MemoryComments>,
    pub(super) registry: Arc<MemoryRegistry>,
    pub(super) board: StatusBoard,
    pub(super) sink: Arc<KeepingSink>,
    pub(super) kept: Kept,
    pub(super) submissions: mpsc::Receiver<Vec<Submission>>,
    pub(super) auth_requests: mpsc::Sender<AuthRequest>,
    pub(super) sanctions: Sanctions,
    pub(super) streams: Streams,
    stop: CancellationToken,
    gateway: JoinHandle<()>,
    beside: Vec<JoinHandle<()>>,
}

impl Rig {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Streams: 1 live and open, 2 live and closed to anonymous viewers, 3 ended, 4 scheduled.
    pub(super) async fn start_with(adjust: impl FnOnce(&mut GatewayConfig)) -> Self {
        let mut config = Config::default();
        config.gateway.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        adjust(&mut config.gateway);
        let clock = Arc::new(StoppedClock);
        let metadata = Arc::new(MemoryMetadata::default());
        metadata.streams.lock().unwrap().extend([
            stream(1, Live, true),
            stream(2, Live, false),
            stream(3, Ended, true),
            stream(4, Scheduled, true),
        ]);
        let (comments, registry) = (Arc::default(), Arc::new(MemoryRegistry::default()));
        let comments: Arc<MemoryComments> = comments;
        let streams = Streams::load(metadata.clone()).await.unwrap();
        let sanctions = Sanctions::load(metadata.clone(), clock.clone()).await.unwrap();
        let verifier = Verifier::new(&config.auth, Some(SECRET), clock.clone()).unwrap();
        let board = StatusBoard::default();
        board.set_ready(true);
        let (sink, kept) = keeping_sink();
        let (submit, submissions) = mpsc::channel(1);
        let (auth_requests, auth_end) = mpsc::channel(16);
        let bound = Gateway::bind(GatewayParts {
            config: Arc::new(config),
            clock,
            verifier: Arc::new(verifier),
            streams: streams.clone(),
            sanctions: sanctions.clone(),
            registry: registry.clone(),
            comments: comments.clone(),
            metadata: metadata.clone(),
            log: Arc::new(LagOnlyLog),
            board: board.clone(),
            sink: sink.clone(),
            submissions: submit,
            auth_requests: auth_end,
            node: NodeId::new("one"),
        })
        .await
        .unwrap();
        let stop = CancellationToken::new();
        let address = bound.gateway.local_addr();
        let beside = vec![
            tokio::spawn(bound.auth.run(stop.clone())),
            tokio::spawn(bound.names.run(stop.clone())),
            tokio::spawn(bound.releases.run(stop.clone())),
        ];
        let gateway = tokio::spawn(bound.gateway.run(stop.clone()));
        Self {
            address,
            metadata,
            comments,
            registry,
            board,
            sink,
            kept,
            submissions,
            auth_requests,
            sanctions,
            streams,
            stop,
            gateway,
            beside,
        }
    }

    /// The next viewer handed to delivery.
    pub(super) async fn viewer(&mut self) -> NewViewer {
        let attached = self.kept.attached.recv();
        tokio::time::timeout(PATIENCE, attached).await.expect("a viewer").unwrap()
    }

    pub(super) fn no_viewer(&mut self) -> bool {
        self.kept.attached.try_recv().is_err()
    }

    pub(super) async fn sanction(&self, user_id: u64, kind: SanctionKind) {
        self.metadata.sanctions.lock().unwrap().push(sanction(user_id, kind));
        self.sanctions.reload().await.unwrap();
    }

    /// Stops everything and waits until it has stopped.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        for task in self.beside.into_iter().chain([self.gateway]) {
            tokio::time::timeout(PATIENCE, task).await.expect("stops").unwrap();
        }
    }

    /// Stops the gateway alone, as the first step of a shutdown.
    pub(super) fn begin_stop(&self) {
        self.stop.cancel();
    }

    pub(super) async fn gateway_stopped(self) {
        tokio::time::timeout(PATIENCE, self.gateway).await.expect("stops").unwrap();
    }
}

pub(super) fn sanction(user_id: u64, kind: SanctionKind) -> Sanction {
    Sanction {
        user_id: UserId(user_id),
        name: None,
        kind,
        reason: Some("spam".to_owned()),
        created_by: "test".to_owned(),
        created_at: 0,
        expires_at: None,
    }
}

/// A valid token.
pub(super) fn token(user_id: u64, role: &str) -> String {
    sign(&json!({"sub": user_id, "name": format!("user{user_id}"), "role": role,
                 "exp": NOW_S + 60}))
}

pub(super) fn sign(claims: &Value) -> String {
    fixtures::sign("HS256", None, claims)
}

/// Waits until a condition holds that another task brings about.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
