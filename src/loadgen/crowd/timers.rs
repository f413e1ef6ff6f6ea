//! What is due when: ends of handshakes and returns. 16 bytes each, none for a viewer that just watches.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::loadgen::ledger::Micros;

/// A viewer's attempt to connect, and when something is due for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub at: Micros,
    pub seat: u32,
    /// A timer of an earlier attempt than the seat's current one means nothing any more.
    pub attempt: u32,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer) {
        self.heap.push(Reverse(timer));
    }

    pub(super) fn next_at(&self) -> Option<Micros> {
        self.heap.peek().map(|Reverse(timer)| timer.at)
    }

    /// The earliest that is due.
    pub(super) fn pop_due(&mut self, now: Micros) -> Option<Timer> {
        if self.next_at()? > now {
            return None;
        }
        let timer = self.heap.pop().map(|Reverse(timer)| timer);
        if self.heap.is_empty() {
            // After the last handshake nothing of their memory is kept.
            self.heap.shrink_to(0);
        }
        timer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_none_before_its_time() {
        let mut timers = Timers::default();
        for at in [30, 10, 20] {
            timers.set(Timer { at, seat: at as u32, attempt: 0 });
        }
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.next_at(), Some(10));
        assert_eq!(timers.pop_due(25).map(|timer| timer.seat), Some(10));
        assert_eq!(timers.pop_due(25).map(|timer| timer.seat), Some(20));
        assert_eq!(timers.pop_due(25), None);
    }
}
