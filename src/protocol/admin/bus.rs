//! The servers of the fan-out bus and the load of its shards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::NodeId;
use crate::protocol::latency::LatencyHistogram;

/// Whether a server of the bus answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BusNodeState {
    Works,
    Fails,
}

/// `GET /v1/bus`: one server of the fan-out bus, or the bus of the process if the engine is
/// embedded. In a [`super::NodeReport`] it is what that node measured; the answer for the cluster
/// adds up all reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BusNode {
    /// Host and port of a Redis node, or `embedded`.
    pub address: String,
    /// `Fails` if it does not answer at least one node.
    pub state: BusNodeState,
    /// Time since the state changed; for a server that fails, as the first node noticed it.
    pub since_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The nodes that it does not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fails_for: Vec<NodeId>,
    /// Calls that publish, over the last second.
    pub calls_per_second: f64,
    /// Messages published on channels with listeners, over the last second. One call may publish
    /// on several channels.
    pub messages_per_second: f64,
    /// Bytes sent to listeners, over the last second: the size of each message times its
    /// listeners.
    pub bytes_per_second: f64,
    /// Totals of the same since the nodes started.
    pub messages: u64,
    pub bytes: u64,
    /// The duration of the calls of the last ten seconds.
    #[serde(default)]
    pub publish: LatencyHistogram,
    /// Shards with traffic or subscriptions on this server, in order.
    #[serde(default)]
    pub shards: Vec<BusShard>,
    /// Memory that the server uses. Absent until it was asked, and for the embedded bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Connections that the server has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<u64>,
    /// Connections that the server closed because they read too slowly, since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<u64>,
}

/// The load of one shard on one server. A stream has one channel per shard, on the server that the
/// channel's name hashes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BusShard {
    pub shard: u32,
    pub messages_per_second: f64,
    pub bytes_per_second: f64,
    /// Totals since the nodes started.
    pub messages: u64,
    pub bytes: u64,
    /// Subscriptions: pairs of a stream and a node.
    pub subscribers: u64,
    /// The nodes that listen to this shard and have subscriptions on the server.
    #[serde(default)]
    pub nodes: Vec<NodeId>,
}

impl BusNode {
    /// Returns an entry of a server without load that works.
    pub fn new(address: String) -> Self {
        Self {
            address,
            state: BusNodeState::Works,
            since_ms: 0,
            error: None,
            fails_for: Vec::new(),
            calls_per_second: 0.0,
            messages_per_second: 0.0,
            bytes_per_second: 0.0,
            messages: 0,
            bytes: 0,
            publish: LatencyHistogram::default(),
            shards: Vec::new(),
            memory_bytes: None,
            clients: None,
            cut_off: None,
        }
    }

    /// Returns the bytes sent per second; `None` on a bus that hands messages over within the
    /// process, which have no size.
    pub fn sent_per_second(&self) -> Option<f64> {
        known_rate(self.bytes_per_second, self.bytes, self.messages)
    }

    /// Adds up the reports of nodes, one row per server, in the order of the first report.
    pub fn of_cluster<'a>(reports: impl IntoIterator<Item = &'a [Self]>) -> Vec<Self> {
        let mut servers: Vec<Self> = Vec::new();
        for report in reports.into_iter().flatten() {
            match servers.iter_mut().find(|known| known.address == report.address) {
                Some(known) => known.add(report),
                None => servers.push(report.clone()),
            }
        }
        servers
    }

    fn add(&mut self, other: &Self) {
        // The worst state counts, from when it was first noticed.
        if other.state > self.state {
            self.state = other.state;
            self.since_ms = other.since_ms;
            self.error.clone_from(&other.error);
        } else if other.state == self.state {
            self.since_ms = self.since_ms.max(other.since_ms);
        }
        self.fails_for.extend(other.fails_for.iter().cloned());
        self.calls_per_second += other.calls_per_second;
        self.messages_per_second += other.messages_per_second;
        self.bytes_per_second += other.bytes_per_second;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.publish.add(&other.publish);
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        self.clients = self.clients.max(other.clients);
        self.cut_off = self.cut_off.max(other.cut_off);
        let mut shards: BTreeMap<u32, BusShard> = std::mem::take(&mut self.shards)
            .into_iter()
            .map(|shard| (shard.shard, shard))
            .collect();
        for shard in &other.shards {
            shards
                .entry(shard.shard)
                .and_modify(|known| known.add(shard))
                .or_insert_with(|| shard.clone());
        }
        self.shards = shards.into_values().collect();
    }
}

/// Messages without a byte have not been measured.
fn known_rate(bytes_per_second: f64, bytes: u64, messages: u64) -> Option<f64> {
    let is_measured = messages == 0 || bytes > 0 || bytes_per_second > 0.0;
    is_measured.then_some(bytes_per_second)
}

impl BusShard {
    /// As [`BusNode::sent_per_second`].
    pub fn sent_per_second(&self) -> Option<f64> {
        known_rate(self.bytes_per_second, self.bytes, self.messages)
    }

    fn add(&mut self, other: &Self) {
        self.messages_per_second += other.messages_per_second;
        self.bytes_per_second += other.bytes_per_second;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.subscribers += other.subscribers;
        self.nodes.extend(other.nodes.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(shard: u32, rate: f64, node: &str) -> BusShard {
        BusShard {
            shard,
            messages_per_second: rate,
            bytes_per_second: rate * 100.0,
            messages: 1,
            bytes: 2,
            subscribers: 1,
            nodes: vec![NodeId::new(node)],
        }
    }

    #[test]
    fn messages_without_a_size_have_no_byte_rate() {
        let measured = shard(0, 3.0, "a");
        assert_eq!(measured.sent_per_second(), Some(300.0));
        let idle = BusNode::new("redis-1:6379".to_owned());
        assert_eq!(idle.sent_per_second(), Some(0.0));
        let handed_over = BusShard { bytes_per_second: 0.0, bytes: 0, ..measured };
        assert_eq!(handed_over.sent_per_second(), None);
        let embedded = BusNode { messages: 60, ..idle };
        assert_eq!(embedded.sent_per_second(), None);
    }

    #[test]
    fn reports_on_a_server_are_added() {
        let own = BusNode {
            messages_per_second: 3.0,
            shards: vec![shard(2, 1.0, "a"), shard(5, 2.0, "a")],
            since_ms: 9_000,
            ..BusNode::new("redis-1:6379".to_owned())
        };
        let other = BusNode {
            state: BusNodeState::Fails,
            since_ms: 41_000,
            error: Some("broken pipe".to_owned()),
            fails_for: vec![NodeId::new("b")],
            shards: vec![shard(1, 4.0, "b"), shard(5, 0.5, "b")],
            memory_bytes: Some(7),
            ..own.clone()
        };
        let elsewhere = BusNode::new("redis-2:6379".to_owned());
        let reports = [vec![own], vec![elsewhere, other]];
        let servers = BusNode::of_cluster(reports.iter().map(Vec::as_slice));
        let [first, second] = &servers[..] else { panic!("{servers:?}") };
        assert_eq!((first.state, first.since_ms), (BusNodeState::Fails, 41_000));
        assert_eq!(first.fails_for, [NodeId::new("b")]);
        assert_eq!((first.messages_per_second, first.memory_bytes), (6.0, Some(7)));
        let shards: Vec<_> =
            first.shards.iter().map(|of| (of.shard, of.messages_per_second)).collect();
        assert_eq!(shards, [(1, 4.0), (2, 1.0), (5, 2.5)]);
        assert_eq!((first.shards[2].subscribers, first.shards[2].nodes.len()), (2, 2));
        assert_eq!(second.state, BusNodeState::Works);
    }
}
