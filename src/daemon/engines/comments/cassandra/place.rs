//! The place of a comment in the order of pages.

/// Sequence numbers per part of the order: 2^17.
const PART_BITS: u32 = 17;

/// The number of the log, and the sequence in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) log: i32,
    pub(super) seq: i64,
}

impl Place {
    /// Comes after every comment.
    pub(super) const END: Self = Self { log: i32::MAX, seq: i64::MAX };

    pub(super) fn part(self) -> i32 {
        i32::try_from(self.seq >> PART_BITS).unwrap_or(i32::MAX)
    }
}
