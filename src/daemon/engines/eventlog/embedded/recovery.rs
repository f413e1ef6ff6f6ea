//! Recovers a topic's segments when the log is opened.
//!
//! A crash can cut short only the last segment, so only that one is read. Sealed segments are
//! checked record by record whenever they are read.
//!
//! A flaw in the last segment is a torn write or damage. A torn write belongs to the last commit,
//! whose fsync never returned, so it was not acknowledged; it is cut off. Damage is followed by a
//! valid record of a later commit, which proves that the flawed bytes had been durable. Opening
//! then fails, because cutting would lose acknowledged records.

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::chunk::{Chunk, Stop};
use super::disk::{Disk, read_failure, write_failure};
use super::index::IndexEntry;
use super::record::{self, Flaw};
use super::scanner::{NEXT_STEP, damaged};
use super::segment::{self, Extent, HEADER_BYTES, Segment, SegmentHeader};
use crate::daemon::engines::eventlog::LogError;

/// Returns the segments of a directory in order, ready to be read and appended to. Empty if it is
/// new.
pub(super) fn recover(
    disk: &dyn Disk,
    directory: &Path,
) -> Result<VecDeque<Arc<Segment>>, LogError> {
    let mut found = Vec::new();
    let mut paths = segment_paths(directory)?;
    while let Some(path) = paths.pop() {
        let is_last = found.is_empty();
        match read_header(&path)? {
            Some(header) => found.push((path, header)),
            None if is_last && length(&path)? <= HEADER_BYTES => {
                warn!(path = %path.display(), "removed a segment that a crash left incomplete");
                disk.remove(&path).map_err(|e| write_failure("removing", &path, &e))?;
                disk.sync_directory(directory)
                    .map_err(|e| write_failure("syncing", directory, &e))?;
            }
            None => {
                let path = path.display();
                let text = format!("{path} at byte 0: its header is damaged; {NEXT_STEP}");
                return Err(LogError::Corrupt(text));
            }
        }
    }
    let mut segments = VecDeque::new();
    let mut next: Option<SegmentHeader> = None;
    for (path, header) in found {
        let segment = match next {
            Some(next) => sealed(directory, &path, header, next)?,
            None => last(disk, directory, header)?,
        };
        segments.push_front(Arc::new(segment));
        next = Some(header);
    }
    Ok(segments)
}

pub(super) fn segment_paths(directory: &Path) -> Result<Vec<PathBuf>, LogError> {
    let unreadable = |error| read_failure("listing", directory, &error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if segment::base_in_name(&path).is_some() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_header(path: &Path) -> Result<Option<SegmentHeader>, LogError> {
    let unreadable = |error| read_failure("reading", path, &error);
    let mut bytes = [0; HEADER_BYTES as usize];
    let file = File::open(path).map_err(unreadable)?;
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    }
    let header = SegmentHeader::decode(&bytes);
    Ok(header.filter(|header| segment::base_in_name(path) == Some(header.base)))
}

fn length(path: &Path) -> Result<u64, LogError> {
    let metadata = std::fs::metadata(path).map_err(|e| read_failure("examining", path, &e))?;
    Ok(metadata.len())
}

/// Opens a segment that is followed by another, whose header holds the end of this one.
fn sealed(
    directory: &Path,
    path: &Path,
    header: SegmentHeader,
    next: SegmentHeader,
) -> Result<Segment, LogError> {
    let in_order = header.base <= next.follows && next.follows <= next.base;
    if !in_order {
        return Err(LogError::Corrupt(format!(
            "{} begins at offset {}, but according to the next segment it ends at {}; {NEXT_STEP}",
            path.display(),
            header.base,
            next.follows
        )));
    }
    Ok(Segment::new(directory, header, Extent { bytes: length(path)?, end: next.follows }))
}

/// Opens the segment that was being written. Cuts it behind its last complete record and syncs it.
fn last(disk: &dyn Disk, directory: &Path, header: SegmentHeader) -> Result<Segment, LogError> {
    let segment = Segment::empty(directory, header);
    let path = &segment.path;
    let file = File::open(path).map_err(|e| read_failure("opening", path, &e))?;
    let length = length(path)?;
    let extent = match walk(&file, &segment, length)? {
        (extent, None) => extent,
        (extent, Some(flaw)) => {
            refuse_damage(&file, &segment, extent, length, &flaw)?;
            let cut_bytes = length - extent.bytes;
            warn!(path = %path.display(), cut_bytes, at_byte = extent.bytes, %flaw,
                "cut off an unfinished write at the end of the log");
            extent
        }
    };
    let writer = disk.open(path).map_err(|e| write_failure("opening", path, &e))?;
    if extent.bytes < length {
        writer.truncate(extent.bytes).map_err(|e| write_failure("truncating", path, &e))?;
    }
    // Records that a killed process wrote may be only in the page cache.
    writer.sync().map_err(|e| write_failure("syncing", path, &e))?;
    segment.publish(extent, &[]);
    Ok(segment)
}

/// Reads a segment up to `limit` and fills its index. Returns the valid part and the flaw behind
/// it.
fn walk(file: &File, segment: &Segment, limit: u64) -> Result<(Extent, Option<Flaw>), LogError> {
    let mut chunk = Chunk::at(HEADER_BYTES);
    let mut extent = Extent { bytes: HEADER_BYTES, end: segment.header.base };
    loop {
        let position = chunk.position();
        match chunk.next() {
            Ok(Some(record)) if record.offset == extent.end => {
                segment.index().offer(IndexEntry { offset: record.offset, position });
                let bytes = position + record.total_bytes() as u64;
                extent = Extent { bytes, end: extent.end + 1 };
            }
            Ok(Some(record)) => {
                let flaw = format!("offset {} instead of {}", record.offset, extent.end);
                return Err(damaged(segment, position, &flaw));
            }
            Ok(None) => match chunk.fill(file, limit) {
                Ok(true) => {}
                Ok(false) => return Ok((extent, None)),
                Err(Stop::Flawed(flaw)) => return Ok((extent, Some(flaw))),
                Err(Stop::Io(error)) => return Err(read_failure("reading", &segment.path, &error)),
            },
            Err(flaw) => return Ok((extent, Some(flaw))),
        }
    }
}

/// Fails if a record behind the flaw proves that the flawed bytes had been durable.
fn refuse_damage(
    file: &File,
    segment: &Segment,
    valid: Extent,
    length: u64,
    flaw: &Flaw,
) -> Result<(), LogError> {
    let mut rest = vec![0; (length - valid.bytes) as usize];
    file.read_exact_at(&mut rest, valid.bytes)
        .map_err(|e| read_failure("reading", &segment.path, &e))?;
    if proves_durable(&rest, valid.end) {
        let text = format!("{flaw}, and records acknowledged later follow it");
        return Err(damaged(segment, valid.bytes, &text));
    }
    Ok(())
}

/// Returns whether `bytes` hold a record of a commit that began after the record `missing` was
/// durable.
pub(super) fn proves_durable(bytes: &[u8], missing: u64) -> bool {
    let possible = missing + 1..=missing + (bytes.len() / record::HEADER_BYTES) as u64 + 1;
    let mut at = 0;
    while at + record::HEADER_BYTES <= bytes.len() {
        // Checks the offset first, because a checksum is expensive.
        if possible.contains(&record::u64_at(bytes, at + 8))
            && let Ok(record) = record::decode(&bytes[at..])
        {
            if record.commit_start() > missing {
                return true;
            }
            at += record.total_bytes();
        } else {
            at += 1;
        }
    }
    false
}

/// Checks that the end of a segment, from its last index entry on, reads from the disk as it was
/// written. The page cache is dropped first: after a failed fsync it may hold data that never
/// reached the disk.
pub(super) fn verify_end(segment: &Segment) -> Result<(), LogError> {
    let path = &segment.path;
    let file = File::open(path).map_err(|e| read_failure("opening", path, &e))?;
    let extent = segment.extent();
    let from = segment.index().last();
    let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    // If the kernel ignores the advice, the read below still checks the cached data.
    let _ = nix::fcntl::posix_fadvise(&file, 0, 0, advice);
    let mut chunk = Chunk::at(from.position);
    let mut offset = from.offset;
    loop {
        let position = chunk.position();
        match chunk.next() {
            Ok(Some(record)) if record.offset == offset => offset += 1,
            Ok(Some(_)) => return Err(damaged(segment, position, "a record out of order")),
            Ok(None) => match chunk.fill(&file, extent.bytes) {
                Ok(true) => {}
                Ok(false) if offset == extent.end => return Ok(()),
                Ok(false) => return Err(damaged(segment, position, "records are missing")),
                Err(Stop::Flawed(flaw)) => {
                    return Err(damaged(segment, position, &flaw.to_string()));
                }
                Err(Stop::Io(error)) => return Err(read_failure("reading", path, &error)),
            },
            Err(flaw) => return Err(damaged(segment, position, &flaw.to_string())),
        }
    }
}
