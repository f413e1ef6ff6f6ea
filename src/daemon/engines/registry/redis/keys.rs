//! Names of keys and channels, and how an entry is written.

use std::fmt;

use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::registry::RegistrationId;
use crate::protocol::admin::ConnectionInfo;
use crate::protocol::{NodeId, StreamId, UserId};

/// One run of a node: random, so that a node that is started again under its name is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Life(pub(super) u64);

impl Life {
    pub(super) fn begin() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// All names, under the configured prefix.
#[derive(Debug)]
pub(super) struct Keys {
    users: String,
    /// Followed by a life: there while that life goes on.
    pub(super) lives: String,
    /// Followed by a name: a hash with `life`, `report` and `viewers`.
    pub(super) node: String,
    /// Names of nodes by when they were last heard of, in ms by the server's clock.
    pub(super) nodes: String,
    /// The same for nodes that left in good order.
    pub(super) left: String,
}

impl Keys {
    pub(super) fn new(nodes: &RedisNodes) -> Self {
        Self {
            users: nodes.key("conn:user:"),
            lives: nodes.key("nodes:alive:"),
            node: nodes.key("node:"),
            nodes: nodes.key("nodes"),
            left: nodes.key("nodes:left"),
        }
    }

    /// The connections of a user.
    pub(super) fn user(&self, user_id: UserId) -> String {
        format!("{}{user_id}", self.users)
    }

    pub(super) fn life(&self, life: Life) -> String {
        format!("{}{life}", self.lives)
    }

    pub(super) fn node(&self, node: &NodeId) -> String {
        format!("{}{node}", self.node)
    }

    /// The channel on which a node hears commands.
    pub(super) fn commands(&self, node: &NodeId) -> String {
        format!("{}{node}:commands", self.node)
    }

    /// The channel on which one life of a node hears answers.
    pub(super) fn answers(&self, node: &NodeId, life: Life) -> String {
        format!("{}{node}:answers:{life}", self.node)
    }
}

/// The field of a connection: unique over all nodes and their lives.
pub(super) fn field(life: Life, id: RegistrationId) -> String {
    format!("{life}:{:x}", id.0)
}

/// `stream_id connected_at ws_server`; the name comes last because it may have spaces.
pub(super) fn value(connection: &ConnectionInfo) -> String {
    let ConnectionInfo { node, stream_id, connected_at } = connection;
    format!("{stream_id} {connected_at} {node}")
}

/// The inverse of [`value`]; `None` for what this version does not understand.
pub(super) fn parse_value(value: &[u8]) -> Option<ConnectionInfo> {
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
    fn an_entry_comes_back_as_it_was_written() {
        let node = NodeId::new("edge 1 of Köln");
        let connection = ConnectionInfo { node, stream_id: StreamId(7), connected_at: 1234 };
        assert_eq!(parse_value(value(&connection).as_bytes()), Some(connection));
        for nonsense in ["", "1", "1 2", "x 2 n", "1 x n"] {
            assert_eq!(parse_value(nonsense.as_bytes()), None, "{nonsense}");
        }
    }

    #[test]
    fn fields_tell_lives_and_connections_apart() {
        let field = |life, id| field(Life(life), RegistrationId(id));
        assert_eq!(field(1, 26), "0000000000000001:1a");
        assert_ne!(field(1, 2), field(2, 1));
    }
}
