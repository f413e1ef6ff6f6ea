//! Estimates the comments per second of a stream from two one-second slots. The weight of the
//! finished slot falls as the current one fills. Takes constant memory and reacts within a second.

use std::time::Duration;

use tokio::time::Instant;

const SLOT: Duration = Duration::from_secs(1);

/// A sliding estimate over the last second.
#[derive(Debug)]
pub struct RateEstimator {
    slot_start: Instant,
    current: u64,
    previous: u64,
}

impl RateEstimator {
    pub fn new(now: Instant) -> Self {
        Self { slot_start: now, current: 0, previous: 0 }
    }

    pub fn add(&mut self, events: u64, now: Instant) {
        self.roll(now);
        self.current += events;
    }

    /// Returns the events per second.
    pub fn per_second(&mut self, now: Instant) -> f64 {
        self.roll(now);
        let elapsed = now.saturating_duration_since(self.slot_start).as_secs_f64();
        self.previous as f64 * (1.0 - elapsed).max(0.0) + self.current as f64
    }

    fn roll(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.slot_start);
        if elapsed < SLOT {
            return;
        }
        let slots = elapsed.as_secs();
        self.previous = if slots == 1 { self.current } else { 0 };
        self.current = 0;
        self.slot_start += Duration::from_secs(slots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn steady_rate_is_estimated_within_a_percent() {
        let start = Instant::now();
        let mut rate = RateEstimator::new(start);
        for ms in 0..5_000 {
            rate.add(7, start + Duration::from_millis(ms));
        }
        let measured = rate.per_second(start + Duration::from_millis(5_000));
        assert!((6_930.0..=7_070.0).contains(&measured), "{measured}");
    }

    #[tokio::test(start_paused = true)]
    async fn estimate_is_zero_after_two_silent_seconds() {
        let start = Instant::now();
        let mut rate = RateEstimator::new(start);
        rate.add(1_000, start);
        assert_eq!(rate.per_second(start + Duration::from_secs(2)), 0.0);
    }
}
