//! The recent past of figures, one value per second for an hour.

use std::collections::VecDeque;

use ahash::AHashMap;

use super::moment::Moment;
use crate::protocol::StreamId;
use crate::protocol::admin::{CounterRates, TimelineAnswer};

const SLOT_MS: u64 = 1_000;
/// An hour.
const SLOTS: usize = 3_600;
const STREAM_SLOT_MS: u64 = 10_000;
/// Ten minutes.
const STREAM_SLOTS: usize = 60;

/// Two moments of a recording with a longer time between them leave a gap: the longest interval of
/// snapshots is a minute.
const MAX_STEP_MS: u64 = 61_000;

/// The figures with a chart, in the order of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    In,
    Shown,
    LeftOut,
    Refused,
    Delivered,
    Viewers,
    P50,
    P95,
    P99,
    Skipped,
    BytesOut,
    Behind,
}

impl Metric {
    pub(crate) const ALL: [Self; 12] = [
        Self::In,
        Self::Shown,
        Self::LeftOut,
        Self::Refused,
        Self::Delivered,
        Self::Viewers,
        Self::P50,
        Self::P95,
        Self::P99,
        Self::Skipped,
        Self::BytesOut,
        Self::Behind,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Shown => "shown",
            Self::LeftOut => "left out",
            Self::Refused => "refused",
            Self::Delivered => "delivered",
            Self::Viewers => "viewers",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Skipped => "skipped",
            Self::BytesOut => "sent",
            Self::Behind => "behind",
        }
    }

    /// Returns what the figure means, with its unit and its source.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::In => "comments per second that arrive, valid or not (received)",
            Self::Shown => "comments per second that are broadcast, each counted once (broadcast)",
            Self::LeftOut => "comments per second that the throttle leaves out (sampled_out)",
            Self::Refused => "comments per second that are answered with an error (refused)",
            Self::Delivered => "comments per second that are written to viewers (delivered)",
            Self::Viewers => "open connections that have not sent a comment",
            Self::P50 => "milliseconds from creation to write: half of all writes are faster",
            Self::P95 => "milliseconds from creation to write: 95 % of all writes are faster",
            Self::P99 => "milliseconds from creation to write: 99 % of all writes are faster",
            Self::Skipped => "comments per second that slow viewers skip (skipped)",
            Self::BytesOut => "bytes per second that are sent to viewers (bytes_out)",
            Self::Behind => "records that all consumers together have still to read",
        }
    }

    /// Returns the name of the figure in the daemon's timeline.
    pub(crate) fn timeline_name(self) -> &'static str {
        match self {
            Self::In => "received",
            Self::Shown => "broadcast",
            Self::LeftOut => "sampled_out",
            Self::Refused => "refused",
            Self::Delivered => "delivered",
            Self::Viewers => "viewers",
            Self::P50 => "p50_ms",
            Self::P95 => "p95_ms",
            Self::P99 => "p99_ms",
            Self::Skipped => "skipped",
            Self::BytesOut => "bytes_out",
            Self::Behind => "lag",
        }
    }

    /// Returns the figure of a moment; `None` if it is not known.
    pub(crate) fn value(self, moment: &Moment) -> Option<f64> {
        let snapshot = &moment.snapshot;
        let CounterRates { received, broadcast, sampled_out, refused, .. } = snapshot.rates;
        let quantile = |share| snapshot.end_to_end.quantile_ms(share);
        Some(match self {
            Self::In => received,
            Self::Shown => broadcast,
            Self::LeftOut => sampled_out,
            Self::Refused => refused,
            Self::Delivered => snapshot.rates.delivered,
            Self::Viewers => moment.viewers() as f64,
            Self::P50 => quantile(0.5)?,
            Self::P95 => quantile(0.95)?,
            Self::P99 => quantile(0.99)?,
            Self::Skipped => snapshot.rates.skipped,
            Self::BytesOut => snapshot.rates.bytes_out,
            // A lag that cannot be read is no lag of nothing.
            Self::Behind if moment.groups.is_empty() => return None,
            Self::Behind => moment.groups.iter().map(|group| group.lag).sum::<u64>() as f64,
        })
    }
}

/// Returns the slots that one of `cells` parts of a window has.
fn slots_per_cell(window_ms: u64, cells: usize) -> u64 {
    (window_ms / SLOT_MS).div_ceil(cells.max(1) as u64).max(1)
}

/// Returns the last millisecond of a part of a window, as [`SeriesSet::window`] divides it.
pub(crate) fn time_of_cell(end_ms: u64, window_ms: u64, cells: usize, cell: usize) -> u64 {
    let per_cell = slots_per_cell(window_ms, cells);
    let back = cells.saturating_sub(cell + 1) as u64;
    let index = (end_ms / SLOT_MS / per_cell).saturating_sub(back);
    ((index + 1) * per_cell * SLOT_MS - 1).min(end_ms)
}

/// Values in slots of equal length; a slot without a value is unknown.
#[derive(Debug, Clone, Default)]
struct Slots {
    /// The number of the first slot since the beginning of time.
    first: u64,
    values: VecDeque<Option<f32>>,
}

impl Slots {
    fn set(&mut self, slot: u64, value: Option<f64>, most: usize) {
        if self.values.is_empty() {
            self.first = slot;
        }
        if slot < self.first {
            return;
        }
        let mut at = (slot - self.first) as usize;
        if at >= self.values.len() + most {
            self.values.clear();
            self.first = slot;
            at = 0;
        }
        while self.values.len() <= at {
            self.values.push_back(None);
        }
        self.values[at] = value.map(|value| value as f32);
        while self.values.len() > most {
            self.values.pop_front();
            self.first += 1;
        }
    }

    /// Sets the slot of a time, and those back to `from_ms` that come after the last one.
    fn cover(&mut self, from_ms: u64, at_ms: u64, value: Option<f64>) {
        let slot = at_ms / SLOT_MS;
        let first = self.last().map_or(slot, |last| last + 1);
        let first = first.max(from_ms / SLOT_MS + 1).min(slot);
        for slot in first.max(slot.saturating_sub(SLOTS as u64))..=slot {
            self.set(slot, value, SLOTS);
        }
    }

    /// Sets a slot of the past if nothing is known of it.
    fn fill(&mut self, slot: u64, value: f64, most: usize) {
        let Some(last) = self.last() else {
            self.set(slot, Some(value), most);
            return;
        };
        if slot > last || last - slot >= most as u64 {
            return;
        }
        while slot < self.first {
            self.values.push_front(None);
            self.first -= 1;
        }
        let known = &mut self.values[(slot - self.first) as usize];
        *known = known.or(Some(value as f32));
    }

    fn get(&self, slot: u64) -> Option<f64> {
        let at = slot.checked_sub(self.first)?;
        self.values.get(at as usize).copied().flatten().map(f64::from)
    }

    fn last(&self) -> Option<u64> {
        (self.first + self.values.len() as u64).checked_sub(1).filter(|_| !self.values.is_empty())
    }

    /// Returns `cells` averages over `per_cell` slots each; the last one ends with `end`.
    fn averages(&self, end: u64, per_cell: u64, cells: usize) -> Vec<Option<f64>> {
        let mut averages = Vec::with_capacity(cells);
        for cell in (0..cells as u64).rev() {
            // Cells begin at multiples of their length, so that a chart moves as a whole.
            let last_cell = end / per_cell;
            let Some(index) = last_cell.checked_sub(cell) else {
                averages.push(None);
                continue;
            };
            let slots = index * per_cell..((index + 1) * per_cell).min(end + 1);
            let known: Vec<f64> = slots.filter_map(|slot| self.get(slot)).collect();
            let average = known.iter().sum::<f64>() / known.len().max(1) as f64;
            averages.push((!known.is_empty()).then_some(average));
        }
        averages
    }
}

/// The series of the cluster and of its streams.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeriesSet {
    cluster: [Slots; Metric::ALL.len()],
    streams: AHashMap<StreamId, Slots>,
}

impl SeriesSet {
    /// Adds a moment that follows the last one. The slots in between get its values too if it
    /// covers them, which it does unless contact was lost.
    pub(super) fn add(&mut self, moment: &Moment, covered_from_ms: u64) {
        for (metric, slots) in Metric::ALL.iter().zip(&mut self.cluster) {
            slots.cover(covered_from_ms, moment.at_ms, metric.value(moment));
        }
        self.add_streams(moment);
    }

    fn add_streams(&mut self, moment: &Moment) {
        let slot = moment.at_ms / STREAM_SLOT_MS;
        for stream in &moment.snapshot.streams {
            let slots = self.streams.entry(stream.stream_id).or_default();
            slots.set(slot, Some(stream.comments_per_second), STREAM_SLOTS);
        }
        if self.streams.len() > moment.snapshot.streams.len() {
            let oldest = slot.saturating_sub(STREAM_SLOTS as u64);
            self.streams.retain(|_, slots| slots.last() >= Some(oldest));
        }
    }

    /// Replaces the series of the cluster with those of a recording up to a moment. The series of
    /// streams are those of the moments that were shown.
    pub(super) fn show_recorded<'a>(
        &mut self,
        moment: &Moment,
        figures: impl Iterator<Item = (u64, &'a [f32; Metric::ALL.len()])>,
    ) {
        let before_ms = self.cluster[0].last().map(|slot| slot * SLOT_MS);
        self.cluster = Default::default();
        let mut covered_from_ms = None;
        for (at_ms, values) in figures {
            let from_ms = covered_from_ms.filter(|from| at_ms - from <= MAX_STEP_MS);
            for (slots, value) in self.cluster.iter_mut().zip(values) {
                let value = Some(f64::from(*value)).filter(|value| !value.is_nan());
                slots.cover(from_ms.unwrap_or(at_ms), at_ms, value);
            }
            covered_from_ms = Some(at_ms);
        }
        if before_ms.is_some_and(|before| before > moment.at_ms) {
            self.streams.clear();
        }
        self.add_streams(moment);
    }

    /// Fills what is not known with the daemon's timeline. A step of it is one value.
    pub(super) fn fill(&mut self, answer: &TimelineAnswer) {
        let slots_per_step = (answer.step_ms / SLOT_MS).max(1);
        for series in &answer.series {
            let named = |metric: &&Metric| metric.timeline_name() == series.name;
            let Some(metric) = Metric::ALL.iter().find(named) else { continue };
            let slots = &mut self.cluster[*metric as usize];
            for (step, value) in series.average.iter().enumerate() {
                let Some(value) = value else { continue };
                let first = (answer.from + step as u64 * answer.step_ms) / SLOT_MS;
                (first..first + slots_per_step).for_each(|slot| slots.fill(slot, *value, SLOTS));
            }
        }
    }

    /// Returns the averages of a window that ends at `end_ms`, in `cells` parts, oldest first.
    pub(crate) fn window(
        &self,
        metric: Metric,
        end_ms: u64,
        window_ms: u64,
        cells: usize,
    ) -> Vec<Option<f64>> {
        let per_cell = slots_per_cell(window_ms, cells);
        self.cluster[metric as usize].averages(end_ms / SLOT_MS, per_cell, cells)
    }

    /// Returns the largest value of a window.
    pub(crate) fn peak(&self, metric: Metric, end_ms: u64, window_ms: u64) -> Option<f64> {
        let end = end_ms / SLOT_MS;
        let slots = end.saturating_sub(window_ms / SLOT_MS)..=end;
        let series = &self.cluster[metric as usize];
        slots.filter_map(|slot| series.get(slot)).reduce(f64::max)
    }

    /// Returns the comments per second of a stream in the last ten minutes, oldest first.
    pub(crate) fn stream(
        &self,
        stream_id: StreamId,
        end_ms: u64,
        cells: usize,
    ) -> Vec<Option<f64>> {
        let per_cell = (STREAM_SLOTS as u64).div_ceil(cells.max(1) as u64);
        match self.streams.get(&stream_id) {
            Some(slots) => slots.averages(end_ms / STREAM_SLOT_MS, per_cell, cells),
            None => vec![None; cells],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_keep_the_time_axis() {
        let mut slots = Slots::default();
        for slot in 100..110 {
            slots.set(slot, Some(slot as f64), SLOTS);
        }
        slots.set(115, Some(1.0), SLOTS);
        let averages = slots.averages(115, 5, 4);
        assert_eq!(averages, [Some(102.0), Some(107.0), None, Some(1.0)]);
        assert_eq!(slots.averages(3, 5, 2), [None, None], "nothing is known before the first");
    }

    #[test]
    fn the_timeline_fills_only_what_is_unknown() {
        let mut slots = Slots::default();
        slots.set(100, Some(7.0), 60);
        slots.set(103, Some(9.0), 60);
        for slot in [30, 98, 100, 101, 104] {
            slots.fill(slot, 1.0, 60);
        }
        let known: Vec<_> = (97..=104).map(|slot| slots.get(slot)).collect();
        let [one, seven, nine] = [1.0, 7.0, 9.0].map(Some);
        assert_eq!(known, [None, one, None, seven, one, None, nine, None]);
        assert_eq!(slots.get(30), None, "older than what is kept");
    }

    #[test]
    fn a_cell_ends_with_the_time_that_it_shows() {
        let mut slots = Slots::default();
        (1_000..=1_100).for_each(|slot| slots.set(slot, Some(slot as f64), SLOTS));
        let end_ms = 1_100_400;
        for (window_ms, cells) in [(60_000, 60), (60_000, 7), (90_000, 40), (60_000, 200)] {
            let per_cell = slots_per_cell(window_ms, cells);
            let shown = slots.averages(end_ms / SLOT_MS, per_cell, cells);
            for (cell, value) in shown.iter().enumerate() {
                let time = time_of_cell(end_ms, window_ms, cells, cell);
                let Some(value) = value else { continue };
                let slot = (time / SLOT_MS) as f64;
                assert!(*value <= slot && slot - value < per_cell as f64, "{value} at {slot}");
            }
            assert_eq!(time_of_cell(end_ms, window_ms, cells, cells - 1), end_ms);
        }
    }

    #[test]
    fn series_are_bounded() {
        let mut slots = Slots::default();
        for slot in 0..10_000 {
            slots.set(slot, Some(1.0), 60);
        }
        assert_eq!((slots.values.len(), slots.first), (60, 9_940));
        slots.set(1_000_000_000, Some(2.0), 60);
        assert_eq!((slots.values.len(), slots.get(1_000_000_000)), (1, Some(2.0)));
        slots.set(3, Some(2.0), 60);
        assert_eq!(slots.get(3), None, "the past does not change");
    }
}
