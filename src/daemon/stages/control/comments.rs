//! Deletes a comment, found by its id.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use tokio::time::Instant;

use super::cluster::CommandResults;
use super::events::pending;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::{LogError, Record, Topic};
use crate::protocol::admin::{DeleteRequest, Outcome, audit_action};
use crate::protocol::comment::Deletion;
use crate::protocol::events::{CommentModerated, Decision, Event, ModeratedText};
use crate::protocol::{CommentId, StreamId, UserId};

/// Offsets searched per step, backwards through a partition.
pub(super) const WINDOW: u64 = 1_024;
/// The most steps, over all partitions: a quarter of a million records. That is seconds of the
/// busiest event, and far more than a working archiver lags behind.
pub(super) const MAX_WINDOWS: usize = 256;
/// The search ends at records this much older than the comment. The clocks of nodes differ by less.
pub(super) const CLOCK_SKEW_MS: u64 = 60_000;
/// The reason shown to viewers when the operator gives none.
const DEFAULT_REASON: &str = "moderator";

/// The stream and the user of a comment, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommentOwner {
    pub(super) stream_id: StreamId,
    pub(super) user_id: UserId,
    pub(super) text: ModeratedText,
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
        let started = Instant::now();
        validate::public_word(request.reason.as_deref())?;
        validate::operator_note(request.note.as_deref())?;
        let owner = self.owner(request.comment_id).await?;
        let user_id = owner.user_id;
        let deleted = self.delete_owned(actor, request, owner).await?;
        let base = outcome(deleted.audit_id, CommandResults::default(), started);
        Ok(Outcome { user_id: Some(user_id), deletion: deleted.deletion, ..base })
    }

    /// Deletes a comment whose owner is known. The request is valid.
    pub(super) async fn delete_owned(
        &self,
        actor: &Actor,
        request: &DeleteRequest,
        CommentOwner { stream_id, user_id, text }: CommentOwner,
    ) -> Result<DeletedComment, ControlError> {
        let reason = validate::public_word(request.reason.as_deref())?;
        let comment_id = request.comment_id;
        let entry =
            self.entry(actor, audit_action::DELETE, format!("comment {comment_id}"), request);
        let rejected = CommentModerated {
            stream_id,
            comment_id,
            user_id,
            decision: Decision::Reject,
            reason: public_reason(reason),
            timestamp: self.parts.clock.now_ms(),
            decided_by: actor.name().into(),
            text: Some(text),
        };
        let deletion = rejected.deletion();
        let event = Event::CommentModerated(rejected);
        let audit_id = self.parts.metadata.audit_with_event(pending(&event), entry).await?;
        self.publish(audit_id, event).await?;
        Ok(DeletedComment { audit_id, deletion })
    }

    /// Looks in the store, then in the newest records of the log: the comment may not be archived
    /// yet, and a store that is down must not delay a deletion.
    async fn owner(&self, comment_id: CommentId) -> Result<CommentOwner, ControlError> {
        let stored = self.parts.comments.get(comment_id).await;
        if let Ok(Some(found)) = &stored {
            let comment = &found.comment;
            let text =
                ModeratedText { name: comment.name.clone(), message: comment.message.clone() };
            return Ok(CommentOwner { stream_id: found.stream_id, user_id: comment.user_id, text });
        }
        if let Some(owner) = self.owner_in_log(comment_id).await? {
            return Ok(owner);
        }
        stored?;
        Err(ControlError::UnknownComment(comment_id))
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
            let mut end = bounds.end;
            for _ in 0..windows_each {
                let start = end.saturating_sub(WINDOW).max(bounds.earliest);
                match self.search_window(partition, start..end, comment_id).await? {
                    ControlFlow::Break(found @ Some(_)) => return Ok(found),
                    ControlFlow::Break(None) => break,
                    ControlFlow::Continue(()) if start == bounds.earliest => break,
                    ControlFlow::Continue(()) => end = start,
                }
            }
        }
        Ok(None)
    }

    /// Breaks with the owner, or with `None` when the records are too old for the comment to be
    /// before them.
    async fn search_window(
        &self,
        partition: u32,
        window: Range<u64>,
        comment_id: CommentId,
    ) -> Result<ControlFlow<Option<CommentOwner>>, LogError> {
        let oldest_ms = comment_id.unix_ms().saturating_sub(CLOCK_SKEW_MS);
        let mut too_old = false;
        let mut pages = pin!(pages(&self.parts.log, Topic::CommentEvents, partition, window));
        while let Some(page) = pages.try_next().await? {
            if let Some(owner) = page.records.iter().find_map(|record| owner_if(record, comment_id))
            {
                return Ok(ControlFlow::Break(Some(owner)));
            }
            too_old |= page.records.first().is_some_and(|first| first.timestamp_ms < oldest_ms);
        }
        Ok(if too_old { ControlFlow::Break(None) } else { ControlFlow::Continue(()) })
    }
}

fn owner_if(record: &Record, comment_id: CommentId) -> Option<CommentOwner> {
    match Event::decode(&record.payload) {
        Ok(Event::CommentSubmitted(event)) if event.comment.comment_id == comment_id => {
            let comment = &event.comment;
            let text = (&**comment).into();
            Some(CommentOwner { stream_id: comment.stream_id, user_id: comment.user_id, text })
        }
        _ => None,
    }
}

/// Returns the reason shown to viewers.
pub(super) fn public_reason(reason: Option<&str>) -> Arc<str> {
    reason.unwrap_or(DEFAULT_REASON).into()
}
