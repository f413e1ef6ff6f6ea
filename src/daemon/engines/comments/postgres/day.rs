//! A day (UTC) by the time in comment ids. One partition holds one day.

use crate::daemon::engines::StoreError;
use crate::protocol::CommentId;

/// Ticks of 100 ns per day.
const TICKS_PER_DAY: u64 = 24 * 3600 * 10_000_000;

/// Days since 1582-10-15, where the time of UUID v1 begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Day(u32);

impl Day {
    /// Returns the day on which a comment was created.
    pub(super) fn of(comment_id: CommentId) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = comment_id.sort_key();
        // 60 bits of time are less than 2^21 days.
        Self((u64::from_be_bytes([a, b, c, d, e, f, g, h]) / TICKS_PER_DAY) as u32)
    }

    pub(super) fn at_unix_ms(unix_ms: u64) -> Self {
        // Capped at a time that an id can hold.
        let ticks = unix_ms.min(1 << 46) * 10_000;
        Self::of(CommentId::from_unix_ticks(ticks, 0, [0; 6]))
    }

    /// Returns the least sort key of this day: greater than all keys of earlier days.
    pub(super) fn first_key(self) -> [u8; 8] {
        (u64::from(self.0) * TICKS_PER_DAY).to_be_bytes()
    }

    /// The inverse of [`Self::first_key`].
    pub(super) fn from_key(key: &[u8]) -> Result<Self, StoreError> {
        let key: [u8; 8] = key.try_into().map_err(|_| {
            StoreError::Corrupt(format!("a day's key of {} bytes, expected 8", key.len()))
        })?;
        Ok(Self((u64::from_be_bytes(key) / TICKS_PER_DAY) as u32))
    }

    pub(super) fn plus(self, days: u32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Returns `YYYYMMDD`, as in the names of partitions. The calendar repeats after 400 years of
    /// 146 097 days in total; years are counted from 1 March, so that a leap day is the last of its
    /// year.
    pub(super) fn name(self) -> String {
        /// Days from 1200-03-01 to 1582-10-15 in the proleptic calendar.
        const BEGIN: u32 = 139_750;
        let days = self.0 + BEGIN;
        let era = days / 146_097;
        let days = days % 146_097;
        let year = (days - days / 1460 + days / 36_524 - days / 146_096) / 365;
        let day_of_year = days - (365 * year + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = 1200 + era * 400 + year + next_year;
        format!("{year:04}{month:02}{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    #[test]
    fn days_have_their_calendar_names() {
        assert_eq!(Day(0).name(), "15821015");
        for (unix_days, name) in [
            (0, "19700101"),
            (58, "19700228"),
            (59, "19700301"),
            (789, "19720229"),
            (11_016, "20000229"),
            (11_017, "20000301"),
            (20_254, "20250615"),
            (20_453, "20251231"),
            (20_454, "20260101"),
            (47_540, "21000228"),
            (47_541, "21000301"),
        ] {
            assert_eq!(Day::at_unix_ms(unix_days * DAY_MS).name(), name);
            assert_eq!(Day::at_unix_ms(unix_days * DAY_MS + DAY_MS - 1).name(), name);
        }
        let names: Vec<_> = (0..200_000).map(|day| Day(day).name()).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "names sort like days and are unique");
    }

    #[test]
    fn keys_of_a_day_lie_within_its_bounds() {
        for unix_ms in [0, 1, DAY_MS - 1, DAY_MS, 1_750_000_000_123] {
            let id = CommentId::from_unix_ticks(unix_ms * 10_000 + 9999, 0, [0; 6]);
            let day = Day::of(id);
            assert_eq!(day, Day::at_unix_ms(unix_ms));
            assert_eq!(Day::from_key(&day.first_key()).unwrap(), day);
            assert!(day.first_key()[..] <= id.sort_key()[..]);
            assert!(day.plus(1).first_key()[..] > id.sort_key()[..]);
        }
    }

    #[test]
    fn the_latest_time_has_a_day() {
        assert_eq!(Day::at_unix_ms(u64::MAX).name().len(), 8);
    }
}
