//! What this node holds on one Redis node, kept in memory too, so that it can be written there again.

use ahash::AHashMap;
use parking_lot::{Mutex, MutexGuard};

use crate::daemon::engines::registry::RegistrationId;
use crate::protocol::UserId;
use crate::protocol::admin::ConnectionInfo;

/// Connections of this node, and entries that may still be in Redis and must not be.
///
/// As large as the node has connections. A debt stands for a connection that was held, ended, and is
/// not yet removed, so there are no more of them than connections, and those refused within a second.
#[derive(Debug, Default)]
pub(super) struct Held {
    by_user: Mutex<AHashMap<UserId, Vec<(RegistrationId, ConnectionInfo)>>>,
    debts: Mutex<Vec<(UserId, RegistrationId)>>,
}

type ByUser = AHashMap<UserId, Vec<(RegistrationId, ConnectionInfo)>>;

impl Held {
    /// Notes a connection; how many of the user's there are then.
    pub(super) fn add(&self, user_id: UserId, id: RegistrationId, info: ConnectionInfo) -> usize {
        let mut by_user = self.by_user();
        let held = by_user.entry(user_id).or_default();
        held.push((id, info));
        held.len()
    }

    /// Whether it was there.
    pub(super) fn remove(&self, user_id: UserId, id: RegistrationId) -> bool {
        let mut by_user = self.by_user();
        let Some(held) = by_user.get_mut(&user_id) else { return false };
        let before = held.len();
        held.retain(|(other, _)| *other != id);
        let removed = held.len() < before;
        if held.is_empty() {
            by_user.remove(&user_id);
        }
        removed
    }

    pub(super) fn of(&self, user_id: UserId) -> Vec<(RegistrationId, ConnectionInfo)> {
        self.by_user().get(&user_id).cloned().unwrap_or_default()
    }

    pub(super) fn users(&self) -> Vec<UserId> {
        self.by_user().keys().copied().collect()
    }

    /// The entry must go from Redis as soon as possible.
    pub(super) fn owe(&self, user_id: UserId, id: RegistrationId) {
        self.debts().push((user_id, id));
    }

    /// Forgets all connections, and owes the removal of each.
    pub(super) fn owe_all(&self) {
        let by_user = std::mem::take(&mut *self.by_user());
        let entries = by_user
            .into_iter()
            .flat_map(|(user_id, held)| held.into_iter().map(move |(id, _)| (user_id, id)));
        self.debts().extend(entries);
    }

    /// At most `limit` of what is owed.
    pub(super) fn take_debts(&self, limit: usize) -> Vec<(UserId, RegistrationId)> {
        let mut debts = self.debts();
        let rest = debts.len().saturating_sub(limit);
        debts.split_off(rest)
    }

    fn by_user(&self) -> MutexGuard<'_, ByUser> {
        self.by_user.lock()
    }

    fn debts(&self) -> MutexGuard<'_, Vec<(UserId, RegistrationId)>> {
        self.debts.lock()
    }
}
