//! Carrying commands to other nodes: the asker's end.
//!
//! A command is published on the target's channel on one Redis node; if nobody listens there, or no
//! answer comes soon, it is published again under the same id on the next. Each node listens on all of
//! them and obeys an id once, so one dead Redis node, or one that hangs, costs a moment and no command.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Core;
use super::cluster::{decode, encode};
use super::link::Link;
use crate::daemon::engines::registry::{NodeCommand, RegistryError};
use crate::protocol::NodeId;

/// All tries together; less than control waits, so that it hears which node did not answer.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(1500);
/// Without an answer after this time the next Redis node is tried as well.
const NEXT_TRY_AFTER: Duration = Duration::from_millis(250);

/// What is published to a node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) id: RequestId,
    /// The channel the asker listens on.
    pub(super) answer_to: String,
    pub(super) command: NodeCommand,
}

/// Unique over all nodes and their lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct RequestId {
    pub(super) asker: u64,
    pub(super) number: u64,
}

/// What is published back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) number: u64,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// Connections touched.
    Obeyed(u64),
    /// The node obeys as many commands as it can at a time, or is not assembled yet.
    Refused,
}

/// Commands that wait for their answer; each for [`COMMAND_TIMEOUT`] at most.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    last: AtomicU64,
    waiting: Mutex<AHashMap<u64, oneshot::Sender<Outcome>>>,
}

impl Awaited {
    fn open(&self) -> (Ticket<'_>, oneshot::Receiver<Outcome>) {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(number, sender);
        (Ticket { awaited: self, number }, receiver)
    }

    /// An answer came in; a second one to the same command finds nobody.
    pub(super) fn take_in(&self, payload: &[u8]) {
        let Some(Answer { number, outcome }) = decode(payload) else { return };
        if let Some(asker) = self.waiting().remove(&number) {
            let _ = asker.send(outcome);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, AHashMap<u64, oneshot::Sender<Outcome>>> {
        self.waiting.lock()
    }
}

/// Forgets the command when nobody waits for it any more.
struct Ticket<'a> {
    awaited: &'a Awaited,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.awaited.waiting().remove(&self.number);
    }
}

impl Core {
    pub(super) async fn carry(
        &self,
        node: &NodeId,
        command: NodeCommand,
    ) -> Result<u64, RegistryError> {
        let outcome = match *node == self.node {
            true => Some(self.obedience.obey_here(command).await),
            false => timeout(COMMAND_TIMEOUT, self.ask(node, command)).await.ok().flatten(),
        };
        match outcome {
            Some(Outcome::Obeyed(connections)) => Ok(connections),
            Some(Outcome::Refused) | None => Err(RegistryError::Unreachable(node.clone())),
        }
    }

    /// `None` if nobody listens.
    async fn ask(&self, node: &NodeId, command: NodeCommand) -> Option<Outcome> {
        let (ticket, mut answer) = self.awaited.open();
        let id = RequestId { asker: self.life.0, number: ticket.number };
        let answer_to = self.keys.answers(&self.node, self.life);
        let payload = encode(&Request { id, answer_to, command });
        let channel = self.keys.commands(node);
        let mut is_heard = false;
        for link in self.links_from(self.nodes.index_of(node.as_str().as_bytes())) {
            // What this link takes too long to say, the next may know.
            let published = timeout(NEXT_TRY_AFTER, publish(link, &channel, &payload)).await;
            if published.unwrap_or(0) == 0 {
                continue;
            }
            is_heard = true;
            if let Ok(outcome) = timeout(NEXT_TRY_AFTER, &mut answer).await {
                return outcome.ok();
            }
        }
        if !is_heard {
            return answer.try_recv().ok();
        }
        answer.await.ok()
    }

    /// All of them, beginning with one.
    pub(super) fn links_from(&self, first: usize) -> impl Iterator<Item = &Arc<Link>> {
        let (before, from) = self.links.split_at(first);
        from.iter().chain(before)
    }
}

/// How many listen; none if the Redis node does not answer.
pub(super) async fn publish(link: &Link, channel: &str, payload: &[u8]) -> u64 {
    let mut command = redis::cmd("PUBLISH");
    command.arg(channel).arg(payload);
    link.command(&command).await.unwrap_or(0)
}
