//! Takes back deletions and rejections of comments.

use super::plan::CommentPlan;
use crate::daemon::engines::metadata::{NewAudit, PointCause};
use crate::daemon::stages::control::comments::CommentOwner;
use crate::daemon::stages::control::events::pending;
use crate::daemon::stages::control::restore::{RestoredComment, comments_text, restored};
use crate::daemon::stages::control::review::refused;
use crate::daemon::stages::control::{Actor, Control, ControlError};
use crate::protocol::events::{CommentRestored, Event};
use crate::protocol::{CommentId, UserId};

/// Why a comment does not come back.
const GONE: &str = "the text of the comment is no longer kept (store.retention)";

/// Who takes back which entry, and the note.
#[derive(Debug, Clone, Copy)]
pub(super) struct Undoing<'a> {
    pub(super) actor: &'a Actor,
    pub(super) audit_id: u64,
    pub(super) note: Option<&'a str>,
}

/// An undo of a deletion or a rejection that is recorded, and in the log if it has an event.
pub(super) struct UndoneComment {
    pub(super) audit_id: u64,
    pub(super) user_id: Option<UserId>,
    pub(super) effect: CommentEffect,
}

/// The state of the comment afterwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CommentEffect {
    /// All viewers are shown it again.
    pub(super) is_restored: bool,
    /// Its author is shown it again, and nobody else, as before.
    pub(super) is_hidden: bool,
    pub(super) waits_for_review: bool,
    /// It stays deleted, by this earlier entry.
    deleted_by: Option<u64>,
}

impl CommentEffect {
    /// Says what is so now, as a clause.
    pub(super) fn now(self) -> Option<String> {
        let Self { is_restored, is_hidden, waits_for_review, deleted_by } = self;
        let text = comments_text(is_restored.into(), is_hidden.into(), waits_for_review.into());
        let stays = match (deleted_by, is_restored || is_hidden || waits_for_review) {
            (Some(entry), _) => format!("the comment stays deleted by entry {entry}"),
            (None, true) => return text,
            (None, false) => {
                "the comment was deleted before, and stays so; lc mod restore shows it".to_owned()
            }
        };
        Some(text.map_or(stays.clone(), |text| format!("{text}, and {stays}")))
    }
}

impl Control {
    pub(super) async fn undo_comment(
        &self,
        undoing: Undoing<'_>,
        plan: CommentPlan,
        audit: NewAudit,
    ) -> Result<UndoneComment, ControlError> {
        match plan {
            CommentPlan::Restore { comment_id, stays_hidden } => {
                let owner = self.comment_to_restore(undoing, comment_id).await?;
                let Undoing { actor, note, .. } = undoing;
                let event = restored(actor, comment_id, &owner, note, audit.at);
                let event = CommentRestored { stays_hidden, ..event };
                let RestoredComment { audit_id, user_id } =
                    self.restore_owned(event, audit).await?;
                let is_hidden = stays_hidden || owner.is_hidden_from_start();
                let is_restored = !is_hidden;
                let effect = CommentEffect { is_restored, is_hidden, ..CommentEffect::default() };
                Ok(UndoneComment { audit_id, user_id: Some(user_id), effect })
            }
            CommentPlan::Reopen { comment_id, deleted_by } => {
                self.reopen(undoing, comment_id, deleted_by, audit).await
            }
            CommentPlan::StaysDeleted { by } => {
                let audit_id = self.parts.metadata.audit(audit).await?;
                let effect = CommentEffect { deleted_by: by, ..CommentEffect::default() };
                Ok(UndoneComment { audit_id, user_id: None, effect })
            }
        }
    }

    /// Puts a rejected comment back into the queue. One that was held is shown to nobody, as
    /// before; any other is shown again.
    async fn reopen(
        &self,
        undoing: Undoing<'_>,
        comment_id: CommentId,
        deleted_by: Option<u64>,
        audit: NewAudit,
    ) -> Result<UndoneComment, ControlError> {
        let metadata = &self.parts.metadata;
        let decided = metadata.decided_review(comment_id).await?;
        let item = decided.ok_or(ControlError::NotDecided(comment_id))?.item;
        let mut event = None;
        if !item.held && deleted_by.is_none() {
            let owner = self.comment_to_restore(undoing, comment_id).await?;
            self.require_deletions_in_log(comment_id).await?;
            let Undoing { actor, note, .. } = undoing;
            let restored = restored(actor, comment_id, &owner, note, audit.at);
            event = Some(Event::CommentRestored(restored));
        }
        let at = audit.at;
        // A deletion by an earlier entry still costs its points.
        let audit = match deleted_by {
            None => self.giving_back(audit, item.user_id, PointCause::Comment(comment_id)),
            Some(_) => audit,
        };
        let stored = metadata.reopen_review(comment_id, event.as_ref().map(pending), audit).await;
        self.queue.changed();
        let audit_id = stored.map_err(|error| refused(comment_id, at, error))?;
        let is_restored = event.is_some() && !item.shadowed;
        let is_hidden = event.is_some() && item.shadowed;
        match event {
            Some(event) => self.publish(audit_id, event).await?,
            // The rejection of a held comment is recorded in the moderation topic only.
            None if item.held => {
                let taken_back = Event::CommentRestored(CommentRestored {
                    stream_id: item.stream_id,
                    comment_id,
                    user_id: item.user_id,
                    reason: undoing.note.map(Into::into),
                    timestamp: at,
                    restored_by: undoing.actor.name().into(),
                    stays_hidden: false,
                });
                self.record_decision(&taken_back, item.user_id).await;
            }
            None => {}
        }
        let effect = CommentEffect { is_restored, is_hidden, waits_for_review: true, deleted_by };
        Ok(UndoneComment { audit_id, user_id: Some(item.user_id), effect })
    }

    /// Finds a comment that can be shown again.
    async fn comment_to_restore(
        &self,
        undoing: Undoing<'_>,
        comment_id: CommentId,
    ) -> Result<CommentOwner, ControlError> {
        self.kept_comment(comment_id).await.map_err(|error| match error {
            ControlError::UnknownComment(_) => {
                ControlError::NotUndoable { audit_id: undoing.audit_id, why: GONE.to_owned() }
            }
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::comments::ArchivedComment;
    use crate::daemon::engines::comments::conformance::WriteRows as _;
    use crate::daemon::engines::eventlog::{ConsumerGroup, Topic};
    use crate::daemon::stages::control::fakes::{
        STARTED_MS, World, comment_id, operator, submitted,
    };
    use crate::protocol::StreamId;
    use crate::protocol::admin::{
        BatchChange, BatchRequest, DeleteRequest, Outcome, ReviewRequest, UndoRequest,
    };
    use crate::protocol::events::CommentSubmitted;

    const RESTORED: &str =
        "1 comment is in the history again; viewers that saw it vanish must reload";

    fn delete(number: u64) -> DeleteRequest {
        DeleteRequest { comment_id: comment_id(number), reason: None, note: None }
    }

    fn reject(number: u64) -> ReviewRequest {
        ReviewRequest { comment_id: comment_id(number), reason: None, note: None }
    }

    async fn undo(world: &World, audit_id: u64) -> Result<Outcome, ControlError> {
        let note = Some("a mistake".to_owned());
        world.control.undo(&operator(), &UndoRequest { audit_id, note }).await
    }

    fn restorations(world: &World) -> Vec<CommentRestored> {
        let events = world.log.events(Topic::CommentEvents).into_iter();
        let restored = events.filter_map(|(_, event)| match event {
            Event::CommentRestored(restored) => Some(restored),
            _ => None,
        });
        restored.collect()
    }

    #[tokio::test]
    async fn an_undone_deletion_is_in_the_log_and_the_audit() {
        let world = World::new().await;
        world.comment(1, "oops");
        let deleted = world.control.delete(&operator(), &delete(1)).await.unwrap();
        let undone = undo(&world, deleted.audit_id).await.unwrap();
        assert_eq!((undone.user_id, undone.now.as_deref()), (Some(UserId(42)), Some(RESTORED)));
        let [restored] = &restorations(&world)[..] else { panic!("one restoration") };
        assert_eq!((restored.comment_id, restored.stream_id), (comment_id(1), StreamId(1)));
        assert_eq!(restored.reason.as_deref(), Some("a mistake"));
        assert_eq!(&*restored.restored_by, "op (uid 0)");
        let log = world.control.audit_log(10).await.unwrap();
        let links: Vec<_> = log.iter().map(|entry| (entry.undoes, entry.undone_by)).collect();
        assert_eq!(links, [(Some(deleted.audit_id), None), (None, Some(undone.audit_id))]);
        let again = undo(&world, deleted.audit_id).await.unwrap_err().to_string();
        assert!(again.contains("has taken it back already"), "{again}");
    }

    #[tokio::test]
    async fn a_comment_hidden_from_the_start_stays_so() {
        let world = World::new().await;
        let hidden = CommentSubmitted { shadow: true, ..submitted(StreamId(1), 1, "spam") };
        let payload = Event::CommentSubmitted(hidden).encode();
        world.log.put(Topic::CommentEvents, 1, STARTED_MS, payload);
        for _ in 0..2 {
            let deleted = world.control.delete(&operator(), &delete(1)).await.unwrap();
            let undone = undo(&world, deleted.audit_id).await.unwrap().now.unwrap();
            assert_eq!(undone, "1 comment is shown to its author only, as before");
        }
        let events = world.log.events(Topic::CommentEvents).into_iter();
        let told = events.filter_map(|(_, event)| match event {
            Event::CommentModerated(deletion) => Some(deletion.was_hidden),
            _ => None,
        });
        assert_eq!(told.collect::<Vec<_>>(), [true; 2], "the author is, and nobody else");
    }

    #[tokio::test]
    async fn a_comment_whose_text_is_gone_stays_deleted() {
        let world = World::new().await;
        let comment = submitted(StreamId(1), 1, "old").comment;
        let row = ArchivedComment { comment, seq: 3, shadow: false };
        world.comments.write_rows(&[row], &[]).await.unwrap();
        let deleted = world.control.delete(&operator(), &delete(1)).await.unwrap();
        world.comments.lose_comments();
        let state = world.state();
        let error = undo(&world, deleted.audit_id).await.unwrap_err();
        assert!(matches!(error, ControlError::NotUndoable { .. }), "{error}");
        assert!(error.to_string().contains("is no longer kept (store.retention)"), "{error}");
        assert_eq!(world.state(), state, "nothing has changed");

        // The log still has the text of a comment that the store has no longer.
        world.comment(2, "also old");
        let deleted = world.control.delete(&operator(), &delete(2)).await.unwrap();
        let next = world.log.records(Topic::CommentEvents).pop().unwrap().position;
        world.log.set_committed_at(Topic::CommentEvents, ConsumerGroup::Archiver, next);
        let error = undo(&world, deleted.audit_id).await.unwrap_err();
        assert!(matches!(error, ControlError::NotUndoable { .. }), "{error}");
        assert_eq!(restorations(&world), []);
    }

    #[tokio::test]
    async fn a_comment_deleted_twice_comes_back_by_the_first() {
        let world = World::new().await;
        world.comment(1, "oops");
        let first = world.control.delete(&operator(), &delete(1)).await.unwrap();
        let second = world.control.delete(&operator(), &delete(1)).await.unwrap();
        let early = undo(&world, first.audit_id).await.unwrap_err().to_string();
        assert!(early.contains("entry 2 has changed it again"), "{early}");
        let undone = undo(&world, second.audit_id).await.unwrap();
        assert_eq!(undone.now.as_deref(), Some("the comment stays deleted by entry 1"));
        assert_eq!(restorations(&world), []);
        let undone = undo(&world, first.audit_id).await.unwrap();
        assert_eq!(undone.now.as_deref(), Some(RESTORED));
        assert_eq!(restorations(&world).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_comment_that_was_held_waits_again() {
        let world = World::new().await;
        world.queue_review(1, true).await;
        let waiting = async || world.control.review_queue(&operator(), 10).await.unwrap().len();
        let rejected = world.control.reject(&operator(), &reject(1)).await.unwrap();
        assert_eq!(waiting().await, 0);
        let undone = undo(&world, rejected.audit_id).await.unwrap();
        assert_eq!(undone.now.as_deref(), Some("1 comment waits for review again"));
        assert_eq!(waiting().await, 1, "seen at once");
        assert_eq!(world.log.events(Topic::CommentEvents), [], "nobody is shown it");
        world.control.approve(&operator(), &reject(1)).await.unwrap();
        let events = world.log.events(Topic::CommentEvents);
        assert!(matches!(&events[..], [(1, Event::CommentSubmitted(_))]), "{events:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_comment_is_in_no_queue_until_undone() {
        let world = World::new().await;
        world.queue_review(1, false).await;
        world.comment(1, "hm");
        let waiting = async || world.control.review_queue(&operator(), 10).await.unwrap().len();
        assert_eq!(waiting().await, 1);
        let deleted = world.control.delete(&operator(), &delete(1)).await.unwrap();
        assert_eq!(waiting().await, 0, "seen at once");
        let late = world.control.approve(&operator(), &reject(1)).await.unwrap_err();
        assert!(matches!(late, ControlError::Decided { .. }), "{late}");
        undo(&world, deleted.audit_id).await.unwrap();
        assert_eq!(waiting().await, 1, "seen at once");
        world.control.approve(&operator(), &reject(1)).await.unwrap();
    }

    #[tokio::test]
    async fn a_rejected_comment_that_was_shown_is_shown_again() {
        let world = World::new().await;
        world.queue_review(1, false).await;
        world.comment(1, "hm");
        let rejected = world.control.reject(&operator(), &reject(1)).await.unwrap();
        let undone = undo(&world, rejected.audit_id).await.unwrap().now.unwrap();
        assert_eq!(undone, format!("1 comment waits for review again, and {RESTORED}"));
        assert_eq!((world.metadata.reviews().len(), restorations(&world).len()), (1, 1));
    }

    #[tokio::test]
    async fn a_batch_with_deletions_is_taken_back_whole() {
        let world = World::new().await;
        world.queue_review(3, true).await;
        (1..=2).for_each(|number| drop(world.comment(number, "spam")));
        let changes = vec![
            BatchChange::Delete(delete(1)),
            BatchChange::Delete(delete(2)),
            BatchChange::Reject(reject(3)),
        ];
        let request =
            BatchRequest { changes, disconnect_after_ms: None, include_moderators: false };
        let batch = world.control.batch(&operator(), &request).await.unwrap();
        let undone = undo(&world, batch.audit_id).await.unwrap();
        assert_eq!((undone.changes, undone.left_out.len()), (Some(3), 0));
        let now = "1 comment waits for review again, and 2 comments are in the history again; \
                   viewers that saw them vanish must reload";
        assert_eq!(undone.now.as_deref(), Some(now));
        assert_eq!((world.metadata.reviews().len(), restorations(&world).len()), (1, 2));
        let reloads = world.journal.lines();
        assert!(!reloads.iter().any(|line| line.contains("ReloadSanctions")), "{reloads:?}");
    }
}
