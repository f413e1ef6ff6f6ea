//! Coalescing: holds frames of a costly stream back, so that one write carries several.
//!
//! A write costs nearly the same with one frame or four. A stream whose fan-out takes much of the
//! worker's time therefore lets frames gather: fan-outs are spaced so far apart that writing
//! takes no more than its share of the time. Nothing is held back on a stream that is cheap to
//! write, after a pause, or together with a deletion or an announcement.

use std::time::{Duration, Instant};

use crate::daemon::base::config::DeliveryConfig;

#[derive(Debug, Default)]
pub(super) struct Coalescing {
    not_before: Option<Instant>,
    last_spent: Duration,
}

impl Coalescing {
    /// Returns how long pending frames are still held back.
    pub(super) fn delay(&self, now: Instant) -> Duration {
        self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// Records when a fan-out began and how long it took, and derives the earliest start of the
    /// next.
    pub(super) fn record_fan_out(
        &mut self,
        began: Instant,
        spent: Duration,
        config: &DeliveryConfig,
    ) {
        // A single long fan-out does not count: another thread may have had the processor.
        let typical = spent.min(self.last_spent);
        self.last_spent = spent;
        let period = typical.div_f64(config.fan_out_share).min(config.coalesce_up_to);
        self.not_before = Some(began + period);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Returns the delay of a frame that arrives when the second fan-out of this length has
    /// ended.
    fn delay_after(took: Duration, share: f64) -> Duration {
        let config = DeliveryConfig {
            fan_out_share: share,
            coalesce_up_to: 100 * MS,
            ..DeliveryConfig::default()
        };
        let mut coalescing = Coalescing::default();
        let began = Instant::now();
        coalescing.record_fan_out(began, took, &config);
        coalescing.record_fan_out(began, took, &config);
        coalescing.delay(began + took)
    }

    #[test]
    fn delay_grows_with_fan_out_time_up_to_a_bound() {
        assert_eq!(delay_after(MS, 0.2), 4 * MS);
        assert_eq!(delay_after(10 * MS, 0.2), 40 * MS);
        assert_eq!(delay_after(40 * MS, 0.2), 60 * MS, "100 ms from start to start");
        assert_eq!(delay_after(400 * MS, 0.2), Duration::ZERO, "longer than the bound");
        assert_eq!(delay_after(40 * MS, 1.0), Duration::ZERO, "a full share is no limit");
    }

    #[test]
    fn no_delay_for_a_lone_frame_or_one_slow_write() {
        let mut coalescing = Coalescing::default();
        let began = Instant::now();
        assert_eq!(coalescing.delay(began), Duration::ZERO);
        let config = DeliveryConfig::default();
        coalescing.record_fan_out(began, MS / 10, &config);
        coalescing.record_fan_out(began, 50 * MS, &config);
        assert_eq!(coalescing.delay(began + 50 * MS), Duration::ZERO);
    }
}
