//! The recent past of several measurements of one subject, in rings of fixed size.

use super::codec::{UNKNOWN, decode, encode};

/// Seconds per coarse value.
pub(super) const COARSE_S: u64 = 10;
/// An hour of coarse values.
pub(super) const COARSE_VALUES: usize = 360;

/// The rings of a subject.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Number of measurements.
    pub(super) series: usize,
    /// One value per second, for so many seconds; 0 for none.
    pub(super) fine: usize,
    /// The largest value of ten seconds is kept beside their average.
    pub(super) has_peaks: bool,
}

/// A value and the largest of its time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TimelinePoint {
    pub average: f64,
    pub peak: f64,
}

/// The values of the coarse interval that has begun.
#[derive(Debug, Clone, Copy, Default)]
struct Begun {
    sum: f64,
    count: u32,
    peak: f64,
}

impl Begun {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
        self.peak = if self.count == 1 { value } else { self.peak.max(value) };
    }

    fn point(self) -> Option<TimelinePoint> {
        let average = self.sum / f64::from(self.count);
        (self.count > 0).then_some(TimelinePoint { average, peak: self.peak })
    }
}

#[derive(Debug)]
pub(super) struct SeriesSet {
    shape: Shape,
    /// By series, then by second modulo the length.
    fine: Box<[u16]>,
    /// By series, then by coarse interval modulo the length.
    averages: Box<[u16]>,
    peaks: Box<[u16]>,
    begun: Box<[Begun]>,
    /// The second of the last value; `None` before the first.
    last_s: Option<u64>,
    /// The begin of the ten seconds of the first value. Earlier seconds, which another node has
    /// measured, have only the value of their ten.
    fine_from_s: Option<u64>,
}

impl SeriesSet {
    pub(super) fn new(shape: Shape) -> Self {
        let Shape { series, fine, has_peaks } = shape;
        let unknown = |length: usize| vec![UNKNOWN; length].into_boxed_slice();
        Self {
            shape,
            fine: unknown(series * fine),
            averages: unknown(series * COARSE_VALUES),
            peaks: unknown(if has_peaks { series * COARSE_VALUES } else { 0 }),
            begun: vec![Begun::default(); series].into_boxed_slice(),
            last_s: None,
            fine_from_s: None,
        }
    }

    /// Returns the memory it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + (self.fine.len() + self.averages.len() + self.peaks.len()) * size_of::<u16>()
            + self.begun.len() * size_of::<Begun>()
    }

    pub(super) fn last_s(&self) -> Option<u64> {
        self.last_s
    }

    /// Adds the values of a second, one per series. A second that is not after the last is ignored.
    /// Seconds without a call are unknown.
    pub(super) fn add(&mut self, second: u64, values: &[Option<f64>]) {
        if self.last_s.is_some_and(|last| second <= last) {
            return;
        }
        self.advance(second);
        let Shape { series, fine, .. } = self.shape;
        for (index, value) in values.iter().take(series).enumerate() {
            if fine > 0 {
                self.fine[index * fine + second as usize % fine] = encode(*value);
            }
            if let Some(value) = value.filter(|value| !value.is_nan()) {
                self.begun[index].add(value);
            }
        }
        self.last_s = Some(second);
        self.fine_from_s.get_or_insert(second - second % COARSE_S);
    }

    /// Returns the codes of ten seconds that are over: average and peak, by series.
    pub(super) fn coarse(&self, interval: u64) -> Option<Vec<(u16, u16)>> {
        let last = self.last_s? / COARSE_S;
        if interval >= last || last - interval >= COARSE_VALUES as u64 {
            return None;
        }
        let at = |index: usize| index * COARSE_VALUES + interval as usize % COARSE_VALUES;
        let codes = |index: usize| {
            let average = self.averages[at(index)];
            (average, self.peaks.get(at(index)).copied().unwrap_or(average))
        };
        Some((0..self.shape.series).map(codes).collect())
    }

    /// Sets the codes of ten seconds that another node has measured. Intervals that are not after
    /// the last are ignored.
    pub(super) fn add_coarse(&mut self, interval: u64, codes: &[(u16, u16)]) {
        let second = interval * COARSE_S;
        if self.last_s.is_some_and(|last| second <= last) {
            return;
        }
        self.advance(second);
        for (index, (average, peak)) in codes.iter().take(self.shape.series).enumerate() {
            let at = index * COARSE_VALUES + interval as usize % COARSE_VALUES;
            self.averages[at] = *average;
            if self.shape.has_peaks {
                self.peaks[at] = *peak;
            }
        }
        self.last_s = Some(second + COARSE_S - 1);
    }

    /// Makes the seconds and intervals up to `second` unknown, and ends the interval that has begun
    /// if it is over.
    fn advance(&mut self, second: u64) {
        let Some(last) = self.last_s else { return };
        let Shape { series, fine, .. } = self.shape;
        if fine > 0 {
            for skipped in (last + 1..=second).rev().take(fine) {
                for index in 0..series {
                    self.fine[index * fine + skipped as usize % fine] = UNKNOWN;
                }
            }
        }
        let begun = last / COARSE_S;
        let now = second / COARSE_S;
        if begun == now {
            return;
        }
        for index in 0..series {
            if let Some(point) = std::mem::take(&mut self.begun[index]).point() {
                self.set_coarse(index, begun, Some(point));
            }
        }
        for later in (begun + 1..=now).rev().take(COARSE_VALUES) {
            (0..series).for_each(|index| self.set_coarse(index, later, None));
        }
    }

    fn set_coarse(&mut self, index: usize, interval: u64, point: Option<TimelinePoint>) {
        let at = index * COARSE_VALUES + interval as usize % COARSE_VALUES;
        self.averages[at] = encode(point.map(|point| point.average));
        if self.shape.has_peaks {
            self.peaks[at] = encode(point.map(|point| point.peak));
        }
    }

    /// Returns the value of a second: its own if that is kept, else that of its ten seconds.
    fn at_second(&self, index: usize, second: u64) -> Option<TimelinePoint> {
        let last = self.last_s?;
        let fine = self.shape.fine;
        if second > last {
            return None;
        }
        let is_fine = self.fine_from_s.is_some_and(|from| second >= from);
        if is_fine && last - second < fine as u64 {
            let value = decode(self.fine[index * fine + second as usize % fine])?;
            return Some(TimelinePoint { average: value, peak: value });
        }
        self.at_interval(index, second / COARSE_S)
    }

    /// Returns the value of ten seconds.
    fn at_interval(&self, index: usize, interval: u64) -> Option<TimelinePoint> {
        let last = self.last_s? / COARSE_S;
        if interval == last && self.begun[index].count > 0 {
            return self.begun[index].point();
        }
        if interval > last || last - interval >= COARSE_VALUES as u64 {
            return None;
        }
        let at = index * COARSE_VALUES + interval as usize % COARSE_VALUES;
        let average = decode(self.averages[at])?;
        let peak = self.peaks.get(at).and_then(|code| decode(*code)).unwrap_or(average);
        Some(TimelinePoint { average, peak })
    }

    /// Returns the values of a series in `steps` steps of `step_s` seconds from second `from_s` on.
    pub(super) fn read(
        &self,
        index: usize,
        from_s: u64,
        step_s: u64,
        steps: usize,
    ) -> Vec<Option<TimelinePoint>> {
        let step_s = step_s.max(1);
        let starts = (0..steps as u64).map(|step| from_s + step * step_s);
        if step_s < COARSE_S {
            return starts
                .map(|start| join((start..start + step_s).map(|s| self.at_second(index, s))))
                .collect();
        }
        let intervals = |start: u64| start / COARSE_S..(start + step_s).div_ceil(COARSE_S);
        starts
            .map(|start| join(intervals(start).map(|interval| self.at_interval(index, interval))))
            .collect()
    }

    /// Reports whether nothing but zeros and unknown values is kept of the first series.
    pub(super) fn is_blank(&self, series: usize) -> bool {
        let averages = &self.averages[..series * COARSE_VALUES];
        let mut kept = averages.iter().chain(&self.fine[..series * self.shape.fine]);
        kept.all(|code| decode(*code).is_none_or(|value| value == 0.0))
            && self.begun[..series].iter().all(|of| of.sum == 0.0)
    }
}

/// Returns the average of the known averages, and the largest peak.
fn join(points: impl Iterator<Item = Option<TimelinePoint>>) -> Option<TimelinePoint> {
    let mut sum = 0.0;
    let mut count = 0;
    let mut peak = f64::NEG_INFINITY;
    for point in points.flatten() {
        sum += point.average;
        count += 1;
        peak = peak.max(point.peak);
    }
    (count > 0).then(|| TimelinePoint { average: sum / f64::from(count), peak })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const SHAPE: Shape = Shape { series: 2, fine: 60, has_peaks: true };

    fn averages(
        set: &SeriesSet,
        index: usize,
        from_s: u64,
        step_s: u64,
        steps: usize,
    ) -> Vec<Option<f64>> {
        let points = set.read(index, from_s, step_s, steps);
        points.into_iter().map(|point| point.map(|point| point.average.round())).collect()
    }

    #[test]
    fn ten_seconds_become_an_average_and_a_peak() {
        let mut set = SeriesSet::new(SHAPE);
        for second in 0..10 {
            set.add(100 + second, &[Some(second as f64), None]);
        }
        set.add(110, &[Some(70.0), None]);
        let [first, begun] = set.read(0, 100, 10, 2).try_into().unwrap();
        let first = first.unwrap();
        assert!((first.average - 4.5).abs() < 0.01 && (first.peak - 9.0).abs() < 0.01, "{first:?}");
        assert_eq!(begun, Some(TimelinePoint { average: 70.0, peak: 70.0 }), "it has begun");
        assert_eq!(set.read(1, 100, 10, 2), [None, None]);
        assert_eq!(
            averages(&set, 0, 107, 1, 5),
            [Some(7.0), Some(8.0), Some(9.0), Some(70.0), None]
        );
    }

    #[test]
    fn seconds_without_values_are_unknown() {
        let mut set = SeriesSet::new(SHAPE);
        set.add(100, &[Some(5.0), Some(1.0)]);
        set.add(103, &[Some(6.0), Some(1.0)]);
        set.add(102, &[Some(9.0), Some(1.0)]);
        assert_eq!(averages(&set, 0, 99, 1, 5), [None, Some(5.0), None, None, Some(6.0)]);
        set.add(100_000, &[Some(7.0), Some(1.0)]);
        assert_eq!(averages(&set, 0, 99_990, 10, 2), [None, Some(7.0)]);
        assert_eq!(averages(&set, 0, 100, 1, 4), [None; 4], "longer ago than an hour");
    }

    #[test]
    fn old_seconds_have_the_value_of_their_ten() {
        let mut set = SeriesSet::new(SHAPE);
        for second in 0..200 {
            set.add(second, &[Some((second / 10) as f64), None]);
        }
        assert_eq!(averages(&set, 0, 58, 1, 4), [Some(5.0), Some(5.0), Some(6.0), Some(6.0)]);
        assert_eq!(averages(&set, 0, 0, 50, 2), [Some(2.0), Some(7.0)]);
        assert_eq!(averages(&set, 0, 195, 5, 1), [Some(19.0)]);
    }

    #[test]
    fn ten_seconds_pass_from_node_to_node() {
        let mut kept = SeriesSet::new(SHAPE);
        for second in 0..35 {
            kept.add(second, &[Some((second % 10) as f64), (second >= 20).then_some(8.0)]);
        }
        assert_eq!(kept.coarse(3), None, "it is not over");
        let mut read = SeriesSet::new(Shape { fine: 0, ..SHAPE });
        let mut taken_over = SeriesSet::new(SHAPE);
        for interval in 0..3 {
            let codes = kept.coarse(interval).unwrap();
            read.add_coarse(interval, &codes);
            taken_over.add_coarse(interval, &codes);
        }
        assert_eq!(read.read(0, 0, 10, 4)[..3], kept.read(0, 0, 10, 4)[..3]);
        assert_eq!(averages(&read, 1, 0, 10, 4), [None, None, Some(8.0), None]);
        taken_over.add(33, &[Some(70.0), None]);
        assert_eq!(averages(&taken_over, 0, 32, 1, 2), [None, Some(70.0)]);
        let before = taken_over.read(0, 29, 1, 1)[0].unwrap();
        assert!((before.average - 4.5).abs() < 0.01 && (before.peak - 9.0).abs() < 0.01);
        taken_over.add(41, &[Some(1.0), None]);
        assert_eq!(taken_over.read(0, 0, 10, 3), read.read(0, 0, 10, 3), "and stays");
    }

    #[test]
    fn rings_of_zeros_are_blank() {
        let mut set = SeriesSet::new(SHAPE);
        assert!(set.is_blank(1));
        set.add(5, &[Some(0.0), Some(1.0)]);
        assert!(set.is_blank(1) && !set.is_blank(2));
        set.add(6, &[Some(2.0), None]);
        assert!(!set.is_blank(1));
        for second in 7..10 + 2 * COARSE_S * COARSE_VALUES as u64 {
            set.add(second, &[Some(0.0), None]);
        }
        assert!(set.is_blank(1));
    }

    proptest! {
        /// The rings hold what a list of all values would.
        #[test]
        fn rings_agree_with_a_list(
            gaps in vec(1_u64..40, 1..200),
            drawn in vec(0.0..1e6_f64, 200),
        ) {
            let mut set = SeriesSet::new(SHAPE);
            let mut all = std::collections::BTreeMap::new();
            let mut second = 1_000;
            for (gap, value) in gaps.iter().zip(&drawn) {
                second += gap;
                set.add(second, &[Some(*value), None]);
                all.insert(second, *value);
            }
            let recent = second - 59..=second;
            for at in recent.clone() {
                let kept = set.read(0, at, 1, 1)[0].map(|point| point.average);
                let exact = all.get(&at).copied();
                prop_assert_eq!(kept.is_some(), exact.is_some(), "{}", at);
                if let Some((kept, exact)) = kept.zip(exact) {
                    let error = (kept - exact).abs();
                    prop_assert!(error <= exact * 0.001 + 0.001, "{kept} instead of {exact}");
                }
            }
            for interval in (second / 10).saturating_sub(300)..=second / 10 {
                let seconds = interval * 10..interval * 10 + 10;
                let values: Vec<f64> = all.range(seconds).map(|(_, value)| *value).collect();
                let kept = set.read(0, interval * 10, 10, 1)[0];
                prop_assert_eq!(kept.is_some(), !values.is_empty());
                if let Some(point) = kept {
                    let peak = values.iter().copied().fold(0.0, f64::max);
                    let average = values.iter().sum::<f64>() / values.len() as f64;
                    prop_assert!((point.peak - peak).abs() <= peak * 0.001 + 0.001);
                    prop_assert!((point.average - average).abs() <= average * 0.001 + 0.001);
                }
            }
        }
    }
}
