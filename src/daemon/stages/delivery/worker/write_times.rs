//! Measures how late comments reach sockets: one addition per distinct time in a frame,
//! for all viewers that were written together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::daemon::base::clock::Clock;
use crate::daemon::base::metrics::Counter;
use crate::daemon::base::telemetry::{DeliveryLatencies, LATE_AFTER};
use crate::daemon::stages::delivery::frame::Frame;

/// The histograms and the counter of one worker, and the clock of the comments.
#[derive(Debug)]
pub(super) struct WriteTimes<'a> {
    pub(super) latencies: &'a DeliveryLatencies,
    pub(super) late: &'a Counter,
    pub(super) clock: &'a dyn Clock,
}

impl WriteTimes<'_> {
    /// Records that each of `viewers` has just been written all comments of the frames.
    pub(super) fn record<'f>(
        &self,
        frames: impl IntoIterator<Item = &'f Arc<Frame>>,
        viewers: u64,
    ) {
        if viewers == 0 {
            return;
        }
        let now = Instant::now();
        let now_ms = self.clock.now_ms();
        let mut late = 0;
        for times in frames.into_iter().filter_map(|frame| frame.times()) {
            let on_node = now.saturating_duration_since(times.arrived);
            self.latencies.on_node.record(on_node, times.comments() * viewers);
            for (wanted_at, comments) in &times.wanted_at {
                // In our future if the clock of the node that accepted it is ahead.
                let age = Duration::from_millis(now_ms.saturating_sub(*wanted_at));
                let count = u64::from(*comments) * viewers;
                self.latencies.end_to_end.record(age, count);
                if age > LATE_AFTER {
                    late += count;
                }
            }
        }
        // All workers share this counter: it is touched once, and not while nothing is late.
        if late > 0 {
            self.late.inc_by(late);
        }
    }
}

#[cfg(test)]
impl WriteTimes<'static> {
    /// Returns a meter whose measurements nobody reads.
    pub(super) fn discarded() -> Self {
        use std::sync::LazyLock;

        use crate::daemon::base::clock::SystemClock;

        static LATENCIES: LazyLock<DeliveryLatencies> = LazyLock::new(DeliveryLatencies::default);
        static LATE: LazyLock<Counter> = LazyLock::new(Counter::default);
        Self { latencies: &LATENCIES, late: &LATE, clock: &SystemClock }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::bus::HeldBack;
    use crate::daemon::stages::delivery::frame::Lane;
    use crate::daemon::testing::comments::sample_comment;
    use crate::protocol::Epoch;
    use crate::protocol::comment::SequencedComment;
    use crate::protocol::message::{CommentsBatch, ServerMessage};
    use crate::protocol::throttle::SampleRate;

    #[derive(Debug)]
    struct FixedClock(Duration);

    impl Clock for FixedClock {
        fn now(&self) -> Duration {
            self.0
        }
    }

    fn frame(created_at: &[u64]) -> Arc<Frame> {
        frame_held_back(created_at, &HeldBack::default())
    }

    fn frame_held_back(created_at: &[u64], held_back: &HeldBack) -> Arc<Frame> {
        let comments = created_at.iter().zip(1..).map(|(created_at, seq)| SequencedComment {
            created_at: *created_at,
            ..sample_comment(seq).sequenced(seq)
        });
        let batch = CommentsBatch {
            epoch: Epoch(7),
            from_seq: 1,
            to_seq: created_at.len() as u64,
            sample_rate: SampleRate::ALL,
            comments: comments.collect(),
            echo: false,
        };
        let frame = Frame::new(Lane::Ordered, ServerMessage::Comments(batch));
        Arc::new(frame.measured_without(held_back))
    }

    #[test]
    fn time_held_back_on_purpose_is_not_counted() {
        let latencies = DeliveryLatencies::default();
        let late = Counter::default();
        let clock = FixedClock(Duration::from_millis(60_000));
        let times = WriteTimes { latencies: &latencies, late: &late, clock: &clock };
        // 20 ms after the message delay, and a comment that a review released after a minute.
        let held_back = HeldBack { delay_ms: 5_000, released: vec![2] };
        times.record([&frame_held_back(&[54_980, 0], &held_back)], 10);
        let end_to_end = latencies.end_to_end.read();
        assert_eq!((end_to_end.count(), late.get()), (10, 0));
        assert_eq!(end_to_end.sum(), Duration::from_millis(20 * 10));
        // Only released comments: nothing is measured.
        let released = HeldBack { delay_ms: 0, released: vec![1] };
        times.record([&frame_held_back(&[0], &released)], 10);
        assert_eq!(latencies.end_to_end.read().count(), 10);
    }

    #[test]
    fn comments_are_weighted_by_viewers() {
        let latencies = DeliveryLatencies::default();
        let late = Counter::default();
        let clock = FixedClock(Duration::from_millis(10_000));
        let times = WriteTimes { latencies: &latencies, late: &late, clock: &clock };
        // 300 ms, twice 20 ms, and one from a clock that is ahead.
        let frames = [frame(&[9_700, 9_980, 9_980]), frame(&[10_050]), frame(&[])];
        let presence = Frame::new(Lane::Ordered, ServerMessage::Presence { viewers: 1 });
        times.record(frames.iter().chain([&Arc::new(presence)]), 1_000);
        times.record(&frames, 0);
        let end_to_end = latencies.end_to_end.read();
        assert_eq!(end_to_end.count(), 4_000);
        assert_eq!(end_to_end.count_below(Duration::from_micros(64)), 1_000);
        assert_eq!(end_to_end.sum(), Duration::from_millis(340 * 1_000));
        assert_eq!(late.get(), 1_000, "150 ms and less is in time");
        assert_eq!(latencies.on_node.read().count(), 4_000);
    }
}
