//! The direct path: messages between nodes through the log while Redis is out of reach. It is
//! slower than the bus and the registry, and needs only the log, which keeps the comments anyway.
//!
//! In: messages that the bus did not accept or does not bring to some node, and commands that the
//! registry did not deliver. A node that is cut off from the bus says so here, and publishers
//! address their messages to it here until it has been silent for [`CUT_OFF_FOR`]. Out, on every
//! node, all of which follow the topic `ws-messages` from its end: those messages to the
//! node's listeners, commands for this node to its endpoint, answers to the callers of commands.
//!
//! Always holds: records appended before the node began to follow are not delivered. A message may
//! arrive here and on the bus: batches are recognized by their range, commands by their id. A
//! command is answered within [`COMMAND_TIMEOUT`], at least with `Unreachable`.
//!
//! When full: messages to nodes that are cut off wait in one bounded queue, from which they are
//! dropped and counted ([`sender`]). A listener holds [`LISTENER_MESSAGES`]; further messages are
//! dropped, counted, and seen as a gap in the sequence. At most [`MAX_COMMANDS`] commands run at a
//! time; further ones stay unanswered.

mod bus;
mod envelope;
mod registry;
mod sender;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ahash::AHashMap;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, TryFutureExt as _};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub use self::bus::FallbackBus;
use self::envelope::Envelope;
pub use self::registry::FallbackRegistry;
use self::sender::DirectSender;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::metrics::Counter;
use crate::daemon::engines::bus::BusMessage;
use crate::daemon::engines::eventlog::{LogError, NewRecord, Record, SharedLog, Topic};
use crate::daemon::engines::registry::{CommandHandler, NodeCommand, RegistryError};
use crate::protocol::{NodeId, StreamId};

/// Shorter than the timeout of control, so that control learns which path failed.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(1500);
const LISTENER_MESSAGES: usize = 16_384;
const MAX_COMMANDS: usize = 64;
const POLL_RECORDS: usize = 1024;
const POLL_WAIT: Duration = Duration::from_secs(1);
/// A node that is cut off from the bus repeats it this often.
const CUT_OFF_INTERVAL: Duration = Duration::from_secs(1);
/// Time for which messages are addressed to a node after it said so. Several repetitions may be
/// late.
const CUT_OFF_FOR: Duration = Duration::from_secs(4);
/// Pause after the log could not be followed.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// One node's end of the direct path.
#[derive(Debug)]
pub struct DirectPath {
    node: NodeId,
    log: SharedLog,
    clock: SharedClock,
    endpoint: OnceLock<Arc<dyn CommandHandler>>,
    last_id: AtomicU64,
    /// Callers that wait for answers, by command id. Each entry is removed at its timeout.
    waiting: Mutex<AHashMap<u64, oneshot::Sender<u64>>>,
    listeners: Mutex<Vec<Listener>>,
    /// The nodes that said that the bus does not reach them, and when. Bounded by the number of
    /// nodes that did within [`CUT_OFF_FOR`].
    cut_off: Mutex<AHashMap<NodeId, Instant>>,
    command_permits: Arc<Semaphore>,
    sender: DirectSender,
}

#[derive(Debug)]
struct Listener {
    messages: mpsc::Sender<(StreamId, BusMessage)>,
    lost: Arc<AtomicU64>,
}

impl DirectPath {
    /// `dropped` counts messages that could not be sent to nodes cut off from the bus.
    pub fn new(node: NodeId, log: SharedLog, clock: SharedClock, dropped: Counter) -> Arc<Self> {
        // Ids must differ from those of the previous process of this node, whose answers may still
        // arrive.
        let last_id = AtomicU64::new(clock.now_ms() << 20);
        Arc::new(Self {
            node,
            log,
            clock,
            endpoint: OnceLock::new(),
            last_id,
            waiting: Mutex::default(),
            listeners: Mutex::default(),
            cut_off: Mutex::default(),
            command_permits: Arc::new(Semaphore::new(MAX_COMMANDS)),
            sender: DirectSender::new(dropped),
        })
    }

    /// Follows the topic and sends what is queued, until cancelled. While the log is unavailable
    /// nothing arrives, and records appended before it is followed again are not delivered.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(
            stop.run_until_cancelled(self.sender.run(&self.log)),
            self.follow_until_cancelled(&stop),
        );
    }

    async fn follow_until_cancelled(self: &Arc<Self>, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let followed = tokio::select! {
                followed = self.follow() => followed,
                () = stop.cancelled() => return,
            };
            if let Err(error) = followed {
                debug!(%error, "direct path interrupted; retrying");
            }
            let _ = timeout(RETRY_PAUSE, stop.cancelled()).await;
        }
    }

    async fn follow(self: &Arc<Self>) -> Result<(), LogError> {
        let mut follower = self.log.follow(Topic::WsMessages).await?;
        loop {
            for record in follower.next(POLL_RECORDS, POLL_WAIT).await? {
                self.dispatch(&record);
            }
        }
    }

    fn dispatch(self: &Arc<Self>, record: &Record) {
        match Envelope::decode(&record.payload) {
            Ok(Envelope::Fanout { stream_id, message }) => {
                self.notify_listeners(stream_id, &message);
            }
            Ok(Envelope::FanoutTo { nodes, stream_id, message }) => {
                if nodes.contains(&self.node) {
                    self.notify_listeners(stream_id, &message);
                }
            }
            Ok(Envelope::CutOff { node }) => {
                self.cut_off.lock().insert(node, Instant::now());
            }
            Ok(Envelope::Command { id, from, to, command }) if to == self.node => {
                self.run_command(id, from, command);
            }
            Ok(Envelope::Answer { id, to, connections }) if to == self.node => {
                if let Some(waiting) = self.waiting.lock().remove(&id) {
                    // The caller may have given up.
                    let _ = waiting.send(connections);
                }
            }
            Ok(Envelope::Command { .. } | Envelope::Answer { .. }) => {}
            Err(error) => {
                warn!(%error, offset = record.position.offset, "record is not an envelope");
            }
        }
    }

    fn notify_listeners(&self, stream_id: StreamId, message: &BusMessage) {
        self.listeners.lock().retain(|listener| {
            match listener.messages.try_send((stream_id, message.clone())) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    listener.lost.fetch_add(1, Ordering::Relaxed);
                    true
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
    }

    fn run_command(self: &Arc<Self>, id: u64, from: NodeId, command: NodeCommand) {
        let Some(endpoint) = self.endpoint.get().cloned() else { return };
        let Ok(permit) = self.command_permits.clone().try_acquire_owned() else {
            warn!(?command, "too many commands at a time; command left unanswered");
            return;
        };
        let path = self.clone();
        tokio::spawn(async move {
            let connections = endpoint.handle(command).await;
            let answer = Envelope::Answer { id, to: from, connections };
            if let Err(error) = path.append(0, &[answer]).await {
                debug!(%error, "answer to a command not appended");
            }
            drop(permit);
        });
    }

    /// Sets the endpoint that runs commands for this node. Later calls change nothing.
    fn set_command_handler(&self, endpoint: Arc<dyn CommandHandler>) {
        let _ = self.endpoint.set(endpoint);
    }

    fn listen(&self) -> (mpsc::Receiver<(StreamId, BusMessage)>, Arc<AtomicU64>) {
        let (messages, receiver) = mpsc::channel(LISTENER_MESSAGES);
        let lost = Arc::new(AtomicU64::new(0));
        self.listeners.lock().push(Listener { messages, lost: lost.clone() });
        (receiver, lost)
    }

    async fn publish(
        &self,
        stream_id: StreamId,
        messages: Vec<BusMessage>,
    ) -> Result<(), LogError> {
        let envelope = |message| Envelope::Fanout { stream_id, message };
        let envelopes: Vec<_> = messages.into_iter().map(envelope).collect();
        self.append(stream_id.0, &envelopes).await
    }

    /// Returns the nodes that do not receive everything on the bus.
    fn cut_off(&self) -> Vec<NodeId> {
        let mut cut_off = self.cut_off.lock();
        cut_off.retain(|_, said_at| said_at.elapsed() < CUT_OFF_FOR);
        cut_off.keys().cloned().collect()
    }

    /// Sends messages that the bus accepted to the nodes that do not receive them there, in the
    /// order of the calls. Does not wait.
    fn send_to_cut_off(&self, stream_id: StreamId, messages: Vec<BusMessage>) {
        let nodes = self.cut_off();
        if nodes.is_empty() {
            return;
        }
        for message in messages {
            let envelope = Envelope::FanoutTo { nodes: nodes.clone(), stream_id, message };
            self.sender.send(stream_id.0, self.clock.now_ms(), &envelope);
        }
    }

    /// Tells the publishers that this node is cut off from the bus. Does not wait.
    fn announce_cut_off(&self) {
        let envelope = Envelope::CutOff { node: self.node.clone() };
        self.sender.send(0, self.clock.now_ms(), &envelope);
    }

    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError> {
        let unreachable = || RegistryError::Unreachable(node.clone());
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (answered, answer) = oneshot::channel();
        self.waiting.lock().insert(id, answered);
        let envelope = Envelope::Command { id, from: self.node.clone(), to: node.clone(), command };
        let call = async {
            self.append(0, &[envelope]).await.map_err(|_| unreachable())?;
            answer.await.map_err(|_| unreachable())
        };
        let outcome = timeout(COMMAND_TIMEOUT, call).await;
        self.waiting.lock().remove(&id);
        outcome.unwrap_or_else(|_| Err(unreachable()))
    }

    /// Like [`crate::daemon::engines::eventlog::EventLog::append`]: the call decides the order.
    fn append(&self, key: u64, envelopes: &[Envelope]) -> BoxFuture<'static, Result<(), LogError>> {
        let timestamp_ms = self.clock.now_ms();
        let record =
            |envelope: &Envelope| NewRecord { key, timestamp_ms, payload: envelope.encode() };
        let records = envelopes.iter().map(record).collect();
        self.log.append(Topic::WsMessages, records).map_ok(drop).boxed()
    }
}

#[cfg(test)]
mod tests;
