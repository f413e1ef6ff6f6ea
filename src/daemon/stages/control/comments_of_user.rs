//! Deletes the latest comments of a user, found in the log.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::batch::ENTRIES;
use super::cluster::CommandResults;
use super::comments::{CommentOwner, MAX_WINDOWS};
use super::search::SearchRange;
use super::users::ResolvedUser;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::eventlog::Record;
use crate::protocol::admin::{
    DeleteOfUserRequest, DeleteRequest, MAX_CHANGES, Outcome, audit_action,
};
use crate::protocol::events::Event;
use crate::protocol::quantity::{show_counted, show_duration, show_time};
use crate::protocol::{CommentId, StreamId, UserId};

/// The longest time back: one day.
const LONGEST_LAST_MS: u64 = 86_400_000;
/// Deletions that wait for the log at one time.
const AT_ONCE: usize = 10;

/// Comments of a user that are not deleted yet, the newest first.
#[derive(Debug)]
pub struct CommentsOfUser {
    pub(super) user: ResolvedUser,
    comments: Vec<FoundComment>,
    /// The log was searched back to this time only, in milliseconds since the Unix epoch.
    searched_to_ms: Option<u64>,
}

#[derive(Debug, Clone)]
struct FoundComment {
    comment_id: CommentId,
    owner: CommentOwner,
}

/// A search backwards through the log.
struct Search {
    user_id: UserId,
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
    Shown(CommentOwner),
}

impl CommentsOfUser {
    /// Says how many comments would be deleted, and what is left.
    pub fn effect(&self) -> String {
        let streams: BTreeSet<_> = self.taken().iter().map(|it| it.owner.stream_id).collect();
        let mut text = format!(
            "Delete {} of {} on {}.",
            show_counted(self.taken().len() as u64, "comment"),
            self.user.shown(),
            show_counted(streams.len() as u64, "stream"),
        );
        for rest in self.left_out() {
            text.push_str(&format!(" Not deleted: {rest}."));
        }
        text
    }

    /// Returns the number of comments that would be deleted.
    pub fn count(&self) -> u64 {
        self.taken().len() as u64
    }

    fn taken(&self) -> &[FoundComment] {
        &self.comments[..self.comments.len().min(MAX_CHANGES)]
    }

    fn left_out(&self) -> Vec<String> {
        let mut left_out = Vec::new();
        let rest = self.comments.len() - self.taken().len();
        if rest > 0 {
            let rest = show_counted(rest as u64, "older comment");
            left_out.push(format!("{rest}; the same command deletes the next {MAX_CHANGES}"));
        }
        if let Some(at) = self.searched_to_ms {
            let at = show_time(at);
            left_out.push(format!("comments before {at}, where the log was not searched"));
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
        let found = self.comments_of_user(request).await?;
        let mut left_out = found.left_out();
        let mut entries = Vec::new();
        let mut first_error = None;
        for part in found.taken().chunks(AT_ONCE) {
            let deletions =
                part.iter().map(|comment| self.delete_found(actor, request, comment.clone()));
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
        if let Some(error) = first_error.filter(|_| entries.is_empty()) {
            return Err(error);
        }
        let target = format!("user {}", found.user.user_id);
        let mut entry = self.entry(actor, audit_action::DELETE_OF_USER, target, request);
        if let Some(fields) = entry.detail.as_object_mut() {
            fields.insert(ENTRIES.to_owned(), json!(entries));
            fields.insert("left_out".to_owned(), Value::from(left_out.clone()));
        }
        let audit_id = self.parts.metadata.audit(entry).await?;
        let base = outcome(audit_id, CommandResults::default(), started);
        let changes = Some(entries.len() as u64);
        Ok(found.user.named_in(Outcome { changes, left_out, ..base }))
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
        let now_ms = self.parts.clock.now_ms();
        let mut search = Search {
            user_id: user.user_id,
            stream_id: request.stream_id,
            since_ms: now_ms.saturating_sub(last_ms),
            seen: HashMap::new(),
        };
        let range = SearchRange {
            stream_id: request.stream_id,
            since_ms: search.since_ms,
            max_windows: MAX_WINDOWS,
        };
        let searched_to_ms =
            self.search_back(&range, &mut |record: &Record| search.look(record)).await?;
        let comments = search.found();
        if comments.is_empty() {
            let within = match request.stream_id {
                Some(stream_id) => format!("on stream {stream_id}"),
                None => "on any stream".to_owned(),
            };
            let last = show_duration(last_ms);
            return Err(ControlError::NoComments { user_id: user.user_id, within, last });
        }
        Ok(CommentsOfUser { user, comments, searched_to_ms })
    }

    async fn delete_found(
        &self,
        actor: &Actor,
        request: &DeleteOfUserRequest,
        FoundComment { comment_id, owner }: FoundComment,
    ) -> Result<u64, ControlError> {
        let DeleteOfUserRequest { reason, note, .. } = request.clone();
        let one = DeleteRequest { comment_id, reason, note };
        Ok(self.delete_owned(actor, &one, owner).await?.audit_id)
    }
}

impl Search {
    fn look(&mut self, record: &Record) {
        match Event::decode(&record.payload) {
            Ok(Event::CommentModerated(event))
                if event.user_id == self.user_id && event.decision.deletes() =>
            {
                self.seen.entry(event.comment_id).or_insert(SeenComment::Deleted);
            }
            Ok(Event::CommentRestored(event)) if event.user_id == self.user_id => {
                self.seen.entry(event.comment_id).or_insert(SeenComment::Restored);
            }
            Ok(Event::CommentSubmitted(event)) if event.comment.user_id == self.user_id => {
                let comment = &event.comment;
                let stream_id = comment.stream_id;
                let is_wanted = comment.created_at >= self.since_ms
                    && self.stream_id.is_none_or(|only| only == stream_id);
                if is_wanted {
                    let text = (&**comment).into();
                    let user_id = self.user_id;
                    let found_at = Some(record.position);
                    let is_deleted = false;
                    let owner = CommentOwner { stream_id, user_id, text, is_deleted, found_at };
                    let seen = self.seen.entry(comment.comment_id).or_insert(SeenComment::Restored);
                    if matches!(seen, SeenComment::Restored) {
                        *seen = SeenComment::Shown(owner);
                    }
                }
            }
            _ => {}
        }
    }

    fn found(&self) -> Vec<FoundComment> {
        let shown = |(comment_id, seen): (&CommentId, &SeenComment)| match seen {
            SeenComment::Shown(owner) => {
                Some(FoundComment { comment_id: *comment_id, owner: owner.clone() })
            }
            SeenComment::Deleted | SeenComment::Restored => None,
        };
        let mut found: Vec<_> = self.seen.iter().filter_map(shown).collect();
        found.sort_by_key(|found| std::cmp::Reverse(found.comment_id.sort_key()));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::control::fakes::{World, comment_id, operator};
    use crate::protocol::admin::{UndoRequest, UserRef};

    fn request(last_ms: u64) -> DeleteOfUserRequest {
        DeleteOfUserRequest {
            user: UserRef("ann".to_owned()),
            last_ms,
            stream_id: None,
            reason: Some("spam".to_owned()),
            note: None,
        }
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
