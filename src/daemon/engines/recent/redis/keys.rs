//! Where what is known of a stream, and of a node, is kept.

use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::protocol::StreamId;

/// All keys of a stream are on one node.
#[derive(Debug)]
pub(super) struct StreamKeys {
    pub(super) node: usize,
    /// Hash: `from`, `head`, `kept`.
    pub(super) stream: String,
    /// Sorted set: the events by their place.
    pub(super) events: String,
    /// Sorted set: deleted comments by creation in milliseconds.
    pub(super) buried: String,
    /// String: the newest creation of which a burial was forgotten.
    pub(super) horizon: String,
}

impl StreamKeys {
    pub(super) fn of(nodes: &RedisNodes, stream_id: StreamId) -> Self {
        let name = format!("recent:stream:{stream_id}");
        Self {
            node: nodes.index_of(name.as_bytes()),
            events: nodes.key(&format!("{name}:events")),
            buried: nodes.key(&format!("{name}:buried")),
            horizon: nodes.key(&format!("{name}:horizon")),
            stream: nodes.key(&name),
        }
    }
}

/// On every node alike.
#[derive(Debug)]
pub(super) struct NodeKeys {
    /// String: the run of the server in which every burial is known.
    pub(super) complete: String,
    /// String: the run and the count of losses when this process began to read back.
    pub(super) reading: String,
    /// Counter: burials reported missing.
    pub(super) losses: String,
}

impl NodeKeys {
    /// `reader` tells this process from all others.
    pub(super) fn new(nodes: &RedisNodes, reader: u64) -> Self {
        Self {
            complete: nodes.key("recent:complete"),
            reading: nodes.key(&format!("recent:reading:{reader:016x}")),
            losses: nodes.key("recent:losses"),
        }
    }
}
