//! Hands acks on to every crowd, so that each accounts for its own viewers.
//!
//! In: acks as senders get them. Out: orders. Always holds: every ack that was taken is told to all; when
//! the feed has ended, all acks so far are told. When full: acks gather with [`Submissions`], as many as
//! the run has comments at worst.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::crowd::{Order, Orders};
use super::submissions::Submissions;

/// Acks that come within this time are told together.
const GATHER: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct AckFeed {
    done: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl AckFeed {
    pub(super) fn start(submissions: Arc<Submissions>, crowds: Vec<Orders>) -> Self {
        let done = CancellationToken::new();
        let task = tokio::spawn(feed(submissions, crowds, done.clone()));
        Self { done, task: Some(task) }
    }

    /// Returns when all is told. Cancelling it loses nothing; calling it again goes on.
    pub(super) async fn finish(&mut self) {
        self.done.cancel();
        if let Some(task) = &mut self.task {
            // It does not panic, and nobody aborts it before.
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

async fn feed(submissions: Arc<Submissions>, crowds: Vec<Orders>, done: CancellationToken) {
    loop {
        let over = tokio::select! {
            () = submissions.wait_for_acks() => false,
            () = done.cancelled() => true,
        };
        if !over {
            tokio::time::sleep(GATHER).await;
        }
        let acks = submissions.take_acks();
        if !acks.is_empty() {
            let order = Order::Acked(acks.into());
            for orders in &crowds {
                orders.give(order.clone()).await;
            }
        }
        if over {
            return;
        }
    }
}
