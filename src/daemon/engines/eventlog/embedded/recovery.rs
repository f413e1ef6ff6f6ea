//! What opening a topic finds on the disk, and what of it counts.
//!
//! Only the last segment can have been cut short by a crash, so only it is read through. Sealed
//! segments are checked record by record whenever somebody reads them.
//!
//! A flaw in the last segment is one of two things. A torn write: the flawed place belongs to the
//! last commit, whose fsync never returned, so nobody was told it is stored, and it is cut off. Or
//! damage: a sound record of a later commit stands behind it, which proves that it had been durable;
//! then opening fails, because cutting would lose what was acknowledged.

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::chunk::{Chunk, Stop};
use super::disk::{Disk, read_failure, write_failure};
use super::index::Entry;
use super::record::{self, Flaw};
use super::scanner::damaged;
use super::segment::{self, Extent, HEADER_BYTES, Header, Segment};
use crate::daemon::engines::eventlog::LogError;

/// The segments of a directory in order, ready to be read and appended to. Empty for a new one.
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
                warn!(path = %path.display(), "removed a segment whose creation a crash cut short");
                disk.remove(&path).map_err(|e| write_failure("removing", &path, &e))?;
                disk.sync_directory(directory)
                    .map_err(|e| write_failure("syncing", directory, &e))?;
            }
            None => {
                let text = format!("{} at byte 0: its header is damaged", path.display());
                return Err(LogError::Corrupt(text));
            }
        }
    }
    let mut segments = VecDeque::new();
    let mut next: Option<Header> = None;
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

fn segment_paths(directory: &Path) -> Result<Vec<PathBuf>, LogError> {
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

fn read_header(path: &Path) -> Result<Option<Header>, LogError> {
    let unreadable = |error| read_failure("reading", path, &error);
    let mut bytes = [0; HEADER_BYTES as usize];
    let file = File::open(path).map_err(unreadable)?;
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    }
    let header = Header::decode(&bytes);
    Ok(header.filter(|header| segment::base_in_name(path) == Some(header.base)))
}

fn length(path: &Path) -> Result<u64, LogError> {
    let metadata = std::fs::metadata(path).map_err(|e| read_failure("examining", path, &e))?;
    Ok(metadata.len())
}

/// A segment with one behind it: its end is where the next one says it follows.
fn sealed(
    directory: &Path,
    path: &Path,
    header: Header,
    next: Header,
) -> Result<Segment, LogError> {
    let in_order = header.base <= next.follows && next.follows <= next.base;
    if !in_order {
        return Err(LogError::Corrupt(format!(
            "{} begins at offset {}, but the next segment says that it ends at {}",
            path.display(),
            header.base,
            next.follows
        )));
    }
    Ok(Segment::new(directory, header, Extent { bytes: length(path)?, end: next.follows }))
}

/// The segment that was being written: cut behind its last whole record and made durable.
fn last(disk: &dyn Disk, directory: &Path, header: Header) -> Result<Segment, LogError> {
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
                "cut off the end of the log: a write that a crash left unfinished");
            extent
        }
    };
    let writer = disk.open(path).map_err(|e| write_failure("opening", path, &e))?;
    if extent.bytes < length {
        writer.truncate(extent.bytes).map_err(|e| write_failure("truncating", path, &e))?;
    }
    // What a killed process wrote may stand in the page cache alone.
    writer.sync().map_err(|e| write_failure("syncing", path, &e))?;
    segment.publish(extent, &[]);
    Ok(segment)
}

/// Reads a segment up to `limit`, filling its index. Also says which flaw ended the sound part.
fn walk(file: &File, segment: &Segment, limit: u64) -> Result<(Extent, Option<Flaw>), LogError> {
    let mut chunk = Chunk::at(HEADER_BYTES);
    let mut extent = Extent { bytes: HEADER_BYTES, end: segment.header.base };
    loop {
        let position = chunk.position();
        match chunk.next() {
            Ok(Some(record)) if record.offset == extent.end => {
                segment.index().offer(Entry { offset: record.offset, position });
                let bytes = position + record.total_bytes() as u64;
                extent = Extent { bytes, end: extent.end + 1 };
            }
            Ok(Some(record)) => {
                let flaw = format!("offset {} where {} belongs", record.offset, extent.end);
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

/// Fails if a record behind the flaw proves that the flawed place had been durable.
fn refuse_damage(
    file: &File,
    segment: &Segment,
    sound: Extent,
    length: u64,
    flaw: &Flaw,
) -> Result<(), LogError> {
    let mut rest = vec![0; (length - sound.bytes) as usize];
    file.read_exact_at(&mut rest, sound.bytes)
        .map_err(|e| read_failure("reading", &segment.path, &e))?;
    if proves_durable(&rest, sound.end) {
        let text = format!("{flaw}, and records acknowledged later stand behind it");
        return Err(damaged(segment, sound.bytes, &text));
    }
    Ok(())
}

/// Whether `bytes` hold a record of a commit begun after the record `missing` was durable.
fn proves_durable(bytes: &[u8], missing: u64) -> bool {
    let possible = missing + 1..=missing + (bytes.len() / record::HEADER_BYTES) as u64 + 1;
    let mut at = 0;
    while at + record::HEADER_BYTES <= bytes.len() {
        // The offset first: only a place that has a likely one is worth a checksum.
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

/// Whether the last stretch of a segment, from its last index entry on, reads from the disk as it
/// was written. The page cache is asked to forget it first: after a failed fsync it may show what
/// the disk never got.
pub(super) fn verify_end(segment: &Segment) -> Result<(), LogError> {
    let path = &segment.path;
    let file = File::open(path).map_err(|e| read_failure("opening", path, &e))?;
    let extent = segment.extent();
    let from = segment.index().last();
    let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    // Advice only: where it is not taken, the read below still checks what can be seen.
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
