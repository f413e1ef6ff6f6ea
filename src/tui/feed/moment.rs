//! One moment of the cluster: a snapshot, and what follows from it and from those before.
//!
//! Views read the snapshot through these functions, so that a new field is taken up in one place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::alarms::Alarm;
use crate::protocol::admin::{
    BreakerState, BreakerStatus, BusNodeState, GroupLag, LagState, NodeStatus, StageName,
    StageStatus, StreamStatus, TopSnapshot, WorkerStatus,
};
use crate::protocol::{NodeId, StreamId};

/// The state of the cluster at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Milliseconds since the Unix epoch by a clock that never goes back: the first snapshot's
    /// time, and from there the uptime of the daemon.
    pub(crate) at_ms: u64,
    pub(crate) snapshot: TopSnapshot,
    pub(crate) workers: Vec<WorkerLoad>,
    pub(crate) groups: Vec<GroupLag>,
    pub(crate) alarms: Vec<Alarm>,
}

/// The share of time that a delivery worker was busy in the latest interval, 0.0 to 1.0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkerLoad {
    pub(crate) node: NodeId,
    pub(crate) worker: u32,
    pub(crate) busy: f64,
}

impl Moment {
    /// Returns the connections that have not sent a comment.
    pub(crate) fn viewers(&self) -> u64 {
        self.snapshot.viewers()
    }

    /// Returns how many connections all nodes together take: a node that drains or is silent takes
    /// no more than it has.
    pub(crate) fn places(&self) -> u64 {
        self.snapshot.nodes.iter().map(|node| node.connections + node.room()).sum()
    }

    /// Returns how long a node has been silent that does not report any more.
    pub(crate) fn silent_ms(&self, name: &NodeId) -> Option<u64> {
        let silent = self.snapshot.silent.iter().find(|silent| silent.node == *name);
        silent.map(|silent| silent.seen_ms)
    }

    /// Returns the share of comments for viewers that reached them; `None` while there are none.
    pub(crate) fn served(&self) -> Option<f64> {
        let rates = &self.snapshot.rates;
        let due = rates.delivered + rates.skipped;
        (due > 0.0).then(|| rates.delivered / due)
    }

    /// Returns the share of delivered comments that came late.
    pub(crate) fn late(&self) -> Option<f64> {
        let rates = &self.snapshot.rates;
        (rates.delivered > 0.0).then(|| rates.late / rates.delivered)
    }

    pub(crate) fn stage(&self, name: StageName) -> Option<&StageStatus> {
        self.snapshot.stages.iter().find(|stage| stage.name == name)
    }

    pub(crate) fn breaker(&self, dependency: &str) -> Option<&BreakerStatus> {
        self.snapshot.breakers.iter().find(|breaker| breaker.dependency == dependency)
    }

    pub(crate) fn stream(&self, stream_id: StreamId) -> Option<&StreamStatus> {
        self.snapshot.streams.iter().find(|stream| stream.stream_id == stream_id)
    }

    pub(crate) fn node(&self, name: &NodeId) -> Option<&NodeStatus> {
        self.snapshot.nodes.iter().find(|node| node.node == *name)
    }

    pub(crate) fn group(&self, name: &str) -> Option<&GroupLag> {
        self.groups.iter().find(|group| group.group == name)
    }

    /// Judges a lag by the threshold of the daemon.
    pub(crate) fn lag_state(&self, group: &GroupLag) -> LagState {
        group.state(self.snapshot.thresholds.lag_growing_ms)
    }

    /// Returns the load of a node's busiest worker.
    pub(crate) fn busiest_worker(&self, node: &NodeId) -> Option<f64> {
        let loads = self.workers.iter().filter(|load| load.node == *node);
        loads.map(|load| load.busy).reduce(f64::max)
    }

    pub(crate) fn load(&self, worker: &WorkerStatus) -> Option<f64> {
        let same = |load: &&WorkerLoad| load.node == worker.node && load.worker == worker.worker;
        self.workers.iter().find(same).map(|load| load.busy)
    }

    /// Returns the nodes whose egress is limited, and the nodes that deliver.
    pub(crate) fn at_egress_limit(&self) -> (usize, usize) {
        let edges = self.snapshot.nodes.iter().filter(|node| node.max_connections > 0);
        let limited = edges.clone().filter(|node| node.egress.limited_by.is_some());
        (limited.count(), edges.count())
    }

    /// Returns the bus servers that work and all of them.
    pub(crate) fn bus_servers(&self) -> (usize, usize) {
        let works = |state: BusNodeState| state == BusNodeState::Works;
        let bus = &self.snapshot.bus;
        (bus.iter().filter(|server| works(server.state)).count(), bus.len())
    }

    /// Returns breakers that are not closed, the longest outage first.
    pub(crate) fn failing(&self) -> Vec<&BreakerStatus> {
        let breakers = self.snapshot.breakers.iter();
        let mut failing: Vec<_> = breakers.filter(|b| b.state != BreakerState::Closed).collect();
        failing.sort_by_key(|breaker| std::cmp::Reverse(breaker.since_ms));
        failing
    }
}

/// Returns whether nine of ten places are taken.
pub(crate) fn is_nearly_full(taken: u64, places: u64) -> bool {
    places > 0 && taken.saturating_mul(10) >= places.saturating_mul(9)
}

/// Returns the load of each worker that is in both lists and was not restarted in between. A node
/// that has not reported since keeps its load, from `loads`: two snapshots may show the same
/// report.
pub(super) fn worker_loads(
    before: &[WorkerStatus],
    loads: &[WorkerLoad],
    now: &[WorkerStatus],
) -> Vec<WorkerLoad> {
    let known: BTreeMap<_, _> = before.iter().map(|w| ((&w.node, w.worker), w)).collect();
    let load = |worker: &WorkerStatus| {
        let before = known.get(&(&worker.node, worker.worker))?;
        let wall_us = worker.wall_us.checked_sub(before.wall_us)?;
        if wall_us == 0 {
            let same =
                |load: &&WorkerLoad| load.node == worker.node && load.worker == worker.worker;
            return loads.iter().find(same).cloned();
        }
        let busy_us = worker.busy_us.checked_sub(before.busy_us)?;
        let busy = (busy_us as f64 / wall_us as f64).min(1.0);
        Some(WorkerLoad { node: worker.node.clone(), worker: worker.worker, busy })
    };
    now.iter().filter_map(load).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(node: &str, busy_us: u64, wall_us: u64) -> WorkerStatus {
        WorkerStatus {
            node: NodeId::new(node),
            worker: 0,
            connections: 0,
            slow_viewers: 0,
            busy_us,
            wall_us,
            frames: 0,
            delivered: 0,
            bytes_out: 0,
        }
    }

    #[test]
    fn load_is_the_share_of_busy_time() {
        let before = [worker("a", 1_000, 5_000_000), worker("b", 900, 9_000_000)];
        let now = [
            worker("a", 251_000, 6_000_000),
            // Restarted.
            worker("b", 10, 1_000),
            worker("c", 1, 2),
        ];
        let known = worker_loads(&before, &[], &now);
        let again = worker_loads(&now, &known, &now);
        assert_eq!(again, known, "the same reports were read twice");
        let loads: Vec<_> = known.iter().map(|load| (load.node.as_str(), load.busy)).collect();
        assert_eq!(loads, [("a", 0.25)]);
    }

    #[test]
    fn few_places_are_not_full_at_once() {
        let full = [(0, 0), (0, 5), (4, 5), (5, 5), (8, 10), (9, 10), (90, 101)];
        let full = full.map(|(taken, places)| is_nearly_full(taken, places));
        assert_eq!(full, [false, false, false, true, false, true, false]);
    }
}
