//! The position of a replay at any time: it runs, waits, jumps, and changes its speed.

use std::time::Duration;

use tokio::time::Instant;

/// Speeds are from 1/[`FASTEST`] to it.
const FASTEST: f64 = 1_000.0;

/// Maps time to a position in the recording. Time is passed in.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    times: f64,
    /// The position at `since`.
    at_ms: f64,
    since: Instant,
    paused: bool,
}

impl Pace {
    pub(super) fn new(times: f64, at_ms: u64, now: Instant) -> Self {
        Self { times, at_ms: at_ms as f64, since: now, paused: false }
    }

    pub(super) fn position_ms(&self, now: Instant) -> u64 {
        let elapsed = if self.paused { Duration::ZERO } else { now.duration_since(self.since) };
        (self.at_ms + elapsed.as_secs_f64() * 1e3 * self.times) as u64
    }

    /// Returns when a position is reached; `None` while paused.
    pub(super) fn due(&self, at_ms: u64) -> Option<Instant> {
        let ahead_s = (at_ms as f64 - self.at_ms).max(0.0) / 1e3 / self.times;
        // Longer than a recording can be.
        let ahead = Duration::try_from_secs_f64(ahead_s).unwrap_or(Duration::MAX);
        (!self.paused).then(|| {
            let at = self.since.checked_add(ahead);
            at.unwrap_or_else(|| self.since + Duration::from_secs(86_400 * 365))
        })
    }

    pub(super) fn times(&self) -> f64 {
        self.times
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn toggle_pause(&mut self, now: Instant) {
        self.move_to(self.position_ms(now), now);
        self.paused = !self.paused;
    }

    pub(super) fn move_to(&mut self, at_ms: u64, now: Instant) {
        self.at_ms = at_ms as f64;
        self.since = now;
    }

    /// Multiplies the speed.
    pub(super) fn speed_up(&mut self, factor: f64, now: Instant) {
        self.move_to(self.position_ms(now), now);
        self.times = (self.times * factor).clamp(FASTEST.recip(), FASTEST);
    }
}

/// Returns a recorded time as `1:02:03` or `02:03`.
pub(super) fn show_position(ms: u64) -> String {
    let seconds = ms / 1_000;
    let minutes = seconds / 60;
    match minutes / 60 {
        0 => format!("{minutes:02}:{:02}", seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", minutes % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_shown_as_clocks() {
        for (ms, shown) in [(0, "00:00"), (62_900, "01:02"), (3_723_000, "1:02:03")] {
            assert_eq!(show_position(ms), shown);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_position_follows_pauses_jumps_and_speeds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(2.0, 10_000, start);
        assert_eq!(pace.position_ms(at(500)), 11_000);
        assert_eq!(pace.due(12_000), Some(at(1_000)));
        pace.toggle_pause(at(1_000));
        assert_eq!(pace.position_ms(at(9_000)), 12_000);
        assert_eq!(pace.due(12_000), None);
        pace.toggle_pause(at(9_000));
        assert_eq!(pace.due(14_000), Some(at(10_000)));
        pace.move_to(60_000, at(9_500));
        assert_eq!(pace.position_ms(at(10_000)), 61_000);
        assert_eq!(pace.due(0), Some(at(9_500)), "what is behind is due at once");
        pace.speed_up(0.5, at(10_000));
        assert_eq!(pace.position_ms(at(11_000)), 62_000);
        (0..100).for_each(|_| pace.speed_up(0.5, at(11_000)));
        assert_eq!(pace.times(), 0.001);
        assert!(pace.due(u64::MAX).is_some());
    }
}
