//! A viewer's position in its stream, and whether received ranges join.

use crate::protocol::{Epoch, Seq, StreamPosition};

/// Consecutive sequence numbers, both ends included. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeqRange {
    pub from: Seq,
    pub to: Seq,
}

impl SeqRange {
    /// Returns `None` for an empty range.
    pub fn new(from: Seq, to: Seq) -> Option<Self> {
        (from <= to).then_some(Self { from, to })
    }

    pub fn contains(self, seq: Seq) -> bool {
        self.from <= seq && seq <= self.to
    }

    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.from.max(other.from), self.to.min(other.to))
    }
}

/// Follows the ranges of one viewer across reconnections. Everything up to and including `seq` is
/// accounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    epoch: Epoch,
    seq: Seq,
}

/// The parts of a received range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Advance {
    /// Missing between the position and the range: lost.
    pub hole: Option<SeqRange>,
    /// The part that is new.
    pub fresh: Option<SeqRange>,
    /// The part before the position: received twice, or too late.
    pub repeated: Option<SeqRange>,
}

impl Position {
    /// Returns the position of a `welcome`.
    pub fn new(epoch: Epoch, seq: Seq) -> Self {
        Self { epoch, seq }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Returns the position to resume from.
    pub fn resume(&self) -> StreamPosition {
        StreamPosition { epoch: self.epoch, seq: self.seq }
    }

    /// Advances by the range of a `comments` or a `gap`.
    pub fn advance(&mut self, range: SeqRange) -> Advance {
        let next = self.seq.saturating_add(1);
        let advance = Advance {
            hole: SeqRange::new(next, range.from.saturating_sub(1)).filter(|_| range.from > next),
            fresh: SeqRange::new(range.from.max(next), range.to),
            repeated: SeqRange::new(range.from, range.to.min(self.seq)),
        };
        self.seq = self.seq.max(range.to);
        advance
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(from: Seq, to: Seq) -> SeqRange {
        SeqRange::new(from, to).unwrap()
    }

    #[test]
    fn joining_ranges_leave_no_hole() {
        let mut position = Position::new(Epoch(1), 10);
        let all_new = |from, to| Advance { fresh: Some(range(from, to)), ..Advance::default() };
        assert_eq!(position.advance(range(11, 20)), all_new(11, 20));
        assert_eq!(position.advance(range(21, 21)), all_new(21, 21));
        assert_eq!(position.resume(), StreamPosition { epoch: Epoch(1), seq: 21 });
    }

    #[test]
    fn a_hole_and_a_repetition_are_named() {
        let mut position = Position::new(Epoch(1), 10);
        let advance = position.advance(range(15, 20));
        assert_eq!(advance.hole, Some(range(11, 14)));
        let advance = position.advance(range(18, 22));
        assert_eq!(advance.repeated, Some(range(18, 20)));
        assert_eq!(advance.fresh, Some(range(21, 22)));
        let advance = position.advance(range(1, 5));
        assert_eq!((advance.hole, advance.fresh), (None, None));
        assert_eq!(advance.repeated, Some(range(1, 5)));
        assert_eq!(position.seq(), 22);
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_cover_the_range(
            start in 0_u64..50, ranges in prop::collection::vec((1_u64..100, 0_u64..20), 1..20)
        ) {
            let mut position = Position::new(Epoch(0), start);
            for (from, length) in ranges {
                let before = position.seq();
                let received = range(from, from + length);
                let advance = position.advance(received);
                for seq in 0..130 {
                    let is = |part: Option<SeqRange>| part.is_some_and(|part| part.contains(seq));
                    prop_assert_eq!(is(advance.fresh), received.contains(seq) && seq > before);
                    prop_assert_eq!(is(advance.repeated), received.contains(seq) && seq <= before);
                    prop_assert_eq!(is(advance.hole), seq > before && seq < received.from);
                }
                prop_assert_eq!(position.seq(), before.max(received.to));
            }
        }
    }
}
