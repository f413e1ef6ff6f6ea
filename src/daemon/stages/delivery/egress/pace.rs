//! How much of one stream the node shows, and what the stream would take if all of it were shown.

use std::time::Duration;

use super::ladder;
use crate::protocol::throttle::SampleRate;

/// Rates are averages over about this time.
const AVERAGE_OVER: Duration = Duration::from_secs(2);
/// A stream is shown more only after there was room for it this long.
const RISE_AFTER: Duration = Duration::from_secs(2);
/// And room means this much more than the next rung takes.
const RISE_MARGIN: f64 = 1.1;
/// So many comments a second are shown of a stream in any case.
const LEAST_PER_SECOND: f64 = 1.0;

/// What happened on a stream since the last tick.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    pub(crate) sent_bytes: u64,
    /// Comments the broadcast stage wants shown.
    pub(crate) offered: u64,
    /// Of these, what this node showed.
    pub(crate) shown: u64,
}

/// The pace of one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamPace {
    /// On the ladder; 0 shows all.
    rung: usize,
    /// How long there has been room for the rung above.
    room_for: Duration,
    sent: PerSecond,
    offered: PerSecond,
    shown: PerSecond,
}

impl StreamPace {
    pub(crate) fn share(&self) -> SampleRate {
        ladder::rate(self.rung)
    }

    /// Takes note of what happened within `elapsed`.
    pub(crate) fn note(&mut self, load: Load, elapsed: Duration) {
        self.sent.add(load.sent_bytes, elapsed);
        self.offered.add(load.offered, elapsed);
        self.shown.add(load.shown, elapsed);
    }

    /// Bytes a second that are sent.
    pub(super) fn sent(&self) -> f64 {
        self.sent.0
    }

    /// Bytes a second that showing all would take. What a frame costs whatever is in it makes this
    /// too high while little is shown, never too low.
    pub(super) fn wanted(&self) -> f64 {
        if self.offered.0 <= 0.0 {
            return self.sent.0;
        }
        // Little is known of a share while hardly a comment was shown: then the rung's must do.
        let share = (self.shown.0 / self.offered.0).clamp(ladder::share(self.rung) / 2.0, 1.0);
        self.sent.0 / share
    }

    /// The share below which it is not lowered: about a comment a second.
    pub(super) fn least_share(&self) -> f64 {
        let one_a_second = LEAST_PER_SECOND / self.offered.0.max(LEAST_PER_SECOND);
        ladder::share(ladder::at_least(one_a_second))
    }

    /// Moves towards a share of at most `target`: down at once, up after a while, by one rung.
    pub(super) fn step(&mut self, target: f64, elapsed: Duration) {
        let lowest = ladder::at_least(self.least_share());
        if self.rung > lowest {
            // Fewer comments come than before, so that the share would leave too few.
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

/// A rate as an average in which the past counts less the longer ago it is.
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
    use crate::daemon::stages::delivery::egress::TICK;

    fn busy() -> StreamPace {
        let mut pace = StreamPace::default();
        for _ in 0..100 {
            pace.note(Load { sent_bytes: 250_000, offered: 100, shown: 100 }, TICK);
        }
        pace
    }

    #[test]
    fn a_steady_stream_is_measured() {
        let pace = busy();
        assert!((999_000.0..1_001_000.0).contains(&pace.sent()), "{}", pace.sent());
        assert!((pace.wanted() - pace.sent()).abs() < 1.0);
    }

    #[test]
    fn a_share_takes_the_stairs_down_and_waits_on_each_on_its_way_up() {
        let mut pace = busy();
        let mut before = pace.rung;
        for _ in 0..6 {
            pace.step(0.25, TICK);
            assert_eq!(pace.rung, before + 1);
            before = pace.rung;
        }
        pace.step(0.25, TICK);
        assert_eq!(pace.share().share(), 0.25, "it is there");
        let ticks = |pace: &mut StreamPace, count: u32| {
            (0..count).for_each(|_| pace.step(f64::INFINITY, TICK));
            pace.share().share()
        };
        assert_eq!(ticks(&mut pace, 7), 0.25);
        assert_eq!(ticks(&mut pace, 1), 0.315);
        assert_eq!(ticks(&mut pace, 7), 0.315);
        pace.step(0.315, TICK);
        assert_eq!(ticks(&mut pace, 7), 0.315, "the wait begins anew");
        assert_eq!(ticks(&mut pace, 100), 1.0);
    }

    #[test]
    fn a_stream_of_a_comment_a_second_is_never_lowered() {
        let mut pace = StreamPace::default();
        for _ in 0..40 {
            pace.note(Load { sent_bytes: 1_000_000_000, offered: 0, shown: 0 }, TICK);
            pace.step(0.0, TICK);
            assert!(!pace.is_lowered());
        }
    }

    #[test]
    fn a_stream_that_calms_down_is_shown_again_whatever_the_target() {
        let mut pace = busy();
        (0..50).for_each(|_| pace.step(0.0, TICK));
        let lowest = pace.share().share();
        assert!((0.01..0.02).contains(&lowest), "{lowest}: 400 comments a second come");
        for _ in 0..200 {
            pace.note(Load::default(), TICK);
            pace.step(0.0, TICK);
        }
        assert!(!pace.is_lowered());
    }
}
