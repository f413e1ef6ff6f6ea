//! The names of keys and channels, and the encoding of a connection.
//!
//! The role of a connection is in the name of its field, and not in the value, which ends with the
//! name of the node: a version that knows no roles reads the entries of this one, and the other way
//! round.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::registry::RegistrationId;
use crate::protocol::admin::{ConnectionInfo, TransportKind};
use crate::protocol::{NodeId, Role, StreamId, UserId};

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

/// A connection of this node, as the field of its entry names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryName {
    pub(super) id: RegistrationId,
    pub(super) role: Role,
    pub(super) transport: TransportKind,
    pub(super) address: Option<IpAddr>,
    pub(super) everywhere: Role,
}

impl EntryName {
    pub(super) fn new(id: RegistrationId, connection: &ConnectionInfo) -> Self {
        let ConnectionInfo { role, transport, address, everywhere, .. } = *connection;
        Self { id, role, transport, address, everywhere }
    }
}

/// Stands between the transport and the role on all streams.
const EVERYWHERE: char = '+';

/// The hash field of a connection: unique over all nodes and their runs. Without an address, that
/// of a viewer has no role, and that of a WebSocket no transport. The address is last because it
/// may have colons. A role on all streams stands behind the transport, as in `sse+admin`, which
/// earlier versions read as a WebSocket.
pub(super) fn field(run: NodeRun, entry: EntryName) -> String {
    let EntryName { id, role, transport, address, everywhere } = entry;
    if everywhere != Role::Viewer {
        let address = address.map(|address| format!(":{address}")).unwrap_or_default();
        return format!("{run}:{:x}:{role}:{transport}{EVERYWHERE}{everywhere}{address}", id.0);
    }
    match (role, transport, address) {
        (role, transport, Some(address)) => {
            format!("{run}:{:x}:{role}:{transport}:{address}", id.0)
        }
        (Role::Viewer, TransportKind::Websocket, None) => format!("{run}:{:x}", id.0),
        (role, TransportKind::Websocket, None) => format!("{run}:{:x}:{role}", id.0),
        (role, transport, None) => format!("{run}:{:x}:{role}:{transport}", id.0),
    }
}

/// Returns the part of a field at `index`, or the default if this version does not know its value.
fn part_of<T: FromStr + Default>(field: &[u8], index: usize) -> T {
    parsed(part_at(field, index))
}

fn part_at(field: &[u8], index: usize) -> &str {
    let field = std::str::from_utf8(field).unwrap_or_default();
    field.splitn(5, ':').nth(index).unwrap_or_default()
}

fn parsed<T: FromStr + Default>(part: &str) -> T {
    part.parse().unwrap_or_default()
}

/// Encodes a connection as `stream_id connected_at node`. The name is last because it may have
/// spaces.
pub(super) fn encode_connection(connection: &ConnectionInfo) -> String {
    let ConnectionInfo { node, stream_id, connected_at, .. } = connection;
    format!("{stream_id} {connected_at} {node}")
}

/// Reads an entry: its [`field`] and its [encoded](encode_connection) value. Returns `None` for a
/// value that this version does not understand.
pub(super) fn decode_connection(field: &[u8], value: &[u8]) -> Option<ConnectionInfo> {
    let mut parts = std::str::from_utf8(value).ok()?.splitn(3, ' ');
    let stream_id = StreamId(parts.next()?.parse().ok()?);
    let connected_at = parts.next()?.parse().ok()?;
    let node = NodeId::new(parts.next()?);
    let role = part_of(field, 2);
    let mut transport = part_at(field, 3).splitn(2, EVERYWHERE);
    let mut next = || transport.next().unwrap_or_default();
    let transport = parsed(next());
    let everywhere = parsed(next());
    let address = part_at(field, 4).parse().ok();
    Some(ConnectionInfo { node, stream_id, connected_at, role, transport, address, everywhere })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_survives_its_encoding() {
        let node = NodeId::new("edge 1 of Köln");
        let each = |role| TransportKind::ALL.map(|transport| (role, transport));
        let addresses = [None, Some("192.0.2.7"), Some("2001:db8::7")].into_iter().cycle();
        for ((role, transport), address) in Role::ALL.into_iter().flat_map(each).zip(addresses) {
            let address = address.map(|address| address.parse().unwrap());
            for everywhere in Role::ALL {
                let connection = ConnectionInfo {
                    node: node.clone(),
                    stream_id: StreamId(7),
                    connected_at: 1234,
                    role,
                    transport,
                    address,
                    everywhere,
                };
                let field = field(NodeRun(1), EntryName::new(RegistrationId(2), &connection));
                let value = encode_connection(&connection);
                assert_eq!(decode_connection(field.as_bytes(), value.as_bytes()), Some(connection));
            }
        }
        for malformed in ["", "1", "1 2", "x 2 n", "1 x n"] {
            assert_eq!(decode_connection(b"1:2", malformed.as_bytes()), None, "{malformed}");
        }
    }

    #[test]
    fn entries_of_other_versions_are_read() {
        let role = |field: &[u8]| decode_connection(field, b"7 1234 edge-1").unwrap().role;
        assert_eq!(role(b"0000000000000001:1a"), Role::Viewer, "an earlier version has no roles");
        assert_eq!(role(b"0000000000000001:1a:janitor"), Role::Viewer, "a role of a later version");
        let moderator = ConnectionInfo {
            node: NodeId::new("edge-1"),
            stream_id: StreamId(7),
            connected_at: 1234,
            role: Role::Moderator,
            transport: TransportKind::Sse,
            address: None,
            everywhere: Role::Viewer,
        };
        assert_eq!(
            encode_connection(&moderator),
            "7 1234 edge-1",
            "as an earlier version reads it"
        );
    }

    #[test]
    fn fields_differ_by_run_and_connection() {
        let transport = TransportKind::Websocket;
        let of = |run, id, role| {
            field(
                NodeRun(run),
                EntryName {
                    id: RegistrationId(id),
                    role,
                    transport,
                    address: None,
                    everywhere: Role::Viewer,
                },
            )
        };
        assert_eq!(of(1, 26, Role::Viewer), "0000000000000001:1a");
        assert_eq!(of(1, 26, Role::Moderator), "0000000000000001:1a:moderator");
        assert_ne!(of(1, 2, Role::Viewer), of(2, 1, Role::Viewer));
    }
}
