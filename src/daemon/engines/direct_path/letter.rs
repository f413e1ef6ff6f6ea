//! What travels on the direct path, as records of `ws-messages`: MessagePack arrays like everything
//! else in the log.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::daemon::engines::bus::BusMessage;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::{NodeId, StreamId};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Letter {
    /// For every listener.
    Fanout { stream_id: StreamId, message: BusMessage },
    /// For one node.
    Command { id: u64, from: NodeId, to: NodeId, command: NodeCommand },
    /// How many connections a command touched.
    Answer { id: u64, to: NodeId, connections: u64 },
}

impl Letter {
    pub(super) fn encode(&self) -> Bytes {
        let payload = rmp_serde::to_vec(self)
            .expect("a letter has no type MessagePack cannot carry, and memory does not fail");
        Bytes::from(payload)
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(payload)
    }
}
