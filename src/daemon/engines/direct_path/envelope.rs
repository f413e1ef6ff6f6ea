//! The records of `ws-messages`: MessagePack arrays, like everything else in the log.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::daemon::engines::bus::BusMessage;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::{NodeId, StreamId};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Envelope {
    /// For every listener.
    Fanout { stream_id: StreamId, message: BusMessage },
    /// For one node.
    Command { id: u64, from: NodeId, to: NodeId, command: NodeCommand },
    /// The number of connections that a command affected.
    Answer { id: u64, to: NodeId, connections: u64 },
    /// The node receives nothing on the bus, or only a part. Repeated while it lasts.
    CutOff { node: NodeId },
    /// For the listeners of nodes that are cut off. The others received it on the bus.
    FanoutTo { nodes: Vec<NodeId>, stream_id: StreamId, message: BusMessage },
}

impl Envelope {
    pub(super) fn encode(&self) -> Bytes {
        let payload =
            rmp_serde::to_vec(self).expect("MessagePack encodes every type of an envelope");
        Bytes::from(payload)
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(payload)
    }
}
