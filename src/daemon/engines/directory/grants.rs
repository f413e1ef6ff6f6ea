//! The roles that operators gave users on single streams.

use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::Mutex;

use super::snapshot::Snapshot;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::protocol::{Role, StreamId, UserId, UserScope};

/// Roles by user, each ordered by stream.
type ByUser = AHashMap<UserId, Vec<(StreamId, Role)>>;

/// The roles that were given. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Grants {
    store: SharedMetadataStore,
    by_user: Arc<Snapshot<ByUser>>,
    /// The state that [`Self::changed`] has compared with last.
    reported: Arc<Mutex<Arc<ByUser>>>,
}

impl Grants {
    pub async fn load(store: SharedMetadataStore) -> Result<Self, StoreError> {
        let grants = Self { store, by_user: Arc::default(), reported: Arc::default() };
        grants.reload().await?;
        // Nobody is connected yet.
        grants.changed();
        Ok(grants)
    }

    /// Reads all of them again.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let reload = self.by_user.begin();
        let mut by_user = ByUser::new();
        for grant in self.store.grants().await? {
            by_user.entry(grant.user_id).or_default().push((grant.stream_id, grant.role));
        }
        by_user.values_mut().for_each(|roles| roles.sort_unstable_by_key(|(stream, _)| *stream));
        self.by_user.finish(&reload, by_user);
        Ok(())
    }

    /// Returns the role that a user was given on a stream, viewer without one.
    pub fn role_on(&self, user_id: UserId, stream_id: StreamId) -> Role {
        let by_user = self.by_user.get();
        let roles = by_user.get(&user_id).map(Vec::as_slice).unwrap_or_default();
        let found = roles.binary_search_by_key(&stream_id, |(stream, _)| *stream);
        found.map(|at| roles[at].1).unwrap_or_default()
    }

    /// Returns the highest role that a user was given on any stream.
    pub fn highest(&self, user_id: UserId) -> Role {
        let by_user = self.by_user.get();
        let roles = by_user.get(&user_id).into_iter().flatten();
        roles.map(|(_, role)| *role).max().unwrap_or_default()
    }

    /// Returns the users whose roles have changed since the last call, each with the stream.
    pub fn changed(&self) -> Vec<UserScope> {
        let now = self.by_user.get().clone();
        let before = std::mem::replace(&mut *self.reported.lock(), now.clone());
        let differs = |user: &&UserId| before.get(user) != now.get(user);
        let mut changed = Vec::new();
        for user_id in before.keys().chain(now.keys()).filter(differs) {
            let roles_in = |state: &ByUser| state.get(user_id).cloned().unwrap_or_default();
            let earlier = roles_in(&before);
            let later = roles_in(&now);
            let of_one = |role: &&(StreamId, Role)| earlier.contains(role) != later.contains(role);
            let streams = earlier.iter().chain(&later).filter(of_one).map(|(stream, _)| *stream);
            changed.extend(streams.map(|stream_id| UserScope::on(*user_id, stream_id)));
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::metadata::in_memory::InMemoryMetadata;
    use crate::protocol::admin::Grant;

    fn grant(user_id: u64, stream_id: u64, role: Role) -> Grant {
        Grant {
            user_id: UserId(user_id),
            stream_id: StreamId(stream_id),
            role,
            name: None,
            created_by: "test".to_owned(),
            created_at: 1,
        }
    }

    #[tokio::test]
    async fn a_role_counts_on_its_stream_until_reloaded() {
        let store = Arc::new(InMemoryMetadata::default());
        store.put_grant_of(grant(42, 7, Role::Broadcaster));
        store.put_grant_of(grant(42, 3, Role::Moderator));
        let grants = Grants::load(store.clone()).await.unwrap();
        let on = |stream| grants.role_on(UserId(42), StreamId(stream));
        assert_eq!((on(3), on(7), on(8)), (Role::Moderator, Role::Broadcaster, Role::Viewer));
        assert_eq!(grants.role_on(UserId(43), StreamId(7)), Role::Viewer);
        assert_eq!(grants.highest(UserId(42)), Role::Broadcaster);
        store.put_grant_of(grant(42, 8, Role::Moderator));
        assert_eq!(on(8), Role::Viewer, "not read yet");
        store.set_down(true);
        assert!(grants.reload().await.is_err());
        assert_eq!(on(7), Role::Broadcaster, "a failed reload changes nothing");
        store.set_down(false);
        grants.reload().await.unwrap();
        assert_eq!(on(8), Role::Moderator);
    }

    #[tokio::test]
    async fn changed_roles_are_told_once() {
        let store = Arc::new(InMemoryMetadata::default());
        store.put_grant_of(grant(1, 7, Role::Moderator));
        let grants = Grants::load(store.clone()).await.unwrap();
        assert_eq!(grants.changed(), [], "nobody is connected at the start");
        store.put_grant_of(grant(2, 7, Role::Moderator));
        store.put_grant_of(grant(1, 8, Role::Broadcaster));
        grants.reload().await.unwrap();
        let on = |user_id, stream_id| UserScope::on(UserId(user_id), StreamId(stream_id));
        assert_eq!(grants.clone().changed(), [on(1, 8), on(2, 7)], "not user 1 on stream 7");
        assert_eq!(grants.changed(), []);
    }
}
