//! The share at which the node shows one stream, and what the stream would take if shown whole.

use std::time::Duration;

use super::ladder;
use crate::protocol::throttle::SampleRate;

/// Time constant of the averaged rates.
const AVERAGE_OVER: Duration = Duration::from_secs(2);
/// A share rises only after there was room for it this long.
const RISE_AFTER: Duration = Duration::from_secs(2);
/// Room means this multiple of what the next rung takes.
const RISE_MARGIN: f64 = 1.1;
/// Comments per second of a stream that are shown in any case.
const LEAST_PER_SECOND: f64 = 1.0;

/// Traffic of a stream since the last tick.
#[derive(Debug, Clone, Copy, Default)]
pub struct StreamLoad {
    pub sent_bytes: u64,
    /// Comments that the broadcast stage wants shown.
    pub offered: u64,
    /// Those of them that this node showed.
    pub shown: u64,
}

/// The share of one stream and its average rates.
#[derive(Debug, Default)]
pub struct StreamPace {
    /// Position on the ladder; 0 shows all.
    rung: usize,
    /// Time that there was room for the next rung up.
    room_for: Duration,
    sent: PerSecond,
    offered: PerSecond,
    shown: PerSecond,
}

impl StreamPace {
    pub fn share(&self) -> SampleRate {
        ladder::rate(self.rung)
    }

    /// Records the traffic within `elapsed`.
    pub fn record(&mut self, load: StreamLoad, elapsed: Duration) {
        self.sent.add(load.sent_bytes, elapsed);
        self.offered.add(load.offered, elapsed);
        self.shown.add(load.shown, elapsed);
    }

    /// Returns the bytes per second that are sent.
    pub(super) fn sent(&self) -> f64 {
        self.sent.0
    }

    /// Estimates the bytes per second if all were shown. Frames have a fixed cost, so while
    /// little is shown the estimate is too high, never too low.
    pub(super) fn wanted(&self) -> f64 {
        if self.offered.0 <= 0.0 {
            return self.sent.0;
        }
        // While hardly any comments are shown, the measured share is unreliable, and the rung
        // bounds it.
        let share = (self.shown.0 / self.offered.0).clamp(ladder::share(self.rung) / 2.0, 1.0);
        self.sent.0 / share
    }

    /// Returns the share below which the stream is not lowered: about one comment per second.
    pub(super) fn least_share(&self) -> f64 {
        let one_a_second = LEAST_PER_SECOND / self.offered.0.max(LEAST_PER_SECOND);
        ladder::share(ladder::at_least(one_a_second))
    }

    /// Moves one rung towards a share of at most `target`: down at once, up after a while.
    pub(super) fn step(&mut self, target: f64, elapsed: Duration) {
        let lowest = ladder::at_least(self.least_share());
        if self.rung > lowest {
            // Fewer comments arrive than before, so the share would leave too few.
            self.rung -= 1;
            self.room_for = Duration::ZERO;
        } else if ladder::share(self.rung) > target && self.rung < lowest {
            self.rung += 1;
            self.room_for = Duration::ZERO;
        } else if self.rung > 0 && ladder::share(self.rung - 1) * RISE_MARGIN <= target {
            self.room_for += elapsed;
            if self.room_for >= RISE_AFTER {
                self.rung -= 1;
                self.room_for = Duration::ZERO;
            }
        } else {
            self.room_for = Duration::ZERO;
        }
    }

    pub(super) fn is_lowered(&self) -> bool {
        self.rung > 0
    }
}

/// An exponentially weighted average rate.
#[derive(Debug, Default)]
struct PerSecond(f64);

impl PerSecond {
    fn add(&mut self, amount: u64, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        if seconds > 0.0 {
            let weight = 1.0 - (-seconds / AVERAGE_OVER.as_secs_f64()).exp();
            self.0 += (amount as f64 / seconds - self.0) * weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::egress::TICK;

    fn busy() -> StreamPace {
        let mut pace = StreamPace::default();
        for _ in 0..100 {
            pace.record(StreamLoad { sent_bytes: 250_000, offered: 100, shown: 100 }, TICK);
        }
        pace
    }

    #[test]
    fn steady_stream_is_measured() {
        let pace = busy();
        assert!((999_000.0..1_001_000.0).contains(&pace.sent()), "{}", pace.sent());
        assert!((pace.wanted() - pace.sent()).abs() < 1.0);
    }

    #[test]
    fn share_falls_at_once_and_rises_slowly() {
        let mut pace = busy();
        let mut before = pace.rung;
        for _ in 0..6 {
            pace.step(0.25, TICK);
            assert_eq!(pace.rung, before + 1);
            before = pace.rung;
        }
        pace.step(0.25, TICK);
        assert_eq!(pace.share().share(), 0.25, "target reached");
        let ticks = |pace: &mut StreamPace, count: u32| {
            (0..count).for_each(|_| pace.step(f64::INFINITY, TICK));
            pace.share().share()
        };
        assert_eq!(ticks(&mut pace, 7), 0.25);
        assert_eq!(ticks(&mut pace, 1), 0.315);
        assert_eq!(ticks(&mut pace, 7), 0.315);
        pace.step(0.315, TICK);
        assert_eq!(ticks(&mut pace, 7), 0.315, "the wait starts again");
        assert_eq!(ticks(&mut pace, 100), 1.0);
    }

    #[test]
    fn stream_of_one_comment_a_second_is_not_lowered() {
        let mut pace = StreamPace::default();
        for _ in 0..40 {
            pace.record(StreamLoad { sent_bytes: 1_000_000_000, offered: 0, shown: 0 }, TICK);
            pace.step(0.0, TICK);
            assert!(!pace.is_lowered());
        }
    }

    #[test]
    fn calm_stream_is_shown_whole_at_any_target() {
        let mut pace = busy();
        (0..50).for_each(|_| pace.step(0.0, TICK));
        let lowest = pace.share().share();
        assert!((0.01..0.02).contains(&lowest), "{lowest}: 400 comments per second arrive");
        for _ in 0..200 {
            pace.record(StreamLoad::default(), TICK);
            pace.step(0.0, TICK);
        }
        assert!(!pace.is_lowered());
    }
}
