//! Stores comments that are held before publication, many in one transaction.
//!
//! In: held comments, each from a check of ingest that waits. Out: the outcome of each, after its
//! transaction has ended: success means that the comment is durable.
//!
//! Always holds: one task of an edge stores them, in the order of their arrival. It takes those
//! that wait, at most [`MAX_BATCH`], and stores them in one transaction; those that arrive
//! meanwhile are the next one. So a lone comment is stored at once, and thousands per second, as
//! while moderation is down, leave the one writer of an embedded store to bans and other changes. A
//! comment that nobody waits for any more when its batch begins is not stored. A batch that takes
//! longer than [`HOLD_TIME`] is given up, and the breaker of the store is told. While that is open,
//! comments are refused at once.
//!
//! When full: at most `moderation.screening.queue` comments wait, as many as ingest checks and
//! holds at a time, each with one text of at most 2,000 bytes. There is no place left only while
//! the store hangs, and comments are in the queue whose checks have given up. Further ones are
//! refused with `store_unavailable`, as while the store is away, and nothing of them is stored.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::reviews::{MAX_BATCH, ReviewQueue};
use crate::daemon::base::handoff::HOLD_TIME;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::protocol::admin::ReviewItem;

/// A held comment that waits for its transaction.
#[derive(Debug)]
struct PendingHold {
    item: ReviewItem,
    stored: oneshot::Sender<Result<(), StoreError>>,
}

/// The dependencies of a [`HoldWriter`].
#[derive(Debug)]
pub struct HoldWriterParts {
    pub metadata: SharedMetadataStore,
    pub metadata_breaker: Arc<Breaker>,
    /// Comments that may wait; at least one.
    pub max_waiting: usize,
}

/// The entrance of the queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HoldQueue {
    pending: mpsc::Sender<PendingHold>,
    breaker: Arc<Breaker>,
}

/// The task that stores what is queued. Every edge runs one.
#[derive(Debug)]
pub struct HoldWriter {
    pending: mpsc::Receiver<PendingHold>,
    reviews: ReviewQueue,
}

/// Returns both ends of a queue.
pub fn hold_queue(parts: HoldWriterParts) -> (HoldQueue, HoldWriter) {
    let HoldWriterParts { metadata: store, metadata_breaker: breaker, max_waiting } = parts;
    let (sender, receiver) = mpsc::channel(max_waiting.max(1));
    let queue = HoldQueue { pending: sender, breaker: breaker.clone() };
    (queue, HoldWriter { pending: receiver, reviews: ReviewQueue { store, breaker } })
}

impl HoldQueue {
    /// Stores an item for review, and returns after it is durable; succeeds if it is stored
    /// already. If the future is dropped before its batch begins, the item is not stored.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the store is away, the queue is full or the node stops;
    /// others if the store refuses the item. After an error that is not a refusal by the queue, the
    /// item may be stored.
    pub(super) async fn store(&self, item: ReviewItem) -> Result<(), StoreError> {
        // While the breaker is open, the task may wait for a trial call, and nobody waits behind
        // it.
        if !self.retry_after().is_zero() {
            return Err(StoreError::Unavailable("waiting for the store to recover".into()));
        }
        let stops = || StoreError::Unavailable("the node stops".into());
        let (stored, outcome) = oneshot::channel();
        self.pending.try_send(PendingHold { item, stored }).map_err(|refused| match refused {
            TrySendError::Full(_) => {
                StoreError::Unavailable("too many held comments wait to be stored".into())
            }
            TrySendError::Closed(_) => stops(),
        })?;
        outcome.await.unwrap_or_else(|_| Err(stops()))
    }

    /// Returns the time until the store is tried again; zero while it works, or if that is now.
    pub(super) fn retry_after(&self) -> Duration {
        self.breaker.retry_after()
    }
}

impl HoldWriter {
    /// Runs until `stop`, or until no entrance is left; what is queued then is stored first.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            tokio::select! {
                biased;
                taken = self.pending.recv_many(&mut batch, MAX_BATCH) => {
                    if taken == 0 {
                        return;
                    }
                }
                () = stop.cancelled() => return,
            }
            self.store(std::mem::take(&mut batch)).await;
        }
    }

    /// Stores a batch, and tells each that waits its own outcome.
    async fn store(&self, mut batch: Vec<PendingHold>) {
        batch.retain(|hold| !hold.stored.is_closed());
        if batch.is_empty() {
            return;
        }
        let (items, waiting): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|hold| (hold.item, hold.stored)).unzip();
        let outcomes = match timeout(HOLD_TIME, self.reviews.queue(items)).await {
            Ok(outcomes) => outcomes,
            Err(_) => {
                // By now nobody waits for this batch any more: each began to wait before it.
                let seconds = HOLD_TIME.as_secs();
                let error = StoreError::Unavailable(format!("no answer within {seconds} s"));
                self.reviews.breaker.failed(&error);
                vec![Err(error); waiting.len()]
            }
        };
        for (stored, outcome) in waiting.into_iter().zip(outcomes) {
            // One that has given up was told that its comment may be held.
            let _ = stored.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests;
