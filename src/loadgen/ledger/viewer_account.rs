//! The messages that one viewer has received: constant memory while nothing goes wrong.

use crate::client::viewer::{Position, SeqRange};
use crate::loadgen::clock::Micros;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{Epoch, Seq};

/// The state of a viewer's connection, which decides what it may still receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ViewerPresence {
    Connected,
    /// Lost its connection and tries to reconnect.
    Returning,
    /// Will not reconnect, or reconnected to another epoch.
    Gone,
}

#[derive(Debug)]
pub(super) struct ViewerAccount {
    /// Position named by the first welcome. The viewer should receive everything after it.
    pub start: Seq,
    pub joined_at: Micros,
    pub position: Position,
    /// Ranges that no message has covered. Sorted and disjoint.
    pub holes: Vec<SeqRange>,
    /// The sample rate of the latest message.
    pub rate: SampleRate,
    pub presence: ViewerPresence,
}

/// A received range, divided by what the viewer had received before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RangeSplit {
    /// Beyond the viewer's position.
    pub new: Option<SeqRange>,
    /// Parts of former holes, received after later comments.
    pub late: Vec<SeqRange>,
    /// Received before.
    pub repeated: Vec<SeqRange>,
}

impl ViewerAccount {
    pub(super) fn new(epoch: Epoch, seq: Seq, rate: SampleRate, joined_at: Micros) -> Self {
        Self {
            start: seq,
            joined_at,
            position: Position::new(epoch, seq),
            holes: Vec::new(),
            rate,
            presence: ViewerPresence::Connected,
        }
    }

    /// Returns whether a range directly follows the position, as it always does with a correct
    /// server.
    pub(super) fn continues_with(&self, range: SeqRange) -> bool {
        range.from == self.position.seq() + 1
    }

    /// Records a received range and returns how it divides.
    pub(super) fn receive(&mut self, range: SeqRange) -> RangeSplit {
        let advance = self.position.advance(range);
        let mut split = RangeSplit { new: advance.fresh, ..RangeSplit::default() };
        if let Some(old) = advance.repeated {
            self.fill_holes(old, &mut split);
        }
        self.holes.extend(advance.hole);
        split
    }

    /// Divides `old` into parts that fill holes and parts that do not, and removes the former from
    /// the holes.
    fn fill_holes(&mut self, old: SeqRange, split: &mut RangeSplit) {
        let mut next = Some(old.from);
        let mut open = Vec::with_capacity(self.holes.len() + 1);
        for hole in self.holes.drain(..) {
            let Some(filled) = hole.intersect(old) else {
                open.push(hole);
                continue;
            };
            if let Some(from) = next {
                split.repeated.extend(range_before(from, filled.from));
            }
            split.late.push(filled);
            next = filled.to.checked_add(1);
            open.extend(range_before(hole.from, filled.from));
            open.extend(next.and_then(|from| SeqRange::new(from, hole.to)));
        }
        split.repeated.extend(next.and_then(|from| SeqRange::new(from, old.to)));
        self.holes = open;
    }
}

/// Returns the range from `from` up to, but without, `end`.
fn range_before(from: Seq, end: Seq) -> Option<SeqRange> {
    end.checked_sub(1).and_then(|to| SeqRange::new(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn splits_agree_with_a_set_of_numbers(
            ranges in prop::collection::vec((1_u64..60, 0_u64..12), 1..30)
        ) {
            let mut account = ViewerAccount::new(Epoch(1), 5, SampleRate::ALL, 0);
            let mut received: BTreeSet<Seq> = (0..=5).collect();
            for (from, length) in ranges {
                let range = SeqRange { from, to: from + length };
                let furthest = received.last().copied().unwrap();
                let split = account.receive(range);
                for seq in 1..80 {
                    let is = |parts: &[SeqRange]| parts.iter().any(|part| part.contains(seq));
                    let inside = range.contains(seq);
                    let new = split.new.is_some_and(|part| part.contains(seq));
                    prop_assert_eq!(new, inside && seq > furthest);
                    let known = received.contains(&seq);
                    prop_assert_eq!(is(&split.late), inside && seq <= furthest && !known);
                    prop_assert_eq!(is(&split.repeated), inside && seq <= furthest && known);
                }
                received.extend(range.from..=range.to);
                let last = *received.last().unwrap();
                let missing: Vec<_> = (0..=last).filter(|seq| !received.contains(seq)).collect();
                let holes: Vec<_> =
                    account.holes.iter().flat_map(|hole| hole.from..=hole.to).collect();
                prop_assert_eq!(holes, missing);
            }
        }
    }
}
