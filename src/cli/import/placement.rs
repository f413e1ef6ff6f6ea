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

/// Maps times of one export to one time line. Its zero is that of the first item: 1970 if that has
/// a time of day, otherwise the start of the video.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// Whether places are times of day. Known from the first item on.
    is_dated: Option<bool>,
    /// The time of day at which the video began, from the first item with both times.
    video_start_us: Option<i64>,
    /// The place of the item before.
    last_us: i64,
}

impl Placement {
    /// Returns the place of an item, in microseconds. One whose time cannot be compared with the
    /// others' has the place of the item before.
    pub(super) fn place(&mut self, time: ItemTime) -> Option<i64> {
        let ItemTime { of_day_us, of_video_us } = time;
        if of_day_us.is_none() && of_video_us.is_none() {
            return None;
        }
        if let (Some(of_day), Some(of_video)) = (of_day_us, of_video_us) {
            self.video_start_us.get_or_insert(of_day.saturating_sub(of_video));
        }
        let is_dated = *self.is_dated.get_or_insert(of_day_us.is_some());
        let place = match self.time_of_day(time) {
            Some(of_day) if is_dated => Some(of_day),
            Some(of_day) => self.video_start_us.map(|start| of_day.saturating_sub(start)),
            None => of_video_us.filter(|_| !is_dated),
        };
        self.last_us = place.unwrap_or(self.last_us);
        Some(self.last_us)
    }

    fn time_of_day(&self, time: ItemTime) -> Option<i64> {
        let by_video = self.video_start_us.zip(time.of_video_us);
        let by_video = by_video.map(|(start, of_video)| start.saturating_add(of_video));
        match (time.of_day_us, by_video) {
            (Some(of_day), Some(by_video)) => {
                let is_later = of_day.abs_diff(by_video) > LATER_US.unsigned_abs();
                Some(if is_later { by_video } else { of_day })
            }
            (of_day, by_video) => of_day.or(by_video),
        }
    }

    /// Returns the time of day of a place, if the export has any.
    pub(super) fn date_us(&self, place_us: i64) -> Option<i64> {
        match self.is_dated {
            Some(true) => Some(place_us),
            _ => self.video_start_us.map(|start| start.saturating_add(place_us)),
        }
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
        assert_eq!(placement.date_us(day), Some(day));
        let mut undated = Placement::default();
        assert_eq!(undated.place(time(None, Some(-5))), Some(-5));
        assert_eq!(undated.date_us(-5), None);
    }

    #[test]
    fn a_first_item_without_a_date_is_not_in_1970() {
        let day = 1_700_000_000_000_000;
        let mut placement = Placement::default();
        // A deletion, say, which has the time of the video only.
        assert_eq!(placement.place(time(None, Some(4_000_000))), Some(4_000_000));
        assert_eq!(placement.place(time(Some(day), None)), Some(4_000_000), "not comparable yet");
        let both = time(Some(day + 5_250_000), Some(5_000_000));
        assert_eq!(placement.place(both), Some(5_000_000));
        let finer = time(Some(day + 5_750_000), Some(5_000_000));
        assert_eq!(placement.place(finer), Some(5_500_000));
        assert_eq!(placement.place(time(Some(day + 7_250_000), None)), Some(7_000_000));
        assert_eq!(placement.date_us(4_000_000), Some(day + 4_250_000));
        let mut dated = Placement::default();
        assert_eq!(dated.place(time(Some(day), None)), Some(day));
        assert_eq!(dated.place(time(None, Some(9))), Some(day), "not comparable yet");
    }
}
