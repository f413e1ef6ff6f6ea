//! Commands for a pool: a bounded queue that wakes the pool's poll.

use std::io;
use std::sync::Arc;

use mio::{Poll, Token, Waker};
use tokio::sync::mpsc;

use super::messages::PoolCommand;

/// Commands that may wait for a pool; a sender beyond that waits.
const MAX_QUEUED_COMMANDS: usize = 64;
/// The poll's token for commands. Viewers use their index.
pub(super) const COMMANDS_TOKEN: Token = Token(usize::MAX);

/// The pool's end: its poll, which a new command wakes, and the queue.
#[derive(Debug)]
pub(crate) struct CommandQueue {
    pub(super) poll: Poll,
    pub(super) commands: mpsc::Receiver<PoolCommand>,
}

/// The sending end. The pool ends when the last sender is dropped.
#[derive(Debug, Clone)]
pub(crate) struct CommandSender {
    queue: Option<mpsc::Sender<PoolCommand>>,
    waker: Option<Arc<Waker>>,
}

impl CommandQueue {
    pub(crate) fn new() -> io::Result<(CommandSender, Self)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), COMMANDS_TOKEN)?;
        let (queue, commands) = mpsc::channel(MAX_QUEUED_COMMANDS);
        let sender = CommandSender { queue: Some(queue), waker: Some(Arc::new(waker)) };
        Ok((sender, Self { poll, commands }))
    }
}

impl CommandSender {
    /// Returns a sender without a poll to wake, and the queue to read from.
    pub(crate) fn queue() -> (Self, mpsc::Receiver<PoolCommand>) {
        let (queue, commands) = mpsc::channel(MAX_QUEUED_COMMANDS);
        (Self { queue: Some(queue), waker: None }, commands)
    }

    /// Waits for room and sends. A command to a pool that has ended is dropped; the pool's end is
    /// reported by its [`PoolEvent::Ended`](super::PoolEvent::Ended).
    pub(crate) async fn send(&self, command: PoolCommand) {
        if let Some(queue) = &self.queue {
            let _ = queue.send(command).await;
        }
        self.wake();
    }

    /// Does the same as [`CommandSender::send`] on a thread.
    pub(crate) fn send_blocking(&self, command: PoolCommand) {
        if let Some(queue) = &self.queue {
            let _ = queue.blocking_send(command);
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            // Fails only if the poll is gone, and the pool with it.
            let _ = waker.wake();
        }
    }
}

impl Drop for CommandSender {
    fn drop(&mut self) {
        // The queue goes first, so that a pool that wakes finds it closed.
        self.queue = None;
        self.wake();
    }
}
