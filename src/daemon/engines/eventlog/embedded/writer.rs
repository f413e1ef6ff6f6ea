//! A topic's writer: the only thread that changes its files.
//!
//! It takes all waiting batches (up to [`COMMIT_BYTES`]), writes them with as few calls as its
//! buffer allows, syncs once, makes them visible to readers, and answers them in order. A single
//! batch waits only for its own sync; meanwhile the next batches gather.
//!
//! Files are not preallocated. Measured on ext4, that would save 50 µs of the 160 µs that a small
//! fdatasync takes on an idle disk and nothing at 64 KiB or on a busy one, and it would hide the
//! end of a torn write.
//!
//! When a write or a sync fails, the commit is undone: the file is opened again, truncated to the
//! last durable record, synced, and its end read back from the disk. Until that succeeds every
//! batch is refused. Each batch tries it again, so no state must be reset when there is space
//! again.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::{debug, error, info, warn};

use super::PARTITION;
use super::disk::{Disk, Platform, SegmentFile, write_failure};
use super::file_id::moved_away;
use super::groups::TopicGroups;
use super::index::IndexEntry;
use super::queue::{PendingBatch, WriterQueue};
use super::record;
use super::recovery;
use super::retention::{RetentionLimits, SegmentSummary};
use super::segment::{Extent, Segment, SegmentHeader};
use super::table::SegmentTable;
use crate::daemon::engines::eventlog::{LogError, Position};

/// Bound of one commit, so that its first batch does not wait long for its last.
const COMMIT_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of one write call.
const BUFFER_BYTES: usize = 1024 * 1024;

/// The time at which a batch is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acknowledge {
    /// Once it is written, before it is synced: a power failure or a failed sync may lose it.
    Written,
    Durable,
}

/// The parts of a writer.
#[derive(Debug)]
pub(super) struct WriterParts {
    pub topic: &'static str,
    pub directory: PathBuf,
    pub platform: Platform,
    pub table: Arc<SegmentTable>,
    pub queue: Arc<WriterQueue>,
    pub groups: Arc<TopicGroups>,
    pub acknowledge: Acknowledge,
    pub segment_bytes: u64,
    pub limits: RetentionLimits,
}

#[derive(Debug)]
pub(super) struct Writer {
    parts: WriterParts,
    active: Arc<Segment>,
    file: Box<dyn SegmentFile>,
    /// The file may have bytes behind its durable end.
    needs_repair: bool,
    /// A new segment may be incomplete. Nothing may be written before it is complete, because
    /// opening the log takes the last segment for the one that was written.
    needs_segment: bool,
    /// True if the last commit failed; used to log only changes.
    is_failing: bool,
    buffer: Vec<u8>,
}

/// A commit that is written but not synced.
struct WrittenCommit {
    extent: Extent,
    entries: Vec<IndexEntry>,
}

impl Writer {
    /// Creates a writer that appends to `active`, the table's last segment.
    pub(super) fn new(parts: WriterParts, active: Arc<Segment>) -> Result<Self, LogError> {
        let path = &active.path;
        let file =
            parts.platform.disk.open(path).map_err(|e| write_failure("opening", path, &e))?;
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Ok(Self {
            parts,
            active,
            file,
            needs_repair: false,
            needs_segment: false,
            is_failing: false,
            buffer,
        })
    }

    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let queue = self.parts.queue.clone();
        while let Some(work) = queue.take(self.commit_room_bytes()) {
            let mut enforce_retention = work.enforce_retention;
            if !work.batches.is_empty() {
                enforce_retention |= self.commit(work.batches);
            }
            if enforce_retention {
                self.enforce_retention();
            }
        }
    }

    fn commit_room_bytes(&self) -> u64 {
        // A full segment is replaced before the next commit is written.
        match self.parts.segment_bytes.saturating_sub(self.active.extent().bytes) {
            0 => COMMIT_BYTES.min(self.parts.segment_bytes),
            room => COMMIT_BYTES.min(room),
        }
    }

    /// Stores batches and answers them. Returns whether a segment was created.
    fn commit(&mut self, batches: Vec<PendingBatch>) -> bool {
        let base_before = self.active.header.base;
        match self.prepare().and_then(|()| self.write(&batches)) {
            Ok(written) => self.finish(batches, &written),
            Err(error) => {
                self.report(Some(&error));
                self.answer(batches, &Err(error));
            }
        }
        self.active.header.base != base_before
    }

    /// Makes a commit durable and answers its batches, in the configured order.
    fn finish(&mut self, batches: Vec<PendingBatch>, written: &WrittenCommit) {
        let first = self.active.extent().end;
        let count = batches.len();
        if self.parts.acknowledge == Acknowledge::Durable {
            let outcome = self.make_durable(written).map(|()| first);
            self.report(outcome.as_ref().err());
            return self.answer(batches, &outcome);
        }
        self.answer(batches, &Ok(first));
        let outcome = self.make_durable(written);
        self.report(outcome.as_ref().err());
        if outcome.is_err() {
            warn!(
                topic = self.parts.topic,
                count,
                "lost batches that were acknowledged before they were durable, as configured"
            );
        }
    }

    /// Logs when storing starts to fail and when it works again.
    fn report(&mut self, error: Option<&LogError>) {
        let topic = self.parts.topic;
        match error {
            Some(error) if !self.is_failing => {
                error!(topic, %error, "the event log refuses records");
            }
            None if self.is_failing => info!(topic, "the event log stores records again"),
            _ => {}
        }
        self.is_failing = error.is_some();
    }

    /// Answers batches in order. `outcome` is the offset of the first record of the first batch.
    fn answer(&self, batches: Vec<PendingBatch>, outcome: &Result<u64, LogError>) {
        // Released first, so that an answered caller can use the bytes of its batch again.
        self.parts.queue.release(batches.iter().map(|batch| batch.bytes).sum());
        let mut offset = outcome.as_ref().copied().unwrap_or_default();
        for batch in batches {
            let count = batch.records.len() as u64;
            let position = |offset| Position { partition: PARTITION, offset };
            let positions = (offset..offset + count).map(position);
            let answer = outcome.clone().map(|_| positions.collect());
            offset += count;
            // The caller may have stopped waiting.
            let _ = batch.answer.send(answer);
        }
    }

    /// Prepares the file to be written at its durable end.
    fn prepare(&mut self) -> Result<(), LogError> {
        if self.needs_repair {
            self.repair()?;
        }
        let is_full = self.active.extent().bytes >= self.parts.segment_bytes;
        if self.needs_segment || (is_full && !self.active.is_empty()) {
            self.create_next_segment()?;
        }
        Ok(())
    }

    /// Writes batches. After an error either none of their bytes are left, or the file needs
    /// repair.
    fn write(&mut self, batches: &[PendingBatch]) -> Result<WrittenCommit, LogError> {
        let written = self.write_records(batches);
        if written.is_err() {
            self.undo();
        }
        written
    }

    fn write_records(&mut self, batches: &[PendingBatch]) -> Result<WrittenCommit, LogError> {
        let Extent { bytes: mut position, mut end } = self.active.extent();
        let mut entries = Vec::new();
        let mut entry_due = self.active.index().next_due();
        self.buffer.clear();
        let records = batches.iter().flat_map(|batch| &batch.records);
        for (record, place_in_commit) in records.zip(0..) {
            let place = position + self.buffer.len() as u64;
            if place >= entry_due {
                entries.push(IndexEntry { offset: end, position: place });
                entry_due = place + super::index::INTERVAL_BYTES;
            }
            record::encode(&mut self.buffer, end, place_in_commit, record);
            end += 1;
            if self.buffer.len() >= BUFFER_BYTES - record::HEADER_BYTES {
                position = self.flush(position)?;
            }
        }
        position = self.flush(position)?;
        Ok(WrittenCommit { extent: Extent { bytes: position, end }, entries })
    }

    /// Writes the buffer and returns the file position behind it.
    fn flush(&mut self, position: u64) -> Result<u64, LogError> {
        self.file
            .write_at(&self.buffer, position)
            .map_err(|e| write_failure("writing", &self.active.path, &e))?;
        let written = self.buffer.len() as u64;
        self.buffer.clear();
        Ok(position + written)
    }

    /// Syncs a commit and makes it visible to readers. Undoes it if that fails.
    fn make_durable(&mut self, written: &WrittenCommit) -> Result<(), LogError> {
        if let Err(error) = self.file.sync() {
            self.undo();
            return Err(write_failure("syncing", &self.active.path, &error));
        }
        // The sync of a file without a name succeeds, and its contents go with this process.
        let path = &self.active.path;
        let is_in_place = self.file.is_at(path).map_err(|e| write_failure("examining", path, &e));
        if !matches!(is_in_place, Ok(true)) {
            let error = is_in_place.err().unwrap_or_else(|| moved_away(path));
            self.undo();
            return Err(error);
        }
        self.parts.table.publish(&self.active, written.extent, &written.entries);
        Ok(())
    }

    /// Removes the bytes that a failed commit may have left in the file.
    fn undo(&mut self) {
        self.needs_repair = true;
        if let Err(error) = self.repair() {
            warn!(topic = self.parts.topic, %error, "cannot undo a failed write yet");
        }
    }

    fn repair(&mut self) -> Result<(), LogError> {
        let path = &self.active.path;
        let failure = |doing| move |error: std::io::Error| write_failure(doing, path, &error);
        // Another file at the path belongs to whoever put it there.
        if !self.file.is_at(path).map_err(failure("examining"))? {
            return Err(moved_away(path));
        }
        // Opened again, because a descriptor reports a failed sync only once.
        let file = self.parts.platform.disk.open(path).map_err(failure("opening"))?;
        file.truncate(self.active.extent().bytes).map_err(failure("truncating"))?;
        file.sync().map_err(failure("syncing"))?;
        recovery::verify_end(&self.active)?;
        self.file = file;
        self.needs_repair = false;
        Ok(())
    }

    /// Seals the active segment and continues in a new one.
    fn create_next_segment(&mut self) -> Result<(), LogError> {
        let end = self.active.extent().end;
        let header = SegmentHeader {
            base: end,
            follows: end,
            created_ms: self.parts.platform.clock.now_ms(),
        };
        let segment = Arc::new(Segment::empty(&self.parts.directory, header));
        self.needs_segment = true;
        self.file = create_segment(&*self.parts.platform.disk, &segment)?;
        self.needs_segment = false;
        self.active = segment.clone();
        self.parts.table.push(segment);
        debug!(topic = self.parts.topic, base = end, "created a segment");
        Ok(())
    }

    fn enforce_retention(&mut self) {
        let now_ms = self.parts.platform.clock.now_ms();
        if !self.needs_repair
            && !self.active.is_empty()
            && self.parts.limits.should_seal(summary(&self.active), now_ms)
            && let Err(error) = self.create_next_segment()
        {
            warn!(topic = self.parts.topic, %error, "cannot seal an old segment");
        }
        let segments = self.parts.table.segments();
        let summaries: Vec<_> = segments.iter().map(|segment| summary(segment)).collect();
        let expired = self.parts.limits.expired(&summaries, now_ms);
        if expired > 0 {
            self.remove_oldest(expired);
        }
    }

    fn remove_oldest(&self, count: usize) {
        let topic = self.parts.topic;
        let table = &self.parts.table;
        for _ in 0..count {
            let Some(segment) = table.drop_oldest() else { break };
            if let Err(error) = self.remove(&segment) {
                warn!(topic, path = %segment.path.display(), %error, "cannot remove a segment");
                // Added again, so that the files never have a gap.
                table.restore_oldest(segment);
                break;
            }
            info!(topic, path = %segment.path.display(), "removed a segment past its retention");
        }
        let earliest = table.bounds().earliest;
        for (group, committed) in self.parts.groups.all_committed() {
            if committed < earliest {
                let records = earliest - committed;
                warn!(topic, group, records, "retention removed records the group has not read");
            }
        }
    }

    /// Removes a segment durably before the next one, so that a crash leaves no gap.
    fn remove(&self, segment: &Segment) -> std::io::Result<()> {
        self.parts.platform.disk.remove(&segment.path)?;
        self.parts.platform.disk.sync_directory(&self.parts.directory)
    }
}

fn summary(segment: &Segment) -> SegmentSummary {
    SegmentSummary { created_ms: segment.header.created_ms, bytes: segment.extent().bytes }
}

/// Creates a segment's file with its header, durably. Leaves no file behind if that fails.
pub(super) fn create_segment(
    disk: &dyn Disk,
    segment: &Segment,
) -> Result<Box<dyn SegmentFile>, LogError> {
    let path = &segment.path;
    let made = disk.create(path).and_then(|file| {
        file.write_at(&segment.header.encode(), 0)?;
        file.sync()?;
        if let Some(directory) = path.parent() {
            disk.sync_directory(directory)?;
        }
        Ok(file)
    });
    made.map_err(|error| {
        // If this fails too, opening the log removes the file.
        let _ = disk.remove(path);
        write_failure("creating", path, &error)
    })
}
