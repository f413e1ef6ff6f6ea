//! Reads a topic's records in order from an offset on, across segments.
//!
//! Always holds: offsets have no gap except where a segment's header records one; any other gap is
//! [`LogError::Corrupt`] with the file and the position. Nothing beyond the durable end is read.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;

use super::chunk::{Chunk, Stop};
use super::disk::read_failure;
use super::index::IndexEntry;
use super::record::RecordRef;
use super::segment::Segment;
use super::table::{OffsetLocation, SegmentTable};
use crate::daemon::engines::eventlog::LogError;

/// Distance from the durable end within which records are still in the page cache, so that reading
/// them takes microseconds and needs no other thread.
const TAIL_BYTES: u64 = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Scanner {
    table: Arc<SegmentTable>,
    /// Records before it are skipped: an index entry may be before the requested offset.
    from: u64,
    cursor: Option<Cursor>,
    chunk: Chunk,
}

/// A position between two records of a segment. The chunk has the position in the file.
#[derive(Debug, Clone)]
struct Cursor {
    segment: Arc<Segment>,
    file: Arc<File>,
    offset: u64,
    /// From this file position on, the segment's index needs an entry.
    index_due: u64,
}

impl Scanner {
    pub(super) fn new(table: Arc<SegmentTable>, from: u64) -> Self {
        Self { table, from, cursor: None, chunk: Chunk::default() }
    }

    /// Returns a scanner at the same position with nothing buffered, to fill on another thread. If
    /// the caller is dropped while it waits, nothing is lost.
    pub(super) fn fork(&self) -> Self {
        Self {
            table: self.table.clone(),
            from: self.from,
            cursor: self.cursor.clone(),
            chunk: Chunk::at(self.chunk.position()),
        }
    }

    /// Returns the offset of the record that [`Self::next`] will return, or a smaller one.
    pub(super) fn next_offset(&self) -> u64 {
        self.cursor.as_ref().map_or(self.from, |cursor| cursor.offset.max(self.from))
    }

    /// Returns whether [`Self::next`] has a record, or a flaw, without reading the file.
    pub(super) fn is_buffered(&self) -> bool {
        self.chunk.is_buffered()
    }

    /// Returns whether [`Self::fill`] would only read records written a moment ago.
    pub(super) fn is_at_tail(&self) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| {
            let unread = cursor.segment.extent().bytes.saturating_sub(self.chunk.position());
            unread <= TAIL_BYTES && self.table.after(cursor.segment.header.base).is_none()
        })
    }

    /// Returns the next record in memory. `None` means that [`Self::fill`] must be called.
    pub(super) fn next(&mut self) -> Result<Option<RecordRef<'_>>, LogError> {
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        let position = self.chunk.position();
        let found = match self.chunk.next() {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(flaw) => return Err(damaged(&cursor.segment, position, &flaw.to_string())),
        };
        if found.offset != cursor.offset {
            let flaw = format!("offset {} instead of {}", found.offset, cursor.offset);
            return Err(damaged(&cursor.segment, position, &flaw));
        }
        if position >= cursor.index_due {
            let mut index = cursor.segment.index();
            index.offer(IndexEntry { offset: found.offset, position });
            cursor.index_due = index.next_due();
        }
        cursor.offset += 1;
        Ok(Some(found))
    }

    /// Reads more records. Returns `false` after the last durable one. Blocks on the disk.
    pub(super) fn fill(&mut self) -> Result<bool, LogError> {
        loop {
            if self.cursor.is_none() {
                self.locate()?;
            }
            let Some(cursor) = &self.cursor else { return Ok(false) };
            let segment = cursor.segment.clone();
            if self.fill_within(&segment)? {
                return Ok(true);
            }
            let Some(next) = self.table.after(segment.header.base) else { return Ok(false) };
            // The segment may have grown before it was sealed.
            if self.fill_within(&segment)? {
                return Ok(true);
            }
            self.enter(next)?;
        }
    }

    fn fill_within(&mut self, segment: &Segment) -> Result<bool, LogError> {
        let Some(cursor) = &self.cursor else { return Ok(false) };
        let position = self.chunk.position();
        self.chunk.fill(&cursor.file, segment.extent().bytes).map_err(|stop| match stop {
            Stop::Flawed(flaw) => damaged(segment, position, &flaw.to_string()),
            Stop::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
                let length = cursor.file.metadata().map_or(0, |metadata| metadata.len());
                damaged(segment, position, &format!("the file ends at byte {length}"))
            }
            Stop::Io(error) => read_failure("reading", &segment.path, &error),
        })
    }

    /// Opens the segment of `from` at the nearest indexed record before it.
    fn locate(&mut self) -> Result<(), LogError> {
        let segment = match self.table.find(self.from) {
            OffsetLocation::In(segment) => segment,
            OffsetLocation::Expired { earliest } => {
                return Err(LogError::Expired { wanted: self.from, earliest });
            }
        };
        let near = segment.index().floor(self.from);
        self.open(segment, near)
    }

    /// Continues in the segment after the current one.
    fn enter(&mut self, next: Arc<Segment>) -> Result<(), LogError> {
        let offset = self.cursor.as_ref().map_or(self.from, |cursor| cursor.offset);
        if offset != next.header.follows {
            let earliest = self.table.bounds().earliest;
            if offset < earliest {
                return Err(LogError::Expired { wanted: offset, earliest });
            }
            let flaw = format!(
                "follows offset {}, but the segment before it ends at {offset}",
                next.header.follows
            );
            return Err(damaged(&next, 0, &flaw));
        }
        let first = IndexEntry { offset: next.header.base, position: super::segment::HEADER_BYTES };
        self.open(next, first)
    }

    fn open(&mut self, segment: Arc<Segment>, at: IndexEntry) -> Result<(), LogError> {
        let file = File::open(&segment.path).map_err(|error| {
            let earliest = self.table.bounds().earliest;
            match error.kind() {
                ErrorKind::NotFound if self.next_offset() < earliest => {
                    LogError::Expired { wanted: self.next_offset(), earliest }
                }
                ErrorKind::NotFound => damaged(&segment, 0, "the file is missing"),
                _ => read_failure("opening", &segment.path, &error),
            }
        })?;
        let index_due = segment.index().next_due();
        self.chunk = Chunk::at(at.position);
        self.cursor = Some(Cursor { segment, file: Arc::new(file), offset: at.offset, index_due });
        Ok(())
    }
}

/// Describes damage in a segment: the file, the byte, and what to do.
pub(super) fn damaged(segment: &Segment, position: u64, flaw: &str) -> LogError {
    let path = segment.path.display();
    LogError::Corrupt(format!("{path} at byte {position}: {flaw}; {NEXT_STEP}"))
}

/// The way out of damage.
pub(super) const NEXT_STEP: &str = "stop lcd and restore the file from a copy, or see with \
    `lcd repair-log` what can be kept";
