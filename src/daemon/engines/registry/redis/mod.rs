//! The registry on one or several Redis nodes, which know nothing of each other.
//!
//! **Keys** (all under `redis.prefix`):
//! - `conn:user:{user_id}`, on the Redis node that the user's hash chooses: a hash with one field
//!   per connection, `{run}:{registration}` or `{run}:{registration}:{role}` if the user is more
//!   than a viewer, with its transport, role on all streams and address where they are not the
//!   usual ones, and the value `stream_id connected_at node`. Expires [`ENTRY_TTL`] after the last
//!   write; rewritten every half hour.
//! - `nodes:alive:{run}`, on every Redis node: exists while that run of a node is alive. Expires
//!   [`ALIVE_FOR`](super::ALIVE_FOR) after its last heartbeat. Entries of a run without this key do
//!   not count and are not found; a script that meets them removes them. A dead node thus takes its
//!   connections with it, and a node restarted under its name is another run.
//! - `nodes` (names by last heartbeat, by the clock of the server, which alone measures ages),
//!   `nodes:left`, `node:{name}` (a hash: `life`, the run; `identity` and `about` of its node;
//!   `report`; `viewers`), on every Redis node.
//! - Channels `node:{name}:commands` and `node:{name}:answers:{run}`, on every Redis node.
//!
//! **Atomicity.** Registering (with the limit per user, which ignores dead nodes), locating and
//! heartbeats are one script and one round trip each. Calls share a connection and are pipelined.
//!
//! **When a Redis node is away**, the first failed call takes its link down, and calls that concern
//! it fail at once until it is back (probed twice a second). Meanwhile:
//! - `register` succeeds; the limit counts the connections of this node only. All connections of
//!   this node are written when Redis is back. The same happens after every failure: the server
//!   may have been emptied, or may have considered this node dead.
//! - `unregister` succeeds; the removal is pending until then.
//! - `locate` returns `Unavailable` for the users of that Redis node.
//! - Commands, reports, nodes and viewers use the other Redis nodes. If none is left, `nodes`
//!   returns the nodes last known, whose age grows; `viewers` and `report` are `Unavailable`;
//!   commands to other nodes are `Unreachable`.
//!
//! The breaker is open while any Redis node of the registry is away, or brings no commands because
//! this node is not subscribed there.
//!
//! **Bounds.** Memory is proportional to the node's connections ([`local_connections`]). Rewrites
//! go in batches of 256 users, one at a time. 64 commands are executed at a time, and the last 8192
//! command ids are remembered ([`command_handler`]).

mod clock_offset;
mod cluster;
mod command_handler;
mod command_sender;
mod keys;
mod local_connections;
mod name;
mod node_link;
mod node_list;
mod reconciler;
mod registrations;
mod scripts;
mod subscription;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument as _, info_span};

use self::cluster::OwnState;
use self::command_handler::IncomingCommands;
use self::command_sender::PendingCommands;
use self::keys::{NodeRun, RegistryKeys};
use self::name::Namesake;
use self::node_link::NodeLink;
use self::node_list::NodeList;
use self::scripts::RegistryScripts;
use super::{
    CommandHandler, ConnectionRegistry, KnownNode, NodeCommand, NodeIdentity, RegistrationId,
    RegistryError,
};
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::protocol::admin::{ConnectionInfo, NodeReport};
use crate::protocol::{NodeId, StreamId, UserId};

/// Lifetime of a user's hash after its last write.
const ENTRY_TTL: Duration = Duration::from_secs(2 * 3600);

/// The distributed engine. Its background tasks end when it is dropped.
#[derive(Debug)]
pub struct RedisRegistry {
    core: Arc<Core>,
    _stop: DropGuard,
}

/// The state that the calls and the background tasks share.
#[derive(Debug)]
struct Core {
    node: NodeId,
    identity: String,
    about: String,
    run: NodeRun,
    nodes: RedisNodes,
    keys: RegistryKeys,
    scripts: RegistryScripts,
    links: Vec<Arc<NodeLink>>,
    breaker: Arc<Breaker>,
    registrations: AtomicU64,
    own: OwnState,
    node_list: NodeList,
    namesake: Namesake,
    pending_commands: PendingCommands,
    incoming: IncomingCommands,
    stop: CancellationToken,
}

impl RedisRegistry {
    /// Waits until the name of a node is free, without using it. Done before anything is opened
    /// that takes the place of another process of this name, such as a transactional producer.
    ///
    /// # Errors
    /// `NameTaken` if another node of this name runs.
    pub async fn claim_name(
        identity: NodeIdentity,
        nodes: RedisNodes,
    ) -> Result<(), RegistryError> {
        let breaker = Arc::new(Breaker::new("connection registry"));
        Core::new(identity, nodes, breaker).claim_name().await
    }

    /// Starts a run of a node and waits until Redis has its heartbeat.
    ///
    /// # Errors
    /// `Unavailable` if no Redis node answers. One of several is enough; the others are connected
    /// in the background. `NameTaken` if another node of this name runs.
    pub async fn open(
        identity: NodeIdentity,
        nodes: RedisNodes,
        breaker: Arc<Breaker>,
    ) -> Result<Self, RegistryError> {
        let core = Arc::new(Core::new(identity, nodes, breaker));
        let registry = Self { core: core.clone(), _stop: core.stop.clone().drop_guard() };
        core.claim_name().await?;
        let heartbeats = join_all(core.links.iter().map(|link| core.send_heartbeat(link))).await;
        cluster::one_is_enough(&heartbeats).map_err(|failure| {
            RegistryError::Unavailable(format!("none of `redis.nodes` answers: {failure}"))
        })?;
        for mut attempted in core.links.iter().map(|link| core.start_tasks(link)) {
            // Fails only if the task has ended; then there is nothing to wait for.
            let _ = attempted.wait_for(|attempted| *attempted).await;
        }
        Ok(registry)
    }
}

impl Core {
    fn new(identity: NodeIdentity, nodes: RedisNodes, breaker: Arc<Breaker>) -> Self {
        let NodeIdentity { node, identity, about } = identity;
        let link = |index| Arc::new(NodeLink::new(index, nodes.clone(), breaker.clone()));
        Self {
            links: (0..nodes.count()).map(link).collect(),
            keys: RegistryKeys::new(&nodes),
            scripts: RegistryScripts::new(),
            run: NodeRun::random(),
            node,
            identity,
            about,
            nodes,
            breaker,
            registrations: AtomicU64::new(0),
            own: OwnState::default(),
            node_list: NodeList::default(),
            namesake: Namesake::default(),
            pending_commands: PendingCommands::default(),
            incoming: IncomingCommands::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Starts the tasks of a link. The result becomes true after the first attempt to subscribe.
    fn start_tasks(self: &Arc<Self>, link: &Arc<NodeLink>) -> watch::Receiver<bool> {
        let address = link.address().to_owned();
        let (sender, attempted) = watch::channel(false);
        let receiving = subscription::run(self.clone(), link.clone(), sender, self.stop.clone());
        tokio::spawn(receiving.instrument(info_span!("registry subscription", address)));
        let reconciling = reconciler::run(self.clone(), link.clone(), self.stop.clone());
        tokio::spawn(reconciling.instrument(info_span!("registry reconciler", address)));
        attempted
    }

    fn next_registration(&self) -> RegistrationId {
        RegistrationId(self.registrations.fetch_add(1, Ordering::Relaxed))
    }
}

#[async_trait]
impl ConnectionRegistry for RedisRegistry {
    async fn register(
        &self,
        user_id: UserId,
        connection: ConnectionInfo,
        limit: u32,
    ) -> Result<RegistrationId, RegistryError> {
        self.core.register(user_id, connection, limit).await
    }

    async fn unregister(&self, user_id: UserId, id: RegistrationId) -> Result<(), RegistryError> {
        self.core.unregister(user_id, id).await;
        Ok(())
    }

    async fn locate(&self, user_id: UserId) -> Result<Vec<ConnectionInfo>, RegistryError> {
        self.core.locate(user_id).await
    }

    async fn report_viewers(
        &self,
        node: &NodeId,
        viewers: Vec<(StreamId, u64)>,
    ) -> Result<(), RegistryError> {
        self.core.report_viewers(node, viewers).await
    }

    async fn viewers(&self) -> Result<Vec<(StreamId, u64)>, RegistryError> {
        self.core.viewers().await
    }

    async fn report(&self, report: NodeReport) -> Result<(), RegistryError> {
        self.core.report(report).await
    }

    async fn leave(&self) -> Result<(), RegistryError> {
        self.core.leave().await
    }

    async fn nodes(&self) -> Result<Vec<KnownNode>, RegistryError> {
        Ok(self.core.nodes().await)
    }

    fn silences(&self) -> Vec<(NodeId, Duration)> {
        self.core.node_list.silences(&self.core.node)
    }

    fn clock_offset_ms(&self) -> Option<i64> {
        self.core.clock_offset_ms()
    }

    fn set_command_handler(&self, handler: Arc<dyn CommandHandler>) {
        let _ = self.core.incoming.handler.set(handler);
    }

    fn same_name(&self) -> Option<String> {
        self.core.namesake.about()
    }

    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError> {
        self.core.send_command(node, command).await
    }
}
