//! The connections of this node whose users are on one Redis node, kept in memory so that they can
//! be written there again.

use ahash::AHashMap;
use parking_lot::Mutex;

use super::keys::EntryName;
use crate::daemon::engines::registry::RegistrationId;
use crate::protocol::UserId;
use crate::protocol::admin::ConnectionInfo;

/// Connections of this node, and entries that must be removed from Redis.
///
/// Bounded by the node's connections: a pending removal stands for a connection that ended and is
/// not removed yet, or that was refused within the last second.
#[derive(Debug, Default)]
pub(super) struct LocalConnections {
    by_user: Mutex<AHashMap<UserId, Vec<(RegistrationId, ConnectionInfo)>>>,
    pending_removals: Mutex<Vec<(UserId, EntryName)>>,
}

impl LocalConnections {
    /// Adds a connection and returns the number of the user's connections here.
    pub(super) fn add(&self, user_id: UserId, id: RegistrationId, info: ConnectionInfo) -> usize {
        let mut by_user = self.by_user.lock();
        let connections = by_user.entry(user_id).or_default();
        connections.push((id, info));
        connections.len()
    }

    /// Removes a connection and returns the name of its entry; `None` if it was not there.
    pub(super) fn remove(&self, user_id: UserId, id: RegistrationId) -> Option<EntryName> {
        let mut by_user = self.by_user.lock();
        let connections = by_user.get_mut(&user_id)?;
        let at = connections.iter().position(|(other, _)| *other == id)?;
        let (_, removed) = connections.remove(at);
        if connections.is_empty() {
            by_user.remove(&user_id);
        }
        Some(EntryName::new(id, &removed))
    }

    pub(super) fn of_user(&self, user_id: UserId) -> Vec<(RegistrationId, ConnectionInfo)> {
        self.by_user.lock().get(&user_id).cloned().unwrap_or_default()
    }

    pub(super) fn users(&self) -> Vec<UserId> {
        self.by_user.lock().keys().copied().collect()
    }

    /// Queues the removal of an entry from Redis.
    pub(super) fn queue_removal(&self, user_id: UserId, entry: EntryName) {
        self.pending_removals.lock().push((user_id, entry));
    }

    /// Drops all connections and queues the removal of their entries.
    pub(super) fn queue_all_removals(&self) {
        let by_user = std::mem::take(&mut *self.by_user.lock());
        let entries = by_user.into_iter().flat_map(|(user_id, connections)| {
            let entry = |(id, info): (_, ConnectionInfo)| EntryName::new(id, &info);
            connections.into_iter().map(move |connection| (user_id, entry(connection)))
        });
        self.pending_removals.lock().extend(entries);
    }

    /// Takes at most `limit` pending removals.
    pub(super) fn take_removals(&self, limit: usize) -> Vec<(UserId, EntryName)> {
        let mut pending = self.pending_removals.lock();
        let rest = pending.len().saturating_sub(limit);
        pending.split_off(rest)
    }
}
