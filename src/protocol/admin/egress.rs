//! What nodes say of the limits on what they send.

use serde::{Deserialize, Serialize};

use super::{NodeStatus, StreamStatus};
use crate::protocol::StreamId;
use crate::protocol::quantity::show_bytes;
use crate::protocol::throttle::SampleRate;

impl NodeStatus {
    /// What an operator should know of what the node sends: which limit it is at, and what that does.
    pub fn egress_warning(&self) -> Option<String> {
        let Egress { wanted_bytes_per_second: wanted, streams_lowered, .. } = self.egress;
        let streams = match streams_lowered {
            1 => "1 stream is shown in part".to_owned(),
            count => format!("{count} streams are shown in part"),
        };
        let limit = show_bytes(self.egress.limit_bytes_per_second.unwrap_or(0));
        let why = match self.egress.limited_by {
            Some(EgressLimit::Budget) => format!("its egress budget of {limit}/s"),
            Some(EgressLimit::Sockets) => format!("what its viewers' sockets take, {limit}/s"),
            None if streams_lowered > 0 => {
                return Some(format!("{}: {streams}, and more again soon", self.node));
            }
            None => return None,
        };
        Some(format!("{} is at {why} ({} wanted): {streams}", self.node, show_bytes(wanted)))
    }
}

/// What keeps a node from sending its viewers all they could be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EgressLimit {
    /// `delivery.egress_bytes_per_second`.
    Budget,
    /// Too many viewers' sockets are full.
    Sockets,
}

/// What a node sends its viewers, in bytes a second as averages over some seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    pub sent_bytes_per_second: u64,
    /// What would be sent if every stream were shown whole.
    pub wanted_bytes_per_second: u64,
    /// What is less than that; absent while nothing limits the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<EgressLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes_per_second: Option<u64>,
    /// Streams that the node shows in part, on top of the throttle.
    pub streams_lowered: u64,
}

/// What one node leaves out of one stream to keep within its egress limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEgress {
    pub stream_id: StreamId,
    /// The share shown of what the throttle lets through.
    pub share: SampleRate,
    /// Comments left out since the node started.
    pub sampled_out: u64,
}

impl StreamStatus {
    /// The share that viewers are shown; where nodes differ, those of the node that shows least.
    pub fn shown(&self) -> SampleRate {
        self.egress_share.of(self.sample_rate)
    }
}

pub(super) fn all() -> SampleRate {
    SampleRate::ALL
}

pub(super) fn is_all(share: &SampleRate) -> bool {
    share.is_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::NodeId;

    fn warning(egress: Egress) -> Option<String> {
        let node = NodeStatus {
            node: NodeId::new("edge-1"),
            roles: Vec::new(),
            version: String::new(),
            listen: String::new(),
            uptime_ms: 0,
            connections: 0,
            max_connections: 0,
            draining: false,
            egress,
        };
        node.egress_warning()
    }

    #[test]
    fn a_node_at_its_limit_says_which_and_what_that_does() {
        let egress = |limited_by: Option<EgressLimit>, streams_lowered| Egress {
            sent_bytes_per_second: 11_000_000,
            wanted_bytes_per_second: 70_000_000,
            limit_bytes_per_second: limited_by.map(|_| 12_000_000),
            limited_by,
            streams_lowered,
        };
        assert_eq!(
            warning(egress(Some(EgressLimit::Budget), 1)).unwrap(),
            "edge-1 is at its egress budget of 12MB/s (70MB wanted): 1 stream is shown in part"
        );
        assert_eq!(
            warning(egress(Some(EgressLimit::Sockets), 2)).unwrap(),
            "edge-1 is at what its viewers' sockets take, 12MB/s (70MB wanted): 2 streams are shown in part"
        );
        assert!(warning(egress(None, 2)).unwrap().contains("more again soon"));
        assert_eq!(warning(egress(None, 0)), None);
    }
}
