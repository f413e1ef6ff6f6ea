//! The Redis keys of a stream and of a node.

use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::protocol::{Epoch, StreamId};

/// The keys of a stream, all on one node.
#[derive(Debug)]
pub(super) struct StreamKeys {
    pub(super) node: usize,
    /// Hash: `now`, the epoch of the last append, and `before`, the one before it.
    pub(super) epochs: String,
    /// Hash: `from`, `head`, `kept`.
    pub(super) stream: String,
    /// Sorted set: the events by sequence number.
    pub(super) events: String,
    /// Sorted set: deleted comments by creation time in milliseconds.
    pub(super) tombstones: String,
    /// Sorted set: comments that were restored once, by the place in the log of their last deletion
    /// or restoration.
    pub(super) restored: String,
    /// Sorted set: of the deleted comments, those hidden only from others than their authors, by
    /// creation time in milliseconds.
    pub(super) hidden: String,
    /// String: the newest creation time of a comment whose tombstone was dropped.
    pub(super) horizon: String,
}

impl StreamKeys {
    pub(super) fn of(nodes: &RedisNodes, stream_id: StreamId, epoch: Epoch) -> Self {
        let name = format!("recent:stream:{stream_id}");
        Self {
            node: nodes.index_of(name.as_bytes()),
            epochs: nodes.key(&format!("{name}:epochs")),
            events: nodes.key(&format!("{name}:{epoch}:events")),
            tombstones: nodes.key(&format!("{name}:buried")),
            hidden: nodes.key(&format!("{name}:hidden")),
            restored: nodes.key(&format!("{name}:{epoch}:restored")),
            horizon: nodes.key(&format!("{name}:horizon")),
            stream: nodes.key(&format!("{name}:{epoch}")),
        }
    }
}

/// Keys that have the same name on every node.
#[derive(Debug)]
pub(super) struct NodeKeys {
    /// String: the run of the server in which every tombstone is known.
    pub(super) complete: String,
    /// String: the run and the number of losses when this process began to restore tombstones.
    pub(super) restoring: String,
    /// Counter: reports of missing tombstones.
    pub(super) losses: String,
}

impl NodeKeys {
    /// `process` is unique to this process.
    pub(super) fn new(nodes: &RedisNodes, process: u64) -> Self {
        Self {
            complete: nodes.key("recent:complete"),
            restoring: nodes.key(&format!("recent:reading:{process:016x}")),
            losses: nodes.key("recent:losses"),
        }
    }
}
