//! One node: its connections, its limits, and what it works on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alerts::Health;
use super::egress::{Egress, EgressLimit};
use super::process::{NodeRates, ProcessStatus};
use super::transport_kind::TransportCounts;
use crate::protocol::NodeId;
use crate::protocol::quantity::{show_bytes, show_count, show_counted, show_duration};

/// Returns the viewers among connections: those that have not sent a comment. This is what
/// "viewers" means wherever figures of nodes are shown.
pub fn viewers_of(connections: u64, senders: u64) -> u64 {
    // The two are read one after the other.
    connections.saturating_sub(senders)
}

/// `GET /v1/nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeStatus {
    pub node: NodeId,
    pub roles: Vec<String>,
    pub version: String,
    pub listen: String,
    pub uptime_ms: u64,
    /// Viewers and senders.
    pub connections: u64,
    /// Of these, the ones that have sent a comment.
    #[serde(default)]
    pub senders: u64,
    /// The connections of each transport. Nodes of earlier versions do not tell them.
    #[serde(default)]
    pub transports: TransportCounts,
    /// 0 on a node that is no edge.
    pub max_connections: u64,
    pub draining: bool,
    /// The state of this node, as its own alerts say.
    #[serde(default)]
    pub health: Health,
    /// Milliseconds since the node's last report, by the clock of the servers that nodes meet on.
    /// 0 for the node that is asked.
    #[serde(default)]
    pub seen_ms: u64,
    /// The number of partitions of the event log that the node reads, by consumer group.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<String, u64>,
    #[serde(default)]
    pub egress: Egress,
    #[serde(default)]
    pub process: ProcessStatus,
    #[serde(default)]
    pub rates: NodeRates,
}

impl NodeStatus {
    /// Milliseconds from which on a node that has not reported is called silent. Two reports are
    /// missing then, and the third is late.
    pub const SILENT_MS: u64 = 3_000;

    /// Returns whether the node reports no more. It may be back within a moment: an alert waits
    /// for longer.
    pub fn is_silent(&self) -> bool {
        self.seen_ms >= Self::SILENT_MS
    }

    /// Returns the state of the node in a word.
    pub fn state(&self) -> &'static str {
        match (self.is_silent(), self.draining) {
            (true, _) => "silent",
            (false, true) => "draining",
            (false, false) => "up",
        }
    }

    pub fn viewers(&self) -> u64 {
        viewers_of(self.connections, self.senders)
    }

    /// Returns whether viewers that leave another node may connect to this one.
    pub fn takes_viewers(&self) -> bool {
        self.max_connections > 0 && !self.draining && !self.is_silent()
    }

    /// Returns how many more connections the node takes; 0 while it drains or is silent.
    pub fn room(&self) -> u64 {
        if !self.takes_viewers() {
            return 0;
        }
        self.max_connections.saturating_sub(self.connections)
    }

    /// Writes the partitions that the node reads: `coordinator 50, archiver 100`.
    pub fn partitions_text(&self) -> String {
        let groups = self.partitions.iter().filter(|(_, count)| **count > 0);
        let texts: Vec<_> = groups.map(|(group, count)| format!("{group} {count}")).collect();
        texts.join(", ")
    }

    /// Returns a warning if the node is at its egress limit, or is still recovering from it.
    pub fn egress_warning(&self) -> Option<String> {
        let streams_lowered = self.egress.streams_lowered;
        let streams = match streams_lowered {
            1 => "1 stream is shown partially".to_owned(),
            count => format!("{count} streams are shown partially"),
        };
        let limit = show_bytes(self.egress.limit_bytes_per_second.unwrap_or(0));
        let limit = match self.egress.limited_by {
            Some(EgressLimit::Budget) => format!("its egress budget of {limit}/s"),
            Some(EgressLimit::Sockets) => format!("the limit of its viewers' sockets of {limit}/s"),
            None if streams_lowered > 0 => {
                return Some(format!("{}: {streams} and recovering", self.node));
            }
            None => return None,
        };
        Some(format!(
            "{} is at {limit} ({} wanted): {streams}",
            self.node,
            show_bytes(self.egress.wanted_bytes_per_second)
        ))
    }
}

/// Says who leaves a node that drains, within how long if that is known, and whether the other
/// nodes have room. `nodes` are all nodes that report.
pub fn drain_effect(node: &NodeStatus, nodes: &[NodeStatus], within: Option<Duration>) -> String {
    if node.connections == 0 {
        return "nobody is connected to it".to_owned();
    }
    let others = nodes.iter().filter(|other| other.node != node.node);
    let open: Vec<_> = others.filter(|other| other.takes_viewers()).collect();
    let viewers = node.viewers();
    let senders = node.connections - viewers;
    let who = match (viewers, senders) {
        (_, 0) => show_counted(viewers, "viewer"),
        (0, _) => show_counted(senders, "sender"),
        _ => format!("{} and {}", show_counted(viewers, "viewer"), show_counted(senders, "sender")),
    };
    if open.is_empty() {
        return format!("{who} must leave, and no other node takes them");
    }
    let moves = if node.connections == 1 { "moves" } else { "move" };
    let within = within.map(|time| show_duration(time.as_millis() as u64));
    let within = within.map_or(String::new(), |time| format!(" within {time}"));
    let room: u64 = open.iter().map(|other| other.room()).sum();
    let only = if room < node.connections { "only " } else { "" };
    let have = match open.len() {
        1 => "the other node has".to_owned(),
        count => format!("the other {count} have"),
    };
    format!("{who} {moves}{within}; {have} room for {only}{}", show_count(room))
}

/// A node that does not report any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SilentNode {
    pub node: NodeId,
    /// Milliseconds since its last report.
    pub seen_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(egress: Egress) -> NodeStatus {
        NodeStatus {
            node: NodeId::new("edge-1"),
            roles: Vec::new(),
            version: String::new(),
            listen: String::new(),
            uptime_ms: 0,
            connections: 35,
            senders: 5,
            transports: Default::default(),
            max_connections: 100,
            draining: false,
            health: Health::Well,
            seen_ms: 0,
            partitions: [("archiver".to_owned(), 0), ("coordinator".to_owned(), 50)].into(),
            egress,
            process: ProcessStatus::default(),
            rates: NodeRates::default(),
        }
    }

    fn warning(egress: Egress) -> Option<String> {
        node(egress).egress_warning()
    }

    #[test]
    fn a_drain_tells_whether_there_is_room() {
        let node = |name: &str, connections, max_connections| NodeStatus {
            node: NodeId::new(name),
            connections,
            senders: 0,
            transports: Default::default(),
            max_connections,
            ..node(Egress::default())
        };
        let edge = NodeStatus { senders: 36, ..node("a", 2_136, 5_000) };
        let told = |nodes: &[NodeStatus]| drain_effect(&edge, nodes, Some(Duration::from_secs(5)));
        let coordinator = node("c", 0, 0);
        let alone = [edge.clone(), coordinator.clone()];
        let who = "2.1k viewers and 36 senders";
        assert_eq!(told(&alone), format!("{who} must leave, and no other node takes them"));
        let two = [edge.clone(), node("b", 10, 140_010), coordinator.clone()];
        assert_eq!(told(&two), format!("{who} move within 5s; the other node has room for 140k"));
        let draining = NodeStatus { draining: true, ..node("d", 0, 99_000) };
        let silent = NodeStatus { seen_ms: 3_000, ..node("e", 0, 99_000) };
        let full = [edge.clone(), node("b", 0, 10), node("c", 0, 10), draining, silent];
        assert_eq!(told(&full), format!("{who} move within 5s; the other 2 have room for only 20"));
        let one = node("a", 1, 5_000);
        assert_eq!(
            drain_effect(&one, &two, None),
            "1 viewer moves; the other node has room for 140k"
        );
        assert_eq!(drain_effect(&coordinator, &two, None), "nobody is connected to it");
    }

    #[test]
    fn senders_are_no_viewers_and_take_places() {
        let node = node(Egress::default());
        assert_eq!((node.viewers(), node.room()), (30, 65));
        assert_eq!(NodeStatus { draining: true, ..node.clone() }.room(), 0);
        assert_eq!(NodeStatus { seen_ms: 3_000, ..node.clone() }.room(), 0);
        assert_eq!(viewers_of(4, 5), 0, "the last sender has just left");
        assert_eq!((node.partitions_text().as_str(), node.state()), ("coordinator 50", "up"));
        assert_eq!(NodeStatus { seen_ms: 3_000, ..node }.state(), "silent");
    }

    #[test]
    fn the_warning_names_the_limit_and_its_effect() {
        let egress = |limited_by: Option<EgressLimit>, streams_lowered| Egress {
            sent_bytes_per_second: 11_000_000,
            wanted_bytes_per_second: 70_000_000,
            limit_bytes_per_second: limited_by.map(|_| 12_000_000),
            limited_by,
            streams_lowered,
        };
        assert_eq!(
            warning(egress(Some(EgressLimit::Budget), 1)).unwrap(),
            "edge-1 is at its egress budget of 12MB/s (70MB wanted): 1 stream is shown partially"
        );
        assert_eq!(
            warning(egress(Some(EgressLimit::Sockets), 2)).unwrap(),
            "edge-1 is at the limit of its viewers' sockets of 12MB/s (70MB wanted): 2 streams are shown partially"
        );
        assert!(warning(egress(None, 2)).unwrap().contains("recovering"));
        assert_eq!(warning(egress(None, 0)), None);
    }
}
