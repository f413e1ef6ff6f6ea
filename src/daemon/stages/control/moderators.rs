//! Leaves moderators out of acts on several users: marking a crowd must not hit the people who keep
//! order in it.
//!
//! The role of a user is that of its connections, so it is known while the user is connected. While
//! the registry does not answer, no role is known, and nobody is left out.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tracing::warn;

use super::cluster::in_time;
use super::{Control, ControlError};
use crate::protocol::admin::{BatchChange, BatchRequest, UserRef, highest_role};

/// Returns the user that a change acts against.
fn acted_against(change: &BatchChange) -> Option<&UserRef> {
    match change {
        BatchChange::Ban(request) | BatchChange::Timeout(request) => Some(&request.user),
        BatchChange::Kick(request) => Some(&request.user),
        BatchChange::Unban(_)
        | BatchChange::Delete(_)
        | BatchChange::Approve(_)
        | BatchChange::Reject(_) => None,
    }
}

impl Control {
    /// Returns the changes of a batch that are not made because they act against a moderator, by
    /// their places.
    pub(super) async fn moderators_left_out(
        &self,
        request: &BatchRequest,
    ) -> BTreeMap<usize, ControlError> {
        if request.include_moderators || request.changes.len() < 2 {
            return BTreeMap::new();
        }
        let asked = request.changes.iter().enumerate().map(async |(at, change)| {
            let left_out = self.as_moderator(acted_against(change)?).await?;
            Some((at, left_out))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Returns the error that leaves a user out; `None` if it is not connected as a moderator.
    async fn as_moderator(&self, reference: &UserRef) -> Option<ControlError> {
        // A user that is not found has an error of its own when the change is made.
        let user = self.resolve(reference).await.ok()?;
        match in_time(self.parts.registry.locate(user.user_id)).await {
            Ok(connections) => {
                let role = highest_role(&connections);
                let left_out = || ControlError::ModeratorLeftOut { user: user.shown(), role };
                role.is_staff().then(left_out)
            }
            Err(error) => {
                let user_id = user.user_id;
                warn!(%user_id, %error, "role of a user not known; a batch may act on a moderator");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::control::fakes::{World, operator};
    use crate::protocol::Role;
    use crate::protocol::admin::{Outcome, SanctionRequest, UserRequest};

    fn named(user_id: u64) -> UserRef {
        UserRef(format!("id:{user_id}"))
    }

    fn timeout(user_id: u64) -> BatchChange {
        let user = named(user_id);
        let duration_ms = Some(60_000);
        BatchChange::Timeout(SanctionRequest { user, reason: None, note: None, duration_ms })
    }

    fn ban(user_id: u64) -> BatchChange {
        let user = named(user_id);
        BatchChange::Ban(SanctionRequest { user, reason: None, note: None, duration_ms: None })
    }

    fn kick(user_id: u64) -> BatchChange {
        BatchChange::Kick(UserRequest { user: named(user_id), note: None })
    }

    /// Users 101 to 104 are connected, each with another role; 104 is a viewer.
    async fn world() -> World {
        let world = World::new().await;
        let roles = [Role::Moderator, Role::Broadcaster, Role::Admin, Role::Viewer];
        for (user_id, role) in (101..).zip(roles) {
            world.registry.place(user_id, "a").await;
            world.registry.place_as(role, user_id, "b").await;
        }
        world
    }

    async fn batch(
        world: &World,
        changes: Vec<BatchChange>,
        include_moderators: bool,
    ) -> Result<Outcome, ControlError> {
        let request = BatchRequest { changes, disconnect_after_ms: None, include_moderators };
        world.control.batch(&operator(), &request).await
    }

    #[tokio::test]
    async fn a_batch_leaves_moderators_out_and_names_them() {
        for act in [ban, timeout, kick] {
            let world = world().await;
            let changes = (101..106).map(act).collect();
            let outcome = batch(&world, changes, false).await.unwrap();
            assert_eq!((outcome.changes, outcome.left_out.len()), (Some(2), 3), "{outcome:?}");
            let first = &outcome.left_out[0];
            assert!(first.starts_with("user 101 has the role moderator: name"), "{first}");
            assert!(outcome.left_out[2].contains("103 has the role admin"), "{outcome:?}");
            let sanctioned: Vec<_> =
                world.control.bans().await.unwrap().iter().map(|it| it.user_id.0).collect();
            assert!(sanctioned.iter().all(|user_id| *user_id >= 104), "{sanctioned:?}");
            let closed = world.journal.lines().join("\n");
            assert!(!closed.contains("disconnect 101"), "{closed}");
        }
    }

    #[tokio::test]
    async fn moderators_are_reached_if_they_are_included() {
        let world = world().await;
        let changes = (101..105).map(timeout).collect();
        let outcome = batch(&world, changes, true).await.unwrap();
        assert_eq!((outcome.changes, outcome.left_out.len()), (Some(4), 0), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_moderator_that_is_named_alone_is_banned() {
        let world = world().await;
        let outcome = batch(&world, vec![ban(101)], false).await.unwrap();
        assert_eq!((outcome.connections, outcome.left_out.len()), (Some(3), 0));
        let BatchChange::Ban(request) = ban(102) else { panic!() };
        world.control.ban(&operator(), &request).await.unwrap();
        assert_eq!(world.control.bans().await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_batch_of_moderators_only_is_refused() {
        let world = world().await;
        let error = batch(&world, vec![kick(101), kick(102)], false).await.unwrap_err();
        assert!(matches!(error, ControlError::ModeratorLeftOut { .. }), "{error}");
        assert_eq!(world.metadata.audits().len(), 0, "nothing was done");
    }

    #[tokio::test]
    async fn a_ban_works_while_no_role_is_known() {
        let world = world().await;
        world.registry.set_down(true);
        let outcome = batch(&world, vec![ban(101), ban(104)], false).await.unwrap();
        assert_eq!((outcome.changes, outcome.left_out.len()), (Some(2), 0), "{outcome:?}");
    }
}
