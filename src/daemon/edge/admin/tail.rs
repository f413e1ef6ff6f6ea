//! Follows one stream of the event log for an operator.

use std::time::Duration;

use tracing::{debug, warn};

use crate::daemon::engines::eventlog::repeats::RepeatIndex;
use crate::daemon::engines::eventlog::{LogError, Page, Record, SharedLog, Topic};
use crate::protocol::StreamId;
use crate::protocol::admin::{TailComment, TailItem};
use crate::protocol::events::Event;

/// The time between two reads at the end of the log.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The pause after a failed read.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The most records per read.
const PAGE_RECORDS: usize = 256;
/// A reader further behind than this, in offsets of the partition, is too slow and skips.
const MAX_BEHIND: u64 = 10_000;
/// The most records per read while skipping.
const SKIP_RECORDS: u64 = 4_096;

/// A position in a stream that follows the log.
#[derive(Debug)]
pub(super) struct Tail {
    log: SharedLog,
    repeats: RepeatIndex,
    key: u64,
    next_offset: u64,
}

/// The items of one read.
struct TailPage {
    items: Vec<TailItem>,
    at_end: bool,
}

impl Tail {
    /// Begins with the next record that is appended.
    pub(super) async fn from_end(log: SharedLog, stream_id: StreamId) -> Result<Self, LogError> {
        let key = stream_id.0;
        let partition = log.partition_of(Topic::CommentEvents, key);
        let next_offset = log.bounds(Topic::CommentEvents, partition).await?.end;
        let repeats = RepeatIndex::new(log.clone());
        Ok(Self { log, repeats, key, next_offset })
    }

    /// Waits for the next items, at least one. Returns `None` once the log is closed.
    pub(super) async fn next(&mut self) -> Option<Vec<TailItem>> {
        loop {
            match self.advance().await {
                Ok(page) if !page.items.is_empty() => return Some(page.items),
                Ok(page) if page.at_end => tokio::time::sleep(POLL_INTERVAL).await,
                Ok(_) => {}
                Err(LogError::Closed) => return None,
                Err(LogError::Expired { earliest, .. }) if earliest > self.next_offset => {
                    // It is unknown how many of the expired records were of this stream.
                    let items = earliest - self.next_offset;
                    self.next_offset = earliest;
                    return Some(vec![TailItem::Missed { items }]);
                }
                Err(error) => {
                    warn!(%error, "cannot read a stream; retrying");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn advance(&mut self) -> Result<TailPage, LogError> {
        let missed = self.skip_if_behind().await?;
        let offset = self.next_offset;
        let mut page = self.read(PAGE_RECORDS).await?;
        if let Err(error) = self.repeats.remove_repeats(&mut page).await {
            self.next_offset = offset;
            return Err(error);
        }
        let mut items = Vec::with_capacity(page.records.len() + 1);
        if missed > 0 {
            items.push(TailItem::Missed { items: missed });
        }
        items.extend(page.records.iter().filter_map(item));
        Ok(TailPage { items, at_end: page.at_end })
    }

    /// Skips the records that a slow reader will not see. Returns their number.
    async fn skip_if_behind(&mut self) -> Result<u64, LogError> {
        let partition = self.log.partition_of(Topic::CommentEvents, self.key);
        let end = self.log.bounds(Topic::CommentEvents, partition).await?.end;
        if end.saturating_sub(self.next_offset) <= MAX_BEHIND {
            return Ok(0);
        }
        let resume_at = end - PAGE_RECORDS as u64;
        let mut missed = 0;
        while self.next_offset < resume_at {
            let max_records = (resume_at - self.next_offset).min(SKIP_RECORDS) as usize;
            let before = self.next_offset;
            missed += self.read(max_records).await?.records.len() as u64;
            if self.next_offset <= before {
                break;
            }
        }
        Ok(missed)
    }

    async fn read(&mut self, max_records: usize) -> Result<Page, LogError> {
        let page =
            self.log.read(Topic::CommentEvents, self.key, self.next_offset, max_records).await?;
        self.next_offset = page.next_offset;
        Ok(page)
    }
}

fn item(record: &Record) -> Option<TailItem> {
    match Event::decode(&record.payload) {
        Ok(Event::CommentSubmitted(event)) => {
            let comment = event.comment.sequenced(record.position.offset);
            Some(TailItem::Comment(TailComment { comment, shadow: event.shadow }))
        }
        Ok(Event::CommentModerated(event)) => Some(TailItem::Moderated {
            comment_id: event.comment_id,
            user_id: event.user_id,
            decision: event.decision,
            reason: event.reason.as_ref().to_owned(),
            decided_by: event.decided_by.as_ref().to_owned(),
            timestamp: event.timestamp,
        }),
        Ok(Event::CommentRestored(event)) => Some(TailItem::Restored {
            comment_id: event.comment_id,
            user_id: event.user_id,
            restored_by: event.restored_by.as_ref().to_owned(),
            timestamp: event.timestamp,
        }),
        Err(error) => {
            debug!(offset = record.position.offset, %error, "skipped a record that is not an event");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::control::fakes::{STARTED_MS, World, submitted};

    fn seqs(items: &[TailItem]) -> Vec<u64> {
        let seq = |item: &TailItem| match item {
            TailItem::Comment(item) => item.comment.seq,
            other => panic!("no comment: {other:?}"),
        };
        items.iter().map(seq).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_tail_begins_at_the_end_and_shows_one_stream() {
        let world = World::new().await;
        world.comment(1, "before");
        let mut tail = Tail::from_end(world.log.clone(), StreamId(1)).await.unwrap();
        world.comment(2, "after");
        let other = Event::CommentSubmitted(submitted(StreamId(3), 3, "same partition"));
        world.log.put(Topic::CommentEvents, 3, STARTED_MS, other.encode());
        world.comment(4, "later");
        assert_eq!(seqs(&tail.next().await.unwrap()), [1, 3]);
        let waits = tokio::time::timeout(Duration::from_secs(5), tail.next()).await;
        assert!(waits.is_err(), "nothing more has happened");
        world.comment(5, "at last");
        assert_eq!(seqs(&tail.next().await.unwrap()), [4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_learns_how_many_items_it_missed() {
        let world = World::new().await;
        let mut tail = Tail::from_end(world.log.clone(), StreamId(1)).await.unwrap();
        let total = MAX_BEHIND + 5_000;
        (0..total).for_each(|number| drop(world.comment(number, "flood")));
        let mut missed = 0;
        let mut seen = 0;
        while missed + seen < total {
            for item in tail.next().await.unwrap() {
                match item {
                    TailItem::Missed { items } => missed += items,
                    _ => seen += 1,
                }
            }
        }
        assert_eq!(missed + seen, total);
        assert_eq!(seen, PAGE_RECORDS as u64);
    }
}
