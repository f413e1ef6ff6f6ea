//! The direct path: what nodes tell each other through the log while Redis is out of reach. Slower
//! than the bus and the registry, and on nothing but what already keeps the comments.
//!
//! In: messages for the bus that it did not take, commands for nodes that the registry did not carry.
//! Out, on every node, which all follow the topic `ws-messages` from its end on: the same messages to
//! the node's listeners, commands for this node to its endpoint, answers to who asked.
//!
//! Always holds: nothing is told that was appended before the node began to follow. A message may
//! come here and by the bus: batches are told apart by their place in the order, commands by their
//! number. Who asks a node is answered within [`COMMAND_TIMEOUT`], if only with `Unreachable`.
//!
//! When full: a listener holds [`LISTENER_MESSAGES`]; what does not fit is lost, counted, and seen as a
//! hole in the order. At most [`MAX_COMMANDS`] commands are obeyed at a time; more are left unanswered.

mod bus;
mod letter;
mod registry;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub use self::bus::FallbackBus;
use self::letter::Letter;
pub use self::registry::FallbackRegistry;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::engines::bus::BusMessage;
use crate::daemon::engines::eventlog::{LogError, NewRecord, Record, SharedLog, Topic};
use crate::daemon::engines::registry::{CommandHandler, NodeCommand, RegistryError};
use crate::protocol::{NodeId, StreamId};

/// Below the time that control gives a node, so that it learns which way failed.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(1500);
const LISTENER_MESSAGES: usize = 16_384;
const MAX_COMMANDS: usize = 64;
const POLL_RECORDS: usize = 1024;
const POLL_WAIT: Duration = Duration::from_secs(1);
/// After the log could not be followed.
const PAUSE: Duration = Duration::from_millis(500);

/// One node's end of the direct path.
#[derive(Debug)]
pub struct DirectPath {
    node: NodeId,
    log: SharedLog,
    clock: SharedClock,
    endpoint: OnceLock<Arc<dyn CommandHandler>>,
    last_id: AtomicU64,
    /// Bounded by the commands under way, each of which ends with its timeout.
    waiting: Mutex<AHashMap<u64, oneshot::Sender<u64>>>,
    listeners: Mutex<Vec<Listener>>,
    obeying: Arc<Semaphore>,
}

#[derive(Debug)]
struct Listener {
    messages: mpsc::Sender<(StreamId, BusMessage)>,
    lost: Arc<AtomicU64>,
}

impl DirectPath {
    pub fn new(node: NodeId, log: SharedLog, clock: SharedClock) -> Arc<Self> {
        // Numbers of this life of the node must not be those of the one before, whose answers may
        // still be under way.
        let last_id = AtomicU64::new(clock.now_ms() << 20);
        Arc::new(Self {
            node,
            log,
            clock,
            endpoint: OnceLock::new(),
            last_id,
            waiting: Mutex::default(),
            listeners: Mutex::default(),
            obeying: Arc::new(Semaphore::new(MAX_COMMANDS)),
        })
    }

    /// Follows the topic until cancelled. While the log is away nothing arrives; what was appended
    /// before it was back is not told.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let followed = tokio::select! {
                followed = self.follow() => followed,
                () = stop.cancelled() => return,
            };
            if let Err(error) = followed {
                debug!(%error, "the direct path is cut");
            }
            let _ = timeout(PAUSE, stop.cancelled()).await;
        }
    }

    async fn follow(self: &Arc<Self>) -> Result<(), LogError> {
        let mut follower = self.log.follow(Topic::WsMessages).await?;
        loop {
            for record in follower.next(POLL_RECORDS, POLL_WAIT).await? {
                self.take_in(&record);
            }
        }
    }

    fn take_in(self: &Arc<Self>, record: &Record) {
        match Letter::decode(&record.payload) {
            Ok(Letter::Fanout { stream_id, message }) => self.tell_listeners(stream_id, &message),
            Ok(Letter::Command { id, from, to, command }) if to == self.node => {
                self.obey(id, from, command);
            }
            Ok(Letter::Answer { id, to, connections }) if to == self.node => {
                if let Some(waiting) = self.waiting.lock().remove(&id) {
                    // Who asked may have given up.
                    let _ = waiting.send(connections);
                }
            }
            Ok(Letter::Command { .. } | Letter::Answer { .. }) => {}
            Err(error) => warn!(%error, offset = record.position.offset, "not a direct message"),
        }
    }

    fn tell_listeners(&self, stream_id: StreamId, message: &BusMessage) {
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

    fn obey(self: &Arc<Self>, id: u64, from: NodeId, command: NodeCommand) {
        let Some(endpoint) = self.endpoint.get().cloned() else { return };
        let Ok(permit) = self.obeying.clone().try_acquire_owned() else {
            warn!(?command, "too many commands at a time; one is left unanswered");
            return;
        };
        let path = self.clone();
        tokio::spawn(async move {
            let connections = endpoint.handle(command).await;
            let answer = Letter::Answer { id, to: from, connections };
            if let Err(error) = path.append(0, &[answer]).await {
                debug!(%error, "a command was obeyed, and its answer lost");
            }
            drop(permit);
        });
    }

    /// Where commands for this node end. The first one given stays.
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
        let letter = |message| Letter::Fanout { stream_id, message };
        let letters: Vec<_> = messages.into_iter().map(letter).collect();
        self.append(stream_id.0, &letters).await
    }

    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError> {
        let unreachable = || RegistryError::Unreachable(node.clone());
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (answered, answer) = oneshot::channel();
        self.waiting.lock().insert(id, answered);
        let letter = Letter::Command { id, from: self.node.clone(), to: node.clone(), command };
        let asked = async {
            self.append(0, &[letter]).await.map_err(|_| unreachable())?;
            answer.await.map_err(|_| unreachable())
        };
        let outcome = timeout(COMMAND_TIMEOUT, asked).await;
        self.waiting.lock().remove(&id);
        outcome.unwrap_or_else(|_| Err(unreachable()))
    }

    async fn append(&self, key: u64, letters: &[Letter]) -> Result<(), LogError> {
        let timestamp_ms = self.clock.now_ms();
        let record = |letter: &Letter| NewRecord { key, timestamp_ms, payload: letter.encode() };
        let records = letters.iter().map(record).collect();
        self.log.append(Topic::WsMessages, records).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
