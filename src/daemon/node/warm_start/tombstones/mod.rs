//! Restores tombstones in a recent cache that all nodes share. Every coordinator runs it.
//!
//! In: the comment store's tombstones, and deletions and restorations in the log that the archiver
//! has not stored yet. Out: tombstones in the cache, and the mark that they are complete.
//!
//! Always holds: the archiver's position is read before the store, so that a deletion on its way
//! from the log to the store is found in one of them. A tombstone of the store was in force at that
//! position, whatever was restored before it; what comes later in the log counts more. Tombstones
//! are restored at start, whenever the cache is incomplete, and after every outage of it: another
//! coordinator may have stopped during the outage with tombstones that the cache had not accepted.
//!
//! Bounded: one page of tombstones or of the log is in memory, and [`CONCURRENT`] calls are in
//! flight.

use std::pin::pin;
use std::time::Duration;

use ahash::AHashMap;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{TOMBSTONE_AGE, WarmStartError};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::bus::UNNUMBERED;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::{ConsumerGroup, Position, Record, SharedLog, Topic};
use crate::daemon::engines::recent::SharedRecentCache;
use crate::protocol::events::{Event, HiddenFrom};
use crate::protocol::{CommentId, Seq, StreamId};

/// Time between two checks of the cache.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
const PAGE_TOMBSTONES: usize = 50_000;
const CONCURRENT: usize = 64;
/// Failures after which a restoration is abandoned until the next check. Fewer failures may
/// concern a single node of the cache that is away, which must not keep the other nodes
/// incomplete.
const MAX_FAILURES: usize = 1000;

/// The state of a comment that the cache must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CommentMark {
    stream_id: StreamId,
    comment_id: CommentId,
    /// A place in the log at which it was so.
    seq: Seq,
    /// `None` if it was restored.
    hidden_from: Option<HiddenFrom>,
}

impl CommentMark {
    /// Returns the mark that counts after this one and a later one of the same comment: what was
    /// deleted for everybody stays so when it is hidden from others.
    fn then(self, later: Self) -> Self {
        match (self.hidden_from, later.hidden_from) {
            (Some(HiddenFrom::Everybody), Some(HiddenFrom::Others)) => {
                Self { hidden_from: self.hidden_from, ..later }
            }
            _ => later,
        }
    }
}

/// Clones share everything, so that a supervisor can restart the task.
#[derive(Debug, Clone)]
pub(crate) struct TombstoneRestorer {
    pub(crate) log: SharedLog,
    pub(crate) comments: SharedCommentStore,
    pub(crate) recent: SharedRecentCache,
    pub(crate) clock: SharedClock,
}

impl TombstoneRestorer {
    /// Checks the cache every [`INTERVAL`], until cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ticks = ticker_from_now(INTERVAL);
        let mut restored = false;
        let checks = async {
            loop {
                ticks.tick().await;
                restored = self.check(restored).await;
            }
        };
        // Safe to cancel at any point: tombstones may have been added, but the mark was not set.
        let _: Option<()> = stop.run_until_cancelled(checks).await;
    }

    /// Restores tombstones if some may be missing. `restored` says whether the last check left the
    /// cache complete. Returns whether this one did.
    async fn check(&self, restored: bool) -> bool {
        match self.recent.is_complete().await {
            Ok(true) if restored => return true,
            Ok(_) => {}
            Err(error) => {
                if restored {
                    warn!(%error, "the recent cache may miss deletions");
                }
                return false;
            }
        }
        match self.restore().await {
            Ok(tombstones) => {
                info!(tombstones, "deletions restored in the recent cache");
                true
            }
            Err(error) => {
                warn!(%error, "deletions not restored; history is read from the log");
                false
            }
        }
    }

    /// Adds a tombstone for every comment deleted within [`TOMBSTONE_AGE`], then marks the cache
    /// complete. Returns the number of comments that the cache was told about.
    pub(super) async fn restore(&self) -> Result<usize, WarmStartError> {
        let stored_to = self.log.committed(Topic::CommentEvents, ConsumerGroup::Archiver).await?;
        let mut tally = Tally::default();
        self.restore_from_store(&stored_to, &mut tally).await?;
        for partition in 0..self.log.partitions(Topic::CommentEvents) {
            self.restore_from_log(partition, &stored_to, &mut tally).await?;
        }
        // The cache refuses the mark on a node where a tombstone failed, and sets it on the others.
        self.recent.mark_complete().await?;
        tally.first_error.map_or(Ok(tally.added), |error| Err(error.into()))
    }

    async fn restore_from_store(
        &self,
        stored_to: &[Position],
        tally: &mut Tally,
    ) -> Result<(), WarmStartError> {
        let mut since_ms = self.clock.now_ms().saturating_sub(TOMBSTONE_AGE.as_millis() as u64);
        let mut limit = PAGE_TOMBSTONES;
        loop {
            let page = self.comments.tombstones_since(since_ms, limit).await?;
            let newest_ms = page.iter().map(|tombstone| tombstone.deleted_at).max();
            let is_last = page.len() < limit;
            let marks = page.into_iter().map(|tombstone| CommentMark {
                stream_id: tombstone.stream_id,
                comment_id: tombstone.comment_id,
                seq: last_stored(&self.log, stored_to, tombstone.stream_id),
                hidden_from: Some(tombstone.hidden_from),
            });
            self.put_marks(marks.collect(), tally).await?;
            match newest_ms {
                Some(newest_ms) if !is_last && newest_ms > since_ms => since_ms = newest_ms,
                // One millisecond has more tombstones than fit on a page.
                Some(_) if !is_last => limit *= 2,
                _ => return Ok(()),
            }
        }
    }

    async fn restore_from_log(
        &self,
        partition: u32,
        stored_to: &[Position],
        tally: &mut Tally,
    ) -> Result<(), WarmStartError> {
        let bounds = self.log.bounds(Topic::CommentEvents, partition).await?;
        let stored = stored_to.iter().find(|position| position.partition == partition);
        let start = stored.map_or(0, |position| position.offset).max(bounds.earliest);
        let mut pages = pin!(pages(&self.log, Topic::CommentEvents, partition, start..bounds.end));
        while let Some(page) = pages.try_next().await? {
            // The calls of a page have no order, so each comment has one: its last mark.
            let marks = page.records.iter().filter_map(|record| mark_in(&self.log, record));
            let mut last: AHashMap<CommentId, CommentMark> = AHashMap::new();
            for mark in marks {
                let counts = last.get(&mark.comment_id).map_or(mark, |earlier| earlier.then(mark));
                last.insert(mark.comment_id, counts);
            }
            self.put_marks(last.into_values().collect(), tally).await?;
        }
        Ok(())
    }

    async fn put_marks(
        &self,
        marks: Vec<CommentMark>,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        let calls = marks.into_iter().map(|mark| {
            let recent = self.recent.clone();
            let CommentMark { stream_id, comment_id, seq, hidden_from } = mark;
            async move {
                match hidden_from {
                    None => recent.restore_comment(stream_id, comment_id, seq).await,
                    Some(HiddenFrom::Everybody) => {
                        recent.add_tombstone(stream_id, comment_id, seq).await
                    }
                    Some(HiddenFrom::Others) => {
                        recent.hide_from_others(stream_id, comment_id, seq).await
                    }
                }
            }
        });
        let mut calls = stream::iter(calls).buffer_unordered(CONCURRENT);
        while let Some(added) = calls.next().await {
            tally.count(added)?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Tally {
    added: usize,
    failures: usize,
    first_error: Option<StoreError>,
}

impl Tally {
    fn count(&mut self, added: Result<(), StoreError>) -> Result<(), StoreError> {
        match added {
            Ok(()) => self.added += 1,
            Err(error) if self.failures == MAX_FAILURES => return Err(error),
            Err(error) => {
                self.failures += 1;
                self.first_error.get_or_insert(error);
            }
        }
        Ok(())
    }
}

fn mark_in(log: &SharedLog, record: &Record) -> Option<CommentMark> {
    let event = Event::decode(&record.payload).ok()?;
    let stream_id = event.stream_id();
    let (comment_id, hidden_from) = match event {
        Event::CommentModerated(event) => (event.comment_id, Some(event.decision.hides_from()?)),
        Event::CommentRestored(event) => (event.comment_id, None),
        Event::CommentSubmitted(_) => return None,
    };
    // The offset of a record whose stream has moved to another partition is no place there.
    let partition = log.partition_of(Topic::CommentEvents, stream_id.0);
    let is_moved = partition != record.position.partition;
    let seq = if is_moved { UNNUMBERED } else { record.position.offset };
    Some(CommentMark { stream_id, comment_id, seq, hidden_from })
}

/// Returns the place of the last record that the archiver has stored of the partition of a stream;
/// 0 if there is none.
pub(super) fn last_stored(log: &SharedLog, stored_to: &[Position], stream_id: StreamId) -> Seq {
    let partition = log.partition_of(Topic::CommentEvents, stream_id.0);
    let next = stored_to.iter().find(|position| position.partition == partition);
    next.map_or(0, |position| position.offset.saturating_sub(1))
}

#[cfg(test)]
mod tests;
