//! Decisions about held comments that no person makes: those that no stage had checked are checked
//! now, and those that have waited too long are rejected.
//!
//! Always holds: they are made as a moderator's are, so each is made once, also when a moderator or
//! another node decides at the same time, and its event gets into the log also after a crash.

use async_trait::async_trait;

use super::{Choice, Decided, decision_on, released};
use crate::daemon::base::handoff::{HeldComments, UncheckedPage};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{HeldReviews, NewReason};
use crate::daemon::stages::control::{Actor, Control, ControlError};
use crate::protocol::admin::{
    AUTHOR_BANNED, EXPIRED, ReviewEvidence, ReviewItem, ReviewRequest, STREAM_NOT_LIVE,
    audit_action,
};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::events::{CommentModerated, CommentSubmitted, Decision, Event};
use crate::protocol::room::UNCHECKED;
use crate::protocol::stream::StreamState;
use crate::protocol::{CommentId, StreamId};

fn request(comment_id: CommentId, reason: &str) -> ReviewRequest {
    let reason = (!reason.is_empty()).then(|| reason.to_owned());
    ReviewRequest { comment_id, reason, note: None }
}

/// Returns false if somebody else has decided the item, or looks at it. A decision whose event the
/// log does not accept yet is made: it is recorded as any other.
fn is_mine(decided: Result<Decided, ControlError>) -> Result<bool, ControlError> {
    match decided {
        Ok(_) => Ok(true),
        Err(
            ControlError::Claimed { .. }
            | ControlError::Decided { .. }
            | ControlError::NotQueued(_),
        ) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the decision to leave a comment to a person instead, for this reason.
fn left_to_person(decided: CommentModerated, reason: &str) -> CommentModerated {
    CommentModerated { decision: Decision::Flag, reason: reason.into(), ..decided }
}

impl Control {
    /// Carries out what moderation decided about an unchecked comment. Returns what was done,
    /// `None` if somebody else has decided it or looks at it.
    async fn decide_unchecked(
        &self,
        decided: CommentModerated,
    ) -> Result<Option<Decision>, ControlError> {
        let decided = self.unless_stream_ended(decided);
        // A comment whose decision is taken back, or not made, waits for a person. Of several nodes
        // that checked the comment, the first one changes the reason.
        if decided.decision != Decision::Accept && !self.set_reason_of(&decided, UNCHECKED).await? {
            return Ok(None);
        }
        let made = decided.decision;
        let is_made = match made {
            // Otherwise it would be checked again at once, for ever.
            Decision::Flag => &*decided.reason != UNCHECKED,
            Decision::Accept | Decision::ShadowBan => return self.release_checked(decided).await,
            Decision::Reject => {
                let reason = &*decided.reason;
                self.reject_held(decided.comment_id, reason, reason).await?
            }
        };
        if is_made {
            self.record_automatic(decided).await;
        }
        Ok(is_made.then_some(made))
    }

    /// Leaves a comment to a person that its author could not publish now, because the stream is
    /// not live any more: moderation accepts it for its text only.
    fn unless_stream_ended(&self, decided: CommentModerated) -> CommentModerated {
        let stream = self.parts.streams.get(decided.stream_id);
        let is_live = stream.is_some_and(|stream| stream.state == StreamState::Live);
        let publishes = matches!(decided.decision, Decision::Accept | Decision::ShadowBan);
        if is_live || !publishes { decided } else { left_to_person(decided, STREAM_NOT_LIVE) }
    }

    async fn record_automatic(&self, decided: CommentModerated) {
        let user_id = decided.user_id;
        self.record_decision(&Event::CommentModerated(decided), user_id).await;
    }

    /// Gives a comment the reason and the evidence of a decision. Returns false if the comment is
    /// decided or has another reason than the expected one.
    async fn set_reason_of(
        &self,
        decided: &CommentModerated,
        expected: &str,
    ) -> Result<bool, ControlError> {
        let CommentModerated { comment_id, reason, .. } = decided;
        let evidence = decided.text.as_ref().and_then(|text| text.evidence.as_ref());
        let evidence = evidence.map(ReviewEvidence::from).unwrap_or_default();
        let new = NewReason { comment_id: *comment_id, expected, reason, evidence: &evidence };
        self.set_review_reason(new).await
    }

    /// Returns false if the comment is decided or has another reason than the expected one.
    async fn set_review_reason(&self, new: NewReason<'_>) -> Result<bool, ControlError> {
        let is_waiting = self.parts.metadata.set_review_reason(new).await?;
        self.queue.changed();
        Ok(is_waiting)
    }

    /// Publishes a comment, in the case of a shadow ban, or of an author who is shadowed, for its
    /// sender only. A comment whose author is banned or timed out is left to a person.
    ///
    /// The store looks at the author in the transaction that decides, so nothing is read here
    /// before, and no ban is missed that was stored in between. The ban is stored before its
    /// command goes to the nodes; so once an operator has the answer, no later decision releases a
    /// comment of the author.
    async fn release_checked(
        &self,
        decided: CommentModerated,
    ) -> Result<Option<Decision>, ControlError> {
        let actor = Actor::moderation();
        let request = request(decided.comment_id, &decided.reason);
        let is_hidden = decided.decision == Decision::ShadowBan;
        let event = |item: &ReviewItem, _: u64| {
            let shadow = is_hidden || item.shadowed;
            item.held
                .then(|| Event::CommentSubmitted(CommentSubmitted { shadow, ..released(item) }))
        };
        let expected = if is_hidden { &*decided.reason } else { UNCHECKED };
        let choice = Choice {
            decision: decided.decision,
            action: if is_hidden { audit_action::HIDE } else { audit_action::APPROVE },
            expected_reason: Some(expected),
            reason: None,
            expected_stream: None,
            as_author: true,
        };
        let made = self.decide(&actor, &request, choice, &event).await;
        if let Err(ControlError::AuthorSanctioned(_)) = made {
            let expected = expected.to_owned();
            let flagged = left_to_person(decided, AUTHOR_BANNED);
            let is_made = self.set_reason_of(&flagged, &expected).await?;
            if is_made {
                self.record_automatic(flagged).await;
            }
            return Ok(is_made.then_some(Decision::Flag));
        }
        let is_made = is_mine(made)?;
        let decision = decided.decision;
        if is_made && is_hidden {
            self.record_automatic(decided).await;
        }
        Ok(is_made.then_some(decision))
    }

    /// Rejects a held comment, which nobody was shown. Returns false if somebody else has decided
    /// it, or looks at it, or if it waits for another reason than the expected one.
    async fn reject_held(
        &self,
        comment_id: CommentId,
        expected: &str,
        reason: &str,
    ) -> Result<bool, ControlError> {
        let actor = Actor::moderation();
        let event = |item: &ReviewItem, at: u64| {
            let rejected = decision_on(item, Decision::Reject, &actor, reason.into(), at);
            (!item.held).then_some(Event::CommentModerated(rejected))
        };
        let request = request(comment_id, reason);
        let choice = Choice {
            decision: Decision::Reject,
            action: audit_action::REJECT,
            expected_reason: Some(expected),
            reason: Some(reason),
            expected_stream: None,
            as_author: false,
        };
        is_mine(self.decide(&actor, &request, choice, &event).await)
    }

    /// Rejects the held comments that have waited since before a time. It is no offence of their
    /// users, so the moderation topic does not get these decisions.
    async fn expire_held(&self, before_ms: u64, limit: usize) -> Result<usize, ControlError> {
        let which = HeldReviews::WaitingSince(before_ms);
        let old = self.parts.metadata.held_reviews(which, limit).await?;
        let now_ms = self.parts.clock.now_ms();
        let mut expired = 0;
        for item in old.iter().filter(|item| item.holder(now_ms).is_none()) {
            let is_rejected = self.reject_held(item.comment_id, &item.reason, EXPIRED).await?;
            expired += usize::from(is_rejected);
        }
        Ok(expired)
    }
}

#[async_trait]
impl HeldComments for Control {
    async fn unchecked(
        &self,
        after: Option<CommentId>,
        limit: usize,
    ) -> Result<UncheckedPage, ErrorBody> {
        let which = HeldReviews::Unchecked { after };
        let items = self.parts.metadata.held_reviews(which, limit).await.map_err(body)?;
        let now_ms = self.parts.clock.now_ms();
        let next = items.last().filter(|_| items.len() >= limit).map(|item| item.comment_id);
        // One that somebody looks at is left to that person.
        let free = items.iter().filter(|item| item.holder(now_ms).is_none());
        let comments = free.map(|item| (*released(item).comment).clone()).collect();
        Ok(UncheckedPage { comments, next })
    }

    async fn is_stream_pending(&self, stream_id: StreamId) -> Result<bool, ErrorBody> {
        self.parts.metadata.has_pending_event(stream_id).await.map_err(body)
    }

    async fn decide(&self, decided: CommentModerated) -> Result<Option<Decision>, ErrorBody> {
        self.decide_unchecked(decided).await.map_err(|error| error.body())
    }

    async fn expire(&self, before_ms: u64, limit: usize) -> Result<usize, ErrorBody> {
        self.expire_held(before_ms, limit).await.map_err(|error| error.body())
    }
}

fn body(error: StoreError) -> ErrorBody {
    ControlError::from(error).body()
}

#[cfg(test)]
mod tests;
