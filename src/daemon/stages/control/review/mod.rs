//! The review queue: comments that wait for a moderator's decision.

use std::sync::Arc;

use tokio::time::Instant;

use super::cluster::CommandResults;
use super::comments::public_reason;
use super::events::pending;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::StoreError;
use crate::protocol::Role;
use crate::protocol::admin::{Outcome, ReviewItem, ReviewRequest};
use crate::protocol::comment::Comment;
use crate::protocol::events::{CommentModerated, CommentSubmitted, Decision, Event};

impl Control {
    /// Returns the undecided comments, oldest first.
    pub async fn review_queue(&self, limit: usize) -> Result<Vec<ReviewItem>, ControlError> {
        Ok(self.parts.metadata.review_queue(limit).await?)
    }

    /// Accepts a comment. A held comment is published now.
    pub async fn approve(
        &self,
        actor: &Actor,
        request: &ReviewRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let event = |item: &ReviewItem| item.held.then(|| Event::CommentSubmitted(released(item)));
        let decided = self.decide(actor, request, Decision::Accept, "approve", &event).await?;
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
        let started = Instant::now();
        let reason = validate::public_word(request.reason.as_deref())?;
        let timestamp = self.parts.clock.now_ms();
        let event = |item: &ReviewItem| {
            let rejected = || CommentModerated {
                stream_id: item.stream_id,
                comment_id: item.comment_id,
                user_id: item.user_id,
                decision: Decision::Reject,
                reason: public_reason(reason),
                timestamp,
                decided_by: actor.name().into(),
            };
            (!item.held).then(|| Event::CommentModerated(rejected()))
        };
        let decided = self.decide(actor, request, Decision::Reject, "reject", &event).await?;
        let deletion = match event(&decided.item) {
            Some(Event::CommentModerated(rejected)) => rejected.deletion(),
            _ => None,
        };
        let base = outcome(decided.audit_id, CommandResults::default(), started);
        let ReviewItem { user_id, name, .. } = decided.item;
        Ok(Outcome { user_id: Some(user_id), user_name: Some(name), deletion, ..base })
    }

    /// Removes the item from the queue first, so that only one of two moderators decides, and
    /// appends the event of the decision.
    async fn decide(
        &self,
        actor: &Actor,
        request: &ReviewRequest,
        decision: Decision,
        action: &'static str,
        event: &(dyn Fn(&ReviewItem) -> Option<Event> + Send + Sync),
    ) -> Result<Decided, ControlError> {
        validate::public_word(request.reason.as_deref())?;
        validate::operator_note(request.note.as_deref())?;
        let comment_id = request.comment_id;
        let entry = self.entry(actor, action, format!("comment {comment_id}"), request);
        let stored = |item: &ReviewItem| event(item).as_ref().map(pending);
        let decided = self.parts.metadata.decide_review(comment_id, decision, &stored, entry).await;
        let (audit_id, item) = decided.map_err(|error| match error {
            StoreError::NotFound(_) => ControlError::NotQueued(comment_id),
            other => other.into(),
        })?;
        if let Some(event) = event(&item) {
            self.publish(audit_id, event).await?;
        }
        Ok(Decided { audit_id, item })
    }
}

/// A decision, as it was recorded.
struct Decided {
    audit_id: u64,
    item: ReviewItem,
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
    };
    CommentSubmitted {
        comment: Arc::new(comment),
        role: Role::Viewer,
        // An approval that is appended twice is shown once.
        client_ref: Some(format!("review:{}", item.comment_id).into()),
        shadow: false,
        screened: true,
    }
}
