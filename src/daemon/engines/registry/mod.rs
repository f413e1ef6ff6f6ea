//! The connection registry: which node holds which user's connections, and how to reach it.
//!
//! In: connections opened and closed, viewer counts, from the edges. Out: where a user is; viewers of
//! a stream on all nodes; commands carried to one node. Engines: [`in_process`]; [`redis`] is the
//! distributed one.
//!
//! Always holds: a registered connection is found until it is removed or its node has died, at most
//! for the entry's time to live. A stale entry costs a command that finds nobody, never an error.
//!
//! A distributed engine keeps in memory what its node holds. While its server is away connections are
//! taken all the same, noted here, held to the limit by what this node alone holds, and removed here;
//! once the server is back it comes to know all of this without the caller's doing.
//!
//! When full: bounded by the node's connection limit; the limit a user is enforced by
//! [`ConnectionRegistry::register`] itself, in one step, so that two connections cannot race past it.

#[cfg(test)]
pub(crate) mod conformance;
pub mod in_process;
#[cfg(feature = "engines")]
pub mod redis;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use serde::{Deserialize, Serialize};

use crate::protocol::admin::{ConnectionInfo, NodeReport};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CloseCode, NodeId, StreamId, UserId};

#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    #[error("the connection registry does not answer: {0}")]
    Unavailable(String),
    #[error("the user holds {0} connections already, as many as allowed")]
    TooManyConnections(u32),
    #[error("node {0} does not answer")]
    Unreachable(NodeId),
}

/// Names one registration, so that it can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RegistrationId(pub u64);

/// The contract.
#[async_trait]
pub trait ConnectionRegistry: Send + Sync + std::fmt::Debug + 'static {
    /// Notes a connection, unless the user holds `limit` already (0 is no limit). Connections of dead
    /// nodes do not count.
    ///
    /// # Errors
    /// `TooManyConnections`; `Unavailable` only from an engine that cannot note it for later, and then
    /// the connection is not in the registry for as long as it lasts.
    async fn register(
        &self,
        user_id: UserId,
        connection: ConnectionInfo,
        limit: u32,
    ) -> Result<RegistrationId, RegistryError>;

    /// Removes a connection of this node; one that is not there is no error.
    async fn unregister(&self, user_id: UserId, id: RegistrationId) -> Result<(), RegistryError>;

    /// All connections of a user, oldest first.
    ///
    /// # Errors
    /// `Unavailable`: then every node has to be asked.
    async fn locate(&self, user_id: UserId) -> Result<Vec<ConnectionInfo>, RegistryError>;

    /// Says how many viewers this node has on each stream it has any on; replaces what it said before.
    async fn report_viewers(
        &self,
        node: &NodeId,
        viewers: Vec<(StreamId, u64)>,
    ) -> Result<(), RegistryError>;

    /// Viewers of every stream that has any, all nodes together.
    async fn viewers(&self) -> Result<Vec<(StreamId, u64)>, RegistryError>;

    /// Tells the others that this node lives, and what it measures. Called about once a second; a
    /// node that has not reported for [`ALIVE_FOR`] counts as dead, and its connections are no longer
    /// found.
    async fn report(&self, report: NodeReport) -> Result<(), RegistryError>;

    /// Takes this node and its connections out: it goes down in good order.
    async fn leave(&self) -> Result<(), RegistryError>;

    /// Every node that reported within [`KNOWN_FOR`] and has not left, by name; this one included,
    /// also before its first report. Which are alive is judged by one clock, not by the nodes' own.
    /// While the server is away, those last known, whose silence then counts against them.
    async fn nodes(&self) -> Result<Vec<KnownNode>, RegistryError>;

    /// Gives the node's own end, which assembly has only later; commands reach it from now on. The
    /// first one given stays.
    fn set_command_handler(&self, endpoint: Arc<dyn CommandHandler>);

    /// Carries a command to a node and brings back how many connections it touched. The node obeys it
    /// once or not at all; to this node itself it goes without the server.
    ///
    /// # Errors
    /// `Unreachable` at once if nobody listens under that name, otherwise within two seconds; a node
    /// that was too slow to answer may still have obeyed.
    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError>;
}

/// A node that reported within this time is alive: three reports may be late or lost.
pub const ALIVE_FOR: Duration = Duration::from_secs(4);
/// A node that died is named to operators for this long.
pub const KNOWN_FOR: Duration = Duration::from_secs(600);

/// A node as the registry knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownNode {
    pub node: NodeId,
    /// Whether it reported within [`ALIVE_FOR`].
    pub alive: bool,
    /// Its last report; absent before the first.
    pub report: Option<Arc<NodeReport>>,
}

/// What one node can be asked to do to its own viewers and stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum NodeCommand {
    /// Close every connection of a user.
    Disconnect { user_id: UserId, code: CloseCode },
    /// Write a message to every connection of a user.
    Direct { user_id: UserId, from: Arc<str>, message: Arc<str> },
    /// Reload sanctions from the metadata store.
    ReloadSanctions,
    /// Reload the settings of a stream from the metadata store.
    ReloadStream { stream_id: StreamId },
    /// Broadcast this share of a stream; `None` lets the throttle decide.
    Throttle { stream_id: StreamId, sample_rate: Option<SampleRate> },
    /// Stop taking viewers and send away those there are, or take them again.
    Drain { undo: bool },
}

/// The node's own end of [`ConnectionRegistry::command`], given to the engine at assembly.
#[async_trait]
pub trait CommandHandler: Send + Sync + std::fmt::Debug + 'static {
    /// Obeys, and says how many connections were touched.
    async fn handle(&self, command: NodeCommand) -> u64;
}

pub type SharedRegistry = Arc<dyn ConnectionRegistry>;
