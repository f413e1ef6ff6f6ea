//! The console's knowledge of the cluster: the latest moment, the moments before it, the series
//! that charts show, and happenings.
//!
//! In: snapshots. Out: moments, series, happenings. Always holds: rates are those that nodes
//! measured themselves, never differences of sums over nodes, so nodes may come and go; time never
//! goes back. When full: the oldest goes.

mod alarms;
mod archive;
mod changes;
mod conditions;
mod moment;
#[cfg(test)]
pub(crate) mod samples;
mod series;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::protocol::admin::{Alert, EventItem, GroupLag, TimelineAnswer, TopSnapshot};

pub(crate) use alarms::{Alarm, Severity, Subject};
use archive::Archive;
pub(crate) use changes::{Happening, throttle_reason};
use conditions::AlarmMemory;
pub(crate) use moment::{Moment, is_nearly_full};
pub(crate) use series::{Metric, SeriesSet, time_of_cell};

/// Happenings that are kept.
const MAX_HAPPENINGS: usize = 2_000;
/// Lags of the past over which their change is taken.
const LAG_MEMORY: usize = 10;

/// Everything the console was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Feed {
    latest: Option<Arc<Moment>>,
    series: SeriesSet,
    archive: Archive,
    happenings: VecDeque<Happening>,
    /// The number of the first of them. A happening keeps its number as others come and go; what
    /// is put before the first one goes below zero, and wraps.
    first_number: u64,
    memory: AlarmMemory,
    /// Time and lag of each group and topic, oldest first.
    lags: BTreeMap<(String, String), VecDeque<(u64, u64)>>,
    /// The alerts of the daemon, while it tells them.
    told: Option<Vec<Alert>>,
    /// Whether the latest moment has the alerts of the daemon.
    was_told: bool,
    /// Contact was lost since the latest moment.
    interrupted: bool,
    restarts: u32,
}

impl Feed {
    pub(crate) fn latest(&self) -> Option<&Arc<Moment>> {
        self.latest.as_ref()
    }

    pub(crate) fn series(&self) -> &SeriesSet {
        &self.series
    }

    /// Returns what happened, oldest first.
    pub(crate) fn happenings(&self) -> &VecDeque<Happening> {
        &self.happenings
    }

    /// Returns the same with their numbers.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u64, &Happening)> {
        let first = self.first_number;
        (0..).map(move |at| first.wrapping_add(at)).zip(&self.happenings)
    }

    /// Returns how often the daemon was seen to restart.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Returns the moment that was the latest at a time.
    pub(crate) fn at(&self, at_ms: u64) -> Option<Arc<Moment>> {
        self.archive.at(at_ms).map(Arc::new)
    }

    /// Returns the time of the first moment that can be gone back to.
    pub(crate) fn first_ms(&self) -> Option<u64> {
        self.archive.first_ms()
    }

    /// Returns the time of the kept moment before or after a time.
    pub(crate) fn neighbour(&self, at_ms: u64, later: bool) -> Option<u64> {
        self.archive.neighbour(at_ms, later)
    }

    /// Fills the charts with the past as the daemon kept it.
    pub(crate) fn fill(&mut self, answer: &TimelineAnswer) {
        self.series.fill(answer);
    }

    /// Takes what the daemon kept of the time before the first moment.
    pub(crate) fn fill_events(&mut self, events: &[EventItem]) {
        let first_ms = match (self.happenings.front(), &self.latest) {
            (Some(first), _) => first.at_ms,
            (None, Some(latest)) => latest.at_ms,
            (None, None) => return,
        };
        let earlier = events.iter().filter(|event| event.at < first_ms);
        let mut earlier: Vec<_> = earlier.filter_map(Happening::of_daemon).collect();
        earlier.sort_by_key(|happening| happening.at_ms);
        let room = MAX_HAPPENINGS - self.happenings.len();
        for happening in earlier.into_iter().rev().take(room) {
            self.happenings.push_front(happening);
            self.first_number = self.first_number.wrapping_sub(1);
        }
    }

    /// Takes the alerts of the daemon, which are those of the next moment. Without them, that one
    /// has the alarms that this console sees.
    pub(crate) fn set_alerts(&mut self, alerts: Option<Vec<Alert>>) {
        self.told = alerts;
    }

    /// Shows a moment of a recording. `figures` are those of the charts up to it, oldest first.
    pub(crate) fn show_recorded<'a>(
        &mut self,
        moment: Moment,
        figures: impl Iterator<Item = (u64, &'a [f32; Metric::ALL.len()])>,
    ) {
        self.series.show_recorded(&moment, figures);
        self.latest = Some(Arc::new(moment));
    }

    /// Takes what happened in a recording, oldest first.
    pub(crate) fn set_happenings(&mut self, happenings: Vec<Happening>) {
        self.happenings = happenings.into();
    }

    /// Notes that snapshots are missing from here on.
    pub(crate) fn interrupt(&mut self) {
        self.interrupted = true;
    }

    pub(crate) fn add(&mut self, snapshot: TopSnapshot) {
        let before = self.latest.take();
        let at_ms = match &before {
            None => snapshot.taken_at,
            Some(before) => before.at_ms + self.elapsed_ms(&before.snapshot, &snapshot),
        };
        let workers = match &before {
            Some(before) => {
                let loads = &before.workers;
                moment::worker_loads(&before.snapshot.workers, loads, &snapshot.workers)
            }
            None => Vec::new(),
        };
        let mut groups = GroupLag::of(&snapshot.lag);
        self.set_changes(at_ms, &mut groups);
        let mut moment = Moment { at_ms, snapshot, workers, groups, alarms: Vec::new() };
        moment.alarms = self.memory.alarms(&moment, self.told.as_deref());
        if let Some(before) = &before {
            let same_source = self.was_told == self.told.is_some();
            self.happenings.extend(changes::changes(before, &moment, same_source));
            while self.happenings.len() > MAX_HAPPENINGS {
                self.happenings.pop_front();
                self.first_number = self.first_number.wrapping_add(1);
            }
        }
        let covered_from_ms = match &before {
            Some(before) if !self.interrupted => before.at_ms,
            _ => at_ms,
        };
        self.interrupted = false;
        self.was_told = self.told.is_some();
        self.series.add(&moment, covered_from_ms);
        self.archive.add(&moment);
        self.latest = Some(Arc::new(moment));
    }

    /// Returns the time between two snapshots: by the daemon's uptime, or by its clock if it was
    /// restarted. A clock that was set back counts as no time. The uptime alone does not show the
    /// restart of a daemon that had only just started.
    fn elapsed_ms(&mut self, before: &TopSnapshot, now: &TopSnapshot) -> u64 {
        let same_run = before.node == now.node
            && now.uptime_ms >= before.uptime_ms
            && started_at(before) == started_at(now);
        if same_run {
            return now.uptime_ms - before.uptime_ms;
        }
        self.restarts += u32::from(before.node == now.node);
        now.taken_at.saturating_sub(before.taken_at).min(3_600_000)
    }

    /// Sets the change of each lag over the last seconds, unless the daemon tells it.
    fn set_changes(&mut self, at_ms: u64, groups: &mut [GroupLag]) {
        for group in groups.iter_mut() {
            let key = (group.group.clone(), group.topic.clone());
            let past = self.lags.entry(key).or_default();
            let (then_ms, then) = past.front().copied().unwrap_or((at_ms, group.lag));
            if group.change_per_s.is_none() && at_ms > then_ms {
                let seconds = (at_ms - then_ms) as f64 / 1e3;
                group.change_per_s = Some((group.lag as f64 - then as f64) / seconds);
            }
            past.push_back((at_ms, group.lag));
            if past.len() > LAG_MEMORY {
                past.pop_front();
            }
        }
        self.lags.retain(|(name, topic), _| {
            groups.iter().any(|group| group.group == *name && group.topic == *topic)
        });
    }
}

/// Returns the start of the daemon that took a snapshot, if it told it.
fn started_at(snapshot: &TopSnapshot) -> Option<u64> {
    let own = snapshot.nodes.iter().find(|node| node.node == snapshot.node)?;
    Some(own.process.started_at).filter(|started_at| *started_at > 0)
}
