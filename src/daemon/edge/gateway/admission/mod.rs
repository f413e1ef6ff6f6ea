//! Who may come in, and what is held for them while they stay.
//!
//! In: tokens, addresses, `auth` messages. Out: identities and permits; names of users for the
//! metadata store. Always holds: every permit given is counted until it is dropped, and what a
//! permit held in the registry is given back by [`ReleaseTask`].
//!
//! When full: see [`Places`] and [`ConnectionRate`] for connections, [`release`] and [`names`] for their queues.

mod auth_task;
mod names;
mod permit;
mod places;
mod rate;
mod release;

use std::sync::Arc;

pub use auth_task::AuthTask;
pub use names::NameTask;
pub(super) use permit::{UserPermit, ViewerPermit};
pub(super) use places::{Place, Places};
pub(super) use rate::ConnectionRate;
pub use release::ReleaseTask;

use self::names::NameQueue;
use self::release::ReleaseQueue;
use super::server::GatewayParts;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::handoff::Bearer;
use crate::daemon::engines::directory::Sanctions;
use crate::daemon::engines::registry::{RegistryError, SharedRegistry};
use crate::daemon::stages::auth::Verifier;
use crate::protocol::admin::ConnectionInfo;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{ErrorCode, NodeId, StreamId, UserId};

/// Decides who a bearer is and whether there is room for them.
#[derive(Debug)]
pub(crate) struct Admission {
    verifier: Arc<Verifier>,
    sanctions: Sanctions,
    registry: SharedRegistry,
    clock: SharedClock,
    node: NodeId,
    max_connections_per_user: u32,
    releases: ReleaseQueue,
    names: NameQueue,
}

impl Admission {
    pub(super) fn new(parts: &GatewayParts) -> (Arc<Self>, ReleaseTask, NameTask) {
        let (releases, release_task) = release::queue(parts.registry.clone());
        let (names, name_task) = names::queue(parts.metadata.clone());
        let admission = Self {
            verifier: parts.verifier.clone(),
            sanctions: parts.sanctions.clone(),
            registry: parts.registry.clone(),
            clock: parts.clock.clone(),
            node: parts.node.clone(),
            max_connections_per_user: parts.config.gateway.max_connections_per_user,
            releases,
            names,
        };
        (Arc::new(admission), release_task, name_task)
    }

    /// The bearer of a token, unless it is not valid or the user is banned. Remembers the name.
    pub(super) fn identify(&self, token: &str) -> Result<Bearer, ErrorBody> {
        let verified = self.verifier.verify(token)?;
        let expires_in = self.verifier.time_left(&verified);
        let identity = Arc::new(verified.identity);
        if let Some(ban) = self.ban(identity.user_id) {
            return Err(ban);
        }
        self.names.remember(&identity, self.clock.now_ms());
        Ok(Bearer { identity, expires_in })
    }

    /// The ban on a user, as its user is told.
    pub(super) fn ban(&self, user_id: UserId) -> Option<ErrorBody> {
        self.sanctions.check_ban(user_id).map(|verdict| verdict.error())
    }

    /// Notes a user's connection. `Ok(None)`: the registry does not answer; the viewer comes in all
    /// the same, and operators find it by asking every node.
    pub(super) async fn register(
        &self,
        user_id: UserId,
        stream_id: StreamId,
    ) -> Result<Option<UserPermit>, ErrorBody> {
        let connected_at = self.clock.now_ms();
        let connection = ConnectionInfo { node: self.node.clone(), stream_id, connected_at };
        let limit = self.max_connections_per_user;
        match self.registry.register(user_id, connection, limit).await {
            Ok(id) => Ok(Some(UserPermit::new(user_id, id, self.releases.clone()))),
            Err(error @ RegistryError::TooManyConnections(_)) => {
                Err(ErrorBody::new(ErrorCode::TooManyConnections, error.to_string()))
            }
            Err(error) => {
                tracing::debug!(%user_id, %error, "a connection is not in the registry");
                Ok(None)
            }
        }
    }
}
