//! Access to the review queue.

use std::sync::Arc;

use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{NewReview, SharedMetadataStore};
use crate::protocol::Comment;
use crate::protocol::admin::ReviewItem;
use crate::protocol::events::Evidence;
use crate::protocol::text::alike_key;

/// The most items of one transaction: enough that its commit costs little per item, and few enough
/// that other changes wait only for some milliseconds.
pub(super) const MAX_BATCH: usize = 256;

/// Returns the item of a comment that was published. `flagged_at` is in milliseconds since the Unix
/// epoch.
pub(super) fn review_item(
    comment: &Comment,
    reason: &str,
    evidence: &Evidence,
    flagged_at: u64,
) -> ReviewItem {
    ReviewItem {
        comment_id: comment.comment_id,
        stream_id: comment.stream_id,
        user_id: comment.user_id,
        name: comment.name.to_string(),
        message: comment.message.to_string(),
        reason: reason.to_owned(),
        flagged_at,
        held: false,
        shadowed: false,
        badges: comment.badges,
        parent_id: comment.parent_id,
        evidence: evidence.into(),
        claimed_by: None,
        claim_expires_at: None,
        claimed_by_you: false,
        alike: 0,
    }
}

/// The review queue in the metadata store, behind the store's breaker.
#[derive(Debug, Clone)]
pub(super) struct ReviewQueue {
    pub(super) store: SharedMetadataStore,
    pub(super) breaker: Arc<Breaker>,
}

impl ReviewQueue {
    /// Queues items, at most [`MAX_BATCH`], in one transaction. Returns the outcome of each, in
    /// their order: one that is queued already succeeds, too. Each is
    /// [`StoreError::Unavailable`] at once while the breaker is open.
    pub(super) async fn queue(&self, items: Vec<ReviewItem>) -> Vec<Result<(), StoreError>> {
        let new: Vec<_> = items.into_iter().map(new_review).collect();
        let together = self.store_together(&new).await;
        match &together {
            // The store answers, and refuses one of them. Each is queued by itself, so that this
            // one keeps no other back.
            Err(error) if new.len() > 1 && !matches!(error, StoreError::Unavailable(_)) => {}
            _ => return vec![together; new.len()],
        }
        let mut outcomes = Vec::with_capacity(new.len());
        for one in &new {
            outcomes.push(self.store_together(std::slice::from_ref(one)).await);
        }
        outcomes
    }

    async fn store_together(&self, new: &[NewReview]) -> Result<(), StoreError> {
        if !self.breaker.permits() {
            return Err(StoreError::Unavailable("waiting for the store to recover".into()));
        }
        let result = self.store.queue_reviews(new).await;
        match &result {
            Err(error @ StoreError::Unavailable(_)) => self.breaker.failed(error),
            // The store answered; any other error concerns only these items.
            _ => self.breaker.succeeded(),
        }
        result
    }
}

fn new_review(item: ReviewItem) -> NewReview {
    // The console marks all that are alike by the same key, so its count is true.
    let text_key = i64::from(alike_key(&item.message));
    NewReview { item, text_key }
}
