//! The figures of a node by which settings are judged.

use std::collections::BTreeMap;

use crate::daemon::edge::admin::cluster::ClusterView;
use crate::protocol::NodeId;
use crate::protocol::admin::{BusNode, BusShard};

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct NodeFigures {
    /// Viewers of the node.
    pub(super) viewers: u64,
    /// Viewers of all nodes.
    pub(super) all_viewers: u64,
    /// Nodes that are known, silent ones included.
    pub(super) nodes: u64,
    /// Comments accepted per second on all nodes.
    pub(super) comments_per_second: f64,
    /// Bytes per second that the node receives from each Redis node, by address. For a node
    /// without viewers it is what an edge receives.
    pub(super) received: BTreeMap<String, f64>,
}

impl NodeFigures {
    /// Returns the figures of a node; `None` if it does not report.
    pub(super) fn of(view: &ClusterView, node: &NodeId) -> Option<Self> {
        let report = view.reports().iter().find(|report| report.node.node == *node)?;
        let received = view.bus().into_iter().map(|server| {
            let rate = received_from(&server, node);
            (server.address, rate)
        });
        Some(Self {
            viewers: report.node.connections,
            all_viewers: view.connections(),
            nodes: (view.reports().len() + view.unreachable.len()) as u64,
            comments_per_second: view.counter_rates().accepted,
            received: received.collect(),
        })
    }

    /// Returns the bytes per second that the node receives from a Redis node; 0 if it is not known.
    pub(super) fn received_from(&self, address: &str) -> f64 {
        self.received.get(address).copied().unwrap_or(0.0)
    }
}

/// Returns the bytes per second that a node receives from a server: its part of what the server
/// sends to the listeners of the node's shard. A node that does not listen is given the busiest.
fn received_from(server: &BusNode, node: &NodeId) -> f64 {
    let per_listener = |shard: &BusShard| shard.bytes_per_second / shard.nodes.len().max(1) as f64;
    let own = server.shards.iter().find(|shard| shard.nodes.contains(node));
    match own {
        Some(shard) => per_listener(shard),
        None => server.shards.iter().map(per_listener).fold(0.0, f64::max),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::engines::registry::KnownNode;
    use crate::daemon::engines::registry::conformance::report;
    use crate::protocol::admin::{CounterRates, NodeReport, NodeStatus};

    fn shard(number: u32, bytes_per_second: f64, nodes: &[&str]) -> BusShard {
        BusShard {
            shard: number,
            messages_per_second: 0.0,
            bytes_per_second,
            messages: 0,
            bytes: 0,
            subscribers: nodes.len() as u64,
            nodes: nodes.iter().map(|name| NodeId::new(name)).collect(),
        }
    }

    fn node(name: &str, connections: u64, shards: Vec<BusShard>) -> NodeReport {
        let sample = report(&NodeId::new(name));
        NodeReport {
            node: NodeStatus { connections, ..sample.node.clone() },
            rates: CounterRates { accepted: 5.0, ..CounterRates::default() },
            bus: vec![BusNode { shards, ..BusNode::new("10.0.3.11:6379".to_owned()) }],
            ..sample
        }
    }

    #[test]
    fn figures_are_those_of_the_node_that_is_asked_for() {
        // Two edges share a shard; the third node publishes what they receive.
        let a = node("a", 7, vec![shard(0, 0.0, &["a"])]);
        let b = node("b", 5, vec![shard(0, 0.0, &["b"]), shard(1, 90.0, &[])]);
        let publisher = node("c", 0, vec![shard(0, 2_000.0, &[])]);
        let known = |report: NodeReport| KnownNode {
            node: report.node.node.clone(),
            alive: true,
            report: Some(Arc::new(report)),
        };
        let silent = KnownNode { node: NodeId::new("d"), alive: false, report: None };
        let view = ClusterView::new(a, vec![known(b), known(publisher), silent]);
        let figures = |name: &str| NodeFigures::of(&view, &NodeId::new(name));
        let of_b = figures("b").unwrap();
        assert_eq!((of_b.viewers, of_b.all_viewers, of_b.nodes), (5, 12, 4));
        assert_eq!(of_b.comments_per_second, 15.0);
        assert_eq!(of_b.received_from("10.0.3.11:6379"), 1_000.0);
        let of_c = figures("c").unwrap();
        assert_eq!(of_c.received_from("10.0.3.11:6379"), 1_000.0, "the busiest shard");
        assert_eq!(of_c.received_from("10.0.3.12:6379"), 0.0);
        assert_eq!(figures("d"), None);
    }
}
