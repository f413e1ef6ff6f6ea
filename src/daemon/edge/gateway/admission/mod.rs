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
use std::net::IpAddr;
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
use crate::daemon::base::handoff::{Bearer, IssuerKeyId};
use crate::daemon::engines::directory::{Grants, Sanctions, Subjects};
use crate::daemon::engines::registry::{NodeCommand, RegistryError, SharedRegistry};
use crate::daemon::stages::auth::{ClaimedUser, VerifiedToken, Verifier};
use crate::protocol::admin::{ConnectionInfo, TransportKind};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{ErrorCode, Identity, NodeId, Role, StreamId, UserId, UserScope};

/// Added to waits for dead connections: delivery measures in whole seconds, and the registry is
/// told afterwards.
pub(super) const ROUNDING_MS: u64 = 2_000;
/// The time limit for reaching the nodes of a user.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// Identifies bearers and registers their connections.
#[derive(Debug)]
pub(crate) struct Admission {
    verifier: Arc<Verifier>,
    subjects: Subjects,
    sanctions: Sanctions,
    grants: Grants,
    registry: SharedRegistry,
    clock: SharedClock,
    node: NodeId,
    max_connections_per_user: u32,
    pong_timeout: Duration,
    releases: ReleaseQueue,
    names: NameQueue,
}

/// The user of a valid token.
#[derive(Debug)]
pub(super) struct Caller {
    user_id: UserId,
    token: VerifiedToken,
    grants: Grants,
}

impl Caller {
    /// Returns the identity of the user on a stream, with the role there: the highest of those that
    /// the token and the operators give.
    pub(super) fn on(&self, stream_id: StreamId) -> Identity {
        let given = self.grants.role_on(self.user_id, stream_id);
        let role = self.token.role_on(Some(stream_id)).max(given);
        self.token.claims.identity(self.user_id, role)
    }

    /// Returns the identity with the role that the user has on every stream.
    pub(super) fn everywhere(&self) -> Identity {
        self.token.claims.identity(self.user_id, self.token.role_on(None))
    }
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
            subjects: parts.subjects.clone(),
            sanctions: parts.sanctions.clone(),
            grants: parts.grants.clone(),
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

    /// Returns the user of a valid token, who is not banned from the stream, or from all if none is
    /// named. Remembers the user's name.
    pub(super) async fn recognize(
        &self,
        token: &str,
        stream_id: Option<StreamId>,
    ) -> Result<Caller, ErrorBody> {
        let token = self.verifier.verify_with_current_keys(token).await?;
        let user_id = match &token.claims.user {
            ClaimedUser::Id(user_id) => *user_id,
            ClaimedUser::Subject(subject) => {
                self.subjects.id_of(subject).await.map_err(|error| {
                    ErrorBody::new(ErrorCode::IdentityUnavailable, error.to_string())
                })?
            }
        };
        if let Some(ban) = self.ban_error(UserScope { user_id, stream_id }) {
            return Err(ban);
        }
        self.names.remember(user_id, &token.claims, self.clock.now_ms());
        Ok(Caller { user_id, token, grants: self.grants.clone() })
    }

    /// Returns the bearer of a valid token on a stream, as [`Self::recognize`].
    pub(super) async fn identify(
        &self,
        token: &str,
        stream_id: StreamId,
    ) -> Result<Bearer, ErrorBody> {
        let caller = self.recognize(token, Some(stream_id)).await?;
        let expires_in = self.verifier.time_left(&caller.token);
        // Read before the identity: a change in between is then seen by `is_outdated`.
        let given = self.grants.role_on(caller.user_id, stream_id);
        let issuer_key = caller.token.issuer_key;
        Ok(Bearer { identity: Arc::new(caller.on(stream_id)), given, expires_in, issuer_key })
    }

    /// Returns whether the key that signed a bearer's token was withdrawn since.
    pub(super) fn is_withdrawn(&self, key: IssuerKeyId) -> bool {
        self.verifier.is_withdrawn(key)
    }

    /// Returns whether the role that operators gave a user on a stream is another one by now.
    pub(super) fn is_outdated(&self, user_id: UserId, stream_id: StreamId, given: Role) -> bool {
        self.grants.role_on(user_id, stream_id) != given
    }

    /// Returns the error that a user is refused with who is banned from a stream, or from all, or
    /// `None` without a ban.
    pub(super) fn ban_error(&self, who: UserScope) -> Option<ErrorBody> {
        self.sanctions.check_ban(who).map(|verdict| verdict.error())
    }

    /// Registers a user's connection. Returns `Ok(None)` if the registry does not answer: the
    /// viewer is admitted anyway, and operators' commands reach it because they then go to every
    /// node.
    pub(super) async fn register(
        &self,
        identity: &Identity,
        stream_id: StreamId,
        transport: TransportKind,
        address: Option<IpAddr>,
    ) -> Result<Option<UserPermit>, ErrorBody> {
        let Identity { user_id, role, everywhere, .. } = *identity;
        let connected_at = self.clock.now_ms();
        let node = self.node.clone();
        let connection =
            ConnectionInfo { node, stream_id, connected_at, role, transport, address, everywhere };
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
