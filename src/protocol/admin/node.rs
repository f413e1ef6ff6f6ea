//! One node: its connections, its limits, and what it works on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::alerts::Health;
use super::egress::{Egress, EgressLimit};
use super::process::{NodeRates, ProcessStatus};
use crate::protocol::NodeId;
use crate::protocol::quantity::show_bytes;

/// Returns the viewers among connections: those that have not sent a comment. This is what
/// "viewers" means wherever figures of nodes are shown.
pub fn viewers_of(connections: u64, senders: u64) -> u64 {
    // The two are read one after the other.
    connections.saturating_sub(senders)
}

/// `GET /v1/nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
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
    pub fn viewers(&self) -> u64 {
        viewers_of(self.connections, self.senders)
    }

    /// Returns how many more connections the node takes; 0 while it drains.
    pub fn room(&self) -> u64 {
        if self.draining {
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

/// A node that does not report any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
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
    fn senders_are_no_viewers_and_take_places() {
        let node = node(Egress::default());
        assert_eq!((node.viewers(), node.room()), (30, 65));
        assert_eq!(NodeStatus { draining: true, ..node.clone() }.room(), 0);
        assert_eq!(viewers_of(4, 5), 0, "the last sender has just left");
        assert_eq!(node.partitions_text(), "coordinator 50");
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
