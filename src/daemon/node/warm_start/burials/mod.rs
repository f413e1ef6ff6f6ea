//! Keeps the deletions in a recent cache that all nodes share: whoever coordinates reads them back
//! when the cache has lost some.
//!
//! In: the comment store's tombstones, and deletions in the log that the archiver has not stored yet.
//! Out: burials, and the mark that they are complete.
//!
//! Always holds: the archiver's position is asked for before the store is read, so that a deletion on
//! its way from the log to the store is found in one of them. They are read back at start, whenever
//! the cache says that it is incomplete, and after every time it did not answer: another coordinator
//! may have ended meanwhile with burials that were not taken.
//!
//! Bounded: a page of tombstones or of the log is in memory, [`CONCURRENT`] burials are on their way.

use std::pin::pin;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{TOMBSTONE_AGE, WarmStartError};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::{ConsumerGroup, Position, SharedLog, Topic};
use crate::daemon::engines::recent::SharedRecentCache;
use crate::protocol::events::Event;
use crate::protocol::{CommentId, StreamId};

/// Between two looks at the cache.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
const PAGE_TOMBSTONES: usize = 50_000;
const CONCURRENT: usize = 64;
/// Burials that may fail before reading back is given up until the next look; fewer concern a node
/// of the cache that is away, and must not keep the others incomplete.
const MAX_FAILURES: usize = 1000;

type Burial = (StreamId, CommentId);

/// Cloning shares everything, so that a supervisor can start it anew.
#[derive(Debug, Clone)]
pub(crate) struct Burials {
    pub(crate) log: SharedLog,
    pub(crate) comments: SharedCommentStore,
    pub(crate) recent: SharedRecentCache,
    pub(crate) clock: SharedClock,
}

impl Burials {
    /// Looks every [`INTERVAL`], until cancelled.
    pub(crate) async fn keep_complete(self, stop: CancellationToken) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sure = false;
        let looking = async {
            loop {
                ticks.tick().await;
                sure = self.look(sure).await;
            }
        };
        // Cancelled at any moment it leaves burials behind, and no mark.
        let _: Option<()> = stop.run_until_cancelled(looking).await;
    }

    /// Reads back what is missing, if anything may be; `sure` if the last look ended well. Returns
    /// whether this one did.
    async fn look(&self, sure: bool) -> bool {
        match self.recent.is_complete().await {
            Ok(true) if sure => return true,
            Ok(_) => {}
            Err(error) => {
                if sure {
                    warn!(%error, "the recent cache may miss deletions");
                }
                return false;
            }
        }
        match self.rebuild_burials().await {
            Ok(burials) => {
                info!(burials, "read back deletions for the recent cache");
                true
            }
            Err(error) => {
                warn!(%error, "deletions are not read back; the past is read from the log");
                false
            }
        }
    }

    /// Buries what was deleted within [`TOMBSTONE_AGE`], then marks the cache complete. Returns how
    /// many burials that were.
    pub(super) async fn rebuild_burials(&self) -> Result<usize, WarmStartError> {
        let stored_to = self.log.committed(Topic::CommentEvents, ConsumerGroup::Archiver).await?;
        let mut tally = Tally::default();
        self.bury_tombstones(&mut tally).await?;
        for partition in 0..self.log.partitions(Topic::CommentEvents) {
            self.bury_log_tail(partition, &stored_to, &mut tally).await?;
        }
        // Where a burial failed the cache refuses the mark; elsewhere it counts.
        self.recent.mark_complete().await?;
        tally.first_error.map_or(Ok(tally.buried), |error| Err(error.into()))
    }

    async fn bury_tombstones(&self, tally: &mut Tally) -> Result<(), WarmStartError> {
        let mut since_ms = self.clock.now_ms().saturating_sub(TOMBSTONE_AGE.as_millis() as u64);
        let mut limit = PAGE_TOMBSTONES;
        loop {
            let page = self.comments.tombstones_since(since_ms, limit).await?;
            let newest_ms = page.iter().map(|tombstone| tombstone.deleted_at).max();
            let is_last = page.len() < limit;
            let burials =
                page.into_iter().map(|tombstone| (tombstone.stream_id, tombstone.comment_id));
            self.bury(burials.collect(), tally).await?;
            match newest_ms {
                Some(newest_ms) if !is_last && newest_ms > since_ms => since_ms = newest_ms,
                // More within one millisecond than a page takes.
                Some(_) if !is_last => limit *= 2,
                _ => return Ok(()),
            }
        }
    }

    async fn bury_log_tail(
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
            let burials = page.records.iter().filter_map(|record| deletion(&record.payload));
            self.bury(burials.collect(), tally).await?;
        }
        Ok(())
    }

    async fn bury(&self, burials: Vec<Burial>, tally: &mut Tally) -> Result<(), StoreError> {
        let burying = burials.into_iter().map(|(stream_id, comment_id)| {
            let recent = self.recent.clone();
            async move { recent.bury(stream_id, comment_id).await }
        });
        let mut burying = stream::iter(burying).buffer_unordered(CONCURRENT);
        while let Some(buried) = burying.next().await {
            tally.count(buried)?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Tally {
    buried: usize,
    failures: usize,
    first_error: Option<StoreError>,
}

impl Tally {
    fn count(&mut self, buried: Result<(), StoreError>) -> Result<(), StoreError> {
        match buried {
            Ok(()) => self.buried += 1,
            Err(error) if self.failures == MAX_FAILURES => return Err(error),
            Err(error) => {
                self.failures += 1;
                self.first_error.get_or_insert(error);
            }
        }
        Ok(())
    }
}

fn deletion(payload: &[u8]) -> Option<Burial> {
    match Event::decode(payload).ok()? {
        Event::CommentModerated(event) if event.decision.deletes() => {
            Some((event.stream_id, event.comment_id))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
