//! Registering, removing and finding connections.

use std::sync::Arc;

use super::keys::{EntryName, decode_connection, encode_connection, field};
use super::local_connections::LocalConnections;
use super::node_link::NodeLink;
use super::{Core, ENTRY_TTL};
use crate::daemon::engines::registry::{RegistrationId, RegistryError};
use crate::protocol::UserId;
use crate::protocol::admin::ConnectionInfo;

impl Core {
    /// The Redis node that holds a user's hash.
    fn link_of_user(&self, user_id: UserId) -> &Arc<NodeLink> {
        &self.links[self.nodes.index_of(&user_id.0.to_be_bytes())]
    }

    pub(super) async fn register(
        &self,
        user_id: UserId,
        connection: ConnectionInfo,
        limit: u32,
    ) -> Result<RegistrationId, RegistryError> {
        let link = self.link_of_user(user_id);
        let id = self.next_registration();
        let entry = EntryName::new(id, &connection);
        let value = encode_connection(&connection);
        // Added here before the call, so that this node knows of every entry that Redis may have.
        let local_count = link.connections.add(user_id, id, connection);
        let tentative =
            TentativeConnection { connections: &link.connections, user_id, id, kept: false };
        let mut invocation = self.scripts.register.key(self.keys.user(user_id));
        invocation.arg(field(self.run, entry)).arg(value).arg(limit).arg(self.run.to_string());
        invocation.arg(&self.keys.alive).arg(ENTRY_TTL.as_millis() as u64);
        let refused_at = match link.script::<i64>(&invocation).await {
            Ok(count) => u32::try_from(count).ok(),
            // Redis is away: the connection is accepted, and written when Redis is back.
            Err(_) if limit == 0 || local_count <= limit as usize => None,
            Err(_) => Some(u32::try_from(local_count - 1).unwrap_or(u32::MAX)),
        };
        let Some(count) = refused_at else {
            tentative.keep();
            return Ok(id);
        };
        drop(tentative);
        link.wake.notify_one();
        Err(RegistryError::TooManyConnections(count))
    }

    pub(super) async fn unregister(&self, user_id: UserId, id: RegistrationId) {
        let link = self.link_of_user(user_id);
        let Some(entry) = link.connections.remove(user_id, id) else { return };
        // Queued if it is not removed now, even if the caller stops waiting.
        let pending = PendingRemoval { link, user_id, entry, removed: false };
        if link.accepts_removals() {
            let mut removal = redis::cmd("HDEL");
            removal.arg(self.keys.user(user_id)).arg(field(self.run, entry));
            if link.command::<()>(&removal).await.is_ok() {
                pending.confirm();
            }
        }
    }

    pub(super) async fn locate(
        &self,
        user_id: UserId,
    ) -> Result<Vec<ConnectionInfo>, RegistryError> {
        let link = self.link_of_user(user_id);
        let mut invocation = self.scripts.locate.key(self.keys.user(user_id));
        invocation.arg(self.run.to_string()).arg(&self.keys.alive);
        let remote: Vec<(Vec<u8>, Vec<u8>)> = link.script(&invocation).await?;
        let remote = remote.iter().filter_map(|(field, value)| decode_connection(field, value));
        let local = link.connections.of_user(user_id).into_iter().map(|(_, info)| info);
        let mut connections: Vec<_> = remote.chain(local).collect();
        connections.sort_by_key(|info| info.connected_at);
        Ok(connections)
    }
}

/// A connection that Redis has not confirmed. If it is dropped without [`Self::keep`], because it
/// was refused or the caller stopped waiting, it is removed here and its entry is queued for
/// removal: Redis may have written it.
struct TentativeConnection<'a> {
    connections: &'a LocalConnections,
    user_id: UserId,
    id: RegistrationId,
    kept: bool,
}

impl TentativeConnection<'_> {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for TentativeConnection<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Some(entry) = self.connections.remove(self.user_id, self.id) {
            self.connections.queue_removal(self.user_id, entry);
        }
    }
}

/// A removal in flight. It is queued if it is dropped without [`Self::confirm`].
struct PendingRemoval<'a> {
    link: &'a NodeLink,
    user_id: UserId,
    entry: EntryName,
    removed: bool,
}

impl PendingRemoval<'_> {
    fn confirm(mut self) {
        self.removed = true;
    }
}

impl Drop for PendingRemoval<'_> {
    fn drop(&mut self) {
        if !self.removed {
            self.link.connections.queue_removal(self.user_id, self.entry);
            self.link.wake.notify_one();
        }
    }
}
