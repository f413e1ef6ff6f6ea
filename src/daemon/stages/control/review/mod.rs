//! The review queue: comments that wait for a moderator's decision.
//!
//! Always holds: an item is decided once; a decision that is taken back makes it wait again. The
//! metadata store checks and decides in one step, so of two moderators that decide at once, one is
//! refused, and nothing of it happens. A claim keeps others away from an item for [`CLAIM_MS`].
//! Claims are compared by the clock of the node that was asked; the clocks of nodes differ by less
//! than a claim lasts.

mod automatic;
mod decisions;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::time::Instant;

use super::cluster::CommandResults;
use super::comments::{public_reason, target_of};
use super::events::pending;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::metadata::{NewClaim, NewVerdict, ReviewError, ReviewRefusal};
use crate::protocol::admin::{ClaimRequest, Outcome, ReviewItem, ReviewRequest, audit_action};
use crate::protocol::comment::Comment;
use crate::protocol::events::{CommentModerated, CommentSubmitted, Decision, Event, ModeratedText};
use crate::protocol::{CommentId, Role, StreamId};

pub(crate) use decisions::RecentDecisions;
pub(crate) use queue::SharedQueue;
use queue::is_shadowed;

/// The time for which a claim lasts; claiming again renews it.
pub(crate) const CLAIM_MS: u64 = 60_000;

impl Control {
    /// Returns the undecided comments, oldest first, with the claims as an actor sees them. Changes
    /// by other nodes, and comments just flagged, may be missing for a second.
    pub async fn review_queue(
        &self,
        actor: &Actor,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, ControlError> {
        let now_ms = self.parts.clock.now_ms();
        let items = self.queue.oldest(&self.parts.metadata, None, now_ms, limit).await?;
        Ok(items.into_iter().map(|item| seen_by(actor, now_ms, item)).collect())
    }

    /// Returns the undecided comments of one stream like [`Self::review_queue`].
    pub async fn review_queue_of(
        &self,
        actor: &Actor,
        stream_id: StreamId,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, ControlError> {
        self.require_stream(stream_id).await?;
        let now_ms = self.parts.clock.now_ms();
        let only = Some(stream_id);
        let items = self.queue.oldest(&self.parts.metadata, only, now_ms, limit).await?;
        Ok(items.into_iter().map(|item| seen_by(actor, now_ms, item)).collect())
    }

    /// Claims a comment of the queue for the actor, renews the claim, or ends it.
    pub async fn claim(
        &self,
        actor: &Actor,
        request: &ClaimRequest,
    ) -> Result<ReviewItem, ControlError> {
        let comment_id = request.comment_id;
        let now_ms = self.parts.clock.now_ms();
        let expires_at = (!request.release).then_some(now_ms + CLAIM_MS);
        let claim = NewClaim { comment_id, by: actor.name(), now_ms, expires_at };
        let claimed = self.parts.metadata.claim_review(claim).await;
        self.queue.changed();
        let item = claimed.map_err(|error| refused(comment_id, now_ms, error))?;
        Ok(seen_by(actor, now_ms, item))
    }

    /// Accepts a comment. A held comment is published now.
    pub async fn approve(
        &self,
        actor: &Actor,
        request: &ReviewRequest,
    ) -> Result<Outcome, ControlError> {
        self.approve_of_stream(actor, request, None).await
    }

    /// Accepts a comment that must be one of a stream; `None` allows any.
    pub(super) async fn approve_of_stream(
        &self,
        actor: &Actor,
        request: &ReviewRequest,
        expected: Option<StreamId>,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let shadows = self.shadows().await?;
        let event = |item: &ReviewItem, _: u64| {
            let shadow = is_shadowed(item, &shadows);
            let shown = || CommentSubmitted { shadow, ..released(item) };
            item.held.then(|| Event::CommentSubmitted(shown()))
        };
        let choice = Choice::by_person(Decision::Accept, expected);
        let decided = self.decide(actor, request, choice, &event).await?;
        let decided = decided.published()?;
        let Decided { item, at, .. } = &decided;
        let approved = decision_on(item, Decision::Accept, actor, item.reason.as_str().into(), *at);
        self.record_decision(&Event::CommentModerated(approved), item.user_id).await;
        let base = outcome(decided.audit_id, CommandResults::default(), started);
        let ReviewItem { user_id, name, .. } = decided.item;
        Ok(Outcome { user_id: Some(user_id), user_name: Some(name), ..base })
    }

    /// Rejects a comment. A visible comment is deleted; a held one is never published.
    pub async fn reject(
        &self,
        actor: &Actor,
        request: &ReviewRequest,
    ) -> Result<Outcome, ControlError> {
        self.reject_of_stream(actor, request, None).await
    }

    /// Rejects a comment that must be one of a stream; `None` allows any.
    pub(super) async fn reject_of_stream(
        &self,
        actor: &Actor,
        request: &ReviewRequest,
        expected: Option<StreamId>,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let reason = validate::public_word(request.reason.as_deref())?;
        let rejected = |item: &ReviewItem, at: u64| {
            let decided = decision_on(item, Decision::Reject, actor, public_reason(reason), at);
            CommentModerated { was_hidden: item.shadowed, ..decided }
        };
        let event = |item: &ReviewItem, at: u64| {
            (!item.held).then(|| Event::CommentModerated(rejected(item, at)))
        };
        // A moderator's word says more about the text than the reason of the stage.
        let choice = Choice { reason, ..Choice::by_person(Decision::Reject, expected) };
        let decided = self.decide(actor, request, choice, &event).await?;
        let decided = decided.published()?;
        let rejected = rejected(&decided.item, decided.at);
        let deletion = rejected.deletion().filter(|_| !decided.item.held);
        if decided.item.held {
            let user_id = decided.item.user_id;
            self.record_decision(&Event::CommentModerated(rejected), user_id).await;
        }
        let base = outcome(decided.audit_id, CommandResults::default(), started);
        let ReviewItem { user_id, name, .. } = decided.item;
        Ok(Outcome { user_id: Some(user_id), user_name: Some(name), deletion, ..base })
    }

    /// Removes the item from the queue first, so that only one of two moderators decides, and
    /// appends the event of the decision. A decision whose event the log does not accept yet is
    /// made as well.
    ///
    /// # Errors
    /// [`ControlError::Claimed`] while somebody else has the claim, [`ControlError::Decided`] after
    /// a decision, [`ControlError::AuthorSanctioned`] if the choice asks for an author who may
    /// publish.
    async fn decide(
        &self,
        actor: &Actor,
        request: &ReviewRequest,
        choice: Choice<'_>,
        event: &(dyn Fn(&ReviewItem, u64) -> Option<Event> + Send + Sync),
    ) -> Result<Decided, ControlError> {
        validate::public_word(request.reason.as_deref())?;
        validate::operator_note(request.note.as_deref())?;
        let comment_id = request.comment_id;
        let Choice { decision, action, expected_reason, reason, expected_stream, as_author } =
            choice;
        let entry = self.entry(actor, action, target_of(comment_id), request);
        let entry = if actor.is_person() {
            self.costing_decision(entry, comment_id, decision)
        } else {
            // Moderation counts what its stages remove, and to expire is no offence.
            entry
        };
        // The decision has one time in the store and in the log.
        let at = entry.at;
        let stored = |item: &ReviewItem| event(item, at).as_ref().map(pending);
        let new = NewVerdict {
            comment_id,
            decision,
            expected_reason,
            reason,
            expected_stream,
            as_author,
        };
        let decided = self.parts.metadata.decide_review(new, &stored, entry).await;
        self.queue.changed();
        let (audit_id, item) = decided.map_err(|error| match (error, expected_stream) {
            (ReviewError::Refused(ReviewRefusal::OtherStream), Some(stream_id)) => {
                ControlError::OfOtherStream { comment_id, stream_id }
            }
            (error, _) => refused(comment_id, at, error),
        })?;
        let deferred = match event(&item, at) {
            Some(event) => self.publish(audit_id, event).await.err(),
            None => None,
        };
        Ok(Decided { audit_id, item, at, deferred })
    }
}

/// Returns an item as it is shown to an actor: without a claim that has run out.
fn seen_by(actor: &Actor, now_ms: u64, item: ReviewItem) -> ReviewItem {
    let Some(by) = item.holder(now_ms) else {
        return ReviewItem { claimed_by: None, claim_expires_at: None, ..item };
    };
    ReviewItem { claimed_by_you: by == actor.name(), ..item }
}

/// Returns the error of a change of the queue.
pub(super) fn refused(comment_id: CommentId, now_ms: u64, error: ReviewError) -> ControlError {
    match error {
        ReviewError::Store(error) => error.into(),
        // Only moderation expects a reason. What it had decided about is not queued any longer.
        ReviewError::Refused(
            ReviewRefusal::NotQueued | ReviewRefusal::OtherReason | ReviewRefusal::OtherStream,
        ) => ControlError::NotQueued(comment_id),
        ReviewError::Refused(ReviewRefusal::Claimed { by, expires_at }) => {
            ControlError::Claimed { comment_id, by, left_ms: expires_at.saturating_sub(now_ms) }
        }
        ReviewError::Refused(ReviewRefusal::NotDecided) => ControlError::NotDecided(comment_id),
        ReviewError::Refused(ReviewRefusal::AuthorSanctioned) => {
            ControlError::AuthorSanctioned(comment_id)
        }
        ReviewError::Refused(ReviewRefusal::Decided(verdict)) => ControlError::Decided {
            comment_id,
            decision: verdict.decision,
            by: verdict.by,
            ago_ms: now_ms.saturating_sub(verdict.at),
        },
    }
}

/// Returns the event of a decision by a person on an item of the queue.
fn decision_on(
    item: &ReviewItem,
    decision: Decision,
    actor: &Actor,
    reason: Arc<str>,
    timestamp: u64,
) -> CommentModerated {
    CommentModerated {
        stream_id: item.stream_id,
        comment_id: item.comment_id,
        user_id: item.user_id,
        decision,
        reason,
        timestamp,
        decided_by: actor.name().into(),
        text: Some(ModeratedText::new(item.name.as_str(), item.message.as_str())),
        was_hidden: false,
        in_bulk: false,
    }
}

/// A decision to record.
#[derive(Debug, Clone, Copy)]
struct Choice<'a> {
    decision: Decision,
    /// A constant of [`audit_action`].
    action: &'static str,
    /// See [`NewVerdict::expected_reason`].
    expected_reason: Option<&'a str>,
    /// See [`NewVerdict::reason`].
    reason: Option<&'a str>,
    /// See [`NewVerdict::expected_stream`].
    expected_stream: Option<StreamId>,
    /// See [`NewVerdict::as_author`].
    as_author: bool,
}

impl Choice<'_> {
    /// Returns a decision for the reason of the item.
    fn by_person(decision: Decision, expected_stream: Option<StreamId>) -> Self {
        let action = if decision.deletes() { audit_action::REJECT } else { audit_action::APPROVE };
        Self {
            decision,
            action,
            expected_reason: None,
            reason: None,
            expected_stream,
            as_author: false,
        }
    }
}

/// A decision, as it was recorded.
struct Decided {
    audit_id: u64,
    item: ReviewItem,
    /// Milliseconds since the Unix epoch.
    at: u64,
    /// The error of the log, if it did not accept the event yet. Some node appends it later.
    deferred: Option<ControlError>,
}

impl Decided {
    /// Returns the decision if its event is in the log, and [`ControlError::Deferred`] otherwise.
    fn published(mut self) -> Result<Self, ControlError> {
        match self.deferred.take() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
}

/// Returns a held comment as its sender wrote it, with the time of its id.
fn released(item: &ReviewItem) -> CommentSubmitted {
    let comment = Comment {
        stream_id: item.stream_id,
        comment_id: item.comment_id,
        user_id: item.user_id,
        name: item.name.as_str().into(),
        message: item.message.as_str().into(),
        created_at: item.comment_id.unix_ms(),
        badges: item.badges,
        parent_id: item.parent_id,
    };
    CommentSubmitted {
        comment: Arc::new(comment),
        role: Role::Viewer,
        client_ref: Some(CommentSubmitted::released_ref(item.comment_id)),
        shadow: false,
        screened: true,
    }
}
