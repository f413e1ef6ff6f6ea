//! Decides which viewers may connect, and holds their permits.
//!
//! In: tokens, addresses, `auth` messages. Out: identities and permits; names of users for the
//! metadata store. Always holds: a permit counts until it is dropped, and [`ReleaseTask`] then
//! removes its registration from the registry.
//!
//! When full: see [`ViewerSlots`] and [`ConnectionRate`] for connections, [`release`] and [`names`]
//! for their queues.

mod auth_task;
mod names;
mod permit;
mod rate;
mod release;
mod slots;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

pub use auth_task::AuthTask;
pub use names::NameTask;
pub(super) use permit::{UserPermit, ViewerPermit};
pub(super) use rate::ConnectionRate;
pub use release::ReleaseTask;
pub(super) use slots::{ViewerSlot, ViewerSlots};

use self::names::NameQueue;
use self::release::ReleaseQueue;
use super::parts::GatewayParts;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::handoff::Bearer;
use crate::daemon::engines::directory::Sanctions;
use crate::daemon::engines::registry::{NodeCommand, RegistryError, SharedRegistry};
use crate::daemon::stages::auth::Verifier;
use crate::protocol::admin::{ConnectionInfo, TransportKind};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{ErrorCode, Identity, NodeId, StreamId, UserId};

/// Added to waits for dead connections: delivery measures in whole seconds, and the registry is
/// told afterwards.
pub(super) const ROUNDING_MS: u64 = 2_000;
/// The time limit for reaching the nodes of a user.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// Identifies bearers and registers their connections.
#[derive(Debug)]
pub(crate) struct Admission {
    verifier: Arc<Verifier>,
    sanctions: Sanctions,
    registry: SharedRegistry,
    clock: SharedClock,
    node: NodeId,
    max_connections_per_user: u32,
    pong_timeout: Duration,
    releases: ReleaseQueue,
    names: NameQueue,
}

/// A new [`Admission`] and the tasks at the other end of its queues.
pub(super) struct AdmissionEnds {
    pub(super) admission: Arc<Admission>,
    pub(super) releases: ReleaseTask,
    pub(super) names: NameTask,
}

impl Admission {
    pub(super) fn with_tasks(parts: &GatewayParts) -> AdmissionEnds {
        let (releases, release_task) = release::queue(parts.registry.clone());
        let (names, name_task) = names::queue(parts.metadata.clone());
        let admission = Self {
            verifier: parts.verifier.clone(),
            sanctions: parts.sanctions.clone(),
            registry: parts.registry.clone(),
            clock: parts.clock.clone(),
            node: parts.node.clone(),
            max_connections_per_user: parts.config.gateway.max_connections_per_user,
            pong_timeout: parts.config.gateway.pong_timeout,
            releases,
            names,
        };
        AdmissionEnds { admission: Arc::new(admission), releases: release_task, names: name_task }
    }

    /// Returns the bearer of a valid token whose user is not banned. Remembers the user's name.
    pub(super) fn identify(&self, token: &str) -> Result<Bearer, ErrorBody> {
        let verified = self.verifier.verify(token)?;
        let expires_in = self.verifier.time_left(&verified);
        let identity = Arc::new(verified.identity);
        if let Some(ban) = self.ban_error(identity.user_id) {
            return Err(ban);
        }
        self.names.remember(&identity, self.clock.now_ms());
        Ok(Bearer { identity, expires_in })
    }

    /// Returns the error that a banned user is refused with, or `None` without a ban.
    pub(super) fn ban_error(&self, user_id: UserId) -> Option<ErrorBody> {
        self.sanctions.check_ban(user_id).map(|verdict| verdict.error())
    }

    /// Registers a user's connection. Returns `Ok(None)` if the registry does not answer: the
    /// viewer is admitted anyway, and operators' commands reach it because they then go to every
    /// node.
    pub(super) async fn register(
        &self,
        identity: &Identity,
        stream_id: StreamId,
        transport: TransportKind,
    ) -> Result<Option<UserPermit>, ErrorBody> {
        let Identity { user_id, role, .. } = *identity;
        let connected_at = self.clock.now_ms();
        let node = self.node.clone();
        let connection = ConnectionInfo { node, stream_id, connected_at, role, transport };
        let limit = self.max_connections_per_user;
        match self.registry.register(user_id, connection, limit).await {
            Ok(id) => Ok(Some(UserPermit::new(user_id, id, self.releases.clone()))),
            Err(error @ RegistryError::TooManyConnections(_)) => {
                self.probe(user_id).await;
                let wait_ms = self.pong_timeout.as_millis() as u64 + ROUNDING_MS;
                Err(ErrorBody::new(ErrorCode::TooManyConnections, error.to_string())
                    .retry_after_ms(wait_ms))
            }
            Err(error) => {
                tracing::debug!(%user_id, %error, "connection not registered; admitted anyway");
                Ok(None)
            }
        }
    }

    /// Has every connection of a user pinged. Connections lost without a close frame keep their
    /// places until a ping is not answered; a user who reconnects must not wait for the next
    /// regular one.
    async fn probe(&self, user_id: UserId) {
        let probes = async {
            let connections = self.registry.locate(user_id).await.unwrap_or_default();
            let nodes: BTreeSet<_> = connections.into_iter().map(|place| place.node).collect();
            let commands = nodes.iter().map(|node| async move {
                if let Err(error) =
                    self.registry.command(node, NodeCommand::Probe { user_id }).await
                {
                    tracing::debug!(%user_id, %node, %error, "connections not probed");
                }
            });
            join_all(commands).await;
        };
        // The viewer waits for its refusal meanwhile.
        let _ = tokio::time::timeout(PROBE_TIMEOUT, probes).await;
    }
}
