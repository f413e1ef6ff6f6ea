//! Where in a segment an offset lies, roughly: one entry for every 64 KiB.
//!
//! In memory only. It grows with the writer, or, for a segment found at start, with whoever reads
//! through it first. Always holds: entries are in order, and cover the segment from its beginning up
//! to the last of them.

/// Bytes between two entries.
pub(super) const INTERVAL_BYTES: u64 = 64 * 1024;

/// The place of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub offset: u64,
    pub position: u64,
}

#[derive(Debug)]
pub(super) struct SparseIndex {
    /// Never empty: the first entry is the segment's first record.
    entries: Vec<Entry>,
}

impl SparseIndex {
    pub(super) fn new(first: Entry) -> Self {
        Self { entries: vec![first] }
    }

    /// The last entry at or before an offset; the first one for an offset before it.
    pub(super) fn floor(&self, offset: u64) -> Entry {
        let after = self.entries.partition_point(|entry| entry.offset <= offset);
        self.entries[after.saturating_sub(1)]
    }

    /// Takes an entry if it is far enough from the last.
    pub(super) fn offer(&mut self, entry: Entry) {
        if entry.position >= self.next_due() {
            self.entries.push(entry);
        }
    }

    /// An entry before this position would be refused.
    pub(super) fn next_due(&self) -> u64 {
        self.last().position + INTERVAL_BYTES
    }

    pub(super) fn last(&self) -> Entry {
        self.entries[self.entries.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_nearest_entry_at_or_before_and_entries_keep_their_distance() {
        let mut index = SparseIndex::new(Entry { offset: 10, position: 36 });
        for step in 1..=1000_u64 {
            index.offer(Entry { offset: 10 + step, position: 36 + step * 1024 });
        }
        assert_eq!(index.entries.len(), 1 + 1000 / 64);
        assert_eq!(index.floor(10).offset, 10);
        assert_eq!(index.floor(73).offset, 10);
        assert_eq!(index.floor(74).offset, 74);
        assert_eq!(index.floor(9).offset, 10);
        assert_eq!(index.floor(u64::MAX), index.last());
    }

    #[test]
    fn entries_that_come_late_are_not_taken_twice() {
        let mut index = SparseIndex::new(Entry { offset: 1, position: 36 });
        let entry = Entry { offset: 400, position: 36 + INTERVAL_BYTES };
        index.offer(entry);
        index.offer(entry);
        index.offer(Entry { offset: 200, position: 30_000 });
        assert_eq!(index.entries.len(), 2);
    }
}
