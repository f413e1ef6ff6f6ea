//! The records of `ws-messages`: MessagePack arrays, like everything else in the log.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::daemon::engines::bus::BusMessage;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::{NodeId, StreamId, tolerant};

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
        tolerant::from_slice(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CloseCode, UserId};

    #[test]
    fn a_command_without_a_stream_is_about_all() {
        /// As nodes of earlier versions send it.
        #[derive(Serialize)]
        enum Earlier {
            Disconnect { user_id: UserId, code: CloseCode },
            DisconnectBanned { user_id: UserId, after_ms: u64 },
        }
        let user_id = UserId(42);
        let code = CloseCode::Banned;
        for (earlier, command) in [
            (
                Earlier::Disconnect { user_id, code },
                NodeCommand::Disconnect { user_id, code, stream_id: None },
            ),
            (
                Earlier::DisconnectBanned { user_id, after_ms: 9 },
                NodeCommand::DisconnectBanned { user_id, after_ms: 9, stream_id: None },
            ),
        ] {
            let bytes = rmp_serde::to_vec(&earlier).unwrap();
            assert_eq!(rmp_serde::to_vec(&command).unwrap(), bytes, "and the other way round");
            assert_eq!(rmp_serde::from_slice::<NodeCommand>(&bytes).unwrap(), command);
            let named = rmp_serde::to_vec_named(&earlier).unwrap();
            assert_eq!(rmp_serde::from_slice::<NodeCommand>(&named).unwrap(), command);
        }
        let stream_id = Some(StreamId(7));
        let command = NodeCommand::Disconnect { user_id, code, stream_id };
        let bytes = rmp_serde::to_vec(&command).unwrap();
        assert_eq!(rmp_serde::from_slice::<NodeCommand>(&bytes).unwrap(), command);
    }
}
