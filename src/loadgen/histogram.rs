//! Histograms of microseconds, their percentiles, and a form that crosses process boundaries.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Returns an empty histogram of microseconds, up to an hour, with three digits.
pub(crate) fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("literal bounds that are in order")
}

/// Percentiles in milliseconds. Absent where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub max: Option<f64>,
}

impl Percentiles {
    /// Computes the percentiles of a histogram of microseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let ms = |micros: u64| Some(micros as f64 / 1000.0);
        let at = |quantile| ms(histogram.value_at_quantile(quantile));
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(histogram.max()),
        }
    }
}

/// A histogram as pairs of value and count. Merging it into a histogram of the same bounds loses
/// nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistogramSnapshot(Vec<(u64, u64)>);

impl HistogramSnapshot {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let pairs =
            histogram.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value()));
        Self(pairs.collect())
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let mut histogram = latency_histogram();
        self.add_to(&mut histogram);
        Percentiles::of(&histogram)
    }

    pub(crate) fn add_to(&self, histogram: &mut Histogram<u64>) {
        for (value, count) in &self.0 {
            histogram.saturating_record_n(*value, *count);
        }
    }

    /// Adds the values of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn merged_parts_equal_the_whole(
            values in prop::collection::vec(0_u64..4_000_000_000, 1..300), parts in 1_usize..5,
        ) {
            let mut whole = latency_histogram();
            let mut merged = latency_histogram();
            values.iter().for_each(|value| whole.saturating_record(*value));
            for part in 0..parts {
                let mut own = latency_histogram();
                let mine = values.iter().skip(part).step_by(parts);
                mine.for_each(|value| own.saturating_record(*value));
                HistogramSnapshot::of(&own).add_to(&mut merged);
            }
            prop_assert_eq!(merged.len(), whole.len());
            prop_assert_eq!(merged.max(), whole.max());
            for quantile in [0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0] {
                prop_assert_eq!(
                    merged.value_at_quantile(quantile), whole.value_at_quantile(quantile));
            }
        }
    }
}
