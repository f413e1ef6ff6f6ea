//! Forwards acks to every viewer pool, so that each pool accounts for its own viewers.
//!
//! In: acks that senders received. Out: [`PoolCommand::Acked`]. Always holds: every ack is
//! forwarded to all pools, and all acks are forwarded when [`AckFeed::finish`] returns. When full:
//! acks gather in [`Submissions`], at most as many as the run has comments.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::pool::{CommandSender, PoolCommand};
use super::submissions::Submissions;

/// Acks that arrive within this time are forwarded together.
const GATHER: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct AckFeed {
    done: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl AckFeed {
    pub(super) fn start(submissions: Arc<Submissions>, pools: Vec<CommandSender>) -> Self {
        let done = CancellationToken::new();
        let task = tokio::spawn(forward_acks(submissions, pools, done.clone()));
        Self { done, task: Some(task) }
    }

    /// Returns when all acks are forwarded. A cancelled call loses nothing and may be repeated.
    pub(super) async fn finish(&mut self) {
        self.done.cancel();
        if let Some(task) = &mut self.task {
            // The task does not panic, and nothing else aborts it.
            let _ = task.await;
        }
        self.task = None;
    }
}

impl Drop for AckFeed {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn forward_acks(
    submissions: Arc<Submissions>,
    pools: Vec<CommandSender>,
    done: CancellationToken,
) {
    loop {
        let last = tokio::select! {
            () = submissions.wait_for_acks() => false,
            () = done.cancelled() => true,
        };
        if !last {
            tokio::time::sleep(GATHER).await;
        }
        let acks = submissions.take_acks();
        if !acks.is_empty() {
            let command = PoolCommand::Acked(acks.into());
            for pool in &pools {
                pool.send(command.clone()).await;
            }
        }
        if last {
            return;
        }
    }
}
