//! The tables, and what several methods do with them.

use super::*;

impl Tables {
    pub(super) fn next_audit_id(&self) -> u64 {
        self.audit.len() as u64 + 1
    }

    pub(super) fn record(&mut self, new: NewAudit) -> u64 {
        let audit_id = self.next_audit_id();
        if let Some((change, half_life_ms)) = new.point_change(audit_id) {
            self.change_points(&change, half_life_ms);
        }
        let NewAudit { at, actor, action, target, detail, points: _ } = new;
        let action = action.to_owned();
        self.audit.push(AuditEntry {
            audit_id,
            at,
            actor,
            action,
            target,
            detail,
            undoes: None,
            undone_by: None,
        });
        audit_id
    }

    pub(super) fn change_points(&mut self, one: &UserPointChange, half_life_ms: u64) {
        let UserPointChange { user_id, change } = one;
        let key = (*user_id, change.cause.clone());
        let reputation = self.reputations.entry(*user_id).or_default();
        if let Some(counted) = reputation.change(self.causes.get(&key), change, half_life_ms) {
            self.causes.insert(key, counted);
        }
    }

    pub(super) fn next_stream_id(&self) -> Result<StreamId, StoreError> {
        let ids = self.streams.keys().chain(&self.deleted_streams);
        let highest = ids.max().map_or(0, |id| id.0);
        if highest >= i64::MAX as u64 {
            return Err(StoreError::NotFound("stream id above the highest in use"));
        }
        Ok(StreamId(highest + 1))
    }

    pub(super) fn known_stream(&mut self, stream_id: StreamId) -> Result<&mut Stream, StoreError> {
        self.streams.get_mut(&stream_id).ok_or(StoreError::NotFound("stream"))
    }

    pub(super) fn take_grant(&mut self, user_id: UserId, stream_id: StreamId) -> Option<Grant> {
        let is_meant = |it: &mut Grant| (it.user_id, it.stream_id) == (user_id, stream_id);
        self.grants.extract_if(.., is_meant).next()
    }

    pub(super) fn sweep_sanctions(&mut self, now_ms: u64) {
        let swept_ms = now_ms.saturating_sub(SWEEP_AFTER_MS);
        self.sanctions.retain(|sanction| is_in_force(sanction, swept_ms));
    }

    /// Undecided items, oldest first.
    pub(super) fn waiting(&self) -> Vec<ReviewItem> {
        let waiting = || self.reviews.iter().filter(|(review, _)| review.verdict.is_none());
        let with_alike = |(review, key): &(StoredReview, i64)| {
            let same = waiting().filter(|(_, other)| other == key).count() as u64;
            ReviewItem { alike: (same - 1).min(MAX_ALIKE), ..review.item.clone() }
        };
        let mut waiting: Vec<_> = waiting().map(with_alike).collect();
        waiting.sort_by_key(|item| (item.flagged_at, item.comment_id.sort_key()));
        waiting
    }

    pub(super) fn decided(&self) -> impl Iterator<Item = DecidedReview> {
        self.reviews.iter().filter_map(|(review, _)| {
            let verdict = review.verdict.clone()?;
            Some(DecidedReview { item: review.item.clone(), verdict })
        })
    }

    pub(super) fn review_of(
        &mut self,
        comment_id: CommentId,
    ) -> Result<&mut StoredReview, ReviewRefusal> {
        let mut reviews = self.reviews.iter_mut().map(|(review, _)| review);
        let found = reviews.find(|review| review.item.comment_id == comment_id);
        found.ok_or(ReviewRefusal::NotQueued)
    }

    pub(super) fn standing(&self, item: &ReviewItem, now_ms: u64) -> AuthorStanding {
        let is_sanction = |it: &Sanction| {
            it.user_id == item.user_id && is_in_force(it, now_ms) && it.holds_on(item.stream_id)
        };
        let is_shadow = |it: &Shadow| {
            it.user_id == item.user_id
                && it.is_in_force(now_ms)
                && it.stream_id.is_none_or(|only| only == item.stream_id)
        };
        AuthorStanding {
            is_sanctioned: self.sanctions.iter().any(is_sanction),
            is_shadowed: self.shadows.iter().any(is_shadow),
        }
    }

    pub(super) fn change_review(&mut self, change: ReviewChange, audit: &NewAudit) {
        let (ReviewChange::Withdraw(comment_id) | ReviewChange::PutBack(comment_id)) = change;
        let withdrawn = || ReviewVerdict {
            decision: Decision::Reject,
            by: audit.actor.clone(),
            at: audit.at,
            reason: Some(WITHDRAWN.to_owned()),
        };
        let key = comment_id.sort_key();
        let Ok(review) = self.review_of(comment_id) else {
            match change {
                ReviewChange::Withdraw(_) => {
                    self.withdrawn.entry(key).or_insert_with(withdrawn);
                }
                ReviewChange::PutBack(_) => drop(self.withdrawn.remove(&key)),
            }
            return;
        };
        match (change, &review.verdict) {
            (ReviewChange::Withdraw(_), None) if !review.item.held => {
                review.verdict = Some(withdrawn());
            }
            (ReviewChange::PutBack(_), Some(verdict))
                if verdict.reason.as_deref() == Some(WITHDRAWN) =>
            {
                review.verdict = None;
                review.item.claimed_by = None;
                review.item.claim_expires_at = None;
            }
            _ => {}
        }
    }

    /// Returns an item that the actor may change.
    pub(super) fn review(
        &mut self,
        comment_id: CommentId,
        actor: &str,
        now_ms: u64,
    ) -> Result<&mut StoredReview, ReviewRefusal> {
        let review = self.review_of(comment_id)?;
        review.check(actor, now_ms)?;
        Ok(review)
    }
}

pub(super) fn is_kept(message: &KeptMessage, now_ms: u64) -> bool {
    message.sent_at.saturating_add(KEPT_FOR_MS) > now_ms
}

/// Removes the oldest of the messages that are meant, until so many are left.
pub(super) fn keep_newest(
    all: &mut Vec<KeptMessage>,
    count: u64,
    is_meant: impl Fn(&KeptMessage) -> bool,
) {
    let meant = all.iter().filter(|kept| is_meant(kept)).count() as u64;
    let mut left = meant.saturating_sub(count);
    all.retain(|kept| {
        let is_removed = left > 0 && is_meant(kept);
        left -= u64::from(is_removed);
        !is_removed
    });
}

pub(super) fn is_in_force(sanction: &Sanction, now_ms: u64) -> bool {
    sanction.expires_at.is_none_or(|end| end > now_ms)
}
