//! Deadlines of handshakes and times of reconnects: 16 bytes each, none for a viewer that watches.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::loadgen::clock::Micros;

/// The time at which an attempt of a viewer must be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ViewerTimer {
    pub at: Micros,
    pub viewer: u32,
    /// The timer is void if the viewer's current attempt is another one.
    pub attempt: u32,
}

#[derive(Debug, Default)]
pub(super) struct TimerQueue {
    heap: BinaryHeap<Reverse<ViewerTimer>>,
}

impl TimerQueue {
    pub(super) fn add(&mut self, timer: ViewerTimer) {
        self.heap.push(Reverse(timer));
    }

    pub(super) fn next_at(&self) -> Option<Micros> {
        self.heap.peek().map(|Reverse(timer)| timer.at)
    }

    /// Removes and returns the earliest timer if it is due.
    pub(super) fn pop_due(&mut self, now: Micros) -> Option<ViewerTimer> {
        if self.next_at()? > now {
            return None;
        }
        let timer = self.heap.pop().map(|Reverse(timer)| timer);
        if self.heap.is_empty() {
            // Frees the memory of the handshakes when the last one is done.
            self.heap.shrink_to(0);
        }
        timer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_due_in_order_and_never_early() {
        let mut timers = TimerQueue::default();
        for at in [30, 10, 20] {
            timers.add(ViewerTimer { at, viewer: at as u32, attempt: 0 });
        }
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.next_at(), Some(10));
        assert_eq!(timers.pop_due(25).map(|timer| timer.viewer), Some(10));
        assert_eq!(timers.pop_due(25).map(|timer| timer.viewer), Some(20));
        assert_eq!(timers.pop_due(25), None);
    }
}
