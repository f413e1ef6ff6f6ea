//! Histograms that many threads write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::protocol::latency::{BUCKETS, LatencyHistogram, bucket_of};

/// A latency histogram that only grows. Recording is two atomic additions and takes no lock; a
/// reading may miss what is recorded at the same moment.
#[derive(Debug)]
pub struct LatencyRecorder {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Default for LatencyRecorder {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), sum_us: AtomicU64::new(0) }
    }
}

impl LatencyRecorder {
    /// Counts a latency `count` times.
    pub fn record(&self, latency: Duration, count: u64) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket_of(latency)].fetch_add(count, Ordering::Relaxed);
        self.sum_us.fetch_add(us.saturating_mul(count), Ordering::Relaxed);
    }

    /// Returns everything recorded so far.
    pub fn read(&self) -> LatencyHistogram {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        LatencyHistogram::from_counts(counts, self.sum_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorder_reads_as_the_histogram() {
        let recorder = LatencyRecorder::default();
        let mut histogram = LatencyHistogram::default();
        for (us, count) in [(3, 1), (70, 2), (1_500, 9), (99_000_000, 4), (1_500, 1)] {
            recorder.record(Duration::from_micros(us), count);
            histogram.record(Duration::from_micros(us), count);
        }
        recorder.record(Duration::from_secs(1), 0);
        assert_eq!(recorder.read(), histogram);
    }
}
