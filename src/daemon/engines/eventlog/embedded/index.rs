//! A sparse index from offsets to file positions: one entry per 64 KiB of a segment.
//!
//! In memory only. It grows with the writer, or, for a segment found at start, with the first
//! reader. Always holds: entries are in order, and cover the segment from its beginning to the last
//! entry.

/// Bytes between two entries.
pub(super) const INTERVAL_BYTES: u64 = 64 * 1024;

/// The position of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub offset: u64,
    pub position: u64,
}

#[derive(Debug)]
pub(super) struct SparseIndex {
    /// Never empty: the first entry is the segment's first record.
    entries: Vec<IndexEntry>,
}

impl SparseIndex {
    pub(super) fn new(first: IndexEntry) -> Self {
        Self { entries: vec![first] }
    }

    /// Returns the last entry at or before an offset, or else the first entry.
    pub(super) fn floor(&self, offset: u64) -> IndexEntry {
        let after = self.entries.partition_point(|entry| entry.offset <= offset);
        self.entries[after.saturating_sub(1)]
    }

    /// Adds an entry if it is far enough from the last one.
    pub(super) fn offer(&mut self, entry: IndexEntry) {
        if entry.position >= self.next_due() {
            self.entries.push(entry);
        }
    }

    /// Returns the position before which an entry would not be added.
    pub(super) fn next_due(&self) -> u64 {
        self.last().position + INTERVAL_BYTES
    }

    pub(super) fn last(&self) -> IndexEntry {
        self.entries[self.entries.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_is_the_nearest_entry_at_or_before() {
        let mut index = SparseIndex::new(IndexEntry { offset: 10, position: 36 });
        for step in 1..=1000_u64 {
            index.offer(IndexEntry { offset: 10 + step, position: 36 + step * 1024 });
        }
        assert_eq!(index.entries.len(), 1 + 1000 / 64);
        assert_eq!(index.floor(10).offset, 10);
        assert_eq!(index.floor(73).offset, 10);
        assert_eq!(index.floor(74).offset, 74);
        assert_eq!(index.floor(9).offset, 10);
        assert_eq!(index.floor(u64::MAX), index.last());
    }

    #[test]
    fn late_entries_are_not_added() {
        let mut index = SparseIndex::new(IndexEntry { offset: 1, position: 36 });
        let entry = IndexEntry { offset: 400, position: 36 + INTERVAL_BYTES };
        index.offer(entry);
        index.offer(entry);
        index.offer(IndexEntry { offset: 200, position: 30_000 });
        assert_eq!(index.entries.len(), 2);
    }
}
