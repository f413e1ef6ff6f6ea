//! The difference of two clocks, from the times around a call.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A call with a short answer time tells more than later ones with longer times, for this long.
const BEST_FOR: Duration = Duration::from_secs(10);

/// A call that a server answered with its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClockReading {
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    /// `asked` on the wall clock of this node, in milliseconds since the Unix epoch.
    pub(super) asked_at_ms: u64,
    pub(super) server_ms: u64,
}

/// The clock of this node minus that of one server. Accurate to half the time of a call.
#[derive(Debug, Default)]
pub(super) struct ClockOffset(Mutex<Option<BestReading>>);

#[derive(Debug, Clone, Copy)]
struct BestReading {
    at: Instant,
    took: Duration,
    offset_ms: i64,
}

impl ClockOffset {
    pub(super) fn record(&self, reading: &ClockReading) {
        let took = reading.answered.saturating_duration_since(reading.asked);
        let middle_ms = reading.asked_at_ms + (took / 2).as_millis() as u64;
        let offset_ms = middle_ms.cast_signed() - reading.server_ms.cast_signed();
        let mut best = self.0.lock();
        let is_better = best.is_none_or(|best| {
            took <= best.took || reading.answered.saturating_duration_since(best.at) >= BEST_FOR
        });
        if is_better {
            *best = Some(BestReading { at: reading.answered, took, offset_ms });
        }
    }

    pub(super) fn offset_ms(&self) -> Option<i64> {
        self.0.lock().map(|best| best.offset_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_call_of_ten_seconds_counts() {
        let start = Instant::now();
        let offset = ClockOffset::default();
        assert_eq!(offset.offset_ms(), None);
        let record = |second: u64, took_ms: u64, ahead_ms: u64| {
            let asked = start + Duration::from_secs(second);
            let asked_at_ms = 1_000_000 + second * 1_000;
            offset.record(&ClockReading {
                asked,
                answered: asked + Duration::from_millis(took_ms),
                asked_at_ms,
                server_ms: asked_at_ms + took_ms / 2 - ahead_ms,
            });
            offset.offset_ms()
        };
        assert_eq!(record(0, 40, 25), Some(25));
        assert_eq!(record(1, 2, 20), Some(20));
        assert_eq!(record(2, 400, 90), Some(20), "a slow call tells less");
        assert_eq!(record(12, 400, 90), Some(90), "but more than an old one");
    }
}
