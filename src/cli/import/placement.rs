//! The time of an item. Exports have a time of day, a time of the video, or both, and each of them
//! may be coarse: whole seconds, or 0 for everything before the video began.

/// Where both are known, the time of day is used unless it is this much away from where the video
/// says: such a comment was written when the video was watched later.
const LATER_US: i64 = 12 * 3_600 * 1_000_000;

/// The times that an item has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ItemTime {
    /// Microseconds since 1970.
    pub(super) of_day_us: Option<i64>,
    /// Microseconds since the start of the video; negative before it.
    pub(super) of_video_us: Option<i64>,
}

/// Maps times of one export to one time line.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// The time of day at which the video began, from the first item with both times.
    video_start_us: Option<i64>,
    has_time_of_day: bool,
}

impl Placement {
    /// Returns the microseconds of an item, since 1970 or since the start of the video.
    pub(super) fn place(&mut self, time: ItemTime) -> Option<i64> {
        self.has_time_of_day |= time.of_day_us.is_some();
        match (time.of_day_us, time.of_video_us) {
            (Some(of_day), Some(of_video)) => {
                let start = *self.video_start_us.get_or_insert(of_day.saturating_sub(of_video));
                let by_video = start.saturating_add(of_video);
                let is_later = of_day.abs_diff(by_video) > LATER_US.unsigned_abs();
                Some(if is_later { by_video } else { of_day })
            }
            (Some(of_day), None) => Some(of_day),
            (None, Some(of_video)) => {
                Some(self.video_start_us.unwrap_or_default().saturating_add(of_video))
            }
            (None, None) => None,
        }
    }

    /// Returns whether places are times of day.
    pub(super) fn is_dated(&self) -> bool {
        self.has_time_of_day
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(of_day_us: Option<i64>, of_video_us: Option<i64>) -> ItemTime {
        ItemTime { of_day_us, of_video_us }
    }

    #[test]
    fn the_finer_time_is_used() {
        let mut placement = Placement::default();
        let day = 1_700_000_000_000_000;
        assert_eq!(placement.place(time(Some(day + 500_000), Some(0))), Some(day + 500_000));
        assert_eq!(placement.place(time(Some(day + 900_000), Some(0))), Some(day + 900_000));
        // Before the video began, where its time is 0 for all.
        assert_eq!(placement.place(time(Some(day - 60_000_000), Some(0))), Some(day - 60_000_000));
        // Written a week later, about the tenth second.
        let week = 7 * 86_400 * 1_000_000;
        let later = placement.place(time(Some(day + week), Some(10_000_000)));
        assert_eq!(later, Some(day + 10_500_000));
        assert_eq!(placement.place(time(None, Some(2_000_000))), Some(day + 2_500_000));
        assert_eq!(placement.place(ItemTime::default()), None);
        assert!(placement.is_dated());
        let mut undated = Placement::default();
        assert_eq!(undated.place(time(None, Some(-5))), Some(-5));
        assert!(!undated.is_dated());
    }
}
