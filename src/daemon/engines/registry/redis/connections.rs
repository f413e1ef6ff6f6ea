//! Registering, removing and finding connections.

use std::sync::Arc;

use super::held::Held;
use super::keys::{field, parse_value, value};
use super::link::Link;
use super::{Core, ENTRY_TTL};
use crate::daemon::engines::registry::{RegistrationId, RegistryError};
use crate::protocol::UserId;
use crate::protocol::admin::ConnectionInfo;

impl Core {
    /// The Redis node that holds a user's hash.
    fn link_of(&self, user_id: UserId) -> &Arc<Link> {
        &self.links[self.nodes.index_of(&user_id.0.to_be_bytes())]
    }

    pub(super) async fn register(
        &self,
        user_id: UserId,
        connection: ConnectionInfo,
        limit: u32,
    ) -> Result<RegistrationId, RegistryError> {
        let link = self.link_of(user_id);
        let id = self.next_registration();
        let value = value(&connection);
        // Noted before Redis is asked: whatever Redis has, this node knows of.
        let held_here = link.held.add(user_id, id, connection);
        let noted = Noted { held: &link.held, user_id, id, kept: false };
        let mut invocation = self.scripts.register.key(self.keys.user(user_id));
        invocation.arg(field(self.life, id)).arg(value).arg(limit).arg(self.life.to_string());
        invocation.arg(&self.keys.lives).arg(ENTRY_TTL.as_millis() as u64);
        let held = match link.script::<i64>(&invocation).await {
            Ok(held) => held,
            // Redis is out: the viewer comes in, and is written there when it is back.
            Err(_) if limit > 0 && held_here > limit as usize => held_here as i64 - 1,
            Err(_) => -1,
        };
        if held < 0 {
            noted.keep();
            return Ok(id);
        }
        drop(noted);
        link.attention.notify_one();
        Err(RegistryError::TooManyConnections(u32::try_from(held).unwrap_or(u32::MAX)))
    }

    pub(super) async fn unregister(&self, user_id: UserId, id: RegistrationId) {
        let link = self.link_of(user_id);
        if !link.held.remove(user_id, id) {
            return;
        }
        // What is not removed now stays owed, also if the caller does not wait for the answer.
        let owed = Owed { link, user_id, id, paid: false };
        if link.takes_removals() {
            let mut removal = redis::cmd("HDEL");
            removal.arg(self.keys.user(user_id)).arg(field(self.life, id));
            if link.command::<()>(&removal).await.is_ok() {
                owed.settle();
            }
        }
    }

    pub(super) async fn locate(
        &self,
        user_id: UserId,
    ) -> Result<Vec<ConnectionInfo>, RegistryError> {
        let link = self.link_of(user_id);
        let mut invocation = self.scripts.locate.key(self.keys.user(user_id));
        invocation.arg(self.life.to_string()).arg(&self.keys.lives);
        let elsewhere: Vec<Vec<u8>> = link.script(&invocation).await?;
        let elsewhere = elsewhere.iter().filter_map(|value| parse_value(value));
        let here = link.held.of(user_id).into_iter().map(|(_, info)| info);
        let mut connections: Vec<_> = elsewhere.chain(here).collect();
        connections.sort_by_key(|info| info.connected_at);
        Ok(connections)
    }
}

/// A connection noted here while Redis is asked. Dropped early (refused, or nobody waits any more) it
/// is forgotten, and its entry owed: Redis may have it all the same.
struct Noted<'a> {
    held: &'a Held,
    user_id: UserId,
    id: RegistrationId,
    kept: bool,
}

impl Noted<'_> {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        if !self.kept && self.held.remove(self.user_id, self.id) {
            self.held.owe(self.user_id, self.id);
        }
    }
}

/// A removal on its way.
struct Owed<'a> {
    link: &'a Link,
    user_id: UserId,
    id: RegistrationId,
    paid: bool,
}

impl Owed<'_> {
    fn settle(mut self) {
        self.paid = true;
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        if !self.paid {
            self.link.held.owe(self.user_id, self.id);
            self.link.attention.notify_one();
        }
    }
}
