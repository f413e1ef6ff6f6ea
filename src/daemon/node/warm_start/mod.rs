//! What a node with its own recent cache reads back from the log before it serves anybody: which
//! comments viewers may ask for again, which are deleted, and which `ref`s were already accepted. For
//! a cache that nodes share, [`burials`] reads back deletions alone.
//!
//! Always holds: everything that the broadcast stage or the archiver has not finished with is read,
//! and at least the last [`TAIL_RECORDS`] records of each partition, as far as retention has them.

pub(super) mod burials;

use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use ahash::AHashMap;
use futures_util::TryStreamExt as _;
use tracing::{info, warn};

use crate::daemon::base::clock::SharedClock;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::{ConsumerGroup, LogError, Record, SharedLog, Topic};
use crate::daemon::engines::recent::{RecentEvent, SharedRecentCache};
use crate::daemon::stages::ingest::Refs;
use crate::protocol::events::Event;
use crate::protocol::{Seq, StreamId};

/// Records read back of each partition, at least.
const TAIL_RECORDS: u64 = 50_000;
/// Deletions read back from the comment store: older ones concern comments nobody is handed any
/// more except from the store itself, which leaves them out.
const TOMBSTONE_AGE: Duration = Duration::from_secs(24 * 3600);
const MAX_TOMBSTONES: usize = 1_000_000;

#[derive(Debug, thiserror::Error)]
pub(super) enum WarmStartError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub(super) struct WarmStart<'a> {
    pub(super) log: &'a SharedLog,
    pub(super) recent: &'a SharedRecentCache,
    pub(super) comments: &'a SharedCommentStore,
    pub(super) refs: &'a mut Refs,
    pub(super) clock: &'a SharedClock,
}

impl WarmStart<'_> {
    pub(super) async fn run(mut self) -> Result<(), WarmStartError> {
        let since_ms = self.clock.now_ms().saturating_sub(TOMBSTONE_AGE.as_millis() as u64);
        for tombstone in self.comments.tombstones_since(since_ms, MAX_TOMBSTONES).await? {
            self.recent.bury(tombstone.stream_id, tombstone.comment_id).await?;
        }
        let mut records = 0;
        for partition in 0..self.log.partitions(Topic::CommentEvents) {
            let tail = self.tail(partition).await?;
            records += self.read_back(partition, tail).await?;
        }
        info!(records, "read back the end of the event log");
        Ok(())
    }

    /// What is to be read of a partition.
    async fn tail(&self, partition: u32) -> Result<Range<u64>, WarmStartError> {
        let bounds = self.log.bounds(Topic::CommentEvents, partition).await?;
        let mut start = bounds.end.saturating_sub(TAIL_RECORDS);
        for group in [ConsumerGroup::Coordinator, ConsumerGroup::Archiver] {
            let committed = self.log.committed(Topic::CommentEvents, group).await?;
            let next = committed.iter().find(|position| position.partition == partition);
            start = start.min(next.map_or(0, |position| position.offset));
        }
        Ok(start.max(bounds.earliest)..bounds.end)
    }

    async fn read_back(&mut self, partition: u32, tail: Range<u64>) -> Result<u64, WarmStartError> {
        let (mut start, mut next, end) = (tail.start, tail.start, tail.end);
        let mut records = 0;
        let mut covered: AHashMap<StreamId, Seq> = AHashMap::new();
        let mut pages = pin!(pages(self.log, Topic::CommentEvents, partition, tail));
        while let Some(page) = pages.try_next().await? {
            if page.from > next {
                // Retention was quicker: what is known of a stream begins anew behind the hole.
                covered.clear();
                start = page.from;
            }
            next = page.next;
            records += page.records.len() as u64;
            self.take_in(&page.records, start, &mut covered).await?;
        }
        self.extend(covered, end).await?;
        Ok(records)
    }

    /// Everything was read, so what is known of each stream reaches to the end, wherever its own last
    /// record stands. Otherwise its next batch, which begins where the broadcast stage left off,
    /// would not join, and its viewers would be told a gap in which nothing happened.
    async fn extend(&self, covered: AHashMap<StreamId, Seq>, end: u64) -> Result<(), StoreError> {
        for (stream_id, to_seq) in covered {
            if to_seq + 1 < end {
                self.recent.append(stream_id, to_seq + 1, end - 1, Vec::new()).await?;
            }
        }
        Ok(())
    }

    async fn take_in(
        &mut self,
        records: &[Record],
        start: u64,
        covered: &mut AHashMap<StreamId, Seq>,
    ) -> Result<(), WarmStartError> {
        let mut by_stream: AHashMap<StreamId, (Seq, Vec<RecentEvent>)> = AHashMap::new();
        for record in records {
            let seq = record.position.offset;
            let event = match Event::decode(&record.payload) {
                Ok(event) => event,
                Err(error) => {
                    warn!(offset = seq, %error, "record left out");
                    continue;
                }
            };
            let (to_seq, events) = by_stream.entry(event.stream_id()).or_default();
            *to_seq = seq;
            match event {
                Event::CommentSubmitted(event) => {
                    self.refs.remember_event(&event, seq);
                    if !event.shadow {
                        events.push(RecentEvent::Comment(event.comment.sequenced(seq)));
                    }
                }
                Event::CommentModerated(event) => {
                    if let Some(deletion) = event.deletion() {
                        self.recent.bury(event.stream_id, event.comment_id).await?;
                        events.push(RecentEvent::Deleted { seq, deletion });
                    }
                }
            }
        }
        for (stream_id, (to_seq, events)) in by_stream {
            let from_seq = covered.insert(stream_id, to_seq).map_or(start, |before| before + 1);
            self.recent.append(stream_id, from_seq, to_seq, events).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
