//! One file of a topic: its header, its name, and its durable extent.
//!
//! Always holds: [`Segment::extent`] is durable and ends after a complete record, so a reader
//! within it never sees a half-written one. Only the last segment grows.

use std::path::{Path, PathBuf};

use super::index::{IndexEntry, SparseIndex};
use super::record::{u32_at, u64_at};
use parking_lot::{Mutex, MutexGuard};

const MAGIC: [u8; 8] = *b"lcdlog\x00\x01";
pub(super) const HEADER_BYTES: u64 = 36;
const EXTENSION: &str = "log";

/// The header of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Offset of the first record.
    pub base: u64,
    /// The end of the segment before. Differs from `base` only where offsets were skipped.
    pub follows: u64,
    /// Time of creation, at which the segment before was sealed.
    pub created_ms: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.base, self.follows, self.created_ms] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let sound = bytes.len() >= HEADER_BYTES as usize
            && bytes[..8] == MAGIC
            && crc32c::crc32c(&bytes[..32]) == u32_at(bytes, 32);
        sound.then(|| Self {
            base: u64_at(bytes, 8),
            follows: u64_at(bytes, 16),
            created_ms: u64_at(bytes, 24),
        })
    }
}

/// The durable part of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Length of the file, the header included.
    pub bytes: u64,
    /// The offset after the last record.
    pub end: u64,
}

/// A segment, shared by its writer and its readers.
#[derive(Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub header: SegmentHeader,
    extent: Mutex<Extent>,
    index: Mutex<SparseIndex>,
}

impl Segment {
    pub(super) fn new(directory: &Path, header: SegmentHeader, extent: Extent) -> Self {
        let first = IndexEntry { offset: header.base, position: HEADER_BYTES };
        Self {
            path: directory.join(file_name(header.base)),
            header,
            extent: Mutex::new(extent),
            index: Mutex::new(SparseIndex::new(first)),
        }
    }

    pub(super) fn empty(directory: &Path, header: SegmentHeader) -> Self {
        Self::new(directory, header, Extent { bytes: HEADER_BYTES, end: header.base })
    }

    pub(super) fn extent(&self) -> Extent {
        *self.extent.lock()
    }

    /// Extends the part that readers see; it must be durable.
    pub(super) fn publish(&self, extent: Extent, entries: &[IndexEntry]) {
        let mut index = self.index.lock();
        for entry in entries {
            index.offer(*entry);
        }
        drop(index);
        *self.extent.lock() = extent;
    }

    pub(super) fn index(&self) -> MutexGuard<'_, SparseIndex> {
        self.index.lock()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.extent().bytes <= HEADER_BYTES
    }
}

/// Returns the file name of a segment. Names sort like their offsets.
pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}.{EXTENSION}")
}

/// Returns the offset in a segment's file name; `None` for other files.
pub(super) fn base_in_name(path: &Path) -> Option<u64> {
    if path.extension()?.to_str()? != EXTENSION {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_header_is_rejected() {
        let header = SegmentHeader { base: 500, follows: 480, created_ms: 1_700_000_000_000 };
        let bytes = header.encode();
        assert_eq!(bytes.len() as u64, HEADER_BYTES);
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(SegmentHeader::decode(&changed), None, "byte {at}");
            assert_eq!(SegmentHeader::decode(&bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn only_segment_files_name_an_offset() {
        assert_eq!(base_in_name(Path::new("a").join(file_name(77)).as_path()), Some(77));
        for other in ["77.position", "x.log", ".log", "log", "77"] {
            assert_eq!(base_in_name(Path::new(other)), None, "{other}");
        }
    }
}
