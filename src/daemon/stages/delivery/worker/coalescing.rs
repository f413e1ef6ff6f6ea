//! When a stream's frames leave.
//!
//! A write costs nearly the same whether it carries one frame or four, so a stream whose fan-out takes
//! much of its worker's time lets frames gather: one fan-out begins only so long after the last that
//! writing takes no more than its share. A stream that is cheap to write to never waits, nor does the
//! first frame after a pause, nor anything while a deletion or an announcement waits with it.

use std::time::{Duration, Instant};

use crate::daemon::base::config::DeliveryConfig;

#[derive(Debug, Default)]
pub(crate) struct Coalescing {
    not_before: Option<Instant>,
    last_took: Duration,
}

impl Coalescing {
    /// How long what came since the last fan-out is to wait.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// A fan-out began and took this long.
    pub(crate) fn wrote(&mut self, began: Instant, took: Duration, config: &DeliveryConfig) {
        // One that was long because another thread had the processor is not believed.
        let believed = took.min(self.last_took);
        self.last_took = took;
        let period = believed.div_f64(config.fan_out_share).min(config.coalesce_up_to);
        self.not_before = Some(began + period);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// How long a frame waits that comes when a fan-out of this length, the second such, has ended.
    fn wait_after(took: Duration, share: f64) -> Duration {
        let config = DeliveryConfig {
            fan_out_share: share,
            coalesce_up_to: 100 * MS,
            ..DeliveryConfig::default()
        };
        let (mut coalescing, began) = (Coalescing::default(), Instant::now());
        coalescing.wrote(began, took, &config);
        coalescing.wrote(began, took, &config);
        coalescing.wait(began + took)
    }

    #[test]
    fn the_longer_writing_takes_the_longer_frames_gather_up_to_a_bound() {
        assert_eq!(wait_after(MS, 0.2), 4 * MS);
        assert_eq!(wait_after(10 * MS, 0.2), 40 * MS);
        assert_eq!(wait_after(40 * MS, 0.2), 60 * MS, "100 ms from one to the next");
        assert_eq!(wait_after(400 * MS, 0.2), Duration::ZERO, "it took longer than the bound");
        assert_eq!(wait_after(40 * MS, 1.0), Duration::ZERO, "a share of all of it is no limit");
    }

    #[test]
    fn a_lone_frame_and_one_after_a_single_long_write_leave_at_once() {
        let (mut coalescing, began) = (Coalescing::default(), Instant::now());
        assert_eq!(coalescing.wait(began), Duration::ZERO);
        let config = DeliveryConfig::default();
        coalescing.wrote(began, MS / 10, &config);
        coalescing.wrote(began, 50 * MS, &config);
        assert_eq!(coalescing.wait(began + 50 * MS), Duration::ZERO);
    }
}
