//! What one viewer was told: constant memory while nothing goes wrong.

use super::Micros;
use crate::client::viewer::{Position, SeqRange};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{Epoch, Seq};

/// Whether more is to be expected of a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Connected,
    /// Lost its connection and tries to come back.
    Returning,
    /// Will not come back, or came back to another epoch.
    Gone,
}

#[derive(Debug)]
pub(super) struct Track {
    /// What its first welcome said: all that comes after is owed to it.
    pub start: Seq,
    pub joined_at: Micros,
    pub position: Position,
    /// Ranges left out without a word and not made good since. Sorted, disjoint.
    pub holes: Vec<SeqRange>,
    /// The latest the viewer was told.
    pub rate: SampleRate,
    pub presence: Presence,
}

/// How a range divides for one viewer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Told in time.
    pub fresh: Option<SeqRange>,
    /// Told after what follows it: parts of former holes.
    pub late: Vec<SeqRange>,
    /// Told before.
    pub again: Vec<SeqRange>,
}

impl Track {
    pub(super) fn new(epoch: Epoch, seq: Seq, rate: SampleRate, joined_at: Micros) -> Self {
        Self {
            start: seq,
            joined_at,
            position: Position::new(epoch, seq),
            holes: Vec::new(),
            rate,
            presence: Presence::Connected,
        }
    }

    /// Whether a range follows what was told, which is all that ever happens with a sound server.
    pub(super) fn continues_with(&self, range: SeqRange) -> bool {
        range.from == self.position.seq() + 1
    }

    /// Takes a range and says how it divides.
    pub(super) fn take(&mut self, range: SeqRange) -> Share {
        let advance = self.position.advance(range);
        let mut share = Share { fresh: advance.fresh, ..Share::default() };
        if let Some(old) = advance.repeated {
            self.fill(old, &mut share);
        }
        self.holes.extend(advance.hole);
        share
    }

    /// Divides `old` into what fills holes and what does not, and takes the former out of them.
    fn fill(&mut self, old: SeqRange, share: &mut Share) {
        let mut next = Some(old.from);
        let mut open = Vec::with_capacity(self.holes.len() + 1);
        for hole in self.holes.drain(..) {
            let Some(filled) = hole.intersect(old) else {
                open.push(hole);
                continue;
            };
            if let Some(from) = next {
                share.again.extend(before(from, filled.from));
            }
            share.late.push(filled);
            next = filled.to.checked_add(1);
            open.extend(before(hole.from, filled.from));
            open.extend(next.and_then(|from| SeqRange::new(from, hole.to)));
        }
        share.again.extend(next.and_then(|from| SeqRange::new(from, old.to)));
        self.holes = open;
    }
}

/// `from` up to, and without, `end`.
fn before(from: Seq, end: Seq) -> Option<SeqRange> {
    end.checked_sub(1).and_then(|to| SeqRange::new(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn shares_agree_with_a_set_of_numbers(
            ranges in prop::collection::vec((1_u64..60, 0_u64..12), 1..30)
        ) {
            let mut track = Track::new(Epoch(1), 5, SampleRate::ALL, 0);
            let mut told: BTreeSet<Seq> = (0..=5).collect();
            for (from, length) in ranges {
                let range = SeqRange { from, to: from + length };
                let furthest = told.last().copied().unwrap();
                let share = track.take(range);
                for seq in 1..80 {
                    let is = |parts: &[SeqRange]| parts.iter().any(|part| part.contains(seq));
                    let inside = range.contains(seq);
                    let fresh = share.fresh.is_some_and(|part| part.contains(seq));
                    prop_assert_eq!(fresh, inside && seq > furthest);
                    let known = told.contains(&seq);
                    prop_assert_eq!(is(&share.late), inside && seq <= furthest && !known);
                    prop_assert_eq!(is(&share.again), inside && seq <= furthest && known);
                }
                told.extend(range.from..=range.to);
                let last = *told.last().unwrap();
                let missing: Vec<_> = (0..=last).filter(|seq| !told.contains(seq)).collect();
                let holes: Vec<_> =
                    track.holes.iter().flat_map(|hole| hole.from..=hole.to).collect();
                prop_assert_eq!(holes, missing);
            }
        }
    }
}
