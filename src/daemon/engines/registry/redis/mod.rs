//! The registry on Redis: one node or several that know nothing of each other.
//!
//! **What is stored where** (all under `redis.prefix`):
//! - `conn:user:{user_id}`, on the Redis node that the user's hash chooses: a hash with a field for
//!   each connection, `{life}:{registration}`, and `stream_id connected_at ws_server` as its value.
//!   [`ENTRY_TTL`], written anew every half hour.
//! - `nodes:alive:{life}`, on every Redis node: there while that run of a node goes on; expires
//!   [`ALIVE_FOR`](super::ALIVE_FOR) after its last report. An entry whose life is not there does not
//!   count and is not found; whoever meets it removes it. So a node that dies takes its connections
//!   with it, and one that is started again under its name is another life.
//! - `nodes` (names by when they were last heard of, by the server's clock, which alone judges ages),
//!   `nodes:left`, `node:{name}` (a hash: `life`, `report`, `viewers`), on every Redis node.
//! - Channels `node:{name}:commands` and `node:{name}:answers:{life}`, on every Redis node.
//!
//! **In one step.** Registering (the limit a user, leaving out dead nodes), finding and beating are
//! one script each, one round trip; calls share a connection and are pipelined.
//!
//! **When a Redis node is away** its first failed call takes it out, and calls that concern it are
//! answered at once until it is back (tried twice a second). Meanwhile:
//! - `register` succeeds, held to the limit by what this node alone holds; what it holds is written as
//!   soon as Redis is back. So is everything after any failure: the server may have been started
//!   empty, or have thought this node dead.
//! - `unregister` succeeds; the entry is owed and removed then.
//! - `locate` is `Unavailable` for the users of that Redis node.
//! - Commands, reports, nodes and viewers work over the others. With none left, `nodes` answers with
//!   what was last known, growing old; `viewers` and `report` are `Unavailable`; commands to other
//!   nodes are `Unreachable`.
//!
//! The breaker shows it: open while any Redis node of the registry is out.
//!
//! **Bounds.** Memory as the node has connections ([`held`]); batches of 256 users to Redis, one at a
//! time; 64 commands obeyed at a time, the last 8192 ids remembered ([`obedience`]).

mod cluster;
mod commands;
mod connections;
mod held;
mod keeper;
mod keys;
mod link;
mod listener;
mod obedience;
mod roster;
mod scripts;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument as _, info_span};

use self::cluster::Own;
use self::commands::Awaited;
use self::keys::{Keys, Life};
use self::link::Link;
use self::obedience::Obedience;
use self::roster::Roster;
use self::scripts::Scripts;
use super::{
    CommandHandler, ConnectionRegistry, KnownNode, NodeCommand, RegistrationId, RegistryError,
};
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::protocol::admin::{ConnectionInfo, NodeReport};
use crate::protocol::{NodeId, StreamId, UserId};

/// After the last time a user's hash was written.
const ENTRY_TTL: Duration = Duration::from_secs(2 * 3600);

/// The distributed engine. Its background tasks end when it is dropped.
#[derive(Debug)]
pub struct RedisRegistry {
    core: Arc<Core>,
    _stop: DropGuard,
}

/// What the calls and the background tasks share.
#[derive(Debug)]
struct Core {
    node: NodeId,
    life: Life,
    nodes: RedisNodes,
    keys: Keys,
    scripts: Scripts,
    links: Vec<Arc<Link>>,
    breaker: Arc<Breaker>,
    registrations: AtomicU64,
    own: Own,
    roster: Roster,
    awaited: Awaited,
    obedience: Obedience,
    stop: CancellationToken,
}

impl RedisRegistry {
    /// Begins a life of `node` and waits until Redis knows of it.
    ///
    /// # Errors
    /// `Unavailable` if no Redis node answers; one of several is enough, the others are waited for in
    /// the background.
    pub async fn open(
        node: NodeId,
        nodes: RedisNodes,
        breaker: Arc<Breaker>,
    ) -> Result<Self, RegistryError> {
        let core = Arc::new(Core::new(node, nodes, breaker));
        let registry = Self { core: core.clone(), _stop: core.stop.clone().drop_guard() };
        let beats = join_all(core.links.iter().map(|link| core.beat_on(link))).await;
        cluster::one_is_enough(&beats).map_err(|failure| {
            RegistryError::Unavailable(format!("none of `redis.nodes` answers: {failure}"))
        })?;
        for mut tried in core.links.iter().map(|link| core.start_tasks(link)) {
            // Fails only if the task ended, and then there is nothing to wait for.
            let _ = tried.wait_for(|tried| *tried).await;
        }
        Ok(registry)
    }
}

impl Core {
    fn new(node: NodeId, nodes: RedisNodes, breaker: Arc<Breaker>) -> Self {
        let link = |index| Arc::new(Link::new(index, nodes.clone(), breaker.clone()));
        Self {
            links: (0..nodes.count()).map(link).collect(),
            keys: Keys::new(&nodes),
            scripts: Scripts::new(),
            life: Life::begin(),
            node,
            nodes,
            breaker,
            registrations: AtomicU64::new(0),
            own: Own::default(),
            roster: Roster::default(),
            awaited: Awaited::default(),
            obedience: Obedience::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Becomes true when commands are heard over the link, or cannot be.
    fn start_tasks(self: &Arc<Self>, link: &Arc<Link>) -> watch::Receiver<bool> {
        let address = link.address().to_owned();
        let (sender, tried) = watch::channel(false);
        let listening = listener::listen(self.clone(), link.clone(), sender, self.stop.clone());
        tokio::spawn(listening.instrument(info_span!("registry listener", address)));
        let keeping = keeper::keep(self.clone(), link.clone(), self.stop.clone());
        tokio::spawn(keeping.instrument(info_span!("registry keeper", address)));
        tried
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

    fn set_command_handler(&self, endpoint: Arc<dyn CommandHandler>) {
        let _ = self.core.obedience.endpoint.set(endpoint);
    }

    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError> {
        self.core.carry(node, command).await
    }
}
