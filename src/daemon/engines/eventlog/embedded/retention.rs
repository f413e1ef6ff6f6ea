//! Which segments have had their time.
//!
//! Whole segments only, never the one being written. Retention wins over lag, as on Kafka: a group
//! that has not read a segment when its time comes loses it, with a warning, because a consumer that
//! nobody runs any more must not fill the disk.

use std::time::Duration;

/// How much a topic keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Counts from when a segment was sealed, so that each record is kept at least so long.
    pub retention: Duration,
    pub retention_bytes: u64,
}

/// What retention looks at in a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    pub created_ms: u64,
    pub bytes: u64,
}

impl Limits {
    /// How many of the oldest segments go. A segment was sealed when the one behind it was made.
    pub(super) fn expired(&self, segments: &[Summary], now_ms: u64) -> usize {
        let mut kept_bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let mut count = 0;
        for pair in segments.windows(2) {
            let is_old = self.is_older(pair[1].created_ms, now_ms, 1);
            if !is_old && kept_bytes <= self.retention_bytes {
                break;
            }
            kept_bytes -= pair[0].bytes;
            count += 1;
        }
        count
    }

    /// Whether the segment being written should be sealed for its age: a topic with little to write
    /// would otherwise keep its records for as long as the segment takes to fill. At an eighth of
    /// the retention, records outlive it by an eighth at most.
    pub(super) fn should_seal(&self, active: Summary, now_ms: u64) -> bool {
        self.is_older(active.created_ms, now_ms, 8)
    }

    fn is_older(&self, since_ms: u64, now_ms: u64, fraction: u32) -> bool {
        // A clock that was set back makes nothing older.
        Duration::from_millis(now_ms.saturating_sub(since_ms)) > self.retention / fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(retention_ms: u64, retention_bytes: u64) -> Limits {
        Limits { retention: Duration::from_millis(retention_ms), retention_bytes }
    }

    fn segments(parts: &[(u64, u64)]) -> Vec<Summary> {
        parts.iter().map(|&(created_ms, bytes)| Summary { created_ms, bytes }).collect()
    }

    #[test]
    fn a_segment_goes_when_it_was_sealed_longer_ago_than_the_retention() {
        let segments = segments(&[(0, 10), (100, 10), (200, 10)]);
        let limits = limits(1000, 1 << 30);
        assert_eq!(limits.expired(&segments, 1100), 0, "sealed at 100, exactly 1000 ago");
        assert_eq!(limits.expired(&segments, 1101), 1);
        assert_eq!(limits.expired(&segments, 1201), 2);
        assert_eq!(limits.expired(&segments, 1 << 40), 2, "the last one stays");
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let segments = segments(&[(0, 10), (0, 10), (0, 10), (0, 5)]);
        let expired = |bytes| limits(1000, bytes).expired(&segments, 0);
        assert_eq!(
            [expired(35), expired(34), expired(25), expired(24), expired(0)],
            [0, 1, 1, 2, 3]
        );
    }

    proptest! {
        #[test]
        fn the_last_segment_stays_and_nothing_goes_without_a_reason(
            parts in prop::collection::vec((0_u64..1000, 0_u64..100), 0..20),
            retention in 0_u64..1000, bytes in 0_u64..2000, now in 0_u64..2000,
        ) {
            let mut parts = parts;
            parts.sort_unstable();
            let segments = segments(&parts);
            let gone = limits(retention, bytes).expired(&segments, now);
            prop_assert!(gone < segments.len().max(1));
            for at in 0..gone {
                let total: u64 = segments[at..].iter().map(|segment| segment.bytes).sum();
                let old = now.saturating_sub(segments[at + 1].created_ms) > retention;
                prop_assert!(old || total > bytes);
            }
        }
    }
}
