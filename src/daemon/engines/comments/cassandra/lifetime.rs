//! The lifetime of a row and the precedence of its writes. Both are computed from the comment, so
//! that writing again, in any order and from any node, results in the same rows.

use std::time::Duration;

use crate::daemon::engines::StoreError;
use crate::protocol::{CommentId, Seq};

/// An entry that leads to a comment (in the list of buckets) or hides it (its tombstone) outlives
/// it by this, so that differing clocks never show an inconsistent state.
const SLACK_MS: u64 = 3_600_000;
/// `TTL` is at most 20 years, and servers before Cassandra 5 have no time after January 2038.
const LONGEST_RETENTION: Duration = Duration::from_secs(3650 * 24 * 3600);
/// ScyllaDB refuses write times more than three days in the future.
const MAX_AHEAD_US: i64 = 24 * 3600 * 1_000_000;
/// Keeps write times positive whatever a record says.
const MAX_SHIFT_US: i64 = 1 << 49;

/// Bits of a place that hold the sequence.
const SEQ_BITS: u32 = 40;
const LAST_SEQ: i64 = (1 << SEQ_BITS) - 1;
const LAST_LOG: i32 = (1 << 10) - 1;

/// `store.retention`, as `TTL`s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    /// 0 means forever.
    retention_ms: u64,
}

impl Lifetime {
    /// Zero keeps comments forever.
    pub(super) fn new(retention: Duration) -> Result<Self, StoreError> {
        if retention > LONGEST_RETENTION {
            return Err(StoreError::Unavailable(
                "`store.retention` must be at most 3650d on Cassandra, or 0s to keep comments for \
                 good"
                    .to_owned(),
            ));
        }
        Ok(Self { retention_ms: retention.as_millis() as u64 })
    }

    pub(super) fn retention(self) -> Duration {
        Duration::from_millis(self.retention_ms)
    }

    /// Returns the time before which comments are not shown any more; 0 shows all.
    pub(super) fn oldest_shown_ms(self, now_ms: u64) -> u64 {
        match self.retention_ms {
            0 => 0,
            retention_ms => now_ms.saturating_sub(retention_ms),
        }
    }

    /// Returns the time before which the absence of a comment says nothing: the server's clock or
    /// its rounding may have expired it a little early.
    pub(super) fn oldest_certain_ms(self, now_ms: u64) -> u64 {
        match self.oldest_shown_ms(now_ms) {
            0 => 0,
            oldest_ms => oldest_ms + SLACK_MS.min(self.retention_ms / 10).max(2_000),
        }
    }

    /// Returns the remaining seconds of a comment created at `created_ms`, rounded up; 0 means
    /// forever. `None` if it has expired.
    pub(super) fn of_comment_s(self, created_ms: u64, now_ms: u64) -> Option<i32> {
        self.left_s(created_ms, 0, now_ms)
    }

    /// The same for an entry that must outlive every comment created before `made_before_ms`.
    pub(super) fn of_index_s(self, made_before_ms: u64, now_ms: u64) -> Option<i32> {
        self.left_s(made_before_ms, SLACK_MS, now_ms)
    }

    /// The same for the entry of a slot of deletions that ends then; it outlives its tombstones.
    pub(super) fn of_slot_s(self, slot_end_ms: u64, now_ms: u64) -> Option<i32> {
        self.left_s(slot_end_ms, 2 * SLACK_MS, now_ms)
    }

    fn left_s(self, from_ms: u64, slack_ms: u64, now_ms: u64) -> Option<i32> {
        if self.retention_ms == 0 {
            return Some(0);
        }
        // A clock that is ahead cannot extend a lifetime beyond this.
        let from_ms = from_ms.min(now_ms + SLACK_MS);
        let left_ms = (from_ms + self.retention_ms + slack_ms).checked_sub(now_ms)?;
        i32::try_from(left_ms.div_ceil(1000)).ok().filter(|left_s| *left_s > 0)
    }
}

/// Returns the write time of a comment's columns, in microseconds: its creation minus its number in
/// the stream. Writing it again gives the same row. If it is in the log twice, its first sequence
/// number wins, whichever is written first.
pub(super) fn comment_write_time_us(comment_id: CommentId, seq: Seq, now_ms: u64) -> i64 {
    let seq = i64::try_from(seq).unwrap_or(MAX_SHIFT_US).min(MAX_SHIFT_US);
    created_us(comment_id, now_ms) - seq
}

/// Returns the write time of a tombstone's columns: the comment's creation minus one microsecond
/// per millisecond until the deletion, so that the first of several deletions wins.
pub(super) fn tombstone_write_time_us(comment_id: CommentId, deleted_at: u64, now_ms: u64) -> i64 {
    let deleted_at = i64::try_from(deleted_at).unwrap_or(i64::MAX);
    let created_ms = i64::try_from(comment_id.unix_ms()).unwrap_or(i64::MAX);
    let after = deleted_at.saturating_sub(created_ms).clamp(-MAX_SHIFT_US, MAX_SHIFT_US);
    created_us(comment_id, now_ms) - after
}

/// Returns the place of a deletion or a restoration as a number that is stored, and is the time of
/// the write as well: the number of the log, then the sequence there. It stays below the present
/// time in microseconds for 1023 logs of a million million records.
pub(super) fn mark_place(log: i32, seq: Seq) -> i64 {
    let seq = i64::try_from(seq).unwrap_or(LAST_SEQ).min(LAST_SEQ);
    i64::from(log.clamp(0, LAST_LOG)) << SEQ_BITS | seq
}

fn created_us(comment_id: CommentId, now_ms: u64) -> i64 {
    let created = i64::try_from(comment_id.unix_ticks() / 10).unwrap_or(i64::MAX);
    let now = i64::try_from(now_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
    created.min(now.saturating_add(MAX_AHEAD_US))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_MS: u64 = 1_750_000_000_000;
    const DAY_MS: u64 = 24 * 3_600_000;

    fn id(unix_ms: u64) -> CommentId {
        CommentId::from_unix_ticks(unix_ms * 10_000, 5, [2; 6])
    }

    fn days(days: u64) -> Lifetime {
        Lifetime::new(Duration::from_secs(days * 24 * 3600)).unwrap()
    }

    #[test]
    fn zero_keeps_everything_for_good() {
        assert_eq!(days(0).of_comment_s(0, NOW_MS), Some(0));
        assert_eq!(days(0).of_index_s(0, NOW_MS), Some(0));
        assert_eq!(days(0).oldest_shown_ms(NOW_MS), 0);
    }

    #[test]
    fn what_is_written_late_has_only_the_rest_of_its_time() {
        let week = days(7);
        assert_eq!(week.of_comment_s(NOW_MS, NOW_MS), Some(7 * 24 * 3600));
        assert_eq!(week.of_comment_s(NOW_MS - 6 * DAY_MS, NOW_MS), Some(24 * 3600));
        assert_eq!(week.of_comment_s(NOW_MS - 7 * DAY_MS, NOW_MS), None);
        assert_eq!(week.of_comment_s(0, NOW_MS), None);
        assert_eq!(week.oldest_shown_ms(NOW_MS), NOW_MS - 7 * DAY_MS);
    }

    #[test]
    fn a_retention_beyond_any_ttl_is_refused() {
        let error = Lifetime::new(LONGEST_RETENTION + Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("store.retention"), "{error}");
    }

    #[test]
    fn places_of_marks_grow_along_the_logs() {
        let places = [(1, 0), (1, 1), (1, 1 << 39), (1, u64::MAX), (2, 0), (i32::MAX, u64::MAX)];
        let numbers = places.map(|(log, seq)| mark_place(log, seq));
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert!(numbers.iter().all(|number| *number > 0));
        assert!(numbers[5] < NOW_MS as i64 * 1000, "a time that every server takes");
    }

    proptest! {
        #[test]
        fn tombstones_and_index_outlive_the_comment(
            retention_days in 1_u64..3650, age_ms in 0_u64..4_000 * DAY_MS,
        ) {
            let lifetime = days(retention_days);
            let created_ms = NOW_MS.saturating_sub(age_ms);
            if let Some(comment_s) = lifetime.of_comment_s(created_ms, NOW_MS) {
                let index_s = lifetime.of_index_s(created_ms, NOW_MS).unwrap();
                prop_assert!(i64::from(index_s) >= i64::from(comment_s) + 3599);
                prop_assert!(u64::from(comment_s.unsigned_abs()) <= retention_days * 24 * 3600);
                prop_assert!(lifetime.of_slot_s(created_ms, NOW_MS).unwrap() > index_s);
            }
        }

        #[test]
        fn the_first_place_and_the_first_deletion_win(
            created in 1_000_000_000_000_u64..1_900_000_000_000, a in 0_u64..1 << 40, b in 0_u64..1 << 40,
        ) {
            prop_assume!(a != b);
            let comment_id = id(created);
            let first = a.min(b);
            let second = a.max(b);
            prop_assert!(
                comment_write_time_us(comment_id, first, NOW_MS)
                    > comment_write_time_us(comment_id, second, NOW_MS)
            );
            prop_assert!(
                tombstone_write_time_us(comment_id, first, NOW_MS)
                    > tombstone_write_time_us(comment_id, second, NOW_MS)
            );
        }

        #[test]
        fn write_times_are_ones_every_server_takes(
            created in any::<u64>(), seq in any::<u64>(), later in 0_u64..1 << 40,
        ) {
            let comment_id = id(created % 3_000_000_000_000);
            let limit = NOW_MS as i64 * 1000 + 3 * DAY_MS as i64 * 1000;
            prop_assert!(comment_write_time_us(comment_id, seq, NOW_MS) <= limit);
            let deleted_at = comment_id.unix_ms() + later;
            prop_assert!(tombstone_write_time_us(comment_id, deleted_at, NOW_MS) <= limit);
        }
    }
}
