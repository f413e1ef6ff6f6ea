//! Starts delivery, and passes calls from other stages to its workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ahash::AHashMap;
use futures_util::future::{BoxFuture, join_all};
use mio::Poll;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::catch_up::{CatchUp, CatchUpRequest};
use super::deflate::Compressors;
use super::history::History;
use super::hub::{Hub, HubError, HubParts};
use super::mailbox::{self, Command, Mailbox};
use super::presence::Presence;
use super::worker::{ViewerCounts, ViewerRequests, WAKER, Worker, WorkerParts};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::Config;
use crate::daemon::base::handoff::{
    Bearer, ConnectionId, DirectMessage, IssuerKeyId, NewViewer, Permit, Reply, ReplySink,
    ViewerSink,
};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::bus::{BusError, SharedBus};
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::directory::{Delays, RoomPolls, Streams};
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::engines::reactions::SharedReactionTotals;
use crate::daemon::engines::recent::SharedRecentCache;
use crate::daemon::engines::registry::SharedRegistry;
use crate::policy::egress::EgressPolicy;
use crate::protocol::admin::StageName;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::message::ServerMessage;
use crate::protocol::{CloseCode, NodeId, StreamId, UserId, UserScope};

/// Bounds the requests for history pages that wait. When the queue is full, workers try again.
const MAX_CATCH_UP_REQUESTS: usize = 4096;

#[derive(Debug)]
pub struct DeliveryParts {
    pub node: NodeId,
    pub config: Arc<Config>,
    pub bus: SharedBus,
    pub log: SharedLog,
    pub recent: SharedRecentCache,
    pub comments: SharedCommentStore,
    pub registry: SharedRegistry,
    pub totals: SharedReactionTotals,
    pub requests: ViewerRequests,
    pub board: StatusBoard,
    pub clock: SharedClock,
    pub streams: Streams,
    pub polls: RoomPolls,
}

#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error("cannot create an event queue: {0}")]
    Poll(std::io::Error),
    #[error("cannot start a delivery worker: {0}")]
    Spawn(std::io::Error),
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// The running stage: its worker threads, and its tasks before they are spawned.
#[derive(Debug)]
pub struct Delivery {
    handle: DeliveryHandle,
    workers: Vec<(String, JoinHandle<std::io::Result<()>>)>,
    hub: Hub,
    presence: Arc<Presence>,
    catch_up: CatchUp,
    requests: mpsc::Receiver<CatchUpRequest>,
}

/// The tasks of a started delivery, for the assembly to supervise.
#[expect(missing_debug_implementations, reason = "futures have none")]
pub struct DeliveryTasks {
    pub hub: BoxFuture<'static, Result<(), HubError>>,
    pub presence: BoxFuture<'static, ()>,
    pub history: BoxFuture<'static, ()>,
    /// To be joined after [`DeliveryHandle::stop`]. A worker that ends before has failed.
    pub workers: Vec<(String, JoinHandle<std::io::Result<()>>)>,
}

impl Delivery {
    /// Starts the worker threads. The tasks run once [`Self::into_tasks`] is spawned.
    pub async fn start(parts: DeliveryParts) -> Result<Self, DeliveryError> {
        let (subscriptions, listener) = parts.bus.listen(&parts.node).await?;
        let (hub_requests, hub_receiver) = mpsc::unbounded_channel();
        let (catch_up_sender, requests) = mpsc::channel(MAX_CATCH_UP_REQUESTS);
        let delays = Delays::new(parts.streams.clone(), parts.clock.clone());
        let history = History::new(parts.recent.clone(), parts.log.clone())
            .with_delays(delays)
            .with_store(parts.comments.clone());
        let names = parts.config.reactions.kinds.iter();
        let names: Arc<[Arc<str>]> = names.map(|kind| kind.as_str().into()).collect();
        let kinds = parts.config.reactions.kinds.iter().enumerate();
        let kinds: AHashMap<String, u16> =
            kinds.map(|(i, kind)| (kind.clone(), i as u16)).collect();
        let kinds = Arc::new(kinds);
        let mut mailboxes = Vec::new();
        let mut counts = Vec::new();
        let mut workers = Vec::new();
        for index in 0..worker_count(&parts.config) {
            let poll = Poll::new().map_err(DeliveryError::Poll)?;
            let waker = mio::Waker::new(poll.registry(), WAKER).map_err(DeliveryError::Poll)?;
            let mailbox = Arc::new(Mailbox::new(waker));
            let count = ViewerCounts::default();
            let worker = Worker::new(WorkerParts {
                index: index as u16,
                poll,
                mailbox: mailbox.clone(),
                delivery: Arc::new(parts.config.delivery.clone()),
                gateway: Arc::new(parts.config.gateway.clone()),
                reaction_kinds: kinds.clone(),
                reaction_names: names.clone(),
                reactions_per_second: parts.config.reactions.per_second,
                requests: parts.requests.clone(),
                hub: hub_requests.clone(),
                history: catch_up_sender.clone(),
                counts: count.clone(),
                board: parts.board.clone(),
                clock: parts.clock.clone(),
            });
            let name = format!("delivery-{index}");
            let thread = std::thread::Builder::new().name(name.clone());
            workers.push((name, thread.spawn(|| worker.run()).map_err(DeliveryError::Spawn)?));
            mailboxes.push(mailbox);
            counts.push(count);
        }
        let mailboxes: Arc<[Arc<Mailbox>]> = mailboxes.into();
        let waiting = mailbox::queue_reader(&mailboxes);
        parts.board.telemetry().stage(StageName::Delivery).read_queue_with(waiting);
        let counts: Arc<[ViewerCounts]> = counts.into();
        let compressors = Compressors::new(&parts.config.delivery);
        let presence = Arc::new(Presence {
            node: parts.node,
            registry: parts.registry,
            workers: counts.clone(),
            hub: hub_requests,
            board: parts.board.clone(),
            interval: parts.config.delivery.presence_interval,
            compressors: compressors.clone(),
        });
        let metrics = parts.board.metrics().clone();
        let catch_up = CatchUp::new(history.clone(), parts.log.epoch(), mailboxes.clone(), metrics);
        let hub = Hub::new(HubParts {
            listener,
            subscriptions,
            requests: hub_receiver,
            mailboxes: mailboxes.clone(),
            history,
            recent: parts.recent,
            log: parts.log,
            totals: parts.totals,
            compressors,
            egress: EgressPolicy::new(parts.config.delivery.egress_rules()),
            board: parts.board.clone(),
            streams: parts.streams,
            clock: parts.clock,
            polls: parts.polls,
        });
        let handle = DeliveryHandle { mailboxes, next: Arc::default(), counts, board: parts.board };
        Ok(Self { handle, workers, hub, presence, catch_up, requests })
    }

    pub fn handle(&self) -> DeliveryHandle {
        self.handle.clone()
    }

    pub fn into_tasks(self, stop: &CancellationToken) -> DeliveryTasks {
        DeliveryTasks {
            hub: Box::pin(self.hub.run(stop.clone())),
            presence: Box::pin(self.presence.run(stop.clone())),
            history: Box::pin(self.catch_up.serve(self.requests, stop.clone())),
            workers: self.workers,
        }
    }
}

fn worker_count(config: &Config) -> usize {
    match config.delivery.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

/// Sends commands to the workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeliveryHandle {
    mailboxes: Arc<[Arc<Mailbox>]>,
    /// Viewers are assigned to the workers in turn, which spreads a hot stream over all cores.
    next: Arc<AtomicUsize>,
    /// Viewers per stream of each worker.
    counts: Arc<[ViewerCounts]>,
    board: StatusBoard,
}

impl DeliveryHandle {
    /// Stops the worker threads. Remaining connections are dropped.
    pub fn stop(&self) {
        for mailbox in self.mailboxes.iter() {
            mailbox.send(Command::Stop);
        }
    }

    /// Resolves once every worker has taken a command. Returns false if a worker has ended.
    pub async fn workers_respond(&self) -> bool {
        self.send_to_all(|done| Command::Ping { done }).await == self.mailboxes.len() as u64
    }

    /// Sends a command to every worker and adds up the numbers they answer.
    fn send_to_all(
        &self,
        command: impl Fn(oneshot::Sender<u64>) -> Command,
    ) -> BoxFuture<'static, u64> {
        let mut answers = Vec::with_capacity(self.mailboxes.len());
        for mailbox in self.mailboxes.iter() {
            let (done, answer) = oneshot::channel();
            mailbox.send(command(done));
            answers.push(answer);
        }
        Box::pin(async move { join_all(answers).await.into_iter().flatten().sum() })
    }
}

impl ReplySink for DeliveryHandle {
    fn reply(&self, replies: Vec<Reply>) {
        let mut by_worker: Vec<Vec<Reply>> = self.mailboxes.iter().map(|_| Vec::new()).collect();
        for reply in replies {
            by_worker[usize::from(reply.connection.worker)].push(reply);
        }
        for (mailbox, replies) in self.mailboxes.iter().zip(by_worker) {
            if !replies.is_empty() {
                mailbox.send(Command::Replies(replies));
            }
        }
    }
}

impl ViewerSink for DeliveryHandle {
    fn attach(&self, viewer: NewViewer) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.mailboxes[turn % self.mailboxes.len()].send(Command::Attach(Box::new(viewer)));
    }

    fn authenticated(
        &self,
        connection: ConnectionId,
        outcome: Result<(Bearer, Box<dyn Permit>), ErrorBody>,
    ) {
        let mailbox = &self.mailboxes[usize::from(connection.worker)];
        mailbox.send(Command::Authenticated { connection, outcome });
    }

    fn room_changed(
        &self,
        connection: ConnectionId,
        client_ref: Option<Arc<str>>,
        outcome: Result<ServerMessage, ErrorBody>,
    ) {
        let mailbox = &self.mailboxes[usize::from(connection.worker)];
        mailbox.send(Command::RoomChanged { connection, client_ref, outcome });
    }

    fn disconnect_user(
        &self,
        who: UserScope,
        code: CloseCode,
        error: Option<ErrorBody>,
    ) -> BoxFuture<'static, u64> {
        self.send_to_all(|done| Command::DisconnectUser { who, code, error: error.clone(), done })
    }

    fn close_signed_by(&self, keys: Arc<[IssuerKeyId]>) -> BoxFuture<'static, u64> {
        self.send_to_all(|done| Command::CloseSignedBy { keys: keys.clone(), done })
    }

    fn probe_user(&self, user_id: UserId) -> BoxFuture<'static, u64> {
        self.send_to_all(|done| Command::ProbeUser { user_id, done })
    }

    fn close_stream(
        &self,
        stream_id: StreamId,
        error: ErrorBody,
        anonymous_only: bool,
    ) -> BoxFuture<'static, u64> {
        self.send_to_all(|done| Command::CloseStream {
            stream_id,
            error: error.clone(),
            anonymous_only,
            done,
        })
    }

    fn watched_streams(&self) -> Vec<StreamId> {
        let mut watched: Vec<_> = self
            .counts
            .iter()
            .flat_map(|counts| counts.lock().keys().copied().collect::<Vec<_>>())
            .collect();
        watched.sort_unstable();
        watched.dedup();
        watched
    }

    fn direct(&self, user_id: UserId, message: DirectMessage) -> BoxFuture<'static, u64> {
        let DirectMessage { from, message, message_id, from_user } = message;
        let message = Arc::new(ServerMessage::Direct { from, message, message_id, from_user });
        self.send_to_all(|done| Command::Direct { user_id, message: message.clone(), done })
    }

    fn dismiss_all(&self, code: CloseCode, jitter: Duration) -> BoxFuture<'static, u64> {
        self.send_to_all(|done| Command::CloseAll { code, jitter, done })
    }

    fn connections(&self) -> u64 {
        self.board.connections()
    }
}
