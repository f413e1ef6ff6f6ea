//! History: the events of a stream after a log offset. It serves viewers that return, and fills
//! holes in what the bus delivered.

mod stored;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashMap;
use tracing::{debug, warn};

use self::stored::StoredSources;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::directory::Delays;
use crate::daemon::engines::eventlog::repeats::RepeatIndex;
use crate::daemon::engines::eventlog::{LogError, SharedLog, Topic};
use crate::daemon::engines::recent::{DeletionState, RecentEvent, RecentPage, SharedRecentCache};
use crate::protocol::comment::SequencedComment;
use crate::protocol::events::{Event, HiddenFrom, Removal};
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

/// Reads the recent cache where it reaches back far enough, otherwise the log, and for viewers what
/// the log has dropped from the comment store.
#[derive(Debug, Clone)]
pub struct History {
    recent: SharedRecentCache,
    log: SharedLog,
    repeats: RepeatIndex,
    /// `None` shows every comment at once.
    delays: Option<Delays>,
    /// `None` makes a gap of what the log has dropped.
    stored: Option<StoredSources>,
    /// Incremented whenever earlier answers become stale for new requests. Shared by all clones.
    changes: Arc<AtomicU64>,
}

impl History {
    pub fn new(recent: SharedRecentCache, log: SharedLog) -> Self {
        let repeats = RepeatIndex::new(log.clone());
        Self { recent, log, repeats, delays: None, stored: None, changes: Arc::default() }
    }

    /// Returns the same, which reads from this store what the log has dropped.
    pub fn with_store(self, comments: SharedCommentStore) -> Self {
        let sources =
            StoredSources { comments, recent: self.recent.clone(), log: self.log.clone() };
        Self { stored: Some(sources), ..self }
    }

    /// Returns the same, which ends pages before comments that a message delay holds back.
    pub fn with_delays(self, delays: Delays) -> Self {
        Self { delays: Some(delays), ..self }
    }

    /// To be called before viewers are sent a deletion, when one is taken back, and when the node
    /// begins to follow a stream again whose deletions it did not receive meanwhile.
    pub(super) fn record_change(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns how often [`Self::record_change`] was called, on all clones together.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Reads at most one page of events after `seq`. It omits comments deleted since, deletions
    /// taken back since, and repeats of earlier comments. Comments that only their author may see
    /// are [`RecentEvent::Own`].
    /// `covered_to` at or below `seq` means that there is nothing yet; for offsets up to `until`
    /// this is only returned if the log agrees.
    pub async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        until: Seq,
    ) -> Result<HistoryRead, HistoryError> {
        let read = match self.cached(stream_id, seq, until).await {
            Some(page) => HistoryRead::Page(page),
            None => self.read_log(stream_id, seq).await?,
        };
        Ok(self.without_undue(stream_id, read, until))
    }

    /// Ends a page before the first comment that is not due, if it lies beyond `until`: what lies
    /// before was broadcast.
    fn without_undue(&self, stream_id: StreamId, read: HistoryRead, until: Seq) -> HistoryRead {
        let Some(delays) = &self.delays else { return read };
        let mut page = match read {
            HistoryRead::Page(page) => page,
            expired @ HistoryRead::Expired { .. } => return expired,
        };
        let is_undue = |event: &RecentEvent| match event {
            RecentEvent::Comment(comment) | RecentEvent::Own(comment) => {
                comment.seq > until && delays.left(stream_id, comment.created_at).is_some()
            }
            RecentEvent::Deleted { .. } => false,
        };
        if let Some(at) = page.events.iter().position(is_undue) {
            page.covered_to = page.events[at].seq().saturating_sub(1);
            page.events.truncate(at);
        }
        HistoryRead::Page(page)
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
    /// that the cache has dropped are not read from the log, and later ones that the log has
    /// dropped are read from the comment store.
    pub(super) async fn after_for_viewer(
        &self,
        stream_id: StreamId,
        after: Seq,
        until: Seq,
        floor: Seq,
    ) -> Result<HistoryRead, HistoryError> {
        let read = match self.cached(stream_id, after, until).await {
            Some(page) => HistoryRead::Page(page),
            None if after < floor => HistoryRead::Expired { before: floor + 1 },
            None => match (self.read_log(stream_id, after).await?, &self.stored) {
                (HistoryRead::Expired { before }, Some(sources)) => {
                    stored::read(sources, stream_id, after, before).await
                }
                (read, _) => read,
            },
        };
        Ok(self.without_undue(stream_id, read, until))
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
        let records = page.records.iter();
        let decoded: Vec<_> =
            records.filter_map(|record| decode(record.position.offset, &record.payload)).collect();
        let events = self.visible(stream_id, decoded, page.next_offset).await?;
        Ok(HistoryRead::Page(RecentPage { events, covered_to: page.next_offset.saturating_sub(1) }))
    }

    /// Removes deleted comments, and deletions that were taken back, from a page of the log. What
    /// deleted or restored a comment may lie before `next_offset` or after it.
    async fn visible(
        &self,
        stream_id: StreamId,
        decoded: Vec<LogEvent>,
        next_offset: u64,
    ) -> Result<Vec<RecentEvent>, HistoryError> {
        let ids: Vec<_> = decoded.iter().map(LogEvent::comment_id).collect();
        let states: AHashMap<CommentId, DeletionState> = match self
            .recent
            .deletion_states(stream_id, &ids)
            .await
        {
            Ok(states) => ids.into_iter().zip(states).collect(),
            Err(error) => {
                debug!(%stream_id, %error, "recent cache unavailable; searching the log for deletions");
                let mut states = AHashMap::new();
                decoded.iter().for_each(|event| event.note(&mut states));
                self.search_on(stream_id, next_offset, &mut states, error).await?;
                states
            }
        };
        let events = decoded.into_iter().filter_map(|event| {
            let state = states.get(&event.comment_id()).copied();
            match event {
                LogEvent::Comment { .. } if state == Some(DeletionState::Deleted) => None,
                LogEvent::Comment { comment, shadow } => {
                    let is_own = shadow || state == Some(DeletionState::HiddenFromOthers);
                    let of = if is_own { RecentEvent::Own } else { RecentEvent::Comment };
                    Some(of(comment))
                }
                LogEvent::Deleted { .. } if state == Some(DeletionState::Restored) => None,
                LogEvent::Deleted { seq, deletion } => Some(RecentEvent::Deleted { seq, deletion }),
                LogEvent::Restored(_) => None,
            }
        });
        Ok(events.collect())
    }

    /// Notes what records at or after `offset` deleted and restored. Fails if more records follow
    /// than are searched: showing a deleted comment would be worse than a gap.
    async fn search_on(
        &self,
        stream_id: StreamId,
        mut offset: u64,
        states: &mut AHashMap<CommentId, DeletionState>,
        cause: StoreError,
    ) -> Result<(), HistoryError> {
        for _ in 0..MAX_SEARCHED_PAGES {
            let page =
                self.log.read(Topic::CommentEvents, stream_id.0, offset, SEARCHED_RECORDS).await?;
            for record in &page.records {
                if let Some(event) = decode(record.position.offset, &record.payload) {
                    event.note(states);
                }
            }
            if page.at_end {
                return Ok(());
            }
            offset = page.next_offset;
        }
        Err(HistoryError::Recent(cause))
    }
}

/// A record of the log that concerns viewers.
#[derive(Debug)]
enum LogEvent {
    Comment {
        comment: SequencedComment,
        /// Only its author may see it.
        shadow: bool,
    },
    Deleted {
        seq: Seq,
        deletion: Removal,
    },
    Restored(CommentId),
}

impl LogEvent {
    fn comment_id(&self) -> CommentId {
        match self {
            Self::Comment { comment, .. } => comment.comment_id,
            Self::Deleted { deletion, .. } => deletion.comment_id,
            Self::Restored(comment_id) => *comment_id,
        }
    }

    /// Notes what became of a comment. The last record counts, but what was deleted for everybody
    /// stays deleted when it is hidden from others.
    fn note(&self, states: &mut AHashMap<CommentId, DeletionState>) {
        match self {
            Self::Comment { .. } => {}
            Self::Deleted { deletion, .. } => {
                let state = states.entry(deletion.comment_id).or_insert(DeletionState::NotDeleted);
                *state = match (*state, deletion.hidden_from()) {
                    (DeletionState::Deleted, _) | (_, HiddenFrom::Everybody) => {
                        DeletionState::Deleted
                    }
                    (_, HiddenFrom::Others) => DeletionState::HiddenFromOthers,
                };
            }
            Self::Restored(comment_id) => {
                states.insert(*comment_id, DeletionState::Restored);
            }
        }
    }
}

/// Decodes a record. Returns `None` for one that viewers are told nothing of.
fn decode(seq: Seq, payload: &[u8]) -> Option<LogEvent> {
    match Event::decode(payload).ok()? {
        Event::CommentSubmitted(event) => {
            let comment = event.comment.sequenced(seq);
            Some(LogEvent::Comment { comment, shadow: event.shadow })
        }
        Event::CommentModerated(event) => {
            event.removal().map(|deletion| LogEvent::Deleted { seq, deletion })
        }
        Event::CommentRestored(event) => Some(LogEvent::Restored(event.comment_id)),
    }
}

#[cfg(test)]
mod tests;
