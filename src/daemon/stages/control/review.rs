//! The review queue: comments that wait for a moderator's decision.

use std::sync::Arc;

use serde_json::json;
use tokio::time::Instant;
use tracing::error;

use super::cluster::CommandResults;
use super::comments::public_reason;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::eventlog::{LogError, Topic};
use crate::daemon::engines::metadata::NewAudit;
use crate::protocol::admin::{Outcome, ReviewItem, ReviewRequest};
use crate::protocol::comment::{Comment, Deletion};
use crate::protocol::events::{CommentModerated, CommentSubmitted, Decision, Event};
use crate::protocol::{CommentId, Role};

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
        let (audit_id, item) = self.decide(actor, request, Decision::Accept, "approve").await?;
        if item.held {
            let event = Event::CommentSubmitted(released(&item));
            let published = self.append(Topic::CommentEvents, item.stream_id.0, &event).await;
            self.reopen_on_failure(&item, published).await?;
        }
        let base = outcome(audit_id, CommandResults::default(), started);
        Ok(Outcome { user_id: Some(item.user_id), ..base })
    }

    /// Rejects a comment. A visible comment is deleted; a held one is never published.
    pub async fn reject(
        &self,
        actor: &Actor,
        request: &ReviewRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let (audit_id, item) = self.decide(actor, request, Decision::Reject, "reject").await?;
        let mut deletion: Option<Deletion> = None;
        if !item.held {
            let rejected = CommentModerated {
                stream_id: item.stream_id,
                comment_id: item.comment_id,
                user_id: item.user_id,
                decision: Decision::Reject,
                reason: public_reason(request.reason.as_deref()),
                timestamp: self.parts.clock.now_ms(),
                decided_by: actor.name().into(),
            };
            deletion = rejected.deletion();
            let published = self.publish_decision(rejected).await;
            self.reopen_on_failure(&item, published).await?;
        }
        let base = outcome(audit_id, CommandResults::default(), started);
        Ok(Outcome { user_id: Some(item.user_id), deletion, ..base })
    }

    /// Removes the item from the queue first, so that only one of two moderators decides.
    async fn decide(
        &self,
        actor: &Actor,
        request: &ReviewRequest,
        decision: Decision,
        action: &'static str,
    ) -> Result<(u64, ReviewItem), ControlError> {
        validate::reason(request.reason.as_deref())?;
        let comment_id = request.comment_id;
        let entry = self.entry(actor, action, target(comment_id), request);
        let decided = self.parts.metadata.decide_review(comment_id, decision, entry).await;
        decided.map_err(|error| match error {
            StoreError::NotFound(_) => ControlError::NotQueued(comment_id),
            other => other.into(),
        })
    }

    /// Returns an item to the queue if its decision could not be published, and records that in the
    /// audit log.
    async fn reopen_on_failure(
        &self,
        item: &ReviewItem,
        published: Result<(), LogError>,
    ) -> Result<(), ControlError> {
        let Err(cause) = published else { return Ok(()) };
        let comment_id = item.comment_id;
        let entry = NewAudit {
            at: self.parts.clock.now_ms(),
            actor: format!("lcd on {}", self.parts.node),
            action: "reopen",
            target: target(comment_id),
            detail: json!({ "reason": cause.to_string() }),
        };
        if let Err(error) = self.parts.metadata.reopen_review(comment_id, entry).await {
            error!(%comment_id, %error, "a decision was neither published nor reopened");
        }
        Err(cause.into())
    }
}

fn target(comment_id: CommentId) -> String {
    format!("comment {comment_id}")
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
        client_ref: None,
        shadow: false,
        screened: true,
    }
}
