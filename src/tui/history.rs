//! Rates and their recent past, computed from the counters of successive snapshots.
//!
//! Counters start at zero again after a restart of the daemon. The interval across a restart has no
//! rate, and the charts show a gap.

use std::collections::{BTreeMap, VecDeque};

use crate::protocol::admin::{ConsumerLag, Counters, StreamStatus, TopSnapshot, WorkerStatus};
use crate::protocol::{NodeId, StreamId};

/// Number of points in a chart, more than the widest terminal shows.
const POINTS: usize = 240;

/// The rates with a chart, in the order of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    In,
    Accepted,
    Broadcast,
    Delivered,
    SampledOut,
    Refused,
    Skipped,
}

impl Metric {
    pub(super) const ALL: [Self; 7] = [
        Self::In,
        Self::Accepted,
        Self::Broadcast,
        Self::Delivered,
        Self::SampledOut,
        Self::Refused,
        Self::Skipped,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Accepted => "accepted",
            Self::Broadcast => "broadcast",
            Self::Delivered => "delivered",
            Self::SampledOut => "sampled out",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
        }
    }

    fn counter(self, counters: &Counters) -> u64 {
        match self {
            Self::In => counters.received,
            Self::Accepted => counters.accepted,
            Self::Broadcast => counters.broadcast,
            Self::Delivered => counters.delivered,
            Self::SampledOut => counters.sampled_out + counters.egress_sampled_out,
            Self::Refused => counters.refused.values().sum(),
            Self::Skipped => counters.skipped,
        }
    }
}

/// The recent past of a rate, oldest first; `None` where the rate is unknown.
pub(super) type Series = VecDeque<Option<f64>>;

/// The rates of one delivery worker in the latest interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct WorkerRates {
    /// Share of time the worker was busy, 0.0 to 1.0.
    pub(super) load: f64,
    pub(super) delivered: f64,
    pub(super) bytes: f64,
}

/// The lag of a consumer group, over all partitions of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupLag {
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) lag: u64,
    /// The change since the previous snapshot, if known.
    pub(super) change: Option<i64>,
    /// The partition with the largest lag.
    pub(super) worst_partition: u32,
}

/// The latest snapshot, and the rates computed from earlier ones.
#[derive(Debug, Clone, Default)]
pub(super) struct SnapshotHistory {
    latest: Option<TopSnapshot>,
    charts: [Series; Metric::ALL.len()],
    workers: BTreeMap<(NodeId, u32), WorkerRates>,
    sampled_out: BTreeMap<StreamId, f64>,
    opened: Option<f64>,
    closed: Option<f64>,
    groups: Vec<GroupLag>,
    restarts: u32,
}

impl SnapshotHistory {
    pub(super) fn latest(&self) -> Option<&TopSnapshot> {
        self.latest.as_ref()
    }

    /// Number of restarts of the daemon that were observed.
    pub(super) fn restarts(&self) -> u32 {
        self.restarts
    }

    pub(super) fn chart(&self, metric: Metric) -> &Series {
        &self.charts[metric as usize]
    }

    /// The rate per second in the latest interval.
    pub(super) fn rate(&self, metric: Metric) -> Option<f64> {
        self.chart(metric).back().copied().flatten()
    }

    pub(super) fn worker(&self, worker: &WorkerStatus) -> Option<WorkerRates> {
        self.workers.get(&(worker.node.clone(), worker.worker)).copied()
    }

    /// Comments per second of a stream that were left out by the throttle or by egress limits.
    pub(super) fn sampled_out(&self, stream_id: StreamId) -> Option<f64> {
        self.sampled_out.get(&stream_id).copied()
    }

    /// Connections opened and closed per second.
    pub(super) fn churn(&self) -> (Option<f64>, Option<f64>) {
        (self.opened, self.closed)
    }

    /// Consumer groups, largest lag first.
    pub(super) fn groups(&self) -> &[GroupLag] {
        &self.groups
    }

    pub(super) fn add(&mut self, snapshot: TopSnapshot) {
        let Some(before) = self.latest.take() else {
            self.groups = group_lags(&snapshot.lag, &[]);
            self.latest = Some(snapshot);
            return;
        };
        let same_run = before.node == snapshot.node && snapshot.uptime_ms >= before.uptime_ms;
        self.restarts += u32::from(!same_run);
        let elapsed_ms = snapshot.uptime_ms.saturating_sub(before.uptime_ms);
        // Two snapshots of the same moment give no rates.
        if same_run && elapsed_ms > 0 {
            self.add_rates(&before, &snapshot, elapsed_ms as f64 / 1e3);
        } else if !same_run {
            self.add_gap();
        }
        let known: &[GroupLag] = if same_run { &self.groups } else { &[] };
        self.groups = group_lags(&snapshot.lag, known);
        self.latest = Some(snapshot);
    }

    /// Marks a time without snapshots in the charts.
    pub(super) fn add_gap(&mut self) {
        for chart in &mut self.charts {
            if chart.back().is_some_and(Option::is_some) {
                push(chart, None);
            }
        }
        self.workers.clear();
        self.sampled_out.clear();
        (self.opened, self.closed) = (None, None);
    }

    fn add_rates(&mut self, before: &TopSnapshot, now: &TopSnapshot, seconds: f64) {
        // Counters never decrease during a run; should one do so, its rate is shown as 0.
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        for metric in Metric::ALL {
            let point = rate(metric.counter(&before.counters), metric.counter(&now.counters));
            push(&mut self.charts[metric as usize], Some(point));
        }
        let left_out = |stream: &StreamStatus| stream.sampled_out + stream.egress_sampled_out;
        self.sampled_out = streams_in_both(before, now)
            .map(|(before, now)| (now.stream_id, rate(left_out(before), left_out(now))))
            .collect();
        self.workers = workers_in_both(before, now)
            .map(|(before, now)| {
                let wall_us = now.wall_us.saturating_sub(before.wall_us).max(1);
                let rates = WorkerRates {
                    load: now.busy_us.saturating_sub(before.busy_us) as f64 / wall_us as f64,
                    delivered: rate(before.delivered, now.delivered),
                    bytes: rate(before.bytes_out, now.bytes_out),
                };
                ((now.node.clone(), now.worker), rates)
            })
            .collect();
        let closed = |counters: &Counters| counters.connections_closed.values().sum::<u64>();
        let opened = |counters: &Counters| counters.connections_opened;
        self.opened = Some(rate(opened(&before.counters), opened(&now.counters)));
        self.closed = Some(rate(closed(&before.counters), closed(&now.counters)));
    }
}

fn push(series: &mut Series, point: Option<f64>) {
    if series.len() == POINTS {
        series.pop_front();
    }
    series.push_back(point);
}

/// The streams that are in both snapshots, as pairs of before and now.
fn streams_in_both<'a>(
    before: &'a TopSnapshot,
    now: &'a TopSnapshot,
) -> impl Iterator<Item = (&'a StreamStatus, &'a StreamStatus)> {
    let known: BTreeMap<_, _> = before.streams.iter().map(|s| (s.stream_id, s)).collect();
    now.streams.iter().filter_map(move |stream| Some((*known.get(&stream.stream_id)?, stream)))
}

/// The workers that are in both snapshots, as pairs of before and now.
fn workers_in_both<'a>(
    before: &'a TopSnapshot,
    now: &'a TopSnapshot,
) -> impl Iterator<Item = (&'a WorkerStatus, &'a WorkerStatus)> {
    let known: BTreeMap<_, _> = before.workers.iter().map(|w| ((&w.node, w.worker), w)).collect();
    now.workers
        .iter()
        .filter_map(move |worker| Some((*known.get(&(&worker.node, worker.worker))?, worker)))
}

fn group_lags(partitions: &[ConsumerLag], before: &[GroupLag]) -> Vec<GroupLag> {
    let mut sums: BTreeMap<(&str, &str), (u64, &ConsumerLag)> = BTreeMap::new();
    for partition in partitions {
        let sum = sums.entry((&partition.group, &partition.topic)).or_insert((0, partition));
        sum.0 += partition.lag;
        if partition.lag > sum.1.lag {
            sum.1 = partition;
        }
    }
    let mut groups: Vec<_> = sums
        .into_iter()
        .map(|((group, topic), (lag, worst))| {
            let known = before.iter().find(|known| known.group == group && known.topic == topic);
            GroupLag {
                group: group.to_owned(),
                topic: topic.to_owned(),
                lag,
                change: known.map(|known| lag.cast_signed() - known.lag.cast_signed()),
                worst_partition: worst.partition,
            }
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.lag));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::sample_data::{idle, snapshot};

    #[test]
    fn rates_use_the_uptime_of_the_daemon() {
        let mut history = SnapshotHistory::default();
        history.add(idle(10_000));
        assert_eq!(history.rate(Metric::In), None);
        let mut next = idle(12_000);
        next.counters.received = 300;
        next.counters.refused = [("banned".to_owned(), 10), ("rate_limited".to_owned(), 30)].into();
        // The wall clock was set back, which must not matter.
        next.taken_at = 0;
        history.add(next);
        assert_eq!(history.rate(Metric::In), Some(150.0));
        assert_eq!(history.rate(Metric::Refused), Some(20.0));
        assert_eq!(history.rate(Metric::Delivered), Some(0.0));
    }

    #[test]
    fn a_restart_leaves_a_gap_in_the_chart() {
        let mut history = SnapshotHistory::default();
        for second in 1..=3 {
            history.add(snapshot(second));
        }
        assert!(history.rate(Metric::In).is_some());
        let mut restarted = idle(500);
        restarted.node = snapshot(3).node;
        restarted.counters.received = 5;
        history.add(restarted.clone());
        assert_eq!(history.rate(Metric::In), None);
        assert_eq!(history.restarts(), 1);
        assert!(history.worker(&snapshot(3).workers[0]).is_none());
        restarted.uptime_ms = 1_500;
        restarted.counters.received = 12;
        history.add(restarted);
        assert_eq!(history.rate(Metric::In), Some(7.0));
        let chart: Vec<_> = history.chart(Metric::In).iter().map(Option::is_some).collect();
        assert_eq!(chart, [true, true, false, true]);
    }

    #[test]
    fn two_snapshots_of_one_moment_give_no_rate() {
        let mut history = SnapshotHistory::default();
        history.add(snapshot(5));
        history.add(snapshot(5));
        assert_eq!(history.rate(Metric::In), None);
        assert_eq!(history.restarts(), 0);
    }

    #[test]
    fn the_load_of_a_worker_is_its_share_of_busy_time() {
        let mut history = SnapshotHistory::default();
        let mut first = snapshot(5);
        let mut second = snapshot(6);
        (first.workers[0].busy_us, first.workers[0].wall_us) = (1_000, 5_000_000);
        (second.workers[0].busy_us, second.workers[0].wall_us) = (251_000, 6_000_000);
        (first.workers[0].delivered, second.workers[0].delivered) = (100, 350);
        history.add(first);
        history.add(second.clone());
        let rates = history.worker(&second.workers[0]).unwrap();
        assert_eq!((rates.load, rates.delivered), (0.25, 250.0));
    }

    #[test]
    fn lag_is_summed_per_group_with_its_change() {
        let lag = |group: &str, partition, lag| ConsumerLag {
            group: group.into(),
            topic: "comment_events".into(),
            partition,
            position: 0,
            end: lag,
            lag,
            expired: 0,
        };
        let before = group_lags(&[lag("archiver", 0, 5), lag("archiver", 1, 7)], &[]);
        let now = group_lags(
            &[lag("broadcast", 0, 1), lag("archiver", 0, 2), lag("archiver", 1, 30)],
            &before,
        );
        let seen: Vec<_> =
            now.iter().map(|g| (g.group.as_str(), g.lag, g.change, g.worst_partition)).collect();
        assert_eq!(seen, [("archiver", 32, Some(20), 1), ("broadcast", 1, None, 0)]);
    }

    #[test]
    fn charts_are_bounded() {
        let mut history = SnapshotHistory::default();
        for second in 0..1_000 {
            history.add(snapshot(second));
        }
        assert!(Metric::ALL.iter().all(|metric| history.chart(*metric).len() == POINTS));
    }
}
