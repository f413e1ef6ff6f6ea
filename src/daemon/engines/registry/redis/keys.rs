//! The names of keys and channels, and the encoding of a connection.

use std::fmt;

use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::registry::RegistrationId;
use crate::protocol::admin::ConnectionInfo;
use crate::protocol::{NodeId, StreamId, UserId};

/// One run of a node's process. Random, so that a node restarted under its name has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NodeRun(pub(super) u64);

impl NodeRun {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for NodeRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// All names, under the configured prefix.
#[derive(Debug)]
pub(super) struct RegistryKeys {
    users: String,
    /// Followed by a run: the key exists while that run is alive.
    pub(super) alive: String,
    /// Followed by a node's name: a hash with `life` (the run), `report` and `viewers`.
    pub(super) node: String,
    /// Names of nodes by the time of their last heartbeat, in ms by the server's clock.
    pub(super) nodes: String,
    /// Names of nodes that left by the time they did.
    pub(super) left: String,
}

impl RegistryKeys {
    pub(super) fn new(nodes: &RedisNodes) -> Self {
        Self {
            users: nodes.key("conn:user:"),
            alive: nodes.key("nodes:alive:"),
            node: nodes.key("node:"),
            nodes: nodes.key("nodes"),
            left: nodes.key("nodes:left"),
        }
    }

    /// The hash of a user's connections.
    pub(super) fn user(&self, user_id: UserId) -> String {
        format!("{}{user_id}", self.users)
    }

    pub(super) fn run_alive(&self, run: NodeRun) -> String {
        format!("{}{run}", self.alive)
    }

    pub(super) fn node(&self, node: &NodeId) -> String {
        format!("{}{node}", self.node)
    }

    /// The channel on which a node receives commands.
    pub(super) fn command_channel(&self, node: &NodeId) -> String {
        format!("{}{node}:commands", self.node)
    }

    /// The channel on which one run of a node receives replies.
    pub(super) fn reply_channel(&self, node: &NodeId, run: NodeRun) -> String {
        format!("{}{node}:answers:{run}", self.node)
    }
}

/// The hash field of a connection: unique over all nodes and their runs.
pub(super) fn field(run: NodeRun, id: RegistrationId) -> String {
    format!("{run}:{:x}", id.0)
}

/// Encodes a connection as `stream_id connected_at node`. The name is last because it may have
/// spaces.
pub(super) fn encode_connection(connection: &ConnectionInfo) -> String {
    let ConnectionInfo { node, stream_id, connected_at } = connection;
    format!("{stream_id} {connected_at} {node}")
}

/// The inverse of [`encode_connection`]. Returns `None` for a value that this version does not
/// understand.
pub(super) fn decode_connection(value: &[u8]) -> Option<ConnectionInfo> {
    let mut parts = std::str::from_utf8(value).ok()?.splitn(3, ' ');
    let stream_id = StreamId(parts.next()?.parse().ok()?);
    let connected_at = parts.next()?.parse().ok()?;
    let node = NodeId::new(parts.next()?);
    Some(ConnectionInfo { node, stream_id, connected_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_survives_its_encoding() {
        let node = NodeId::new("edge 1 of Köln");
        let connection = ConnectionInfo { node, stream_id: StreamId(7), connected_at: 1234 };
        let encoded = encode_connection(&connection);
        assert_eq!(decode_connection(encoded.as_bytes()), Some(connection));
        for malformed in ["", "1", "1 2", "x 2 n", "1 x n"] {
            assert_eq!(decode_connection(malformed.as_bytes()), None, "{malformed}");
        }
    }

    #[test]
    fn fields_differ_by_run_and_connection() {
        let field = |run, id| field(NodeRun(run), RegistrationId(id));
        assert_eq!(field(1, 26), "0000000000000001:1a");
        assert_ne!(field(1, 2), field(2, 1));
    }
}
