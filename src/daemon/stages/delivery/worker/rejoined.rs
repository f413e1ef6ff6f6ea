//! The viewers of a stream that came from an earlier epoch of the log, and their positions there.
//!
//! Bounded by the viewers of the stream. Everything is dropped [`EARLIER_KEPT_FOR`] after the last
//! of them came: no comment is sent again that much later.

use std::time::Instant;

use ahash::AHashMap;

use crate::daemon::stages::delivery::audience::EARLIER_KEPT_FOR;
use crate::protocol::StreamPosition;

#[derive(Debug, Default)]
pub(super) struct Rejoined {
    /// By the viewer's generation.
    positions: AHashMap<u32, StreamPosition>,
    last_at: Option<Instant>,
}

impl Rejoined {
    pub(super) fn add(&mut self, generation: u32, came_from: StreamPosition, now: Instant) {
        self.positions.insert(generation, came_from);
        self.last_at = Some(now);
    }

    pub(super) fn remove(&mut self, generation: u32) {
        self.positions.remove(&generation);
    }

    pub(super) fn position(&self, generation: u32) -> Option<StreamPosition> {
        self.positions.get(&generation).copied()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        if self.last_at.is_some_and(|at| now.duration_since(at) >= EARLIER_KEPT_FOR) {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Epoch;

    #[test]
    fn positions_are_forgotten_after_their_time() {
        let began = Instant::now();
        let at = StreamPosition { epoch: Epoch(6), seq: 9 };
        let mut rejoined = Rejoined::default();
        rejoined.add(1, at, began);
        rejoined.add(2, at, began + EARLIER_KEPT_FOR / 2);
        rejoined.remove(2);
        rejoined.expire(began + EARLIER_KEPT_FOR);
        assert_eq!((rejoined.position(1), rejoined.position(2)), (Some(at), None));
        rejoined.expire(began + EARLIER_KEPT_FOR * 2);
        assert_eq!(rejoined.position(1), None);
    }
}
