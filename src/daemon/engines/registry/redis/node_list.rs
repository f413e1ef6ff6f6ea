//! The nodes last known, for the time when Redis does not answer.
//!
//! Bounded by the number of node names in use within [`KNOWN_FOR`].

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::daemon::engines::registry::{ALIVE_FOR, KNOWN_FOR, KnownNode};
use crate::protocol::NodeId;
use crate::protocol::admin::NodeReport;

/// Ages are measured over the network: two answers about the same moment differ by less than this.
const JITTER: Duration = Duration::from_secs(1);

/// The state of a node as one Redis node knows it.
#[derive(Debug, Clone)]
pub(super) struct NodeObservation {
    pub(super) node: NodeId,
    /// The time of its last heartbeat, or of its leaving.
    pub(super) at: Instant,
    pub(super) state: NodeState,
}

#[derive(Debug, Clone)]
pub(super) enum NodeState {
    Listed(Option<Arc<NodeReport>>),
    Left,
}

#[derive(Debug, Default)]
pub(super) struct NodeList {
    entries: Mutex<AHashMap<NodeId, NodeEntry>>,
    /// When a Redis node last answered a heartbeat of this node.
    answered: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct NodeEntry {
    last_heartbeat: Instant,
    report: Option<Arc<NodeReport>>,
}

impl NodeList {
    /// Records a heartbeat of a node, without its report.
    pub(super) fn record_heartbeat(&self, node: NodeId, at: Instant) {
        let mut entries = self.entries.lock();
        let entry = entries.entry(node).or_insert(NodeEntry { last_heartbeat: at, report: None });
        entry.last_heartbeat = entry.last_heartbeat.max(at);
    }

    /// Records that a Redis node has answered and told the ages of all nodes.
    pub(super) fn record_answer(&self, at: Instant) {
        let mut answered = self.answered.lock();
        *answered = (*answered).max(Some(at));
    }

    /// Returns how old the last heartbeat of each node other than `this` was at that answer. A node
    /// that has not reported yet is starting, and left out.
    pub(super) fn silences(&self, this: &NodeId) -> Vec<(NodeId, Duration)> {
        let Some(answered) = *self.answered.lock() else { return Vec::new() };
        let age = |entry: &NodeEntry| answered.saturating_duration_since(entry.last_heartbeat);
        let entries = self.entries.lock();
        let others = entries.iter().filter(|(node, entry)| {
            *node != this && entry.report.is_some() && age(entry) < KNOWN_FOR
        });
        others.map(|(node, entry)| (node.clone(), age(entry))).collect()
    }

    /// Merges the answers of all Redis nodes. The newest observation of each node counts.
    pub(super) fn merge(&self, mut observations: Vec<NodeObservation>) {
        observations.sort_by_key(|observation| observation.at);
        let newest: AHashMap<_, _> = observations
            .into_iter()
            .map(|observation| (observation.node.clone(), observation))
            .collect();
        let mut entries = self.entries.lock();
        for (node, NodeObservation { at, state, .. }) in newest {
            match state {
                NodeState::Listed(report) => {
                    let known = entries.get(&node);
                    let last_heartbeat = known.map_or(at, |entry| entry.last_heartbeat.max(at));
                    entries.insert(node, NodeEntry { last_heartbeat, report });
                }
                NodeState::Left => {
                    let known = entries.get(&node);
                    if known.is_some_and(|entry| entry.last_heartbeat < at + JITTER) {
                        entries.remove(&node);
                    }
                }
            }
        }
    }

    /// Returns all nodes by name. `this` is the node itself, which knows its own state better.
    pub(super) fn nodes_with(&self, this: KnownNode) -> Vec<KnownNode> {
        let mut entries = self.entries.lock();
        entries.retain(|_, entry| entry.last_heartbeat.elapsed() < KNOWN_FOR);
        let known = |(node, entry): (&NodeId, &NodeEntry)| KnownNode {
            node: node.clone(),
            alive: entry.last_heartbeat.elapsed() < ALIVE_FOR,
            report: entry.report.clone(),
        };
        let others = entries.iter().filter(|(node, _)| **node != this.node).map(known);
        let mut nodes: Vec<_> = others.collect();
        drop(entries);
        nodes.push(this);
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::registry::conformance::report;

    fn this() -> KnownNode {
        KnownNode { node: NodeId::new("m"), alive: true, report: None }
    }

    fn names(list: &NodeList) -> Vec<(String, bool)> {
        let nodes = list.nodes_with(this()).into_iter();
        nodes.map(|known| (known.node.to_string(), known.alive)).collect()
    }

    fn observed(node: &str, age: Duration, state: NodeState) -> NodeObservation {
        NodeObservation { node: NodeId::new(node), at: Instant::now() - age, state }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_is_dead_and_then_forgotten() {
        tokio::time::advance(KNOWN_FOR * 2).await;
        let list = NodeList::default();
        list.record_heartbeat(NodeId::new("a"), Instant::now());
        assert_eq!(names(&list), [("a".into(), true), ("m".into(), true)]);
        tokio::time::advance(ALIVE_FOR).await;
        assert_eq!(names(&list), [("a".into(), false), ("m".into(), true)]);
        tokio::time::advance(KNOWN_FOR).await;
        assert_eq!(names(&list), [("m".into(), true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn silences_stand_still_without_an_answer() {
        tokio::time::advance(KNOWN_FOR * 2).await;
        let list = NodeList::default();
        let report = || NodeState::Listed(Some(Arc::new(report(&NodeId::new("a")))));
        list.merge(vec![
            observed("a", Duration::from_secs(3), report()),
            observed("m", Duration::ZERO, report()),
            observed("starting", Duration::from_secs(3), NodeState::Listed(None)),
        ]);
        let silences = || list.silences(&NodeId::new("m"));
        assert_eq!(silences(), [], "no Redis node has answered");
        list.record_answer(Instant::now());
        let told = [(NodeId::new("a"), Duration::from_secs(3))];
        assert_eq!(silences(), told);
        tokio::time::advance(ALIVE_FOR).await;
        assert_eq!(silences(), told, "this node is cut off");
        list.record_answer(Instant::now());
        assert_eq!(silences()[0].1, Duration::from_secs(3) + ALIVE_FOR);
        list.record_heartbeat(NodeId::new("a"), Instant::now());
        list.record_answer(Instant::now());
        assert_eq!(silences()[0].1, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_observation_of_a_node_counts() {
        const LONG_AGO: Duration = Duration::from_secs(60);
        const NOW: Duration = Duration::ZERO;
        tokio::time::advance(KNOWN_FOR * 2).await;
        let list = NodeList::default();
        // One Redis node was away while the node left.
        list.merge(vec![
            observed("z", Duration::from_secs(10), NodeState::Left),
            observed("z", LONG_AGO, NodeState::Listed(None)),
        ]);
        assert_eq!(names(&list), [("m".into(), true)]);
        // One was away when it came back.
        list.merge(vec![
            observed("z", NOW, NodeState::Listed(None)),
            observed("z", LONG_AGO, NodeState::Left),
        ]);
        assert_eq!(names(&list), [("m".into(), true), ("z".into(), true)]);
        list.merge(vec![observed("z", LONG_AGO, NodeState::Left)]);
        assert_eq!(names(&list).len(), 2, "an old observation");
        list.merge(vec![observed("z", NOW, NodeState::Left)]);
        assert_eq!(names(&list).len(), 1);
    }
}
