//! The comments that the log has dropped already, from the comment store: for viewers that were
//! away for longer than the log keeps records, on a stream in which little was said meanwhile.
//!
//! Comments only: a deletion that the log has dropped is not told again. The number of pages that
//! are read for one page of a viewer is bounded; what lies further back is a gap.

use tracing::debug;

use super::{HistoryRead, LogEvent, PAGE_EVENTS, decode};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::eventlog::{SharedLog, Topic};
use crate::daemon::engines::recent::{DeletionState, RecentEvent, RecentPage, SharedRecentCache};
use crate::protocol::{CommentId, Seq, SequencedComment, StreamId};

/// Pages of the store that are read for one page of a viewer.
const MAX_PAGES: usize = 8;

/// The stores that [`read`] needs.
#[derive(Debug, Clone)]
pub(super) struct StoredSources {
    pub(super) comments: SharedCommentStore,
    pub(super) recent: SharedRecentCache,
    pub(super) log: SharedLog,
}

/// Returns the first page of the comments after `after` and before `before`, where the log begins.
/// [`HistoryRead::Expired`] up to the first comment that is returned later if there are too many,
/// and up to `before` if the store cannot be read: then they are a gap.
pub(super) async fn read(
    sources: &StoredSources,
    stream_id: StreamId,
    after: Seq,
    before: Seq,
) -> HistoryRead {
    match read_range(sources, stream_id, after, before).await {
        Ok(read) => read,
        Err(error) => {
            debug!(%stream_id, %error, "comment store unavailable; returning viewers get a gap");
            HistoryRead::Expired { before }
        }
    }
}

async fn read_range(
    sources: &StoredSources,
    stream_id: StreamId,
    after: Seq,
    before: Seq,
) -> Result<HistoryRead, StoreError> {
    let mut cursor = first_in_log(sources, stream_id, before).await;
    let mut last = cursor.map_or(Seq::MAX, |(_, seq)| seq);
    let mut found: Vec<SequencedComment> = Vec::new();
    let mut is_whole = false;
    for _ in 0..MAX_PAGES {
        let place = cursor.map(|(comment_id, _)| comment_id);
        let page = sources.comments.page(stream_id, place, PAGE_EVENTS).await?;
        is_whole = page.len() < PAGE_EVENTS;
        for comment in page {
            // A number that rises belongs to an older log.
            if comment.seq <= after || comment.seq > last {
                is_whole = true;
                break;
            }
            last = comment.seq;
            cursor = Some((comment.comment_id, comment.seq));
            if comment.seq < before {
                found.push(comment);
            }
        }
        if is_whole {
            break;
        }
    }
    found.reverse();
    // A viewer that was sent a gap up to here has nothing else to wait for.
    is_whole |= found.first().is_some_and(|oldest| oldest.seq == after + 1);
    if !is_whole {
        return Ok(match found.first() {
            Some(oldest) => HistoryRead::Expired { before: oldest.seq },
            None => HistoryRead::Expired { before },
        });
    }
    let covered_to = match found.get(PAGE_EVENTS) {
        Some(next) => next.seq - 1,
        None => before.saturating_sub(1),
    };
    found.truncate(PAGE_EVENTS);
    let events = visible(sources, stream_id, found).await?;
    Ok(HistoryRead::Page(RecentPage { events, covered_to }))
}

/// Returns the first comment of the stream that the log still has, if it is among its next records.
async fn first_in_log(
    sources: &StoredSources,
    stream_id: StreamId,
    from: Seq,
) -> Option<(CommentId, Seq)> {
    let page = sources.log.read(Topic::CommentEvents, stream_id.0, from, PAGE_EVENTS).await.ok()?;
    page.records.iter().find_map(|record| match decode(record.position.offset, &record.payload)? {
        LogEvent::Comment { comment, .. } => Some((comment.comment_id, comment.seq)),
        _ => None,
    })
}

/// Removes comments whose deletion the archiver has not written yet.
async fn visible(
    sources: &StoredSources,
    stream_id: StreamId,
    comments: Vec<SequencedComment>,
) -> Result<Vec<RecentEvent>, StoreError> {
    let ids: Vec<_> = comments.iter().map(|comment| comment.comment_id).collect();
    let states = sources.recent.deletion_states(stream_id, &ids).await?;
    let events = comments.into_iter().zip(states).filter_map(|(comment, state)| match state {
        DeletionState::Deleted => None,
        DeletionState::HiddenFromOthers => Some(RecentEvent::Own(comment)),
        DeletionState::NotDeleted | DeletionState::Restored => Some(RecentEvent::Comment(comment)),
    });
    Ok(events.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::engines::comments::ArchivedComment;
    use crate::daemon::engines::comments::conformance::WriteRows as _;
    use crate::daemon::engines::comments::in_memory::InMemoryComments;
    use crate::daemon::engines::eventlog::EventLog as _;
    use crate::daemon::testing::comments::{
        SAMPLE_STREAM as STREAM, comment_record, sample_comment, sample_comment_id,
    };
    use crate::daemon::testing::event_log::InMemoryLog;
    use crate::daemon::testing::recent::TestRecent;

    /// A store with comments at these places, and a log that begins at one of them.
    async fn sources(places: std::ops::Range<Seq>, log_from: Seq) -> StoredSources {
        let store = InMemoryComments::default();
        let row = |seq| {
            let comment = Arc::new(sample_comment(seq));
            ArchivedComment { comment, seq, shadow: false }
        };
        store.write_rows(&places.clone().map(row).collect::<Vec<_>>(), &[]).await.unwrap();
        let log = InMemoryLog::shaped(1, log_from);
        let kept = (log_from..places.end).map(|n| comment_record(sample_comment(n)));
        log.append(Topic::CommentEvents, kept.collect()).await.unwrap();
        StoredSources {
            comments: Arc::new(store),
            recent: Arc::new(TestRecent::default()),
            log: Arc::new(log),
        }
    }

    fn seqs(read: HistoryRead) -> (Vec<Seq>, Seq) {
        match read {
            HistoryRead::Page(page) => {
                (page.events.iter().map(RecentEvent::seq).collect(), page.covered_to)
            }
            HistoryRead::Expired { before } => panic!("a gap up to {before}"),
        }
    }

    #[tokio::test]
    async fn dropped_records_come_from_the_store() {
        let sources = sources(1..30, 20).await;
        assert_eq!(seqs(read(&sources, STREAM, 14, 20).await), ((15..20).collect(), 19));
        assert_eq!(seqs(read(&sources, STREAM, 19, 20).await), (vec![], 19));
        sources.recent.add_tombstone(STREAM, sample_comment_id(16), 40).await.unwrap();
        assert_eq!(seqs(read(&sources, STREAM, 14, 20).await), (vec![15, 17, 18, 19], 19));
    }

    #[tokio::test]
    async fn too_many_dropped_records_begin_with_a_gap() {
        let most = (PAGE_EVENTS * MAX_PAGES) as Seq;
        let sources = sources(1..most + 101, most + 90).await;
        let gap = read(&sources, STREAM, 10, most + 90).await;
        let HistoryRead::Expired { before } = gap else { panic!("{gap:?}") };
        assert_eq!(before, 90);
        let (first, covered_to) = seqs(read(&sources, STREAM, before - 1, most + 90).await);
        assert_eq!((first[0], first.len()), (before, PAGE_EVENTS));
        assert_eq!(covered_to, before + PAGE_EVENTS as Seq - 1);
    }
}
