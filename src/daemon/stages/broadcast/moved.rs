//! Records that broadcast passes over because their streams have moved to other partitions.
//!
//! In: positions, as they are read. Out: a report per partition and commit. Bounded by the number
//! of partitions.

use std::ops::Range;

use ahash::AHashMap;

use crate::daemon::engines::eventlog::{
    ConsumerGroup, LogTelemetry, Position, SkipReason, SkippedRecords, Topic,
};

/// The records since the last report, by partition.
#[derive(Debug, Default)]
pub(super) struct MovedRecords(AHashMap<u32, MovedInPartition>);

#[derive(Debug)]
struct MovedInPartition {
    count: u64,
    /// The hull of their offsets.
    offsets: Range<u64>,
}

impl MovedRecords {
    pub(super) fn add(&mut self, position: Position) {
        let Position { partition, offset } = position;
        let empty = || MovedInPartition { count: 0, offsets: offset..offset };
        let moved = self.0.entry(partition).or_insert_with(empty);
        moved.count += 1;
        moved.offsets.end = offset + 1;
    }

    /// Tells operators of the records, and begins again.
    pub(super) fn report(&mut self, telemetry: &LogTelemetry) {
        for (partition, MovedInPartition { count, offsets }) in self.0.drain() {
            let skipped = SkippedRecords {
                group: ConsumerGroup::Coordinator.as_str(),
                topic: Topic::CommentEvents.name(),
                partition,
                offsets,
                reason: SkipReason::Moved,
            };
            telemetry.report_skipped_among(count, &skipped);
        }
    }
}
