//! One time for all processes of a run: microseconds of the machine's monotonic clock since it began.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use super::ledger::Micros;

/// The zero of a run, as this process reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunClock {
    started: Instant,
    origin_us: u64,
}

impl RunClock {
    /// The run begins now.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), origin_us: monotonic_us() }
    }

    /// The clock of a run that another process of this machine began.
    pub(crate) fn since(origin_us: u64) -> Self {
        let elapsed = Duration::from_micros(monotonic_us().saturating_sub(origin_us));
        let now = Instant::now();
        Self { started: now.checked_sub(elapsed).unwrap_or(now), origin_us }
    }

    /// What [`RunClock::since`] takes.
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

/// CLOCK_MONOTONIC, which all processes of a machine share.
fn monotonic_us() -> u64 {
    // It cannot fail on Linux, where this clock always exists; 0 would show as absurd latencies.
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
        // Far below what a latency shows, far above what being scheduled away costs.
        let apart = one.micros(now).abs_diff(other.micros(now));
        assert!(apart < 50_000, "{apart} us apart");
        assert!(one.now() >= 5_000);
    }
}
