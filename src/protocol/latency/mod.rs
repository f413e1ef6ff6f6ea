//! Histograms of latencies that can be added and subtracted.
//!
//! There are 8 buckets per octave from 64 µs to 67 s, one for what is shorter and one for what is
//! longer. All histograms have the same buckets, so those of several nodes can be added, and of
//! two readings of one histogram, which only grows, the difference is the histogram of the time in
//! between. A value in the range differs from the value that stands for its bucket by at most
//! 4.5 %.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const BUCKETS_PER_OCTAVE: usize = 8;
const OCTAVES: usize = 20;
/// The lower bound of the first bucket of the range.
const FIRST_BOUND_NANOS: u64 = 64_000;
/// Bounds between buckets.
const BOUNDS: usize = BUCKETS_PER_OCTAVE * OCTAVES + 1;
/// Number of buckets, with those below and above the range.
pub const BUCKETS: usize = BOUNDS + 1;

/// 2^(n/8) with 32 binary digits after the point.
const EIGHTHS: [u64; BUCKETS_PER_OCTAVE] = [
    4_294_967_296,
    4_683_695_048,
    5_107_605_667,
    5_569_883_475,
    6_074_001_000,
    6_623_745_059,
    7_223_245_206,
    7_877_004_752,
];

/// The bounds between buckets in nanoseconds: bucket `n` holds values from bound `n - 1` to below
/// bound `n`.
const BOUND_NANOS: [u64; BOUNDS] = {
    let mut bounds = [0; BOUNDS];
    let mut index = 0;
    while index < BOUNDS {
        let first = FIRST_BOUND_NANOS as u128 * EIGHTHS[index % BUCKETS_PER_OCTAVE] as u128;
        bounds[index] = ((first << (index / BUCKETS_PER_OCTAVE)) >> 32) as u64;
        index += 1;
    }
    bounds
};

/// Returns the index of the bucket of a latency, below [`BUCKETS`].
pub fn bucket_of(latency: Duration) -> usize {
    let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
    BOUND_NANOS.partition_point(|bound| *bound <= nanos)
}

/// Returns the upper bound of a bucket; `None` for the last, which has none.
pub fn upper_bound(bucket: usize) -> Option<Duration> {
    BOUND_NANOS.get(bucket).copied().map(Duration::from_nanos)
}

/// Returns the latency that stands for all values of a bucket: the middle of its bounds on a
/// logarithmic scale. For values outside the range it is the end of the range.
fn middle(bucket: usize) -> Duration {
    let nanos = match bucket {
        0 => FIRST_BOUND_NANOS,
        BOUNDS.. => BOUND_NANOS[BOUNDS - 1],
        _ => (BOUND_NANOS[bucket - 1] as f64 * BOUND_NANOS[bucket] as f64).sqrt() as u64,
    };
    Duration::from_nanos(nanos)
}

/// Counts of latencies by bucket. It holds only buckets that are in use, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "Runs", into = "Runs")]
pub struct LatencyHistogram {
    buckets: Vec<(u8, u64)>,
    /// The sum of all latencies, in microseconds.
    sum_us: u64,
}

impl LatencyHistogram {
    /// Builds a histogram from the counts of all buckets and the sum of the latencies.
    pub fn from_counts(counts: impl IntoIterator<Item = u64>, sum_us: u64) -> Self {
        let counts = counts.into_iter().take(BUCKETS).enumerate();
        let used = counts.filter(|(_, count)| *count > 0);
        Self { buckets: used.map(|(bucket, count)| (bucket as u8, count)).collect(), sum_us }
    }

    /// Counts a latency `count` times.
    pub fn record(&mut self, latency: Duration, count: u64) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let buckets = if count == 0 { Vec::new() } else { vec![(bucket_of(latency) as u8, count)] };
        self.add(&Self { buckets, sum_us: us.saturating_mul(count) });
    }

    /// Adds the counts of another histogram.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
    }

    /// Returns the difference to an earlier reading of the same histogram. A count that is smaller
    /// than before, because the histogram was begun again, gives 0.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = self.clone();
        difference.combine(earlier, u64::saturating_sub);
        difference.buckets.retain(|(_, count)| *count > 0);
        difference
    }

    fn combine(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        self.sum_us = with(self.sum_us, other.sum_us);
        for (bucket, count) in &other.buckets {
            match self.buckets.binary_search_by_key(bucket, |(known, _)| *known) {
                Ok(at) => self.buckets[at].1 = with(self.buckets[at].1, *count),
                Err(at) => self.buckets.insert(at, (*bucket, with(0, *count))),
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Returns the number of latencies.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Returns the sum of all latencies.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// Returns the latency that a share of all latencies does not exceed, such as 0.99 for p99;
    /// `None` if the histogram is empty. Latencies outside the range give the end of the range.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((share.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0_u64;
        let at_rank = self.buckets.iter().find(|(_, count)| {
            seen = seen.saturating_add(*count);
            seen >= rank
        });
        at_rank.map(|(bucket, _)| middle(usize::from(*bucket)))
    }

    /// Returns [`Self::quantile`] in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        self.quantile(share).map(|latency| latency.as_secs_f64() * 1e3)
    }

    /// Returns the number of latencies below a bound. It is exact for the bounds of buckets;
    /// elsewhere the bucket of the bound counts as above it.
    pub fn count_below(&self, bound: Duration) -> u64 {
        let end = bucket_of(bound);
        let below = self.buckets.iter().take_while(|(bucket, _)| usize::from(*bucket) < end);
        below.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Returns the buckets in use: index and count, in order.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.buckets.iter().map(|(bucket, count)| (usize::from(*bucket), *count))
    }
}

/// The serialized form. Each run is the index of a bucket, then the counts of it and of those that
/// follow it.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Runs {
    #[serde(default)]
    sum_us: u64,
    #[serde(default)]
    runs: Vec<Vec<u64>>,
}

impl From<LatencyHistogram> for Runs {
    fn from(histogram: LatencyHistogram) -> Self {
        let mut runs: Vec<Vec<u64>> = Vec::new();
        let mut next = None;
        for (bucket, count) in histogram.buckets {
            match runs.last_mut().filter(|_| next == Some(bucket)) {
                Some(run) => run.push(count),
                None => runs.push(vec![bucket.into(), count]),
            }
            next = bucket.checked_add(1);
        }
        Self { sum_us: histogram.sum_us, runs }
    }
}

/// A serialized histogram without sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a latency histogram has runs of buckets in ascending order, up to bucket 161")]
pub struct InvalidHistogram;

impl TryFrom<Runs> for LatencyHistogram {
    type Error = InvalidHistogram;

    fn try_from(Runs { sum_us, runs }: Runs) -> Result<Self, InvalidHistogram> {
        let mut buckets = Vec::new();
        let mut free_from = 0;
        for run in runs {
            let Some((first, counts)) = run.split_first() else { return Err(InvalidHistogram) };
            let first = usize::try_from(*first).unwrap_or(BUCKETS);
            let end = first.saturating_add(counts.len());
            if first < free_from || end > BUCKETS {
                return Err(InvalidHistogram);
            }
            free_from = end;
            let counted = (first..).zip(counts).filter(|(_, count)| **count > 0);
            buckets.extend(counted.map(|(bucket, count)| (bucket as u8, *count)));
        }
        Ok(Self { buckets, sum_us })
    }
}

#[cfg(test)]
mod tests;
