//! Sending commands to other nodes.
//!
//! A command is published on the target's channel on one Redis node. If nobody listens there, or no
//! reply comes soon, it is published again under the same id on the next Redis node. Every node
//! listens on all of them and executes an id once, so a Redis node that is dead or hangs delays a
//! command but does not lose it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Core;
use super::node_link::NodeLink;
use super::wire::{CommandOutcome, CommandReply, CommandRequest, RequestId, decode, encode};
use crate::daemon::engines::registry::{NodeCommand, RegistryError};
use crate::protocol::NodeId;

/// Time for all attempts together. Shorter than the timeout of the control stage, which must learn
/// which node did not answer.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(1500);
/// Time to wait for a reply before the next Redis node is tried as well.
const NEXT_ATTEMPT_AFTER: Duration = Duration::from_millis(250);

/// Commands that wait for their reply, each for at most [`COMMAND_TIMEOUT`].
#[derive(Debug, Default)]
pub(super) struct PendingCommands {
    last: AtomicU64,
    waiting: Mutex<AHashMap<u64, oneshot::Sender<CommandOutcome>>>,
}

impl PendingCommands {
    fn start(&self) -> (PendingCommand<'_>, oneshot::Receiver<CommandOutcome>) {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(number, sender);
        (PendingCommand { commands: self, number }, receiver)
    }

    /// Hands a reply to the command that waits for it. Later replies to the same command are
    /// ignored.
    pub(super) fn deliver_reply(&self, payload: &[u8]) {
        let Some(CommandReply { number, outcome }) = decode(payload) else { return };
        let waiting = self.waiting.lock().remove(&number);
        if let Some(waiting) = waiting {
            let _ = waiting.send(outcome);
        }
    }
}

/// Removes the command when its caller no longer waits.
struct PendingCommand<'a> {
    commands: &'a PendingCommands,
    number: u64,
}

impl Drop for PendingCommand<'_> {
    fn drop(&mut self) {
        self.commands.waiting.lock().remove(&self.number);
    }
}

impl Core {
    pub(super) async fn send_command(
        &self,
        node: &NodeId,
        command: NodeCommand,
    ) -> Result<u64, RegistryError> {
        let outcome = if *node == self.node {
            Some(self.incoming.execute(command).await)
        } else {
            timeout(COMMAND_TIMEOUT, self.request(node, command)).await.ok().flatten()
        };
        match outcome {
            Some(CommandOutcome::Executed(connections)) => Ok(connections),
            Some(CommandOutcome::Refused) | None => Err(RegistryError::Unreachable(node.clone())),
        }
    }

    /// Returns `None` if nobody listens.
    async fn request(&self, node: &NodeId, command: NodeCommand) -> Option<CommandOutcome> {
        let (pending, mut reply) = self.pending_commands.start();
        let id = RequestId { sender_run: self.run.0, number: pending.number };
        let reply_channel = self.keys.reply_channel(&self.node, self.run);
        let payload = encode(&CommandRequest { id, reply_channel, command });
        let channel = self.keys.command_channel(node);
        let mut was_received = false;
        for link in self.links_from(self.nodes.index_of(node.as_str().as_bytes())) {
            // A link that is too slow must not keep the next one from being tried.
            let receivers = timeout(NEXT_ATTEMPT_AFTER, publish(link, &channel, &payload)).await;
            if receivers.unwrap_or(0) == 0 {
                continue;
            }
            was_received = true;
            if let Ok(outcome) = timeout(NEXT_ATTEMPT_AFTER, &mut reply).await {
                return outcome.ok();
            }
        }
        if !was_received {
            return reply.try_recv().ok();
        }
        reply.await.ok()
    }

    /// Returns all links, starting with one.
    pub(super) fn links_from(&self, first: usize) -> impl Iterator<Item = &Arc<NodeLink>> {
        let (before, from) = self.links.split_at(first);
        from.iter().chain(before)
    }
}

/// Returns the number of receivers, 0 if the Redis node does not answer.
pub(super) async fn publish(link: &NodeLink, channel: &str, payload: &[u8]) -> u64 {
    let mut command = redis::cmd("PUBLISH");
    command.arg(channel).arg(payload);
    link.command(&command).await.unwrap_or(0)
}
