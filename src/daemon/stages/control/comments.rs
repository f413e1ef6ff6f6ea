//! Deleting a comment, and finding one by its id alone.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use tokio::time::Instant;
use tracing::warn;

use super::cluster::Reached;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::{LogError, NewRecord, Record, Topic};
use crate::protocol::admin::{DeleteRequest, Outcome};
use crate::protocol::events::{CommentModerated, Decision, Event};
use crate::protocol::{CommentId, StreamId, UserId};

/// Offsets looked at in one step backwards through a partition.
const WINDOW: u64 = 1_024;
/// Steps over all partitions together: a quarter of a million records, seconds of the busiest event
/// and far more than an archiver that works is ever behind.
const MAX_WINDOWS: usize = 256;
/// Records older than the comment by this much end the search: nodes' clocks differ by less.
const CLOCK_SKEW_MS: u64 = 60_000;
/// What viewers are told when the operator gives no word for it.
const DEFAULT_REASON: &str = "moderator";

/// Where a comment belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owned {
    stream_id: StreamId,
    user_id: UserId,
}

impl Control {
    /// Deletes a comment for everybody. A reason that is one word (`spam`, `off_topic`) is what
    /// viewers are told; a longer one is a note for the audit log alone.
    pub async fn delete(
        &self,
        actor: &Actor,
        request: &DeleteRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let note = validate::reason(request.reason.as_deref())?;
        let comment_id = request.comment_id;
        let Owned { stream_id, user_id } = self.owner(comment_id).await?;
        let entry = self.entry(actor, "delete", format!("comment {comment_id}"), request);
        let audit_id = self.parts.metadata.audit(entry).await?;
        let rejected = CommentModerated {
            stream_id,
            comment_id,
            user_id,
            decision: Decision::Reject,
            reason: public_reason(note.as_deref()),
            timestamp: self.parts.clock.now_ms(),
            decided_by: actor.name().into(),
        };
        let deletion = rejected.deletion();
        self.publish_decision(rejected).await?;
        let base = outcome(audit_id, Reached::default(), started);
        Ok(Outcome { user_id: Some(user_id), deletion, ..base })
    }

    /// Appends a decision where viewers' order is made and, for reputation, under its user.
    pub(super) async fn publish_decision(&self, event: CommentModerated) -> Result<(), LogError> {
        let (stream_id, user_id) = (event.stream_id, event.user_id);
        let event = Event::CommentModerated(event);
        self.append(Topic::CommentEvents, stream_id.0, &event).await?;
        // The deletion stands from here on; reputation can do without one entry.
        if let Err(error) = self.append(Topic::ModerationEvents, user_id.0, &event).await {
            warn!(%user_id, %error, "a decision is missing from the user's own record");
        }
        Ok(())
    }

    pub(super) async fn append(
        &self,
        topic: Topic,
        key: u64,
        event: &Event,
    ) -> Result<(), LogError> {
        let timestamp_ms = self.parts.clock.now_ms();
        let record = NewRecord { key, timestamp_ms, payload: event.encode().into() };
        self.parts.log.append(topic, vec![record]).await.map(drop)
    }

    /// Asks the store, then the newest records of the log: the comment may be younger than the
    /// archiver, and a store that is down must not delay a deletion.
    async fn owner(&self, comment_id: CommentId) -> Result<Owned, ControlError> {
        let stored = self.parts.comments.get(comment_id).await;
        if let Ok(Some(found)) = &stored {
            return Ok(Owned { stream_id: found.stream_id, user_id: found.comment.user_id });
        }
        if let Some(owner) = self.owner_in_log(comment_id).await? {
            return Ok(owner);
        }
        stored?;
        Err(ControlError::UnknownComment(comment_id))
    }

    async fn owner_in_log(&self, comment_id: CommentId) -> Result<Option<Owned>, LogError> {
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

    /// Breaks with the owner, or with nothing once records are too old to have it before them.
    async fn search_window(
        &self,
        partition: u32,
        window: Range<u64>,
        comment_id: CommentId,
    ) -> Result<ControlFlow<Option<Owned>>, LogError> {
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

fn owner_if(record: &Record, comment_id: CommentId) -> Option<Owned> {
    match Event::decode(&record.payload) {
        Ok(Event::CommentSubmitted(event)) if event.comment.comment_id == comment_id => {
            let comment = &event.comment;
            Some(Owned { stream_id: comment.stream_id, user_id: comment.user_id })
        }
        _ => None,
    }
}

/// The stable word viewers are told.
pub(super) fn public_reason(note: Option<&str>) -> Arc<str> {
    let is_word = |note: &&str| {
        note.len() <= 32
            && note.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    note.filter(is_word).unwrap_or(DEFAULT_REASON).into()
}
