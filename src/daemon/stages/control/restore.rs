//! Takes back the deletion of a comment: it is in the history again, at its place, for everybody
//! who joins later. Viewers that saw it vanish are sent nothing.

use tokio::time::Instant;

use super::cluster::CommandResults;
use super::comments::{CommentOwner, target_of};
use super::events::pending;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::metadata::{NewAudit, PointCause, ReviewChange};
use crate::protocol::admin::{AuditEntry, Outcome, RestoreRequest, audit_action};
use crate::protocol::events::{CommentRestored, Event};
use crate::protocol::quantity::show_counted;
use crate::protocol::{CommentId, UserId};

/// Audit entries about a comment that are looked at.
const MAX_ENTRIES: usize = 100;

/// A restoration that the log has.
pub(super) struct RestoredComment {
    pub(super) audit_id: u64,
    pub(super) user_id: UserId,
}

impl Control {
    /// Takes back the deletion of a comment, whether a person or moderation made it.
    ///
    /// # Errors
    /// [`ControlError::UnknownComment`] if its text is not kept any more,
    /// [`ControlError::NotDeleted`] if there is nothing to take back.
    pub async fn restore(
        &self,
        actor: &Actor,
        request: &RestoreRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let comment_id = request.comment_id;
        let owner = self.kept_comment(comment_id).await?;
        let lately = self.is_deleted_lately(owner.stream_id, comment_id).await?;
        if !lately.unwrap_or(owner.is_deleted) {
            return Err(ControlError::NotDeleted(comment_id));
        }
        let audit = self.entry(actor, audit_action::RESTORE, target_of(comment_id), request);
        let event = restored(actor, comment_id, &owner, request.note.as_deref(), audit.at);
        let RestoredComment { audit_id, user_id } = self.restore_owned(event, audit).await?;
        let base = outcome(audit_id, CommandResults::default(), started);
        let now = if owner.is_hidden_from_start() {
            comments_text(0, 1, 0)
        } else {
            comments_text(1, 0, 0)
        };
        Ok(Outcome { user_id: Some(user_id), now, ..base })
    }

    /// Records a restoration and appends it to the log.
    pub(super) async fn restore_owned(
        &self,
        event: CommentRestored,
        audit: NewAudit,
    ) -> Result<RestoredComment, ControlError> {
        self.require_deletions_in_log(event.comment_id).await?;
        let user_id = event.user_id;
        // The decision that hides the comment from others still costs its points.
        let audit = if event.stays_hidden {
            audit
        } else {
            self.giving_back(audit, user_id, PointCause::Comment(event.comment_id))
        };
        let review = Some(ReviewChange::PutBack(event.comment_id));
        let event = Event::CommentRestored(event);
        let stored = self.parts.metadata.audit_with_event(pending(&event), review, audit).await;
        self.queue.changed();
        let audit_id = stored?;
        self.publish(audit_id, event).await?;
        Ok(RestoredComment { audit_id, user_id })
    }

    /// Checks that the log has the deletions of a comment: one that is appended after the
    /// restoration counts again.
    pub(super) async fn require_deletions_in_log(
        &self,
        comment_id: CommentId,
    ) -> Result<(), ControlError> {
        let metadata = &self.parts.metadata;
        let entries = metadata.audit_about(&target_of(comment_id), MAX_ENTRIES).await?;
        for entry in entries.iter().filter(|entry| deletes(entry)) {
            if metadata.is_event_pending(entry.audit_id).await? {
                return Err(ControlError::DeletionPending(comment_id));
            }
        }
        Ok(())
    }

    /// Returns whether a person has deleted a comment since its restoration was recorded in an
    /// entry. Appended behind that deletion, the restoration would take it back as well.
    pub(super) async fn is_deleted_since(
        &self,
        audit_id: u64,
        comment_id: CommentId,
    ) -> Result<bool, ControlError> {
        let target = target_of(comment_id);
        let entries = self.parts.metadata.audit_about(&target, MAX_ENTRIES).await?;
        Ok(entries.iter().any(|entry| entry.audit_id > audit_id && deletes(entry)))
    }
}

/// Returns whether an entry about a comment deletes it, at least for others than its author.
fn deletes(entry: &AuditEntry) -> bool {
    [audit_action::DELETE, audit_action::REJECT, audit_action::SHADOW_COMMENT]
        .contains(&&*entry.action)
}

/// Returns the event that restores a comment.
pub(super) fn restored(
    actor: &Actor,
    comment_id: CommentId,
    owner: &CommentOwner,
    note: Option<&str>,
    timestamp: u64,
) -> CommentRestored {
    CommentRestored {
        stream_id: owner.stream_id,
        comment_id,
        user_id: owner.user_id,
        reason: note.map(Into::into),
        timestamp,
        restored_by: actor.name().into(),
        stays_hidden: false,
    }
}

/// Says what became of comments whose deletions were taken back, as a clause: how many all viewers
/// are shown, how many their authors only, and how many wait for review.
pub(super) fn comments_text(restored: u64, hidden: u64, waiting: u64) -> Option<String> {
    let mut parts = Vec::new();
    if waiting > 0 {
        let wait = if waiting == 1 { "waits" } else { "wait" };
        parts.push(format!("{} {wait} for review again", show_counted(waiting, "comment")));
    }
    if restored > 0 {
        let (are, them) = if restored == 1 { ("is", "it") } else { ("are", "them") };
        parts.push(format!(
            "{} {are} in the history again; viewers that saw {them} vanish must reload",
            show_counted(restored, "comment")
        ));
    }
    if hidden > 0 {
        let (are, authors) =
            if hidden == 1 { ("is", "its author") } else { ("are", "their authors") };
        let comments = show_counted(hidden, "comment");
        parts.push(format!("{comments} {are} shown to {authors} only, as before"));
    }
    (!parts.is_empty()).then(|| parts.join(", and "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::daemon::engines::eventlog::{LogError, Topic};
    use crate::daemon::engines::metadata::MetadataStore as _;
    use crate::daemon::stages::control::fakes::{World, comment_id, operator};
    use crate::protocol::admin::DeleteRequest;
    use crate::protocol::error_code::ErrorCode;

    fn request(number: u64) -> RestoreRequest {
        RestoreRequest { comment_id: comment_id(number), note: Some("a mistake".to_owned()) }
    }

    #[tokio::test]
    async fn a_decision_of_moderation_is_taken_back() {
        let world = World::new().await;
        world.comment(1, "is this allowed?");
        let not_deleted = world.control.restore(&operator(), &request(1)).await.unwrap_err();
        assert!(matches!(not_deleted, ControlError::NotDeleted(_)), "{not_deleted}");
        world.reject_by_rules(1);
        let outcome = world.control.restore(&operator(), &request(1)).await.unwrap();
        assert_eq!(outcome.user_id, Some(UserId(42)));
        let now = "1 comment is in the history again; viewers that saw it vanish must reload";
        assert_eq!(outcome.now.as_deref(), Some(now));
        let events = world.log.events(Topic::CommentEvents);
        let Some((1, Event::CommentRestored(restored))) = events.last() else {
            panic!("{events:?}")
        };
        let told = (restored.comment_id, restored.reason.as_deref(), &*restored.restored_by);
        assert_eq!(told, (comment_id(1), Some("a mistake"), "op (uid 0)"));
        let log = world.control.audit_log(10).await.unwrap();
        assert_eq!(
            (log.len(), &*log[0].action, &*log[0].target),
            (1, audit_action::RESTORE, &*target_of(comment_id(1)))
        );
        let again = world.control.restore(&operator(), &request(1)).await.unwrap_err();
        assert!(matches!(again, ControlError::NotDeleted(_)), "{again}");
        let unknown = world.control.restore(&operator(), &request(9)).await.unwrap_err();
        assert!(matches!(unknown, ControlError::UnknownComment(_)), "{unknown}");
    }

    #[tokio::test]
    async fn a_deletion_that_is_pending_is_not_taken_back() {
        let world = World::new().await;
        world.comment(1, "oops");
        let delete = DeleteRequest { comment_id: comment_id(1), reason: None, note: None };
        let failure = LogError::Unavailable("down".to_owned());
        world.log.fail_appends_with(Some(failure));
        let deferred = world.control.delete(&operator(), &delete).await.unwrap_err();
        assert!(matches!(deferred, ControlError::Deferred { .. }), "{deferred}");
        world.reject_by_rules(1);
        let state = world.state();
        let refused = world.control.restore(&operator(), &request(1)).await.unwrap_err();
        assert!(matches!(refused, ControlError::DeletionPending(_)), "{refused}");
        assert_eq!(refused.body().code, ErrorCode::LogUnavailable);
        assert_eq!(world.state(), state, "nothing has changed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_restoration_spares_a_later_deletion() {
        let world = World::new().await;
        world.comment(1, "oops");
        let delete = DeleteRequest { comment_id: comment_id(1), reason: None, note: None };
        world.control.delete(&operator(), &delete).await.unwrap();
        world.log.fail_appends_with(Some(LogError::Unavailable("down".to_owned())));
        let deferred = world.control.restore(&operator(), &request(1)).await.unwrap_err();
        let ControlError::Deferred { audit_id, .. } = deferred else { panic!("{deferred}") };
        world.log.fail_appends_with(None);
        world.control.delete(&operator(), &delete).await.unwrap();
        let events = world.log.events(Topic::CommentEvents);
        tokio::spawn(world.control.clone().publish_pending(CancellationToken::new()));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(world.log.events(Topic::CommentEvents), events, "it stays deleted");
        assert!(!world.metadata.is_event_pending(audit_id).await.unwrap(), "not tried again");
    }

    #[test]
    fn what_becomes_of_comments_is_one_clause() {
        assert_eq!(comments_text(0, 0, 0), None);
        assert_eq!(comments_text(0, 0, 1).as_deref(), Some("1 comment waits for review again"));
        let hidden = comments_text(0, 2, 0);
        assert_eq!(
            hidden.as_deref(),
            Some("2 comments are shown to their authors only, as before")
        );
        let both = comments_text(2, 0, 3).unwrap();
        assert!(
            both.starts_with("3 comments wait for review again, and 2 comments are in"),
            "{both}"
        );
    }
}
