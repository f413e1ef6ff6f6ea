//! The index of a node that reads pages from anywhere in the log: history and `lc tail`.

use std::collections::BTreeSet;
use std::sync::Arc;

use ahash::AHashSet;
use futures_util::TryStreamExt as _;
use parking_lot::Mutex;

use super::{RULE, Rule, Window, add_record, window_before};
use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::{LogError, Page, SharedLog, Topic};
use crate::protocol::Seq;

/// Regions kept. The one used longest ago is dropped.
const MAX_REGIONS: usize = 16;
/// A page that begins at most this far behind a region extends it; another one begins a new one.
const MAX_EXTENSION: u64 = 16_384;

/// The repeats in the ranges of the log that were read lately. Clones share it.
#[derive(Debug, Clone)]
pub struct RepeatIndex {
    log: SharedLog,
    rule: Rule,
    /// The one used last is the last one. A region that is in use is not in the list.
    regions: Arc<Mutex<Vec<Region>>>,
}

/// A range of a partition whose repeats are known. They never change.
#[derive(Debug)]
struct Region {
    partition: u32,
    from: u64,
    next: u64,
    /// The window just before `next`.
    window: Window,
    repeats: BTreeSet<u64>,
}

impl RepeatIndex {
    pub fn new(log: SharedLog) -> Self {
        Self::with_rule(log, RULE)
    }

    pub(super) fn with_rule(log: SharedLog, rule: Rule) -> Self {
        Self { log, rule, regions: Arc::default() }
    }

    /// Removes repeats from a page of one stream, as
    /// [`EventLog::read`](crate::daemon::engines::eventlog::EventLog::read) returns it.
    pub async fn remove_repeats(&self, page: &mut Page) -> Result<(), LogError> {
        let (Some(first), Some(last)) = (page.records.first(), page.records.last()) else {
            return Ok(());
        };
        let partition = first.position.partition;
        let repeats =
            self.repeats_in(partition, first.position.offset, last.position.offset + 1).await?;
        page.records.retain(|record| !repeats.contains(&record.position.offset));
        Ok(())
    }

    /// Returns the repeats of a partition in `from..next`.
    async fn repeats_in(
        &self,
        partition: u32,
        from: u64,
        next: u64,
    ) -> Result<AHashSet<Seq>, LogError> {
        let mut region = match self.take(partition, from) {
            Some(region) => region,
            None => {
                let window = window_before(&self.log, self.rule, partition, from).await?;
                Region { partition, from, next: from, window, repeats: BTreeSet::new() }
            }
        };
        if let Err(error) = region.extend_to(next, &self.log).await {
            self.put_back(region);
            return Err(error);
        }
        let repeats = region.repeats.range(from..next).copied().collect();
        self.put_back(region);
        Ok(repeats)
    }

    /// Takes a region that contains an offset or ends shortly before it.
    fn take(&self, partition: u32, offset: u64) -> Option<Region> {
        let mut regions = self.regions.lock();
        let fits = |region: &Region| {
            region.partition == partition
                && region.from <= offset
                && offset <= region.next.saturating_add(MAX_EXTENSION)
        };
        let index = regions.iter().rposition(fits)?;
        Some(regions.remove(index))
    }

    fn put_back(&self, region: Region) {
        let mut regions = self.regions.lock();
        // A reader at the same place was faster: one of both is enough.
        regions.retain(|other| {
            other.partition != region.partition
                || other.from < region.from
                || other.next > region.next
        });
        regions.push(region);
        if regions.len() > MAX_REGIONS {
            regions.remove(0);
        }
    }
}

impl Region {
    async fn extend_to(&mut self, next: u64, log: &SharedLog) -> Result<(), LogError> {
        if next <= self.next {
            return Ok(());
        }
        let range = self.next..next;
        let mut pages = std::pin::pin!(pages(log, Topic::CommentEvents, self.partition, range));
        while let Some(page) = pages.try_next().await? {
            for record in &page.records {
                if add_record(&mut self.window, record) {
                    self.repeats.insert(record.position.offset);
                }
                self.next = record.position.offset + 1;
            }
        }
        self.next = next;
        Ok(())
    }
}
