//! Single comments that a person hides from all but their authors.
//!
//! The log gets the decision that a moderation stage makes of a comment that is published already:
//! others are sent its deletion, its author is told nothing.

use tokio::time::Instant;

use super::cluster::CommandResults;
use super::comments::{CommentOwner, public_reason, target_of};
use super::events::pending;
use super::restore::{comments_text, restored};
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::metadata::ReviewChange;
use crate::protocol::StreamId;
use crate::protocol::admin::{Outcome, RestoreRequest, audit_action};
use crate::protocol::events::{CommentModerated, Decision, Event, HiddenFrom};

impl Control {
    /// Hides a comment of a stream from all but its author, who gets points for it. It waits for
    /// review no longer.
    ///
    /// # Errors
    /// [`ControlError::OfOtherStream`]; [`ControlError::AlreadyHidden`] if it is deleted or hidden.
    pub(super) async fn shadow_comment(
        &self,
        actor: &Actor,
        request: &RestoreRequest,
        stream_id: StreamId,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let comment_id = request.comment_id;
        let owner = self.owner(comment_id).await?;
        owner.require_stream(comment_id, stream_id)?;
        let lately = self.hidden_lately(stream_id, comment_id).await?;
        if owner.is_hidden || lately.map_or(owner.is_deleted, |from| from.is_some()) {
            return Err(ControlError::AlreadyHidden(comment_id));
        }
        let entry = self.entry(actor, audit_action::SHADOW_COMMENT, target_of(comment_id), request);
        let CommentOwner { user_id, text, .. } = owner;
        let entry = self.costing_deletion(entry, user_id, comment_id, &text.message);
        let event = Event::CommentModerated(CommentModerated {
            stream_id,
            comment_id,
            user_id,
            decision: Decision::ShadowBan,
            reason: public_reason(None),
            timestamp: entry.at,
            decided_by: actor.name().into(),
            text: Some(text),
            was_hidden: false,
            in_bulk: false,
        });
        let review = Some(ReviewChange::Withdraw(comment_id));
        let stored = self.parts.metadata.audit_with_event(pending(&event), review, entry).await;
        self.queue.changed();
        let audit_id = stored?;
        self.publish(audit_id, event).await?;
        let base = outcome(audit_id, CommandResults::default(), started);
        Ok(Outcome { user_id: Some(user_id), ..base })
    }

    /// Shows a comment of a stream to everybody that a decision has hidden from others, whoever
    /// made it.
    ///
    /// # Errors
    /// [`ControlError::OfOtherStream`]; [`ControlError::NotHidden`] also of a comment that is
    /// deleted, and of one that nobody else was ever shown.
    pub(super) async fn unshadow_comment(
        &self,
        actor: &Actor,
        request: &RestoreRequest,
        stream_id: StreamId,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let comment_id = request.comment_id;
        let owner = self.kept_comment(comment_id).await?;
        owner.require_stream(comment_id, stream_id)?;
        let lately = self.hidden_lately(stream_id, comment_id).await?;
        let is_hidden = match lately {
            Some(from) => from == Some(HiddenFrom::Others) && !owner.is_hidden_from_start(),
            None => owner.is_hidden_by_decision,
        };
        if !is_hidden {
            return Err(ControlError::NotHidden(comment_id));
        }
        let audit =
            self.entry(actor, audit_action::UNSHADOW_COMMENT, target_of(comment_id), request);
        let event = restored(actor, comment_id, &owner, request.note.as_deref(), audit.at);
        let done = self.restore_owned(event, audit).await?;
        let base = outcome(done.audit_id, CommandResults::default(), started);
        Ok(Outcome { user_id: Some(done.user_id), now: comments_text(1, 0, 0), ..base })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::daemon::engines::eventlog::Topic;
    use crate::daemon::engines::metadata::in_memory::stream;
    use crate::daemon::stages::control::fakes::{STARTED_MS, World, comment_id, submitted};
    use crate::protocol::Role;
    use crate::protocol::events::CommentSubmitted;
    use crate::protocol::stream::ModerationMode;

    const ONE: StreamId = StreamId(1);

    async fn act(world: &World, stream_id: StreamId, name: &str, fields: Value) -> String {
        let done = world.moderate((100, Role::Moderator), stream_id, name, fields).await;
        done.map_or_else(|error| error.body().code.as_str().to_owned(), |_| "done".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_is_hidden_from_others_and_shown_again() {
        let world = World::new().await;
        world.metadata.put_stream(stream(2, ModerationMode::Async));
        world.comment(1, "bad");
        let comment = json!({ "comment_id": comment_id(1), "note": "why" });
        assert_eq!(act(&world, ONE, "unshadow", comment.clone()).await, "bad_request");
        assert_eq!(act(&world, StreamId(2), "shadow", comment.clone()).await, "not_found");
        assert_eq!(act(&world, ONE, "shadow", comment.clone()).await, "done");
        let hidden = world.log.events(Topic::CommentEvents).pop().unwrap().1;
        let Event::CommentModerated(hidden) = hidden else { panic!("{hidden:?}") };
        assert_eq!(hidden.decision, Decision::ShadowBan);
        assert_eq!((&*hidden.decided_by, hidden.text), ("mod (user 100)", None));
        let entry = world.metadata.audits().pop().unwrap();
        assert_eq!((&*entry.action, &*entry.actor), ("shadow_comment", "mod (user 100)"));
        assert_eq!(act(&world, ONE, "shadow", comment.clone()).await, "bad_request");
        assert_eq!(act(&world, StreamId(2), "unshadow", comment.clone()).await, "not_found");
        assert_eq!(act(&world, ONE, "unshadow", comment.clone()).await, "done");
        let restored = world.log.events(Topic::CommentEvents).pop().unwrap().1;
        assert!(matches!(restored, Event::CommentRestored(_)), "{restored:?}");
        assert_eq!(act(&world, ONE, "unshadow", comment.clone()).await, "bad_request");
        assert_eq!(
            act(&world, ONE, "delete", json!({ "comment_id": comment_id(1) })).await,
            "done"
        );
        for name in ["shadow", "unshadow"] {
            assert_eq!(act(&world, ONE, name, comment.clone()).await, "bad_request", "deleted");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_hidden_from_the_start_is_not_shown() {
        let world = World::new().await;
        let hidden = CommentSubmitted { shadow: true, ..submitted(ONE, 1, "spam") };
        let payload = Event::CommentSubmitted(hidden).encode();
        world.log.put(Topic::CommentEvents, 1, STARTED_MS, payload);
        let before = world.state();
        let comment = json!({ "comment_id": comment_id(1) });
        for name in ["shadow", "unshadow"] {
            assert_eq!(act(&world, ONE, name, comment.clone()).await, "bad_request", "{name}");
        }
        assert_eq!(world.state(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn an_act_names_a_comment_or_a_user() {
        let world = World::new().await;
        let before = world.state();
        let comment = json!(comment_id(1));
        for fields in [
            json!({}),
            json!({ "comment_id": comment, "user": "ann" }),
            json!({ "comment_id": comment, "duration_ms": 60_000 }),
        ] {
            assert_eq!(act(&world, ONE, "shadow", fields).await, "bad_message");
        }
        assert_eq!(act(&world, ONE, "unshadow", json!({})).await, "bad_message");
        assert_eq!(world.state(), before);
        let user = json!({"user": "ann", "duration_ms": 60_000});
        assert_eq!(act(&world, ONE, "shadow", user).await, "done");
        let shadow = world.control.shadows().await.unwrap().remove(0);
        assert_eq!((shadow.stream_id, shadow.expires_at), (Some(ONE), Some(STARTED_MS + 60_000)));
        assert_eq!(act(&world, ONE, "unshadow", json!({"user": "ann"})).await, "done");
        assert_eq!(act(&world, ONE, "unshadow", json!({"user": "ann"})).await, "not_found");
    }
}
