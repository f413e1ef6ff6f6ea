//! History: the events of a stream after a log offset. It serves viewers that return, and fills
//! holes in what the bus delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashSet;
use tracing::{debug, warn};

use crate::daemon::engines::StoreError;
use crate::daemon::engines::eventlog::repeats::RepeatIndex;
use crate::daemon::engines::eventlog::{LogError, SharedLog, Topic};
use crate::daemon::engines::recent::{RecentEvent, RecentPage, SharedRecentCache};
use crate::protocol::events::Event;
use crate::protocol::{CommentId, Seq, StreamId};

/// Events per page. Bounds the memory of a viewer that catches up.
const PAGE_EVENTS: usize = 512;
/// While the recent cache cannot say which comments are deleted, at most this many pages of the
/// log are searched for deletions.
const MAX_SEARCHED_PAGES: usize = 64;
/// Records per searched page.
const SEARCHED_RECORDS: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot determine which comments are deleted: {0}")]
    Recent(#[source] StoreError),
}

/// Result of reading the history after an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryRead {
    Page(RecentPage),
    /// The log has dropped everything before this offset; only the comment store still has it.
    Expired {
        before: Seq,
    },
}

/// Reads the recent cache where it reaches back far enough, and otherwise the log.
#[derive(Debug, Clone)]
pub struct History {
    recent: SharedRecentCache,
    log: SharedLog,
    repeats: RepeatIndex,
    /// Incremented whenever earlier answers become stale for new requests. Shared by all clones.
    deletions: Arc<AtomicU64>,
}

impl History {
    pub fn new(recent: SharedRecentCache, log: SharedLog) -> Self {
        let repeats = RepeatIndex::new(log.clone());
        Self { recent, log, repeats, deletions: Arc::default() }
    }

    /// To be called before viewers are sent a deletion, and when the node begins to follow a
    /// stream again whose deletions it did not receive meanwhile.
    pub(super) fn record_deletion(&self) {
        self.deletions.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns how often [`Self::record_deletion`] was called, on all clones together.
    pub(super) fn deletions(&self) -> u64 {
        self.deletions.load(Ordering::SeqCst)
    }

    /// Reads at most one page of events after `seq`. It omits comments deleted since, comments that
    /// only their sender may see, and repeats of earlier comments. `covered_to` at or below `seq`
    /// means that there is nothing yet; for offsets up to `until` this is only returned if the log
    /// agrees.
    pub async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        until: Seq,
    ) -> Result<HistoryRead, HistoryError> {
        match self.cached(stream_id, seq, until).await {
            Some(page) => Ok(HistoryRead::Page(page)),
            None => self.read_log(stream_id, seq).await,
        }
    }

    /// Reads the cache. Returns `None` if it does not reach back to `seq` or does not reach
    /// `until`.
    async fn cached(&self, stream_id: StreamId, seq: Seq, until: Seq) -> Option<RecentPage> {
        match self.recent.after(stream_id, seq, PAGE_EVENTS).await {
            // The cache may have missed a range, or end at the last record of this stream while
            // the partition has grown for others. That is not the end of the stream.
            Ok(page) => page.filter(|page| page.covered_to > seq || seq >= until),
            Err(error) => {
                debug!(%stream_id, %error, "recent cache unavailable; reading the log");
                None
            }
        }
    }

    /// Reads the next page for a returning viewer. Like [`Self::after`], but events below `floor`
    /// that the cache has dropped are not read from the log.
    pub(super) async fn after_for_viewer(
        &self,
        stream_id: StreamId,
        after: Seq,
        until: Seq,
        floor: Seq,
    ) -> Result<HistoryRead, HistoryError> {
        match self.cached(stream_id, after, until).await {
            Some(page) => Ok(HistoryRead::Page(page)),
            None if after < floor => Ok(HistoryRead::Expired { before: floor + 1 }),
            None => self.read_log(stream_id, after).await,
        }
    }

    /// Reports whether an offset is beyond the end of the log. A viewer can have such a position
    /// when the log has lost its end.
    pub(super) async fn is_beyond_end(&self, stream_id: StreamId, seq: Seq) -> bool {
        let partition = self.log.partition_of(Topic::CommentEvents, stream_id.0);
        match self.log.bounds(Topic::CommentEvents, partition).await {
            Ok(bounds) => seq >= bounds.end.max(1),
            Err(error) => {
                warn!(%stream_id, %error, "end of the log unknown");
                false
            }
        }
    }

    async fn read_log(&self, stream_id: StreamId, seq: Seq) -> Result<HistoryRead, HistoryError> {
        let topic = Topic::CommentEvents;
        let mut page = loop {
            match self.log.read(topic, stream_id.0, seq.saturating_add(1), PAGE_EVENTS).await {
                Err(LogError::Expired { earliest, .. }) => {
                    return Ok(HistoryRead::Expired { before: earliest });
                }
                // A call reads a bounded number of records, so the offset may not be reached yet.
                // The next call continues.
                Ok(page) if !page.at_end && page.next_offset <= seq.saturating_add(1) => {}
                other => break other?,
            }
        };
        self.repeats.remove_repeats(&mut page).await?;
        let events: Vec<_> = page
            .records
            .iter()
            .filter_map(|record| visible(record.position.offset, &record.payload))
            .collect();
        let events = self.without_deleted(stream_id, events, page.next_offset).await?;
        Ok(HistoryRead::Page(RecentPage { events, covered_to: page.next_offset.saturating_sub(1) }))
    }

    /// Removes deleted comments from a page of the log. Their deletions may lie before
    /// `next_offset` or after it.
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
                debug!(%stream_id, %error, "recent cache unavailable; searching the log for deletions");
                let later = self.deleted_after(stream_id, next_offset, error).await?;
                later.into_iter().chain(events.iter().filter_map(deleted_id)).collect()
            }
        };
        events.retain(|event| comment_id(event).is_none_or(|id| !deleted.contains(&id)));
        Ok(events)
    }

    /// Returns the comments deleted by records at or after `offset`. Fails if more records follow
    /// than are searched: showing a deleted comment would be worse than a gap.
    async fn deleted_after(
        &self,
        stream_id: StreamId,
        mut offset: u64,
        cause: StoreError,
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
        Err(HistoryError::Recent(cause))
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

/// Decodes a record. Returns `None` for comments that only their sender may see.
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
