//! Decides which segments are removed.
//!
//! Only whole segments, never the one being written. As on Kafka, retention does not wait for
//! consumers: a group that has not read an expired segment loses it, with a warning, so that an
//! abandoned group cannot fill the disk.

use std::time::Duration;

/// The retention of a topic.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetentionLimits {
    /// Counts from the sealing of a segment, so each record is kept for at least this time.
    pub retention: Duration,
    pub retention_bytes: u64,
}

/// The age and size of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentSummary {
    pub created_ms: u64,
    pub bytes: u64,
}

impl RetentionLimits {
    /// Returns how many of the oldest segments have expired. A segment was sealed when the next one
    /// was created.
    pub(super) fn expired(&self, segments: &[SegmentSummary], now_ms: u64) -> usize {
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

    /// Returns whether the segment being written should be sealed because of its age. A topic with
    /// few writes would otherwise keep its records until the segment is full. Sealing after an
    /// eighth of the retention means that records outlive it by at most an eighth.
    pub(super) fn should_seal(&self, active: SegmentSummary, now_ms: u64) -> bool {
        self.is_older(active.created_ms, now_ms, 8)
    }

    fn is_older(&self, since_ms: u64, now_ms: u64, fraction: u32) -> bool {
        // A clock that was set back makes no segment older.
        Duration::from_millis(now_ms.saturating_sub(since_ms)) > self.retention / fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(retention_ms: u64, retention_bytes: u64) -> RetentionLimits {
        RetentionLimits { retention: Duration::from_millis(retention_ms), retention_bytes }
    }

    fn segments(parts: &[(u64, u64)]) -> Vec<SegmentSummary> {
        parts.iter().map(|&(created_ms, bytes)| SegmentSummary { created_ms, bytes }).collect()
    }

    #[test]
    fn segment_expires_after_the_retention() {
        let segments = segments(&[(0, 10), (100, 10), (200, 10)]);
        let limits = limits(1000, 1 << 30);
        assert_eq!(limits.expired(&segments, 1100), 0, "sealed at 100, exactly 1000 ago");
        assert_eq!(limits.expired(&segments, 1101), 1);
        assert_eq!(limits.expired(&segments, 1201), 2);
        assert_eq!(limits.expired(&segments, 1 << 40), 2, "the last one stays");
    }

    #[test]
    fn oldest_segments_expire_until_the_rest_fits() {
        let segments = segments(&[(0, 10), (0, 10), (0, 10), (0, 5)]);
        let expired = |bytes| limits(1000, bytes).expired(&segments, 0);
        assert_eq!(
            [expired(35), expired(34), expired(25), expired(24), expired(0)],
            [0, 1, 1, 2, 3]
        );
    }

    proptest! {
        #[test]
        fn last_segment_never_expires(
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
