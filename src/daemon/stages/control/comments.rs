//! Finds a comment by its id, and deletes it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use serde_json::Value;
use tokio::time::Instant;

use super::cluster::CommandResults;
use super::events::pending;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::{ConsumerGroup, LogError, Position, Record, Topic};
use crate::daemon::engines::metadata::ReviewChange;
use crate::protocol::admin::{DeleteRequest, Outcome, audit_action};
use crate::protocol::comment::Deletion;
use crate::protocol::events::{CommentModerated, Decision, Event, HiddenFrom, ModeratedText};
use crate::protocol::{Badges, CommentId, StreamId, UserId};

/// Offsets searched per step, backwards through a partition.
pub(super) const WINDOW: u64 = 1_024;
/// The most steps, over all partitions: a quarter of a million records. That is seconds of the
/// busiest event, and far more than a working archiver lags behind.
pub(super) const MAX_WINDOWS: usize = 256;
/// The search ends at records this much older than the comment. The clocks of nodes differ by less.
pub(super) const CLOCK_SKEW_MS: u64 = 60_000;
/// The reason shown to viewers when the operator gives none.
const DEFAULT_REASON: &str = "moderator";

/// The field of the audit entry of a deletion that says that the comment was deleted before.
pub(super) const WAS_DELETED: &str = "was_deleted";
/// The field that says that a decision had hidden the comment from others.
pub(super) const WAS_HIDDEN: &str = "was_hidden";

/// The stream and the user of a comment, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommentOwner {
    pub(super) stream_id: StreamId,
    pub(super) user_id: UserId,
    pub(super) text: ModeratedText,
    pub(super) badges: Badges,
    /// Whether it is deleted. Of a comment in the store, a deletion may take seconds to show.
    pub(super) is_deleted: bool,
    /// Whether only its author sees it. Told when it is certain: otherwise everybody is told of a
    /// deletion.
    pub(super) is_hidden: bool,
    /// Whether only its author sees it because of a decision, which a restoration takes back.
    pub(super) is_hidden_by_decision: bool,
    /// Where in the log it was found; `None` if the store has it.
    pub(super) found_at: Option<Position>,
}

impl CommentOwner {
    /// Returns whether nobody but its author ever saw it, so that a restoration shows it to no one
    /// else.
    pub(super) fn is_hidden_from_start(&self) -> bool {
        self.is_hidden && !self.is_hidden_by_decision
    }

    /// Checks that the comment is one of a stream.
    ///
    /// # Errors
    /// [`ControlError::OfOtherStream`].
    pub(super) fn require_stream(
        &self,
        comment_id: CommentId,
        stream_id: StreamId,
    ) -> Result<(), ControlError> {
        if self.stream_id == stream_id {
            return Ok(());
        }
        Err(ControlError::OfOtherStream { comment_id, stream_id })
    }

    /// Returns the field of the audit entry of a deletion that says how the comment was before;
    /// `None` if it was shown.
    fn before_deletion(&self) -> Option<&'static str> {
        // One that is hidden from others by a decision counts as deleted as well.
        let deleted = self.is_deleted.then_some(WAS_DELETED);
        if self.is_hidden_by_decision { Some(WAS_HIDDEN) } else { deleted }
    }
}

/// A search for a comment, backwards through a partition.
struct OwnerSearch {
    comment_id: CommentId,
    owner: Option<CommentOwner>,
    /// Whether the last deletion or restoration that was seen deleted the comment.
    is_deleted: Option<bool>,
    /// Whether the last of these hides it from others only.
    is_hidden: Option<bool>,
}

impl OwnerSearch {
    fn of(comment_id: CommentId) -> Self {
        Self { comment_id, owner: None, is_deleted: None, is_hidden: None }
    }
}

/// The comments that one deletion by a person is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeletionScope {
    Comment,
    /// All comments of a user in some time.
    User,
    /// All comments of a room in some time, which is nobody's fault.
    Room,
}

/// A deletion that the log has.
pub(super) struct DeletedComment {
    pub(super) audit_id: u64,
    deletion: Option<Deletion>,
}

impl Control {
    /// Deletes a comment for all viewers, who are shown the reason but not the note.
    pub async fn delete(
        &self,
        actor: &Actor,
        request: &DeleteRequest,
    ) -> Result<Outcome, ControlError> {
        self.delete_of_stream(actor, request, None).await
    }

    /// Deletes a comment that must be one of a stream; `None` allows any.
    pub(super) async fn delete_of_stream(
        &self,
        actor: &Actor,
        request: &DeleteRequest,
        expected: Option<StreamId>,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::public_word(request.reason.as_deref())?;
        validate::operator_note(request.note.as_deref())?;
        let owner = self.owner(request.comment_id).await?;
        if let Some(stream_id) = expected {
            owner.require_stream(request.comment_id, stream_id)?;
        }
        let user_id = owner.user_id;
        let deleted = self.delete_owned(actor, request, owner, DeletionScope::Comment).await?;
        let base = outcome(deleted.audit_id, CommandResults::default(), started);
        Ok(Outcome { user_id: Some(user_id), deletion: deleted.deletion, ..base })
    }

    /// Deletes a comment whose owner is known, and which waits for review no longer, unless it is
    /// held. The request is valid. The owner gets points for it,
    /// unless the room is cleared.
    pub(super) async fn delete_owned(
        &self,
        actor: &Actor,
        request: &DeleteRequest,
        owner: CommentOwner,
        scope: DeletionScope,
    ) -> Result<DeletedComment, ControlError> {
        let reason = validate::public_word(request.reason.as_deref())?;
        let comment_id = request.comment_id;
        let target = target_of(comment_id);
        let mut entry = self.entry(actor, audit_action::DELETE, target, request);
        if let Some(before) = owner.before_deletion()
            && let Some(fields) = entry.detail.as_object_mut()
        {
            fields.insert(before.to_owned(), Value::Bool(true));
        }
        let CommentOwner { stream_id, user_id, text, is_hidden, .. } = owner;
        if scope != DeletionScope::Room {
            entry = self.costing_deletion(entry, user_id, comment_id, &text.message);
        }
        let rejected = CommentModerated {
            stream_id,
            comment_id,
            user_id,
            decision: Decision::Reject,
            reason: public_reason(reason),
            timestamp: self.parts.clock.now_ms(),
            decided_by: actor.name().into(),
            text: Some(text),
            was_hidden: is_hidden,
            in_bulk: scope != DeletionScope::Comment,
        };
        let deletion = rejected.deletion();
        let event = Event::CommentModerated(rejected);
        let review = Some(ReviewChange::Withdraw(comment_id));
        let stored = self.parts.metadata.audit_with_event(pending(&event), review, entry).await;
        self.queue.changed();
        let audit_id = stored?;
        self.publish(audit_id, event).await?;
        Ok(DeletedComment { audit_id, deletion })
    }

    /// Looks in the store, then in the newest records of the log: the comment may not be archived
    /// yet, and a store that is down must not delay a deletion.
    pub(super) async fn owner(&self, comment_id: CommentId) -> Result<CommentOwner, ControlError> {
        let stored = self.parts.comments.get(comment_id).await;
        if let Ok(Some(found)) = &stored {
            let comment = &found.comment;
            let text = ModeratedText::new(comment.name.clone(), comment.message.clone());
            let stream_id = found.stream_id;
            let user_id = comment.user_id;
            let mut is_deleted = found.deleted;
            let mut is_hidden_by_decision = false;
            if is_deleted {
                // The store may not have a restoration yet. Without the log nothing changes now.
                let lately = self.is_deleted_lately(stream_id, comment_id).await;
                is_hidden_by_decision =
                    found.only_hidden && lately.as_ref().is_ok_and(|it| *it != Some(false));
                is_deleted = lately.ok().flatten().unwrap_or(true);
            }
            return Ok(CommentOwner {
                stream_id,
                user_id,
                text,
                badges: comment.badges,
                is_deleted,
                is_hidden: found.shadow || is_hidden_by_decision,
                is_hidden_by_decision,
                found_at: None,
            });
        }
        if let Some(owner) = self.owner_in_log(comment_id).await? {
            return Ok(owner);
        }
        stored?;
        Err(ControlError::UnknownComment(comment_id))
    }

    /// Finds a comment that the store has, or will have: not one that it has no longer.
    ///
    /// # Errors
    /// [`ControlError::UnknownComment`] if its text is not kept.
    pub(super) async fn kept_comment(
        &self,
        comment_id: CommentId,
    ) -> Result<CommentOwner, ControlError> {
        let owner = self.owner(comment_id).await?;
        let Some(found_at) = owner.found_at else { return Ok(owner) };
        let stored =
            self.parts.log.committed(Topic::CommentEvents, ConsumerGroup::Archiver).await?;
        let next = stored.iter().find(|next| next.partition == found_at.partition);
        let was_stored = next.is_some_and(|next| next.offset > found_at.offset);
        // It may have been stored just now.
        if was_stored && self.parts.comments.get(comment_id).await?.is_none() {
            return Err(ControlError::UnknownComment(comment_id));
        }
        Ok(owner)
    }

    async fn owner_in_log(&self, comment_id: CommentId) -> Result<Option<CommentOwner>, LogError> {
        let log = &self.parts.log;
        let streams = self.parts.streams.all();
        let partitions: BTreeSet<u32> = streams
            .iter()
            .map(|stream| log.partition_of(Topic::CommentEvents, stream.stream_id.0))
            .collect();
        let windows_each = MAX_WINDOWS.div_ceil(partitions.len().max(1));
        for partition in partitions {
            let bounds = log.bounds(Topic::CommentEvents, partition).await?;
            let mut search = OwnerSearch::of(comment_id);
            let mut end = bounds.end;
            for _ in 0..windows_each {
                let start = end.saturating_sub(WINDOW).max(bounds.earliest);
                let too_old = self.search_window(partition, start..end, &mut search).await?;
                if let Some(owner) = search.owner {
                    let is_deleted = search.is_deleted.unwrap_or(false);
                    let is_hidden_by_decision = search.is_hidden == Some(true);
                    // One that was hidden from the beginning stays so, whatever came after it.
                    let is_hidden = owner.is_hidden || is_hidden_by_decision;
                    return Ok(Some(CommentOwner {
                        is_deleted,
                        is_hidden,
                        is_hidden_by_decision,
                        ..owner
                    }));
                }
                if too_old || start == bounds.earliest {
                    break;
                }
                end = start;
            }
        }
        Ok(None)
    }

    /// Returns whether the records are too old for the comment to be before them.
    async fn search_window(
        &self,
        partition: u32,
        window: Range<u64>,
        search: &mut OwnerSearch,
    ) -> Result<bool, LogError> {
        let oldest_ms = search.comment_id.unix_ms().saturating_sub(CLOCK_SKEW_MS);
        let mut too_old = false;
        let mut is_deleted = None;
        let mut is_hidden = None;
        let mut pages = pin!(pages(&self.parts.log, Topic::CommentEvents, partition, window));
        while let Some(page) = pages.try_next().await? {
            for record in &page.records {
                match look(record, search.comment_id) {
                    Some(SeenRecord::Comment(owner)) => {
                        search.owner.get_or_insert(owner);
                    }
                    Some(SeenRecord::Hidden(from)) => {
                        is_deleted = Some(from.is_some());
                        is_hidden = Some(from == Some(HiddenFrom::Others));
                    }
                    None => {}
                }
            }
            too_old |= page.records.first().is_some_and(|first| first.timestamp_ms < oldest_ms);
        }
        // A later window counts more.
        search.is_deleted = search.is_deleted.or(is_deleted);
        search.is_hidden = search.is_hidden.or(is_hidden);
        Ok(too_old)
    }

    /// Returns whether the newest records of a stream, which the archiver may not have stored yet,
    /// delete a comment, at least for others than its author, or restore it. `None` if they do
    /// neither.
    pub(super) async fn is_deleted_lately(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
    ) -> Result<Option<bool>, LogError> {
        Ok(self.hidden_lately(stream_id, comment_id).await?.map(|from| from.is_some()))
    }

    /// Returns the viewers that the newest records of a stream hide a comment from: `Some(None)` if
    /// they restore it, `None` if they do neither.
    pub(super) async fn hidden_lately(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
    ) -> Result<Option<Option<HiddenFrom>>, LogError> {
        let log = &self.parts.log;
        let partition = log.partition_of(Topic::CommentEvents, stream_id.0);
        let bounds = log.bounds(Topic::CommentEvents, partition).await?;
        let stored = log.committed(Topic::CommentEvents, ConsumerGroup::Archiver).await?;
        let next = stored.iter().find(|position| position.partition == partition);
        let newest = bounds.end.saturating_sub(MAX_WINDOWS as u64 * WINDOW);
        let start = next.map_or(0, |position| position.offset).max(newest).max(bounds.earliest);
        let mut search = OwnerSearch::of(comment_id);
        self.search_window(partition, start..bounds.end, &mut search).await?;
        Ok(search.is_deleted.map(|is_deleted| match search.is_hidden {
            Some(true) => Some(HiddenFrom::Others),
            Some(false) | None => is_deleted.then_some(HiddenFrom::Everybody),
        }))
    }
}

/// A record about the comment that is looked for.
enum SeenRecord {
    Comment(CommentOwner),
    /// The viewers that the comment is hidden from from here on; `None` if it was restored.
    Hidden(Option<HiddenFrom>),
}

fn look(record: &Record, comment_id: CommentId) -> Option<SeenRecord> {
    match Event::decode(&record.payload).ok()? {
        Event::CommentSubmitted(event) if event.comment.comment_id == comment_id => {
            let comment = &event.comment;
            let text = (&**comment).into();
            Some(SeenRecord::Comment(CommentOwner {
                stream_id: comment.stream_id,
                user_id: comment.user_id,
                text,
                badges: comment.badges,
                is_deleted: false,
                is_hidden: event.shadow,
                is_hidden_by_decision: false,
                found_at: Some(record.position),
            }))
        }
        Event::CommentModerated(event) if event.comment_id == comment_id => {
            event.decision.hides_from().map(|from| SeenRecord::Hidden(Some(from)))
        }
        Event::CommentRestored(event) if event.comment_id == comment_id => {
            Some(SeenRecord::Hidden(None))
        }
        _ => None,
    }
}

/// Returns the target of audit entries about a comment.
pub(super) fn target_of(comment_id: CommentId) -> String {
    format!("comment {comment_id}")
}

/// Returns the reason shown to viewers.
pub(super) fn public_reason(reason: Option<&str>) -> Arc<str> {
    reason.unwrap_or(DEFAULT_REASON).into()
}
