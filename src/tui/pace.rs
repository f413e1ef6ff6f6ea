//! The pace of frames: lowered while the terminal takes them slowly, as over a slow link.
//!
//! In: when a frame was written, and for how long the terminal was written to. Out: the earliest
//! time of the next frame. Always holds: nothing here reads a clock; a key is answered at once at
//! every pace; a lowered pace returns to the full one by itself.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest time between two frames that no key asked for.
const FULL_PACE: Duration = Duration::from_millis(100);
/// A write that takes longer halves the rate of frames.
const SLOW_WRITE: Duration = Duration::from_millis(500);
/// A write that takes at most this time is fast. One between both changes nothing, so that a
/// link at the threshold does not change the pace with each frame.
const FAST_WRITE: Duration = Duration::from_millis(100);
/// Fast writes in a row that bring the full pace back.
const FAST_WRITES: u32 = 5;
/// The rate is an eighth at least.
const MAX_HALVINGS: u32 = 3;
/// The longest time between two frames at a lowered pace, unless snapshots are further apart.
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// The pace of the frames of one console.
#[derive(Debug, Clone)]
pub(super) struct FramePace {
    /// The time between two snapshots.
    interval: Duration,
    /// The times that the rate was halved since it was full.
    halvings: u32,
    /// Fast writes in a row.
    fast_writes: u32,
    /// When the last frame was written.
    written: Option<Instant>,
}

impl FramePace {
    /// Begins with the full pace. `interval` is the time between two snapshots, each of which makes
    /// a frame.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, halvings: 0, fast_writes: 0, written: None }
    }

    /// Records a frame: when it was written, and for how long the terminal was written to.
    pub(super) fn record(&mut self, written: Instant, written_for: Duration) {
        self.written = Some(written);
        if written_for > SLOW_WRITE {
            self.halvings = (self.halvings + 1).min(MAX_HALVINGS);
            self.fast_writes = 0;
        } else if written_for > FAST_WRITE {
            self.fast_writes = 0;
        } else {
            self.fast_writes = (self.fast_writes + 1).min(FAST_WRITES);
        }
        if self.fast_writes == FAST_WRITES {
            self.halvings = 0;
        }
    }

    /// Records a frame that was drawn whole. Such a frame is larger than those that follow, so its
    /// time says nothing about their pace.
    pub(super) fn record_full_redraw(&mut self, written: Instant) {
        self.written = Some(written);
    }

    /// Returns the least time between two frames that no key asked for, if it is lowered.
    pub(super) fn lowered(&self) -> Option<Duration> {
        let full = self.interval.max(FULL_PACE);
        (self.halvings > 0)
            .then(|| full.saturating_mul(1 << self.halvings).min(full.max(MAX_PAUSE)))
    }

    /// Returns the earliest time of the next frame that no key asked for.
    pub(super) fn next_frame(&self, now: Instant) -> Instant {
        let pause = self.lowered().unwrap_or(FULL_PACE);
        self.written.map_or(now, |written| written + pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Records frames that took so many milliseconds, one per second from `now` on.
    fn record(pace: &mut FramePace, now: &mut Instant, writes_ms: &[u64]) {
        for ms in writes_ms {
            *now += SECOND;
            pace.record(*now, Duration::from_millis(*ms));
        }
    }

    #[test]
    fn a_slow_write_halves_the_rate_of_frames() {
        let mut now = Instant::now();
        let mut pace = FramePace::new(SECOND);
        assert_eq!(pace.next_frame(now), now, "the first frame is drawn at once");
        record(&mut pace, &mut now, &[3, 500]);
        assert_eq!((pace.lowered(), pace.next_frame(now)), (None, now + FULL_PACE));
        record(&mut pace, &mut now, &[501]);
        assert_eq!(pace.lowered(), Some(2 * SECOND));
        assert_eq!(pace.next_frame(now), now + 2 * SECOND);
        record(&mut pace, &mut now, &[900]);
        assert_eq!(pace.lowered(), Some(4 * SECOND), "half of it was too much");
        record(&mut pace, &mut now, &[2_000; 9]);
        assert_eq!(pace.lowered(), Some(8 * SECOND), "and no less");
    }

    #[test]
    fn fast_writes_bring_the_full_rate_back() {
        let mut now = Instant::now();
        let mut pace = FramePace::new(SECOND);
        record(&mut pace, &mut now, &[700, 700, 4, 4, 4, 4]);
        assert_eq!(pace.lowered(), Some(4 * SECOND));
        // One that is neither slow nor fast starts the count again.
        record(&mut pace, &mut now, &[300, 4, 4, 4, 4]);
        assert_eq!(pace.lowered(), Some(4 * SECOND));
        record(&mut pace, &mut now, &[4]);
        assert_eq!((pace.lowered(), pace.next_frame(now)), (None, now + FULL_PACE));
        record(&mut pace, &mut now, &[600]);
        assert_eq!(pace.lowered(), Some(2 * SECOND), "it starts with half again");
    }

    #[test]
    fn a_full_redraw_says_nothing_about_the_pace() {
        let now = Instant::now();
        let mut pace = FramePace::new(SECOND);
        pace.record_full_redraw(now);
        assert_eq!((pace.lowered(), pace.next_frame(now)), (None, now + FULL_PACE));
    }

    #[test]
    fn the_rate_is_that_of_the_snapshots() {
        let lowered = |interval| {
            let mut pace = FramePace::new(Duration::from_millis(interval));
            pace.record(Instant::now(), SECOND);
            pace.lowered().unwrap().as_millis()
        };
        assert_eq!([lowered(100), lowered(250)], [200, 500]);
        assert_eq!([lowered(5_000), lowered(60_000)], [8_000, 60_000], "it is bounded");
    }
}
