//! Access to the review queue.

use std::sync::Arc;

use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::protocol::Comment;
use crate::protocol::admin::ReviewItem;
use crate::protocol::events::Evidence;
use crate::protocol::text::alike_key;

/// The review queue in the metadata store, behind the store's breaker.
#[derive(Debug, Clone)]
pub(super) struct ReviewQueue {
    pub(super) store: SharedMetadataStore,
    pub(super) breaker: Arc<Breaker>,
    pub(super) clock: SharedClock,
}

impl ReviewQueue {
    /// Returns the item of a comment that was published.
    pub(super) fn item(&self, comment: &Comment, reason: &str, evidence: &Evidence) -> ReviewItem {
        ReviewItem {
            comment_id: comment.comment_id,
            stream_id: comment.stream_id,
            user_id: comment.user_id,
            name: comment.name.to_string(),
            message: comment.message.to_string(),
            reason: reason.to_owned(),
            flagged_at: self.clock.now_ms(),
            held: false,
            shadowed: false,
            badges: comment.badges,
            evidence: evidence.into(),
            claimed_by: None,
            claim_expires_at: None,
            claimed_by_you: false,
            alike: 0,
        }
    }

    /// Queues an item; succeeds if it is already queued. [`StoreError::Unavailable`] at once while
    /// the breaker is open.
    pub(super) async fn queue(&self, item: ReviewItem) -> Result<(), StoreError> {
        if !self.breaker.permits() {
            return Err(StoreError::Unavailable("waiting for the store to recover".into()));
        }
        // The console marks all that are alike by the same key, so its count is true.
        let text_key = i64::from(alike_key(&item.message));
        let result = self.store.queue_review(item, text_key).await;
        match &result {
            Err(error @ StoreError::Unavailable(_)) => self.breaker.failed(error),
            // The store answered; any other error concerns only this item.
            _ => self.breaker.succeeded(),
        }
        match result {
            Err(StoreError::Exists(_)) => Ok(()),
            other => other,
        }
    }
}
