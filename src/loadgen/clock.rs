//! One clock for all processes of a run: microseconds of the monotonic clock since the run began.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Microseconds since the run began, by its [`RunClock`].
pub(crate) type Micros = u64;

/// Reads the time of a run in this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunClock {
    started: Instant,
    origin_us: u64,
}

impl RunClock {
    /// Returns the clock of a run that begins now.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), origin_us: monotonic_us() }
    }

    /// Returns the clock of a run that another process of this machine began.
    pub(crate) fn since(origin_us: u64) -> Self {
        let elapsed = Duration::from_micros(monotonic_us().saturating_sub(origin_us));
        let now = Instant::now();
        Self { started: now.checked_sub(elapsed).unwrap_or(now), origin_us }
    }

    /// Returns the argument of [`RunClock::since`] for other processes.
    pub(crate) fn origin_us(&self) -> u64 {
        self.origin_us
    }

    pub(crate) fn now(&self) -> Micros {
        monotonic_us().saturating_sub(self.origin_us)
    }

    pub(crate) fn micros(&self, at: Instant) -> Micros {
        at.saturating_duration_since(self.started).as_micros() as Micros
    }
}

/// Reads CLOCK_MONOTONIC, which all processes of a machine share.
fn monotonic_us() -> u64 {
    // Cannot fail on Linux, where this clock always exists. A 0 would show as absurd latencies.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| Duration::from(time).as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_one_run_agree() {
        let one = RunClock::start();
        std::thread::sleep(Duration::from_millis(5));
        let other = RunClock::since(one.origin_us());
        let now = Instant::now();
        // Far below any latency of interest, far above the cost of losing the processor once.
        let apart = one.micros(now).abs_diff(other.micros(now));
        assert!(apart < 50_000, "{apart} us apart");
        assert!(one.now() >= 5_000);
    }
}
