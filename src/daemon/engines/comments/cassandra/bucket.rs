//! The partition of a comment, computed only from its id, so that an insert, a tombstone and a page
//! agree without any lookup.
//!
//! A **bucket** is ten seconds of a stream and one partition: 50 000 comments/s × 200 B × 10 s =
//! 100 MB at the very most, and 2 MB at 1 000 comments/s. A **period** is thirty days of a stream
//! and one partition of the list of its buckets: 259 200 rows × 40 B ≈ 10 MB at most. A **slot** is
//! ten minutes of deletions of all streams: 1 000 deletions/s × 100 B × 600 s = 60 MB.

use scylla::value::CqlTimeuuid;

use crate::protocol::CommentId;

pub(super) const BUCKET_MS: u64 = 10_000;
const PERIOD_BUCKETS: i32 = 30 * 24 * 360;
pub(super) const SLOT_MS: u64 = 600_000;

/// The id bytes after the time. Cassandra compares them as signed numbers.
const FIRST_TAIL: [u8; 8] = [0x80; 8];
const LAST_TAIL: [u8; 8] = [0x7F; 8];

/// A period of ten seconds, counted from 1970. Earlier ids share the first bucket.
pub(super) fn bucket_of(comment_id: CommentId) -> i32 {
    bucket_at(comment_id.unix_ms())
}

/// Returns the bucket of a time in milliseconds since the Unix epoch.
pub(super) fn bucket_at(unix_ms: u64) -> i32 {
    i32::try_from(unix_ms / BUCKET_MS).unwrap_or(i32::MAX)
}

/// Returns the first millisecond after a bucket.
pub(super) fn bucket_end_ms(bucket: i32) -> u64 {
    (u64::try_from(bucket).unwrap_or(0) + 1) * BUCKET_MS
}

/// Thirty days, counted from 1970.
pub(super) fn period_of(bucket: i32) -> i32 {
    bucket / PERIOD_BUCKETS
}

/// Returns the first millisecond after a period.
pub(super) fn period_end_ms(period: i32) -> u64 {
    let period = u64::try_from(period).unwrap_or(0);
    (period + 1) * u64::from(PERIOD_BUCKETS.unsigned_abs()) * BUCKET_MS
}

/// Ten minutes of deletions, counted from 1970.
pub(super) fn slot_at(unix_ms: u64) -> i32 {
    i32::try_from(unix_ms / SLOT_MS).unwrap_or(i32::MAX)
}

/// Returns the first millisecond after a slot.
pub(super) fn slot_end_ms(slot: i32) -> u64 {
    (u64::try_from(slot).unwrap_or(0) + 1) * SLOT_MS
}

pub(super) fn timeuuid(comment_id: CommentId) -> CqlTimeuuid {
    CqlTimeuuid::from_bytes(*comment_id.0.as_bytes())
}

pub(super) fn comment_id(timeuuid: CqlTimeuuid) -> CommentId {
    CommentId(uuid::Uuid::from_bytes(*timeuuid.as_bytes()))
}

/// Returns whether the server can store the id: a `TIMEUUID` must be a UUID version 1.
pub(super) fn is_storable(comment_id: CommentId) -> bool {
    comment_id.0.get_version_num() == 1
}

/// Returns the last id, in the server's order, with the same 100 ns tick as this one.
pub(super) fn last_of_tick(comment_id: CommentId) -> CqlTimeuuid {
    with_tail(comment_id, LAST_TAIL)
}

/// Returns the first id, in the server's order, at or after a time.
pub(super) fn first_at(unix_ms: u64) -> CqlTimeuuid {
    let ticks = unix_ms.saturating_mul(10_000).min(1 << 58);
    with_tail(CommentId::from_unix_ticks(ticks, 0, [0; 6]), FIRST_TAIL)
}

fn with_tail(comment_id: CommentId, tail: [u8; 8]) -> CqlTimeuuid {
    let mut key = comment_id.sort_key();
    key[8..].copy_from_slice(&tail);
    timeuuid(CommentId::from_sort_key(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Until the year 2100.
    fn ticks() -> impl Strategy<Value = u64> {
        0_u64..41_000_000_000_000_000
    }

    /// As `TimeUUIDType` compares: the time, then the other bytes one by one as signed numbers.
    fn server_key(timeuuid: CqlTimeuuid) -> (u64, [i8; 8]) {
        let key = comment_id(timeuuid).sort_key();
        let (time, tail) = key.split_at(8);
        let tail = <[u8; 8]>::try_from(tail).unwrap().map(|byte| byte as i8);
        (u64::from_be_bytes(time.try_into().unwrap()), tail)
    }

    proptest! {
        #[test]
        fn an_id_lies_in_exactly_one_bucket_and_period(
            ticks in ticks(), clock in any::<u16>(), node in any::<[u8; 6]>(),
        ) {
            let id = CommentId::from_unix_ticks(ticks, clock, node);
            let bucket = bucket_of(id);
            prop_assert!(id.unix_ms() < bucket_end_ms(bucket));
            prop_assert!(bucket_end_ms(bucket) - id.unix_ms() <= BUCKET_MS);
            prop_assert_eq!(bucket_of(comment_id(timeuuid(id))), bucket);
            let period = period_of(bucket);
            prop_assert!(bucket_end_ms(bucket) <= period_end_ms(period));
            prop_assert!(period == 0 || id.unix_ms() >= period_end_ms(period - 1));
            let slot = slot_at(id.unix_ms());
            prop_assert!(id.unix_ms() < slot_end_ms(slot));
            prop_assert!(slot_end_ms(slot) - id.unix_ms() <= SLOT_MS);
        }

        #[test]
        fn older_ids_never_lie_in_newer_buckets(a in ticks(), b in ticks()) {
            let older = a.min(b);
            let newer = a.max(b);
            let [older, newer] = [older, newer].map(|t| CommentId::from_unix_ticks(t, 5, [2; 6]));
            prop_assert!(bucket_of(older) <= bucket_of(newer));
            prop_assert!(period_of(bucket_of(older)) <= period_of(bucket_of(newer)));
        }

        #[test]
        fn bounds_include_exactly_the_ids_of_their_tick(
            ticks in ticks(), clock in any::<u16>(), node in any::<[u8; 6]>(), other in any::<[u8; 6]>(),
        ) {
            let id = CommentId::from_unix_ticks(ticks, clock, node);
            let last = server_key(last_of_tick(CommentId::from_unix_ticks(ticks, 7, other)));
            prop_assert!(server_key(timeuuid(id)) <= last);
            let next = CommentId::from_unix_ticks(ticks + 1, clock, node);
            prop_assert!(server_key(timeuuid(next)) > last);
            prop_assert!(server_key(first_at(id.unix_ms())) <= server_key(timeuuid(id)));
            prop_assert!(server_key(first_at(id.unix_ms() + 1)) > server_key(timeuuid(id)));
        }
    }

    #[test]
    fn ids_outside_of_all_time_have_a_bucket_too() {
        assert_eq!(bucket_of(CommentId(uuid::Uuid::nil())), 0);
        assert_eq!(bucket_of(CommentId(uuid::Uuid::max())), i32::MAX);
        assert!(bucket_end_ms(i32::MAX) > bucket_end_ms(i32::MAX - 1));
        assert!(!is_storable(CommentId(uuid::Uuid::max())));
        first_at(u64::MAX);
    }
}
