//! The comparison of the store with the log, and the rebuild of what the store lost.
//!
//! The position of the consumer group is with the log, the rows are in the store. When the store is
//! lost, emptied or restored from an older backup, the group's position says that everything is
//! stored. So the store carries its own position, and the smaller one counts: the records in
//! between are read again, as far as the log still has them. Both are told to operators, and so is
//! a store that knows only other logs: this one began while lcd was stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::batch::Batch;
use super::{ArchiveError, Archiver, RETRY};
use crate::daemon::base::status::EVENT_LOG;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::{ArchiveBatch, Archived, CommentKey, StorePositions};
use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::repeats::RepeatFilter;
use crate::daemon::engines::eventlog::{Position, Topic, replaced_subject};
use crate::protocol::Epoch;
use crate::protocol::admin::{BreakerState, Problem, ProblemCode};
use crate::protocol::quantity::counted;

/// The time between two comparisons.
const INTERVAL: Duration = Duration::from_secs(2);
/// A rebuild is shown this long after its end.
const SHOWN_FOR: Duration = Duration::from_secs(600);
const SUBJECT: &str = "comment store";
/// Partitions that a text names.
const NAMED: usize = 8;

/// Holds the positions up to which the store must have everything.
#[derive(Debug)]
pub(super) struct StoreWatch {
    epoch: Epoch,
    /// By partition of this member, the offset after the last record that the store must have.
    expected: BTreeMap<u32, u64>,
    /// By partition, the newest comment that was written.
    newest: BTreeMap<u32, CommentKey>,
    /// The same at the last comparison, or the first one after it. While new comments are stored,
    /// these tell whether the store still has the earlier ones.
    compared: BTreeMap<u32, CommentKey>,
    due: Instant,
    /// False until the first comparison.
    is_compared: bool,
    rebuilt: Option<Instant>,
}

/// Records of a partition that the store must get again, or that nobody has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gap {
    partition: u32,
    offsets: Range<u64>,
    /// True if the store has a position before the gap.
    has_position: bool,
}

impl StoreWatch {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            expected: BTreeMap::new(),
            newest: BTreeMap::new(),
            compared: BTreeMap::new(),
            due: Instant::now(),
            is_compared: false,
            rebuilt: None,
        }
    }

    /// Returns the epoch of the log that is compared.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn is_due(&self) -> bool {
        self.due <= Instant::now()
    }

    /// Records that the store has everything before these positions.
    pub(super) fn stored(&mut self, positions: &[Position]) {
        for position in positions {
            self.expected.insert(position.partition, position.offset);
        }
    }

    /// Records that the store has a batch.
    pub(super) fn written(&mut self, rows: &ArchiveBatch) {
        for Archived { next, newest, .. } in &rows.archived {
            self.expected.insert(next.partition, next.offset);
            if let Some(newest) = newest {
                self.remember_newest(next.partition, *newest);
            }
        }
    }

    fn remember_newest(&mut self, partition: u32, newest: CommentKey) {
        self.newest.insert(partition, newest);
        self.compared.entry(partition).or_insert(newest);
    }

    fn forget_newest(&mut self, partition: u32) {
        self.newest.remove(&partition);
        self.compared.remove(&partition);
    }

    /// Returns the partitions of which the store has less than it must have.
    fn gaps(&self, positions: &StorePositions) -> Vec<Gap> {
        let gap = |(&partition, &expected): (&u32, &u64)| {
            let mut known = positions.next.iter();
            let known = known.find(|position| position.partition == partition);
            let from = known.map_or(0, |position| position.offset);
            let has_position = known.is_some();
            (from < expected).then_some(Gap { partition, offsets: from..expected, has_position })
        };
        self.expected.iter().filter_map(gap).collect()
    }
}

impl Archiver {
    /// Compares the store with the position when partitions were assigned and at intervals, and
    /// rebuilds what the store lacks. Returns false if `stop` was cancelled before that.
    pub(super) async fn compare(
        &self,
        watch: &mut StoreWatch,
        batch: &Batch,
        stop: &CancellationToken,
    ) -> Result<bool, ArchiveError> {
        for partition in &batch.revoked {
            watch.expected.remove(partition);
            watch.forget_newest(*partition);
        }
        watch.stored(&batch.assigned);
        if batch.assigned.is_empty() && !watch.is_due() {
            return Ok(true);
        }
        let Some(positions) = self.read_positions(watch, stop).await else {
            return Ok(false);
        };
        let is_first = !std::mem::replace(&mut watch.is_compared, true);
        if is_first && positions.next.is_empty() && !self.tell_other_log(watch.epoch, stop).await {
            return Ok(false);
        }
        watch.due = Instant::now() + INTERVAL;
        if watch.rebuilt.is_some_and(|ended| ended.elapsed() >= SHOWN_FOR) {
            watch.rebuilt = None;
            self.problems.clear(ProblemCode::StoreRebuilt, SUBJECT);
        }
        watch.compared = watch.newest.clone();
        let gaps = watch.gaps(&positions);
        if gaps.is_empty() {
            self.try_write(watch).await;
            return Ok(true);
        }
        // The log may no longer have them.
        gaps.iter().for_each(|gap| watch.forget_newest(gap.partition));
        let is_complete = self.rebuild(watch, gaps, positions.has_unplaced, stop).await?;
        watch.due = Instant::now() + INTERVAL;
        Ok(is_complete)
    }

    /// Asks until the store answers. A success does not close the breaker: it shows only that the
    /// store can be read.
    async fn read_positions(
        &self,
        watch: &StoreWatch,
        stop: &CancellationToken,
    ) -> Option<StorePositions> {
        let mut backoff = RETRY.start();
        loop {
            match self.ask_positions(watch).await {
                Ok(positions) => return Some(positions),
                Err(error) => self.no_positions(&error, backoff.next_pause(), stop).await?,
            }
        }
    }

    /// Returns how far the store has this log. A partition without a position has the one that it
    /// had in an earlier epoch, as far as the records are the same.
    async fn ask_positions(&self, watch: &StoreWatch) -> Result<StorePositions, StoreError> {
        let mut positions = self.store.positions(watch.epoch, &watch.compared).await?;
        let earlier = self.log.earlier_epochs();
        let known: BTreeSet<u32> = positions.next.iter().map(|at| at.partition).collect();
        if earlier.is_empty() || watch.expected.keys().all(|partition| known.contains(partition)) {
            return Ok(positions);
        }
        let mut carried = BTreeMap::new();
        for (epoch, Position { partition, offset }) in
            self.store.other_positions(watch.epoch).await?
        {
            let of_log = earlier.iter().find(|of| of.epoch == epoch);
            if let Some(of_log) = of_log.filter(|_| !known.contains(&partition)) {
                let furthest = carried.entry(partition).or_insert(0);
                *furthest = offset.min(of_log.until).max(*furthest);
            }
        }
        let position = |(partition, offset)| Position { partition, offset };
        positions.next.extend(carried.into_iter().map(position));
        Ok(positions)
    }

    /// Tells if the store has only comments of other logs. Returns false if `stop` was cancelled
    /// before that.
    async fn tell_other_log(&self, epoch: Epoch, stop: &CancellationToken) -> bool {
        let mut backoff = RETRY.start();
        let others = loop {
            match self.store.other_positions(epoch).await {
                Ok(others) => break others,
                Err(error) => {
                    if self.no_positions(&error, backoff.next_pause(), stop).await.is_none() {
                        return false;
                    }
                }
            }
        };
        let Some((other, _)) = others.last() else { return true };
        let subject = replaced_subject(EVENT_LOG, epoch);
        let code = ProblemCode::LogReplaced;
        let is_told = |known: &Problem| known.code == code.as_str() && known.subject == subject;
        if self.problems.list().iter().any(is_told) {
            return true;
        }
        let text = format!(
            "the comment store has comments of another event log (epoch {other}) and none of this \
             one (epoch {epoch}), whose numbers begin again: it was moved away or created again \
             while lcd was stopped. What it had and the store has not is lost, unless lcd is \
             stopped and the other log put back. {}",
            code.acknowledge_hint()
        );
        self.problems.raise(code, &subject, text);
        self.losses_written(stop).await
    }

    /// Waits before the store is asked again. Returns nothing if `stop` was cancelled.
    async fn no_positions(
        &self,
        error: &StoreError,
        pause: Duration,
        stop: &CancellationToken,
    ) -> Option<()> {
        warn!(%error, "comment store does not say what it has; retrying");
        self.breaker.failed(error);
        let _ = tokio::time::timeout(pause, stop.cancelled()).await;
        (!stop.is_cancelled()).then_some(())
    }

    /// Writes the positions again while the breaker is open: without new comments, nothing else
    /// would show that the store takes writes again.
    async fn try_write(&self, watch: &StoreWatch) {
        if self.breaker.state() == BreakerState::Closed || !self.breaker.permits() {
            return;
        }
        let archived = watch.expected.iter().map(|(&partition, &offset)| Archived {
            next: Position { partition, offset },
            newest: None,
            rewound: false,
        });
        let rows = ArchiveBatch { archived: archived.collect(), ..ArchiveBatch::new(watch.epoch) };
        if let Err(error) = self.breaker.observe(self.store.write(&rows).await) {
            warn!(%error, "comment store still refuses writes");
        }
    }

    /// Reads the gaps again from the log. Returns false if `stop` was cancelled before the end.
    async fn rebuild(
        &self,
        watch: &mut StoreWatch,
        gaps: Vec<Gap>,
        has_unplaced: bool,
        stop: &CancellationToken,
    ) -> Result<bool, ArchiveError> {
        let mut lost = Vec::new();
        let mut kept = Vec::new();
        for gap in gaps {
            let bounds = self.log.bounds(Topic::CommentEvents, gap.partition).await;
            let earliest = bounds.map_err(ArchiveError::Read)?.earliest;
            let Range { start, end } = gap.offsets;
            // 0 is no offset of a record: a store without a position lacks nothing before 1.
            let start = if start == 0 { earliest.min(1) } else { start };
            let from = start.max(earliest).min(end);
            if start < from && (gap.has_position || !has_unplaced) {
                lost.push(Gap { offsets: start..from, ..gap });
            }
            kept.push(Gap { offsets: from..end, ..gap });
        }
        if has_unplaced && kept.iter().all(|gap| !gap.has_position) {
            info!(
                records = described(&kept),
                "first start of this version on these tables: reads the log again"
            );
        } else if kept.iter().any(|gap| !gap.offsets.is_empty()) {
            let text = format!(
                "the comment store had lost the records of {}; they are read again from the log. \
                 Find out who restored or emptied the store. Shown until 10 minutes after that",
                described(&kept)
            );
            self.problems.raise(ProblemCode::StoreRebuilt, SUBJECT, text);
            watch.rebuilt = Some(Instant::now());
        }
        if !lost.is_empty() {
            let records = described(&lost);
            let text = format!(
                "the comment store lacks the records of {records}, and the log no longer has them: \
                 restore a backup of the comment store and restart the archiver, or accept the \
                 loss. {}",
                ProblemCode::HistoryIncomplete.acknowledge_hint()
            );
            // A rebuild that fails is tried again, when the log may have even less of the same gap.
            let begins =
                |gap: &Gap| format!("partition {} from {}", gap.partition, gap.offsets.start);
            let begins: Vec<_> = lost.iter().take(NAMED).map(begins).collect();
            let subject = format!("{SUBJECT}, epoch {}, {}", watch.epoch, begins.join(", "));
            self.problems.raise(ProblemCode::HistoryIncomplete, &subject, text);
            if !self.losses_written(stop).await {
                return Ok(false);
            }
        }
        for gap in kept {
            if !self.read_again(watch, &gap, stop).await? {
                return Ok(false);
            }
            if !gap.offsets.is_empty() {
                let Gap { partition, ref offsets, .. } = gap;
                info!(partition, ?offsets, "comment store rebuilt");
            }
        }
        Ok(true)
    }

    /// Waits until the losses are on the disk: what follows tells the store's position past them.
    /// Returns false if `stop` was cancelled before that.
    async fn losses_written(&self, stop: &CancellationToken) -> bool {
        let mut backoff = RETRY.start();
        while !self.problems.losses_written().await {
            let _ = tokio::time::timeout(backoff.next_pause(), stop.cancelled()).await;
            if stop.is_cancelled() {
                return false;
            }
        }
        true
    }

    async fn read_again(
        &self,
        watch: &mut StoreWatch,
        gap: &Gap,
        stop: &CancellationToken,
    ) -> Result<bool, ArchiveError> {
        let epoch = watch.epoch;
        let Gap { partition, offsets: Range { start, end }, has_position } = gap.clone();
        let at = |offset, rewound| ArchiveBatch {
            archived: vec![Archived {
                next: Position { partition, offset },
                newest: None,
                rewound,
            }],
            ..ArchiveBatch::new(epoch)
        };
        if !has_position && !self.write(&at(start, true), stop).await {
            return Ok(false);
        }
        let mut repeats = RepeatFilter::new(self.log.clone());
        let mut pages = pin!(pages(&self.log, Topic::CommentEvents, partition, start..end));
        while let Some(page) = pages.try_next().await.map_err(ArchiveError::Read)? {
            for records in page.records.chunks(self.config.archive_batch.max(1)) {
                let mut batch = Batch::new(epoch);
                // Records that cannot be decoded became dead letters when they were first read.
                batch.add_records(records, &mut repeats).await.map_err(ArchiveError::Read)?;
                if stop.is_cancelled() || !self.store(&mut batch, stop).await {
                    return Ok(false);
                }
                let newest = batch.rows().archived.iter().filter_map(|archived| archived.newest);
                newest.for_each(|newest| watch.remember_newest(partition, newest));
            }
        }
        // The last offsets may have no record.
        Ok(self.write(&at(end, false), stop).await)
    }
}

/// Returns the gaps in words, such as "partition 0: offsets 7 to 9, and 3 more partitions".
fn described(gaps: &[Gap]) -> String {
    let mut text = String::new();
    let gaps: Vec<_> = gaps.iter().filter(|gap| !gap.offsets.is_empty()).collect();
    for Gap { partition, offsets: Range { start, end }, .. } in gaps.iter().take(NAMED) {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}partition {partition}: offsets {start} to {}", end - 1);
    }
    if gaps.len() > NAMED {
        let more = counted((gaps.len() - NAMED) as u64, "more partition");
        let _ = write!(text, ", and {more}");
    }
    text
}
