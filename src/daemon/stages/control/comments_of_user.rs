//! Deletes the latest comments of a user or of a room, found in the log.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::batch::ENTRIES;
use super::cluster::CommandResults;
use super::comments::{CommentOwner, DeletionScope, MAX_WINDOWS};
use super::search::SearchRange;
use super::users::ResolvedUser;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::eventlog::Record;
use crate::daemon::engines::metadata::{HeldScope, NewAudit};
use crate::protocol::admin::{
    DeleteOfUserRequest, DeleteRequest, MAX_CHANGES, Outcome, audit_action,
};
use crate::protocol::events::{CommentModerated, Event, HiddenFrom};
use crate::protocol::quantity::{show_counted, show_duration, show_time};
use crate::protocol::{CommentId, StreamId, UserId};

/// The longest time back: one day.
pub(super) const LONGEST_LAST_MS: u64 = 86_400_000;
/// Deletions that wait for the log at one time.
const AT_ONCE: usize = 10;

/// Comments of a user that are not deleted yet.
#[derive(Debug)]
pub struct CommentsOfUser {
    pub(super) user: ResolvedUser,
    found: SearchedComments,
}

/// Comments that are not deleted yet, the newest first.
#[derive(Debug)]
pub(super) struct SearchedComments {
    comments: Vec<FoundComment>,
    /// The log was searched back to this time only, in milliseconds since the Unix epoch.
    searched_to_ms: Option<u64>,
    /// Comments of the same time that are held for review, which a deletion leaves in the queue.
    held: u64,
    /// The most that are deleted at one time.
    max: usize,
    scope: DeletionScope,
}

#[derive(Debug, Clone)]
struct FoundComment {
    comment_id: CommentId,
    owner: CommentOwner,
}

/// Deletions that were made as one.
#[derive(Debug)]
pub(super) struct Deletions {
    /// The numbers of their audit entries.
    entries: Vec<u64>,
    left_out: Vec<String>,
}

/// A search backwards through the log.
struct Search {
    /// Only what this user wrote.
    user_id: Option<UserId>,
    stream_id: Option<StreamId>,
    since_ms: u64,
    /// Whether each comment is gone. What comes last in the log is seen first, and counts.
    seen: HashMap<CommentId, SeenComment>,
}

#[derive(Debug, Clone)]
enum SeenComment {
    Deleted,
    /// Its deletion was taken back; the comment itself is still to come.
    Restored,
    /// Hidden from everybody but its author; the comment itself is still to come.
    HiddenFromOthers {
        /// Whether the deletions that come before in the log were taken back.
        is_restored: bool,
    },
    Shown(CommentOwner),
}

impl CommentsOfUser {
    /// Says how many comments would be deleted, and what is left.
    pub fn effect(&self) -> String {
        let streams: BTreeSet<_> = self.found.taken().iter().map(|it| it.owner.stream_id).collect();
        let mut text = format!(
            "Delete {} of {} on {}.",
            show_counted(self.count(), "comment"),
            self.user.shown(),
            show_counted(streams.len() as u64, "stream"),
        );
        for rest in self.found.left_out() {
            text.push_str(&format!(" Not deleted: {rest}."));
        }
        text
    }

    /// Returns the number of comments that would be deleted.
    pub fn count(&self) -> u64 {
        self.found.taken().len() as u64
    }
}

impl SearchedComments {
    pub(super) fn is_empty(&self) -> bool {
        self.comments.is_empty()
    }

    fn taken(&self) -> &[FoundComment] {
        &self.comments[..self.comments.len().min(self.max)]
    }

    fn left_out(&self) -> Vec<String> {
        let mut left_out = Vec::new();
        let rest = self.comments.len() - self.taken().len();
        if rest > 0 {
            let rest = show_counted(rest as u64, "older comment");
            left_out.push(format!("{rest}; the same command deletes the next {}", self.max));
        }
        if let Some(at) = self.searched_to_ms {
            let at = show_time(at);
            left_out.push(format!("comments before {at}, where the log was not searched"));
        }
        if self.held > 0 {
            let held = show_counted(self.held, "held comment");
            left_out.push(format!("{held} in the review queue"));
        }
        left_out
    }
}

impl Control {
    /// Deletes the comments that a user wrote in the latest time, at most [`MAX_CHANGES`]. Each has
    /// its audit entry, and one more stands for all of them.
    ///
    /// # Errors
    /// [`ControlError::NoComments`] if there are none.
    pub async fn delete_of_user(
        &self,
        actor: &Actor,
        request: &DeleteOfUserRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let CommentsOfUser { user, found } = self.comments_of_user(request).await?;
        let DeleteOfUserRequest { reason, note, .. } = request.clone();
        let deleted = self.delete_comments(actor, &found, reason, note).await?;
        let target = format!("user {}", user.user_id);
        let entry = self.entry(actor, audit_action::DELETE_OF_USER, target, request);
        Ok(user.named_in(self.record_deletions(deleted, entry, started).await?))
    }

    /// Deletes comments that were found. Each has its audit entry.
    ///
    /// # Errors
    /// The first error, if no comment could be deleted.
    pub(super) async fn delete_comments(
        &self,
        actor: &Actor,
        found: &SearchedComments,
        reason: Option<String>,
        note: Option<String>,
    ) -> Result<Deletions, ControlError> {
        let mut left_out = found.left_out();
        let mut entries = Vec::new();
        let mut first_error = None;
        for part in found.taken().chunks(AT_ONCE) {
            let deletions = part.iter().map(|comment| {
                let comment_id = comment.comment_id;
                let one = DeleteRequest { comment_id, reason: reason.clone(), note: note.clone() };
                self.delete_found(actor, one, comment.owner.clone(), found.scope)
            });
            for deleted in join_all(deletions).await {
                match deleted {
                    Ok(audit_id) => entries.push(audit_id),
                    Err(error) => {
                        // One that is recorded is carried out later.
                        if let ControlError::Deferred { audit_id, .. } = error {
                            entries.push(audit_id);
                        }
                        left_out.push(error.to_string());
                        first_error.get_or_insert(error);
                    }
                }
            }
        }
        match first_error.filter(|_| entries.is_empty()) {
            Some(error) => Err(error),
            None => Ok(Deletions { entries, left_out }),
        }
    }

    /// Records deletions as one, with an entry from which an undo finds them.
    pub(super) async fn record_deletions(
        &self,
        deleted: Deletions,
        mut entry: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let Deletions { entries, left_out } = deleted;
        if let Some(fields) = entry.detail.as_object_mut() {
            fields.insert(ENTRIES.to_owned(), json!(entries));
            fields.insert("left_out".to_owned(), Value::from(left_out.clone()));
        }
        let audit_id = self.parts.metadata.audit(entry).await?;
        let base = outcome(audit_id, CommandResults::default(), started);
        Ok(Outcome { changes: Some(entries.len() as u64), left_out, ..base })
    }

    /// Finds the comments that [`Self::delete_of_user`] deletes.
    pub async fn comments_of_user(
        &self,
        request: &DeleteOfUserRequest,
    ) -> Result<CommentsOfUser, ControlError> {
        validate::public_word(request.reason.as_deref())?;
        validate::operator_note(request.note.as_deref())?;
        let last_ms = validate::lifetime_ms("last_ms", request.last_ms, LONGEST_LAST_MS)?;
        if let Some(stream_id) = request.stream_id {
            self.require_stream(stream_id).await?;
        }
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let found =
            self.search_comments(Some(user_id), request.stream_id, last_ms, MAX_CHANGES).await?;
        if found.is_empty() {
            let within = match request.stream_id {
                Some(stream_id) => format!("on stream {stream_id}"),
                None => "on any stream".to_owned(),
            };
            return Err(ControlError::NoComments { user_id, within, last: show_duration(last_ms) });
        }
        Ok(CommentsOfUser { user, found })
    }

    /// Finds the comments of the last `last_ms`, of which at most `max` are deleted at one time.
    pub(super) async fn search_comments(
        &self,
        user_id: Option<UserId>,
        stream_id: Option<StreamId>,
        last_ms: u64,
        max: usize,
    ) -> Result<SearchedComments, ControlError> {
        let since_ms = self.parts.clock.now_ms().saturating_sub(last_ms);
        let mut search = Search { user_id, stream_id, since_ms, seen: HashMap::new() };
        let range = SearchRange { stream_id, since_ms, max_windows: MAX_WINDOWS };
        let searched_to_ms = {
            let mut look = |record: &Record| {
                search.look(record);
                ControlFlow::Continue(())
            };
            self.search_back(&range, &mut look).await?
        };
        let scope = user_id.map_or(DeletionScope::Room, |_| DeletionScope::User);
        let held =
            self.parts.metadata.held_count(HeldScope { user_id, stream_id, since_ms }).await?;
        Ok(SearchedComments { comments: search.found(), searched_to_ms, held, max, scope })
    }

    async fn delete_found(
        &self,
        actor: &Actor,
        request: DeleteRequest,
        owner: CommentOwner,
        scope: DeletionScope,
    ) -> Result<u64, ControlError> {
        Ok(self.delete_owned(actor, &request, owner, scope).await?.audit_id)
    }
}

impl Search {
    fn is_about(&self, user_id: UserId) -> bool {
        self.user_id.is_none_or(|only| only == user_id)
    }

    fn look(&mut self, record: &Record) {
        match Event::decode(&record.payload) {
            Ok(Event::CommentModerated(event)) if self.is_about(event.user_id) => {
                self.look_at_decision(&event);
            }
            Ok(Event::CommentRestored(event)) if self.is_about(event.user_id) => {
                let seen = self.seen.entry(event.comment_id).or_insert(SeenComment::Restored);
                if let SeenComment::HiddenFromOthers { is_restored } = seen {
                    *is_restored = true;
                }
            }
            Ok(Event::CommentSubmitted(event)) if self.is_about(event.comment.user_id) => {
                let comment = &event.comment;
                let stream_id = comment.stream_id;
                let is_wanted = comment.created_at >= self.since_ms
                    && self.stream_id.is_none_or(|only| only == stream_id);
                if is_wanted {
                    let text = (&**comment).into();
                    let user_id = comment.user_id;
                    let found_at = Some(record.position);
                    let owner = CommentOwner {
                        stream_id,
                        user_id,
                        text,
                        badges: comment.badges,
                        is_deleted: false,
                        is_hidden: event.shadow,
                        is_hidden_by_decision: false,
                        found_at,
                    };
                    let seen = self.seen.entry(comment.comment_id).or_insert(SeenComment::Restored);
                    match seen {
                        SeenComment::Restored => *seen = SeenComment::Shown(owner),
                        SeenComment::HiddenFromOthers { .. } => {
                            *seen = SeenComment::Shown(CommentOwner {
                                is_hidden: true,
                                is_hidden_by_decision: true,
                                ..owner
                            });
                        }
                        SeenComment::Deleted | SeenComment::Shown(_) => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// A comment that is hidden from others can still be deleted: its author sees it.
    fn look_at_decision(&mut self, event: &CommentModerated) {
        let Some(from) = event.decision.hides_from() else { return };
        let hidden = match from {
            HiddenFrom::Everybody => SeenComment::Deleted,
            HiddenFrom::Others => SeenComment::HiddenFromOthers { is_restored: false },
        };
        let seen = self.seen.entry(event.comment_id).or_insert_with(|| hidden.clone());
        // It was deleted before it was hidden from others.
        if matches!(seen, SeenComment::HiddenFromOthers { is_restored: false }) {
            *seen = hidden;
        }
    }

    fn found(&self) -> Vec<FoundComment> {
        let shown = |(comment_id, seen): (&CommentId, &SeenComment)| match seen {
            SeenComment::Shown(owner) => {
                Some(FoundComment { comment_id: *comment_id, owner: owner.clone() })
            }
            SeenComment::Deleted | SeenComment::Restored | SeenComment::HiddenFromOthers { .. } => {
                None
            }
        };
        let mut found: Vec<_> = self.seen.iter().filter_map(shown).collect();
        found.sort_by_key(|found| std::cmp::Reverse(found.comment_id.sort_key()));
        found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::engines::eventlog::Topic;
    use crate::daemon::stages::control::fakes::{World, comment_id, operator};
    use crate::protocol::admin::{UndoRequest, UserRef};
    use crate::protocol::comment::Comment;
    use crate::protocol::events::Decision;

    fn request(last_ms: u64) -> DeleteOfUserRequest {
        DeleteOfUserRequest {
            user: UserRef("ann".to_owned()),
            last_ms,
            stream_id: None,
            reason: Some("spam".to_owned()),
            note: None,
        }
    }

    /// A comment that a stage hid from others after it was shown.
    fn hidden_comment(world: &World) -> Arc<Comment> {
        let comment = world.comment(1, "cheap followers").comment;
        let hidden = CommentModerated {
            stream_id: comment.stream_id,
            comment_id: comment.comment_id,
            user_id: comment.user_id,
            decision: Decision::ShadowBan,
            reason: "spam".into(),
            timestamp: 1,
            decided_by: "rules".into(),
            text: None,
            was_hidden: false,
            in_bulk: false,
        };
        let payload = Event::CommentModerated(hidden).encode();
        world.log.put(Topic::CommentEvents, 1, comment.created_at, payload);
        comment
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_comments_of_a_user_are_deleted() {
        let world = World::new().await;
        (1..=3).for_each(|number| drop(world.comment(number, "cheap followers")));
        let one = DeleteRequest { comment_id: comment_id(2), reason: None, note: None };
        world.control.delete(&operator(), &one).await.unwrap();
        let preview = world.control.comments_of_user(&request(600_000)).await.unwrap();
        assert_eq!(preview.effect(), "Delete 2 comments of ann (user 42) on 1 stream.");
        let outcome = world.control.delete_of_user(&operator(), &request(600_000)).await.unwrap();
        assert_eq!((outcome.changes, outcome.left_out.len()), (Some(2), 0));
        assert_eq!(outcome.user_id, Some(UserId(42)));
        let log = world.control.audit_log(10).await.unwrap();
        let actions: Vec<_> = log.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["delete_of_user", "delete", "delete", "delete"]);
        assert_eq!(log[0].detail[ENTRIES].as_array().unwrap().len(), 2);
        let none = world.control.delete_of_user(&operator(), &request(600_000)).await.unwrap_err();
        assert!(none.to_string().contains("wrote nothing in the last 10m on any stream"), "{none}");
        let undo = UndoRequest { audit_id: outcome.audit_id, note: None };
        let undone = world.control.undo(&operator(), &undo).await.unwrap();
        assert_eq!((undone.changes, undone.left_out.len()), (Some(2), 0));
        let now = "2 comments are in the history again; viewers that saw them vanish must reload";
        assert_eq!(undone.now.as_deref(), Some(now));
        let again = world.control.comments_of_user(&request(600_000)).await.unwrap();
        assert_eq!(again.count(), 2, "restored comments are there to delete");
        let wrong = world.control.delete_of_user(&operator(), &request(999)).await.unwrap_err();
        assert!(matches!(wrong, ControlError::Invalid { field: "last_ms", .. }), "{wrong}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_hidden_from_others_is_deleted() {
        let world = World::new().await;
        hidden_comment(&world);
        let found = world.control.comments_of_user(&request(600_000)).await.unwrap();
        assert!(found.found.comments[0].owner.is_hidden);
        world.control.delete_of_user(&operator(), &request(600_000)).await.unwrap();
        let last = world.log.events(Topic::CommentEvents).pop().unwrap().1;
        let Event::CommentModerated(deletion) = last else { panic!("{last:?}") };
        assert!(deletion.was_hidden, "its author is told, and nobody else");
        let none = world.control.comments_of_user(&request(600_000)).await.unwrap_err();
        assert!(matches!(none, ControlError::NoComments { .. }), "{none}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_undone_deletion_leaves_it_hidden() {
        let world = World::new().await;
        let comment = hidden_comment(&world);
        for _ in 0..2 {
            let deleted = world.control.delete_of_user(&operator(), &request(600_000)).await;
            let undo = UndoRequest { audit_id: deleted.unwrap().audit_id, note: None };
            let undone = world.control.undo(&operator(), &undo).await.unwrap();
            assert_eq!((undone.changes, undone.left_out.len()), (Some(1), 0));
            let now = "1 comment is shown to its author only, as before";
            assert_eq!(undone.now.as_deref(), Some(now));
            let mut events = world.log.events(Topic::CommentEvents);
            let Some((_, Event::CommentModerated(hiding))) = events.pop() else { panic!() };
            assert_eq!(hiding.decision, Decision::ShadowBan, "hidden again");
            assert!(!hiding.was_hidden, "caches that show it since the restoration are told");
            let Some((_, Event::CommentRestored(_))) = events.pop() else { panic!() };
            let found = world.control.comments_of_user(&request(600_000)).await.unwrap();
            assert!(found.found.comments[0].owner.is_hidden_by_decision);
        }
        // Found by its id, it counts as deleted and is hidden nevertheless.
        let comment_id = comment.comment_id;
        let one = DeleteRequest { comment_id, reason: None, note: None };
        let deleted = world.control.delete(&operator(), &one).await.unwrap();
        let undo = UndoRequest { audit_id: deleted.audit_id, note: None };
        world.control.undo(&operator(), &undo).await.unwrap();
        let owner = world.control.owner(comment_id).await.unwrap();
        assert!(owner.is_hidden_by_decision, "{owner:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn older_comments_stay() {
        let world = World::new().await;
        world.comment(1, "early");
        tokio::time::advance(std::time::Duration::from_secs(60)).await;
        let none = world.control.comments_of_user(&request(30_000)).await.unwrap_err();
        assert!(matches!(none, ControlError::NoComments { .. }), "{none}");
        let on_two = DeleteOfUserRequest { stream_id: Some(StreamId(2)), ..request(90_000) };
        let unknown = world.control.comments_of_user(&on_two).await.unwrap_err();
        assert!(matches!(unknown, ControlError::UnknownStream(_)), "{unknown}");
        assert_eq!(world.control.comments_of_user(&request(90_000)).await.unwrap().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_a_hundred_are_said_to_be_left() {
        let world = World::new().await;
        (0..130).for_each(|number| drop(world.comment(number, "flood")));
        let outcome = world.control.delete_of_user(&operator(), &request(600_000)).await.unwrap();
        assert_eq!(outcome.changes, Some(MAX_CHANGES as u64));
        assert!(outcome.left_out[0].starts_with("30 older comments; the same"), "{outcome:?}");
        let outcome = world.control.delete_of_user(&operator(), &request(600_000)).await.unwrap();
        assert_eq!((outcome.changes, outcome.left_out.len()), (Some(30), 0));
    }
}
