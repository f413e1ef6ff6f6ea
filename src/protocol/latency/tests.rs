use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::protocol::json;

/// The promised error of a quantile.
const MAX_ERROR: f64 = 0.045;

fn of(latencies_us: &[u64]) -> LatencyHistogram {
    let mut histogram = LatencyHistogram::default();
    for us in latencies_us {
        histogram.record(Duration::from_micros(*us), 1);
    }
    histogram
}

#[test]
fn the_range_is_64_us_to_67_s() {
    assert_eq!(BOUND_NANOS[0], 64_000);
    assert_eq!(BOUND_NANOS[BUCKETS_PER_OCTAVE], 128_000);
    assert_eq!(BOUND_NANOS[BOUNDS - 1], 64_000 << OCTAVES);
    assert!(BOUND_NANOS.is_sorted_by(|a, b| a < b));
    for (eighth, factor) in EIGHTHS.iter().enumerate() {
        let exact = 2_f64.powf(eighth as f64 / 8.0) * 2_f64.powi(32);
        assert!((*factor as f64 - exact).abs() < 1.0, "{eighth}");
    }
    assert_eq!(bucket_of(Duration::from_nanos(63_999)), 0);
    assert_eq!(bucket_of(Duration::from_micros(64)), 1);
    assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
    assert_eq!(upper_bound(0), Some(Duration::from_micros(64)));
    assert_eq!(upper_bound(BUCKETS - 1), None);
}

#[test]
fn latencies_outside_the_range_are_counted() {
    let histogram = of(&[1, 3, 100_000_000]);
    assert_eq!(histogram.count(), 3);
    assert_eq!(histogram.quantile(0.5), Some(Duration::from_micros(64)));
    assert_eq!(histogram.quantile(1.0), Some(Duration::from_nanos(64_000 << OCTAVES)));
    assert_eq!(histogram.sum(), Duration::from_micros(100_000_004));
    assert_eq!(LatencyHistogram::default().quantile(0.5), None);
}

#[test]
fn nonsense_is_refused_and_absent_is_empty() {
    for text in [
        r#"{"sum_us":0,"runs":[[]]}"#,
        r#"{"sum_us":0,"runs":[[162,1]]}"#,
        r#"{"sum_us":0,"runs":[[161,1,1]]}"#,
        r#"{"sum_us":0,"runs":[[5,1,1],[6,1]]}"#,
        r#"{"sum_us":0,"runs":[[18446744073709551615,1]]}"#,
    ] {
        assert!(serde_json::from_str::<LatencyHistogram>(text).is_err(), "{text}");
    }
    let empty: LatencyHistogram = serde_json::from_str("{}").unwrap();
    assert!(empty.is_empty());
}

#[test]
fn the_form_on_the_wire_is_sparse() {
    let mut histogram = of(&[100, 100, 115]);
    histogram.record(Duration::from_secs(1), 7);
    let text = json::to_string(&histogram).unwrap();
    assert_eq!(text, r#"{"sum_us":7000315,"runs":[[6,2,1],[112,7]]}"#);
}

fn latencies() -> impl Strategy<Value = Vec<u64>> {
    // Even on a logarithmic scale.
    vec((6_u32..27, 0.0..1.0_f64), 1..60).prop_map(|drawn| {
        drawn
            .into_iter()
            .map(|(octave, part)| ((1_u64 << octave) as f64 * (1.0 + part)) as u64)
            .collect()
    })
}

proptest! {
    #[test]
    fn what_is_added_can_be_subtracted(first in latencies(), second in latencies()) {
        let earlier = of(&first);
        let mut sum = earlier.clone();
        sum.add(&of(&second));
        prop_assert_eq!(&sum, &of(&[first.clone(), second.clone()].concat()));
        prop_assert_eq!(sum.since(&earlier), of(&second));
        prop_assert_eq!(sum.count(), (first.len() + second.len()) as u64);
        prop_assert!(earlier.since(&earlier).is_empty());
        prop_assert!(earlier.since(&sum).is_empty(), "a histogram begun again is never negative");
    }

    #[test]
    fn a_quantile_is_within_its_error(mut drawn in latencies(), share in 0.0..=1.0_f64) {
        drawn.retain(|us| *us < 67_000_000);
        prop_assume!(!drawn.is_empty());
        let histogram = of(&drawn);
        drawn.sort_unstable();
        let rank = ((share * drawn.len() as f64).ceil() as usize).clamp(1, drawn.len());
        let exact = drawn[rank - 1] as f64 * 1e3;
        let found = histogram.quantile(share).unwrap().as_nanos() as f64;
        prop_assert!((found / exact - 1.0).abs() <= MAX_ERROR, "{found} instead of {exact}");
    }

    #[test]
    fn counts_below_a_bound_are_exact(drawn in latencies(), bucket in 0..BOUNDS) {
        let bound = upper_bound(bucket).unwrap();
        let below = drawn.iter().filter(|us| Duration::from_micros(**us) < bound).count();
        prop_assert_eq!(of(&drawn).count_below(bound), below as u64);
    }

    #[test]
    fn histograms_survive_both_encodings(drawn in latencies(), count in 1..u64::from(u32::MAX)) {
        let mut histogram = of(&drawn);
        // A second, so that the sum of microseconds stays below 2^53, above which JSON is inexact.
        histogram.record(Duration::from_secs(1), count);
        let text = json::to_string(&histogram).unwrap();
        prop_assert_eq!(&serde_json::from_str::<LatencyHistogram>(&text).unwrap(), &histogram);
        let bytes = rmp_serde::to_vec_named(&histogram).unwrap();
        prop_assert_eq!(rmp_serde::from_slice::<LatencyHistogram>(&bytes).unwrap(), histogram);
    }
}
