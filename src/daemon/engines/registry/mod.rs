//! The connection registry: which node holds which user's connections, and how to reach it.
//!
//! In: connections opened and closed, viewer counts, from the edges. Out: the nodes of a user; the
//! viewers of a stream on all nodes; commands sent to one node. Engines: [`in_process`]; [`redis`]
//! is the distributed one.
//!
//! Always holds: a registered connection is found until it is removed, its node dies, or its entry
//! expires. A stale entry costs a command that finds no connection, never an error.
//!
//! A distributed engine keeps the connections of its node in memory. While its server is away,
//! connections are accepted and removed in memory, and the limit counts those of this node only.
//! The engine writes all of it to the server when the server is back.
//!
//! When full: bounded by the node's connection limit. [`ConnectionRegistry::register`] enforces the
//! limit per user atomically, so that two connections cannot race past it.

#[cfg(test)]
pub(crate) mod conformance;
pub mod in_process;
pub mod measured;
#[cfg(feature = "engines")]
pub mod redis;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use serde::{Deserialize, Serialize};

use crate::protocol::admin::{ConnectionInfo, NodeReport};
use crate::protocol::throttle::FixedRate;
use crate::protocol::{CloseCode, NodeId, StreamId, UserId};

#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    #[error("the connection registry does not answer: {0}")]
    Unavailable(String),
    #[error("the user holds {0} connections already, as many as allowed")]
    TooManyConnections(u32),
    #[error("node {0} does not answer")]
    Unreachable(NodeId),
    #[error(
        "`node.name` {0} belongs to another running lcd ({1}): give this node another name, or stop \
         the other one"
    )]
    NameTaken(NodeId, String),
}

/// A node as it presents itself to the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    pub node: NodeId,
    /// The same for every run of a node, and different for another node of the same name.
    pub identity: String,
    /// A description for operators: address, host, process.
    pub about: String,
}

/// Identifies one registration, so that it can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RegistrationId(pub u64);

/// The contract.
#[async_trait]
pub trait ConnectionRegistry: Send + Sync + std::fmt::Debug + 'static {
    /// Registers a connection, unless the user has `limit` already (0 is no limit). Connections of
    /// dead nodes do not count.
    ///
    /// # Errors
    /// `TooManyConnections`; `Unavailable` only from an engine that cannot register it later. The
    /// connection is then missing from the registry for as long as it lasts.
    async fn register(
        &self,
        user_id: UserId,
        connection: ConnectionInfo,
        limit: u32,
    ) -> Result<RegistrationId, RegistryError>;

    /// Removes a connection of this node. A missing one is no error.
    async fn unregister(&self, user_id: UserId, id: RegistrationId) -> Result<(), RegistryError>;

    /// Returns all connections of a user, oldest first.
    ///
    /// # Errors
    /// `Unavailable`: the caller must then send its command to every node.
    async fn locate(&self, user_id: UserId) -> Result<Vec<ConnectionInfo>, RegistryError>;

    /// Replaces the viewer counts of this node, one per stream that has viewers here.
    async fn report_viewers(
        &self,
        node: &NodeId,
        viewers: Vec<(StreamId, u64)>,
    ) -> Result<(), RegistryError>;

    /// Returns the viewers of every stream that has some, summed over all nodes.
    async fn viewers(&self) -> Result<Vec<(StreamId, u64)>, RegistryError>;

    /// Publishes a heartbeat of this node with its measurements. Called about once per second. A
    /// node that has not reported for [`ALIVE_FOR`] counts as dead, and its connections are not
    /// found.
    async fn report(&self, report: NodeReport) -> Result<(), RegistryError>;

    /// Removes this node and its connections before an orderly shutdown.
    async fn leave(&self) -> Result<(), RegistryError>;

    /// Returns every node that reported within [`KNOWN_FOR`] and has not left, by name. This node
    /// is included even before its first report. One clock decides which nodes are alive, not the
    /// nodes' own. While the server is away these are the nodes last known, whose age grows.
    async fn nodes(&self) -> Result<Vec<KnownNode>, RegistryError>;

    /// Returns the time since the last report of each other node that has ever reported, as the
    /// servers measured it when they last answered a heartbeat of this node. Costs no call. While
    /// no server answers, the times stand still: this node is cut off, and the others may be well.
    /// Empty in an engine of one process.
    fn silences(&self) -> Vec<(NodeId, Duration)>;

    /// Sets the handler of this node's commands, which assembly creates after the registry. Later
    /// calls have no effect.
    fn set_command_handler(&self, handler: Arc<dyn CommandHandler>);

    /// Returns the clock of this node minus that of the servers behind the registry, in
    /// milliseconds; `None` if there are none, or none has answered.
    fn clock_offset_ms(&self) -> Option<i64>;

    /// Returns the description of another process that runs under this node's name.
    fn same_name(&self) -> Option<String>;

    /// Sends a command to a node and returns the number of connections it touched. The node
    /// executes it at most once. A command to this node itself does not pass the server.
    ///
    /// # Errors
    /// `Unreachable`: at once if nobody listens under that name, otherwise within two seconds. A
    /// node that was too slow to reply may have executed the command.
    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError>;
}

/// A node that reported within this time is alive. Three reports may be late or lost.
pub const ALIVE_FOR: Duration = Duration::from_secs(4);
/// A dead node is shown to operators for this long.
pub const KNOWN_FOR: Duration = Duration::from_secs(600);

/// A node as the registry knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownNode {
    pub node: NodeId,
    /// True if it reported within [`ALIVE_FOR`].
    pub alive: bool,
    /// Its last report; `None` before the first.
    pub report: Option<Arc<NodeReport>>,
}

/// A command that a node executes on its own viewers and stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum NodeCommand {
    /// Close every connection of a user, or those to a stream. Nodes of earlier versions name none.
    Disconnect {
        user_id: UserId,
        code: CloseCode,
        // The last, because some engines encode fields by their places.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream_id: Option<StreamId>,
    },
    /// Close every connection of a user, or those to a stream, after this time, if the user is
    /// banned there then. The answer is the number of connections of the user now.
    DisconnectBanned {
        user_id: UserId,
        after_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream_id: Option<StreamId>,
    },
    /// Ping every connection of a user, so that dead ones free their places.
    Probe { user_id: UserId },
    /// Send a message to every connection of a user.
    Direct {
        user_id: UserId,
        from: Arc<str>,
        message: Arc<str>,
        // The last two, because some engines encode fields by their places. A message with a sender
        // has an id, so that neither takes the place of the other.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_user: Option<UserId>,
    },
    /// Reload sanctions from the metadata store.
    ReloadSanctions,
    /// Reload the roles on single streams from the metadata store, and close the connections of
    /// users whose roles have changed.
    ReloadGrants,
    /// Reload the settings of a stream from the metadata store.
    ReloadStream { stream_id: StreamId },
    /// Broadcast this share of a stream. `None` lets the throttle decide.
    Throttle { stream_id: StreamId, fixed: Option<FixedRate> },
    /// Stop accepting viewers and disconnect the present ones, or undo this.
    Drain { undo: bool },
    /// Put the talkers of a stream into the reports of the next seconds.
    ReportTalkers { stream_id: StreamId },
    /// End the losses of this kind that an operator was shown, by subject and text. The kind is a
    /// text, because later versions may send others. The answer is 0 if a restart would show them
    /// again, because that cannot be written.
    Acknowledge { problem: String, shown: Vec<(String, String)> },
}

impl NodeCommand {
    /// Returns whether the answer comes with the reports of the registry, so that the command is
    /// of no use by another way.
    pub fn needs_registry(&self) -> bool {
        matches!(self, Self::ReportTalkers { .. })
    }
}

/// The receiver of [`ConnectionRegistry::command`] on its node.
#[async_trait]
pub trait CommandHandler: Send + Sync + std::fmt::Debug + 'static {
    /// Executes a command and returns the number of connections it touched.
    async fn handle(&self, command: NodeCommand) -> u64;
}

pub type SharedRegistry = Arc<dyn ConnectionRegistry>;
