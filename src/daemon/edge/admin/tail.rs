//! Following one stream of the event log for an operator.

use std::time::Duration;

use tracing::{debug, warn};

use crate::daemon::engines::eventlog::{LogError, Page, Record, SharedLog, Topic};
use crate::protocol::StreamId;
use crate::protocol::admin::TailItem;
use crate::protocol::events::Event;

/// Between two looks at the end of the log.
const POLL: Duration = Duration::from_millis(50);
/// After the log did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Items handed over at once.
const PAGE: usize = 256;
/// Further behind than this, in offsets of the partition, the reader is too slow and skips.
const MAX_BEHIND: u64 = 10_000;
/// Records counted at a time while skipping.
const SKIP_PAGE: u64 = 4_096;

/// A place in a stream that moves with the log.
#[derive(Debug)]
pub(super) struct Tail {
    log: SharedLog,
    key: u64,
    next_offset: u64,
}

impl Tail {
    /// Begins with what is appended from now on.
    pub(super) async fn from_end(log: SharedLog, stream_id: StreamId) -> Result<Self, LogError> {
        let key = stream_id.0;
        let partition = log.partition_of(Topic::CommentEvents, key);
        let next_offset = log.bounds(Topic::CommentEvents, partition).await?.end;
        Ok(Self { log, key, next_offset })
    }

    /// Waits for what happens next; never empty. `None` once the log is closed.
    pub(super) async fn next(&mut self) -> Option<Vec<TailItem>> {
        loop {
            match self.advance().await {
                Ok((items, _)) if !items.is_empty() => return Some(items),
                Ok((_, at_end)) if at_end => tokio::time::sleep(POLL).await,
                Ok(_) => {}
                Err(LogError::Closed) => return None,
                Err(LogError::Expired { earliest, .. }) if earliest > self.next_offset => {
                    // How many of them were this stream's, nobody can say any more.
                    let items = earliest - self.next_offset;
                    self.next_offset = earliest;
                    return Some(vec![TailItem::Missed { items }]);
                }
                Err(error) => {
                    warn!(%error, "cannot follow a stream, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn advance(&mut self) -> Result<(Vec<TailItem>, bool), LogError> {
        let missed = self.skip_if_behind().await?;
        let page = self.read(PAGE).await?;
        let mut items = Vec::with_capacity(page.records.len() + 1);
        if missed > 0 {
            items.push(TailItem::Missed { items: missed });
        }
        items.extend(page.records.iter().filter_map(item));
        Ok((items, page.at_end))
    }

    /// Counts, without decoding, what a reader this slow will not see.
    async fn skip_if_behind(&mut self) -> Result<u64, LogError> {
        let partition = self.log.partition_of(Topic::CommentEvents, self.key);
        let end = self.log.bounds(Topic::CommentEvents, partition).await?.end;
        if end.saturating_sub(self.next_offset) <= MAX_BEHIND {
            return Ok(0);
        }
        let resume_at = end - PAGE as u64;
        let mut missed = 0;
        while self.next_offset < resume_at {
            let max_records = (resume_at - self.next_offset).min(SKIP_PAGE) as usize;
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
            Some(TailItem::Comment(event.comment.sequenced(record.position.offset)))
        }
        Ok(Event::CommentModerated(event)) => Some(TailItem::Moderated {
            comment_id: event.comment_id,
            user_id: event.user_id,
            decision: event.decision,
            reason: event.reason.as_ref().to_owned(),
            decided_by: event.decided_by.as_ref().to_owned(),
            timestamp: event.timestamp,
        }),
        Err(error) => {
            debug!(offset = record.position.offset, %error, "a record that is no event");
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
            TailItem::Comment(comment) => comment.seq,
            other => panic!("no comment: {other:?}"),
        };
        items.iter().map(seq).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_tail_begins_at_the_end_and_shows_its_own_stream_alone() {
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
    async fn a_reader_too_slow_is_told_exactly_how_much_it_missed() {
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
        assert_eq!(seen, PAGE as u64);
    }
}
