//! Reads a topic's records in order from an offset on, across segments.
//!
//! Always holds: offsets come without a gap except where a segment's header says so; anything else
//! is [`LogError::Corrupt`] with the file and the place. Nothing beyond the durable end is read.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;

use super::chunk::{Chunk, Stop};
use super::disk::read_failure;
use super::index::Entry;
use super::record::RecordRef;
use super::segment::Segment;
use super::table::{Place, Table};
use crate::daemon::engines::eventlog::LogError;

/// So close to the durable end of the last segment that the page cache still has what was just
/// written: reading it costs microseconds and needs no other thread.
const TAIL_BYTES: u64 = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Scanner {
    table: Arc<Table>,
    /// Records before it are passed over: an index entry may lie before the offset asked for.
    from: u64,
    cursor: Option<Cursor>,
    chunk: Chunk,
}

/// A place between two records of a segment. The place in the file is the chunk's.
#[derive(Debug, Clone)]
struct Cursor {
    segment: Arc<Segment>,
    file: Arc<File>,
    offset: u64,
    /// From this place on the segment's index can use an entry.
    index_due: u64,
}

impl Scanner {
    pub(super) fn new(table: Arc<Table>, from: u64) -> Self {
        Self { table, from, cursor: None, chunk: Chunk::default() }
    }

    /// The same place with nothing read ahead, to fill on another thread: whoever waits for that may
    /// be dropped and has lost nothing.
    pub(super) fn fork(&self) -> Self {
        Self {
            table: self.table.clone(),
            from: self.from,
            cursor: self.cursor.clone(),
            chunk: Chunk::at(self.chunk.position()),
        }
    }

    /// The offset of the record [`Self::next`] will bring, or a smaller one.
    pub(super) fn next_offset(&self) -> u64 {
        self.cursor.as_ref().map_or(self.from, |cursor| cursor.offset.max(self.from))
    }

    /// Whether [`Self::next`] has a record, or a flaw, without reading the file.
    pub(super) fn is_buffered(&self) -> bool {
        self.chunk.is_buffered()
    }

    /// Whether [`Self::fill`] would only read what was written a moment ago.
    pub(super) fn is_at_tail(&self) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| {
            let unread = cursor.segment.extent().bytes.saturating_sub(self.chunk.position());
            unread <= TAIL_BYTES && self.table.after(cursor.segment.header.base).is_none()
        })
    }

    /// The next record in memory; `None` asks for [`Self::fill`].
    pub(super) fn next(&mut self) -> Result<Option<RecordRef<'_>>, LogError> {
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        let position = self.chunk.position();
        let found = match self.chunk.next() {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(flaw) => return Err(damaged(&cursor.segment, position, &flaw.to_string())),
        };
        if found.offset != cursor.offset {
            let flaw = format!("offset {} where {} belongs", found.offset, cursor.offset);
            return Err(damaged(&cursor.segment, position, &flaw));
        }
        if position >= cursor.index_due {
            let mut index = cursor.segment.index();
            index.offer(Entry { offset: found.offset, position });
            cursor.index_due = index.next_due();
        }
        cursor.offset += 1;
        Ok(Some(found))
    }

    /// Reads on. Blocks on the disk. `false`: everything durable has been brought.
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
            // It may have grown between the look at its end and its sealing.
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

    /// Finds the segment of `from` and the nearest indexed record before it.
    fn locate(&mut self) -> Result<(), LogError> {
        let segment = match self.table.find(self.from) {
            Place::In(segment) => segment,
            Place::Expired { earliest } => {
                return Err(LogError::Expired { wanted: self.from, earliest });
            }
        };
        let near = segment.index().floor(self.from);
        self.open(segment, near)
    }

    /// Goes on to the segment behind the current one.
    fn enter(&mut self, next: Arc<Segment>) -> Result<(), LogError> {
        let offset = self.cursor.as_ref().map_or(self.from, |cursor| cursor.offset);
        if offset != next.header.follows {
            let earliest = self.table.bounds().earliest;
            if offset < earliest {
                return Err(LogError::Expired { wanted: offset, earliest });
            }
            let flaw = format!(
                "follows offset {}, but the one before ends at {offset}",
                next.header.follows
            );
            return Err(damaged(&next, 0, &flaw));
        }
        let first = Entry { offset: next.header.base, position: super::segment::HEADER_BYTES };
        self.open(next, first)
    }

    fn open(&mut self, segment: Arc<Segment>, at: Entry) -> Result<(), LogError> {
        let file = File::open(&segment.path).map_err(|error| {
            let earliest = self.table.bounds().earliest;
            match error.kind() {
                ErrorKind::NotFound if self.next_offset() < earliest => {
                    LogError::Expired { wanted: self.next_offset(), earliest }
                }
                ErrorKind::NotFound => damaged(&segment, 0, "the file is gone"),
                _ => read_failure("opening", &segment.path, &error),
            }
        })?;
        let index_due = segment.index().next_due();
        self.chunk = Chunk::at(at.position);
        self.cursor = Some(Cursor { segment, file: Arc::new(file), offset: at.offset, index_due });
        Ok(())
    }
}

pub(super) fn damaged(segment: &Segment, position: u64, flaw: &str) -> LogError {
    LogError::Corrupt(format!("{} at byte {position}: {flaw}", segment.path.display()))
}
