//! Reads the end of the log before a node with its own recent cache serves viewers: the comments
//! that viewers may request again, those deleted and restored, the `ref`s already accepted, and
//! who said what in rooms whose rules ask for that. In a cache that nodes share, [`tombstones`]
//! restores the deletions only.
//!
//! Always holds: every record that the broadcast stage or the archiver has not finished with is
//! read, and at least the last [`TAIL_RECORDS`] records of each partition that retention has kept.

pub(super) mod tombstones;

use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use ahash::{AHashMap, AHashSet};
use futures_util::TryStreamExt as _;
use tracing::{info, warn};

use self::tombstones::last_stored;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::{SharedCommentStore, Tombstone};
use crate::daemon::engines::directory::{Delays, Streams};
use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::repeats::RepeatFilter;
use crate::daemon::engines::eventlog::{ConsumerGroup, LogError, Record, SharedLog, Topic};
use crate::daemon::engines::recent::{RecentEvent, SharedRecentCache};
use crate::daemon::stages::ingest::{Refs, RoomMemory};
use crate::protocol::events::{CommentModerated, Event, HiddenFrom};
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
    pub(super) said: &'a mut RoomMemory,
    /// For the rules of their rooms.
    pub(super) streams: &'a Streams,
    pub(super) clock: &'a SharedClock,
    pub(super) delays: Delays,
    /// Streams with a comment that a message delay holds back.
    pub(super) undue: AHashSet<StreamId>,
}

impl WarmStart<'_> {
    pub(super) async fn run(mut self) -> Result<(), WarmStartError> {
        let since_ms = self.clock.now_ms().saturating_sub(TOMBSTONE_AGE.as_millis() as u64);
        let stored_to = self.log.committed(Topic::CommentEvents, ConsumerGroup::Archiver).await?;
        for Tombstone { stream_id, comment_id, hidden_from, .. } in
            self.comments.tombstones_since(since_ms, MAX_TOMBSTONES).await?
        {
            let seq = last_stored(self.log, &stored_to, stream_id);
            let recent = &self.recent;
            match hidden_from {
                HiddenFrom::Everybody => recent.add_tombstone(stream_id, comment_id, seq).await?,
                HiddenFrom::Others => recent.hide_from_others(stream_id, comment_id, seq).await?,
            }
        }
        let mut records = 0;
        for partition in 0..self.log.partitions(Topic::CommentEvents) {
            let tail = self.tail(partition).await?;
            records += self.load_partition(partition, tail).await?;
        }
        info!(records, "end of the event log loaded");
        Ok(())
    }

    /// Returns the range of a partition to read.
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

    /// Loads a range of a partition and returns the number of records read.
    async fn load_partition(
        &mut self,
        partition: u32,
        tail: Range<u64>,
    ) -> Result<u64, WarmStartError> {
        let end = tail.end;
        let mut start = tail.start;
        let mut next = tail.start;
        let mut records = 0;
        let mut covered: AHashMap<StreamId, Seq> = AHashMap::new();
        let mut repeats = RepeatFilter::new(self.log.clone());
        let mut pages = pin!(pages(self.log, Topic::CommentEvents, partition, tail));
        while let Some(page) = pages.try_next().await? {
            if page.from > next {
                // Retention removed records meanwhile: every stream starts again behind the hole.
                covered.clear();
                start = page.from;
            }
            next = page.next;
            records += page.records.len() as u64;
            let decoded = decode(&page.records, &mut repeats).await?;
            self.load_records(decoded, start, &mut covered).await?;
        }
        self.extend_to(covered, end).await?;
        Ok(records)
    }

    /// Extends the covered range of each stream to the end of the partition, which was read
    /// completely. Without this the next batch, which starts where the broadcast stage stopped,
    /// would leave a hole behind the stream's last record, and viewers would see a gap without any
    /// event in it.
    async fn extend_to(
        &self,
        covered: AHashMap<StreamId, Seq>,
        end: u64,
    ) -> Result<(), StoreError> {
        for (stream_id, to_seq) in covered {
            if to_seq + 1 < end && !self.undue.contains(&stream_id) {
                self.recent.append(stream_id, to_seq + 1, end - 1, Vec::new()).await?;
            }
        }
        Ok(())
    }

    async fn load_records(
        &mut self,
        records: Vec<DecodedRecord>,
        start: u64,
        covered: &mut AHashMap<StreamId, Seq>,
    ) -> Result<(), WarmStartError> {
        let mut by_stream: AHashMap<StreamId, (Seq, Vec<RecentEvent>)> = AHashMap::new();
        for DecodedRecord { seq, event, is_repeat } in records {
            if let Event::CommentSubmitted(event) = &event
                && self.delays.left(event.comment.stream_id, event.comment.created_at).is_some()
            {
                self.undue.insert(event.comment.stream_id);
            }
            let mut beyond = (0, Vec::new());
            // From the first comment on that is not due, the broadcast stage fills the cache.
            let (to_seq, events) = if self.undue.contains(&event.stream_id()) {
                &mut beyond
            } else {
                by_stream.entry(event.stream_id()).or_default()
            };
            *to_seq = seq;
            match event {
                Event::CommentSubmitted(_) if is_repeat => {}
                Event::CommentSubmitted(event) => {
                    self.refs.remember_event(&event, seq);
                    let rules = self.streams.room_rules(event.comment.stream_id);
                    self.said.remember_event(&rules, &event, self.clock.now_ms());
                    let of = if event.shadow { RecentEvent::Own } else { RecentEvent::Comment };
                    events.push(of(event.comment.sequenced(seq)));
                }
                Event::CommentModerated(event) => {
                    if let Some(deletion) = event.removal() {
                        let CommentModerated { stream_id, comment_id, .. } = event;
                        match deletion.hidden_from() {
                            HiddenFrom::Everybody => {
                                self.recent.add_tombstone(stream_id, comment_id, seq).await?;
                            }
                            HiddenFrom::Others => {
                                self.recent.hide_from_others(stream_id, comment_id, seq).await?;
                            }
                        }
                        events.push(RecentEvent::Deleted { seq, deletion });
                    }
                }
                Event::CommentRestored(event) => {
                    self.recent.restore_comment(event.stream_id, event.comment_id, seq).await?;
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

/// A record that was decoded.
#[derive(Debug)]
struct DecodedRecord {
    seq: Seq,
    event: Event,
    /// True if the comment is in the log already. Only its place in the order counts.
    is_repeat: bool,
}

async fn decode(
    records: &[Record],
    repeats: &mut RepeatFilter,
) -> Result<Vec<DecodedRecord>, LogError> {
    let mut decoded = Vec::with_capacity(records.len());
    for record in records {
        let seq = record.position.offset;
        match Event::decode(&record.payload) {
            Ok(event) => {
                let is_repeat = repeats.is_repeated_event(record, &event).await?;
                decoded.push(DecodedRecord { seq, event, is_repeat });
            }
            Err(error) => warn!(offset = seq, %error, "record skipped"),
        }
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests;
