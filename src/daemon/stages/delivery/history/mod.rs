//! What happened on a stream after a place in its order: for viewers who come back and for holes in
//! what the bus brought.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashSet;
use tracing::{debug, warn};

use crate::daemon::engines::StoreError;
use crate::daemon::engines::eventlog::{LogError, SharedLog, Topic};
use crate::daemon::engines::recent::{RecentEvent, RecentPage, SharedRecentCache};
use crate::protocol::events::Event;
use crate::protocol::{CommentId, Seq, StreamId};

/// Events of one page: bounds the memory of a viewer that is catching up.
const PAGE_EVENTS: usize = 512;
/// Pages of the log that are searched for deletions of what a page shows, while the recent cache
/// cannot say what is deleted.
const MAX_SEARCHED_PAGES: usize = 64;
const SEARCHED_RECORDS: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("what is deleted is not known: {0}")]
    Recent(#[source] StoreError),
}

/// What is known of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Past {
    Kept(RecentPage),
    /// The log no longer has what lies before this place; only the comment store does.
    Expired {
        before: Seq,
    },
}

/// The past of streams: the recent cache where it reaches back far enough, else the log.
#[derive(Debug, Clone)]
pub struct History {
    recent: SharedRecentCache,
    log: SharedLog,
    /// Counts what makes answers of before unfit for who asks from now on.
    deletions: Arc<AtomicU64>,
}

impl History {
    pub fn new(recent: SharedRecentCache, log: SharedLog) -> Self {
        Self { recent, log, deletions: Arc::default() }
    }

    /// To be called before viewers are told of a deletion, and when a stream whose deletions were not
    /// heard is followed again.
    pub(super) fn note_deletion(&self) {
        self.deletions.fetch_add(1, Ordering::SeqCst);
    }

    /// How often [`Self::note_deletion`] was called, on all clones together.
    pub(super) fn deletions(&self) -> u64 {
        self.deletions.load(Ordering::SeqCst)
    }

    /// What happened after `seq`: at most a page, without comments deleted since and without those
    /// that only their sender may see. `covered_to` below `seq + 1` means that there is nothing yet;
    /// it says so of places up to `until` only if the log agrees.
    pub async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        until: Seq,
    ) -> Result<Past, HistoryError> {
        match self.cached(stream_id, seq, until).await {
            Some(page) => Ok(Past::Kept(page)),
            None => self.read_log(stream_id, seq).await,
        }
    }

    /// The cache's answer, unless it does not reach back that far, or does not reach `until`.
    async fn cached(&self, stream_id: StreamId, seq: Seq, until: Seq) -> Option<RecentPage> {
        match self.recent.after(stream_id, seq, PAGE_EVENTS).await {
            // A cache that missed a range, or that ends at the stream's last record while the
            // order has gone on for others, must not pass for the end.
            Ok(page) => page.filter(|page| page.covered_to > seq || seq >= until),
            Err(error) => {
                debug!(%stream_id, %error, "recent cache does not answer; reading the log");
                None
            }
        }
    }

    /// What a returning viewer is handed next: as [`Self::after`], but what the cache has forgotten
    /// below `floor` is not looked for in the log.
    pub(super) async fn missed(
        &self,
        stream_id: StreamId,
        after: Seq,
        until: Seq,
        floor: Seq,
    ) -> Result<Past, HistoryError> {
        match self.cached(stream_id, after, until).await {
            Some(page) => Ok(Past::Kept(page)),
            None if after < floor => Ok(Past::Expired { before: floor + 1 }),
            None => self.read_log(stream_id, after).await,
        }
    }

    /// Whether the log has no such place yet: a position from a log that lost its end.
    pub(super) async fn is_beyond_end(&self, stream_id: StreamId, seq: Seq) -> bool {
        let partition = self.log.partition_of(Topic::CommentEvents, stream_id.0);
        match self.log.bounds(Topic::CommentEvents, partition).await {
            Ok(bounds) => seq >= bounds.end.max(1),
            Err(error) => {
                warn!(%stream_id, %error, "the end of the log is not known");
                false
            }
        }
    }

    async fn read_log(&self, stream_id: StreamId, seq: Seq) -> Result<Past, HistoryError> {
        let topic = Topic::CommentEvents;
        let page = loop {
            match self.log.read(topic, stream_id.0, seq.saturating_add(1), PAGE_EVENTS).await {
                Err(LogError::Expired { earliest, .. }) => {
                    return Ok(Past::Expired { before: earliest });
                }
                // Work on one call is bounded: asked again, the log goes on looking for the place.
                Ok(page) if !page.at_end && page.next_offset <= seq.saturating_add(1) => {}
                other => break other?,
            }
        };
        let events: Vec<_> = page
            .records
            .iter()
            .filter_map(|record| visible(record.position.offset, &record.payload))
            .collect();
        let events = self.without_deleted(stream_id, events, page.next_offset).await?;
        Ok(Past::Kept(RecentPage { events, covered_to: page.next_offset.saturating_sub(1) }))
    }

    /// Leaves out comments of a page of the log that were deleted, before `next_offset` or later.
    async fn without_deleted(
        &self,
        stream_id: StreamId,
        mut events: Vec<RecentEvent>,
        next_offset: u64,
    ) -> Result<Vec<RecentEvent>, HistoryError> {
        let ids: Vec<_> = events.iter().filter_map(comment_id).collect();
        let deleted: AHashSet<CommentId> = match self.recent.are_deleted(stream_id, &ids).await {
            Ok(deleted_flags) => {
                let known = ids.into_iter().zip(deleted_flags);
                known.filter(|(_, is_deleted)| *is_deleted).map(|(id, _)| id).collect()
            }
            Err(error) => {
                debug!(%stream_id, %error, "looking for deletions in the log");
                let later = self.deleted_after(stream_id, next_offset, error).await?;
                later.into_iter().chain(events.iter().filter_map(deleted_id)).collect()
            }
        };
        events.retain(|event| comment_id(event).is_none_or(|id| !deleted.contains(&id)));
        Ok(events)
    }

    /// Every comment deleted by a record at or behind `offset`. A stream with more behind it than is
    /// searched is an error: to show a deleted comment would be worse than a gap.
    async fn deleted_after(
        &self,
        stream_id: StreamId,
        mut offset: u64,
        why: StoreError,
    ) -> Result<Vec<CommentId>, HistoryError> {
        let mut deleted = Vec::new();
        for _ in 0..MAX_SEARCHED_PAGES {
            let page =
                self.log.read(Topic::CommentEvents, stream_id.0, offset, SEARCHED_RECORDS).await?;
            let events = page.records.iter().filter_map(|r| visible(r.position.offset, &r.payload));
            deleted.extend(events.filter_map(|event| deleted_id(&event)));
            if page.at_end {
                return Ok(deleted);
            }
            offset = page.next_offset;
        }
        Err(HistoryError::Recent(why))
    }
}

fn comment_id(event: &RecentEvent) -> Option<CommentId> {
    match event {
        RecentEvent::Comment(comment) => Some(comment.comment_id),
        RecentEvent::Deleted { .. } => None,
    }
}

fn deleted_id(event: &RecentEvent) -> Option<CommentId> {
    match event {
        RecentEvent::Deleted { deletion, .. } => Some(deletion.comment_id),
        RecentEvent::Comment(_) => None,
    }
}

fn visible(seq: Seq, payload: &[u8]) -> Option<RecentEvent> {
    match Event::decode(payload).ok()? {
        Event::CommentSubmitted(event) if event.shadow => None,
        Event::CommentSubmitted(event) => Some(RecentEvent::Comment(event.comment.sequenced(seq))),
        Event::CommentModerated(event) => {
            event.deletion().map(|deletion| RecentEvent::Deleted { seq, deletion })
        }
    }
}

#[cfg(test)]
mod tests;
