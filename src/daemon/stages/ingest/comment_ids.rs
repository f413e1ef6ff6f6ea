//! Creates comment ids that are unique and increase on each node.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::daemon::base::clock::SharedClock;
use crate::protocol::CommentId;

/// A source of ids for one process.
#[derive(Debug)]
pub struct CommentIds {
    clock: SharedClock,
    /// Random per start, so that a clock set back between two runs cannot repeat an id.
    clock_sequence: u16,
    node: [u8; 6],
    last_ticks: AtomicU64,
}

impl CommentIds {
    pub fn new(clock: SharedClock) -> Self {
        let mut node: [u8; 6] = rand::random();
        // The multicast bit marks a node id that is not a network card's (RFC 9562 §6.10).
        node[0] |= 1;
        Self { clock, clock_sequence: rand::random(), node, last_ticks: AtomicU64::new(0) }
    }

    /// Returns the next id. Its time is now, or one tick of 100 ns after the previous id.
    pub fn next(&self) -> CommentId {
        let now = (self.clock.now().as_nanos() / 100) as u64;
        let step = |last: u64| Some(now.max(last + 1));
        let last = self.last_ticks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        let ticks = now.max(last.unwrap_or_default() + 1);
        CommentId::from_unix_ticks(ticks, self.clock_sequence, self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::clock::TokioClock;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn ids_grow_while_the_clock_stands_still() {
        let ids =
            CommentIds::new(Arc::new(TokioClock::starting_at(Duration::from_secs(1_700_000_000))));
        let made: Vec<_> = (0..1000).map(|_| ids.next().sort_key()).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
