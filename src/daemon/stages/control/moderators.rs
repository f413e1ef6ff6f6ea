//! Leaves moderators out of acts on several users: marking a crowd must not hit the people who keep
//! order in it. Moderators of a stream do not act against each other either.
//!
//! The role of a user is the highest of its connections and of those that operators gave it, of
//! those that count where the act holds: a role on another stream protects nobody here. One that
//! only its token gives is known while the user is connected and the registry answers; without
//! that, nobody is left out or protected for it.

use futures_util::future::join_all;
use tracing::warn;

use super::cluster::in_time;
use super::of_stream::stream_of_act;
use super::users::ResolvedUser;
use super::{Control, ControlError};
use crate::protocol::admin::{BatchChange, BatchRequest, UserRef, highest_role};
use crate::protocol::{Identity, ModerationAct, Role, StreamId};

/// Returns the user that a change acts against.
fn acted_against(change: &mut BatchChange) -> Option<&mut UserRef> {
    match change {
        BatchChange::Ban(request) | BatchChange::Timeout(request) => Some(&mut request.user),
        BatchChange::Kick(request) => Some(&mut request.user),
        BatchChange::Unban(_)
        | BatchChange::Delete(_)
        | BatchChange::Approve(_)
        | BatchChange::Reject(_) => None,
    }
}

/// Returns the user that an act on a stream is about.
fn user_of(act: &mut ModerationAct) -> Option<&mut UserRef> {
    match act {
        ModerationAct::ClearUser(request) => Some(&mut request.user),
        ModerationAct::Timeout(request) | ModerationAct::Ban(request) => Some(&mut request.user),
        ModerationAct::Unban(request) => Some(&mut request.user),
        ModerationAct::Shadow(request) => request.user.as_mut(),
        ModerationAct::Unshadow(request) => request.user.as_mut(),
        // The entry that an undo takes back says whom it is about.
        ModerationAct::Undo(_)
        | ModerationAct::Delete(_)
        | ModerationAct::ClearRoom(_)
        | ModerationAct::Approve(_)
        | ModerationAct::Reject(_)
        | ModerationAct::Pin(_)
        | ModerationAct::Unpin(_)
        | ModerationAct::OpenPoll(_)
        | ModerationAct::ClosePoll(_)
        | ModerationAct::Message(_) => None,
    }
}

/// Returns the stream that a change acts on; `None` if that is all.
fn stream_of_change(change: &BatchChange) -> Option<StreamId> {
    match change {
        BatchChange::Ban(request) | BatchChange::Timeout(request) => request.stream_id,
        BatchChange::Unban(request) => request.stream_id,
        BatchChange::Kick(_)
        | BatchChange::Delete(_)
        | BatchChange::Approve(_)
        | BatchChange::Reject(_) => None,
    }
}

/// Returns the stream that an act of a moderator holds on; `None` if that is all.
fn stream_of(
    moderator: &Identity,
    stream_id: StreamId,
    act: &ModerationAct,
) -> Result<Option<StreamId>, ControlError> {
    let scope = match act {
        ModerationAct::Timeout(request) | ModerationAct::Ban(request) => request.scope,
        ModerationAct::Unban(request) => request.scope,
        _ => return Ok(Some(stream_id)),
    };
    stream_of_act(moderator, stream_id, scope)
}

impl Control {
    /// Refuses an act about the moderator itself, and one against a user that is connected with the
    /// same or a higher role. Returns the act with the id of its user: it is carried out on the
    /// user that was checked, even if the name belongs to another one a moment later.
    ///
    /// # Errors
    /// [`ControlError::OwnUser`], [`ControlError::NotHigherRole`] and
    /// [`ControlError::RoleOfOneStream`]; the user is not found.
    pub(super) async fn permitted_act(
        &self,
        moderator: &Identity,
        stream_id: StreamId,
        act: &ModerationAct,
    ) -> Result<ModerationAct, ControlError> {
        let mut act = act.clone();
        let holds_on = stream_of(moderator, stream_id, &act)?;
        let is_against = !matches!(act, ModerationAct::Unban(_) | ModerationAct::Unshadow(_));
        let Some(reference) = user_of(&mut act) else { return Ok(act) };
        let user = self.resolve(reference).await?;
        *reference = user.reference();
        self.check_user(moderator, holds_on, &user, is_against).await?;
        Ok(act)
    }

    /// Like [`Self::permitted_act`], for a user that is known. An act that is not against the user
    /// is refused about the moderator itself only: nobody lifts a sanction of its own either. The
    /// roles of both are those where the act holds; `None` stands for all streams.
    pub(super) async fn check_user(
        &self,
        moderator: &Identity,
        holds_on: Option<StreamId>,
        user: &ResolvedUser,
        is_against: bool,
    ) -> Result<(), ControlError> {
        if user.user_id == moderator.user_id {
            return Err(ControlError::OwnUser { user: user.shown() });
        }
        if !is_against {
            return Ok(());
        }
        let own = if holds_on.is_some() { moderator.role } else { moderator.everywhere };
        match self.role_of(user, holds_on).await {
            Some(role) if role.is_staff() && role >= own => {
                Err(ControlError::NotHigherRole { user: user.shown(), role, own })
            }
            _ => Ok(()),
        }
    }

    /// Returns the changes of a batch, in their order. Those that act against a moderator are
    /// errors, as are those whose user is not found; all others against a user name it by its id,
    /// so that they are made on the user that was checked.
    pub(super) async fn permitted_changes(
        &self,
        request: &BatchRequest,
    ) -> Vec<Result<BatchChange, ControlError>> {
        let changes = request.changes.iter().cloned();
        if request.include_moderators || request.changes.len() < 2 {
            return changes.map(Ok).collect();
        }
        join_all(changes.map(|change| self.permitted_change(change))).await
    }

    async fn permitted_change(&self, mut change: BatchChange) -> Result<BatchChange, ControlError> {
        let holds_on = stream_of_change(&change);
        let Some(reference) = acted_against(&mut change) else { return Ok(change) };
        let user = self.resolve(reference).await?;
        *reference = user.reference();
        match self.role_of(&user, holds_on).await {
            Some(role) if role.is_staff() => {
                Err(ControlError::ModeratorLeftOut { user: user.shown(), role })
            }
            _ => Ok(change),
        }
    }

    /// Returns the role of a user on a stream, or its highest on any, by its connections and by
    /// what it was given; `None` if it was given none and the registry does not answer.
    async fn role_of(&self, user: &ResolvedUser, stream_id: Option<StreamId>) -> Option<Role> {
        let grants = &self.parts.grants;
        let given = match stream_id {
            Some(stream_id) => grants.role_on(user.user_id, stream_id),
            None => grants.highest(user.user_id),
        };
        match in_time(self.parts.registry.locate(user.user_id)).await {
            Ok(connections) => Some(highest_role(&connections, stream_id).max(given)),
            Err(_) if given.is_staff() => Some(given),
            Err(error) => {
                let user_id = user.user_id;
                warn!(%user_id, %error, "role of a user not known; an act may hit a moderator");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::daemon::stages::control::fakes::{World, moderator, operator};
    use crate::protocol::admin::{Grant, GrantRequest, Outcome, SanctionRequest, UserRequest};
    use crate::protocol::{StreamId, UserId};

    fn named(user_id: u64) -> UserRef {
        UserRef(format!("id:{user_id}"))
    }

    fn timeout(user_id: u64) -> BatchChange {
        let user = named(user_id);
        let duration_ms = Some(60_000);
        BatchChange::Timeout(SanctionRequest {
            user,
            stream_id: None,
            reason: None,
            note: None,
            duration_ms,
        })
    }

    fn ban(user_id: u64) -> BatchChange {
        let user = named(user_id);
        BatchChange::Ban(SanctionRequest {
            user,
            stream_id: None,
            reason: None,
            note: None,
            duration_ms: None,
        })
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

    /// Acts on stream 1 as a moderator with a token.
    async fn act(
        world: &World,
        own: (u64, Role),
        name: &str,
        user_id: u64,
    ) -> Result<Outcome, ControlError> {
        let mut fields = json!({ "user": named(user_id) });
        if name == "clear_user" {
            fields["last_ms"] = json!(60_000);
        }
        world.moderate(own, StreamId(1), name, fields).await
    }

    #[tokio::test]
    async fn a_moderator_acts_only_against_lower_roles() {
        let world = world().await;
        let before = world.state();
        for name in ["ban", "timeout", "clear_user", "shadow"] {
            for (own, user_id) in [
                ((101, Role::Moderator), 101),
                ((100, Role::Moderator), 101),
                ((101, Role::Moderator), 103),
                ((102, Role::Broadcaster), 103),
                ((100, Role::Admin), 103),
            ] {
                let refused = act(&world, own, name, user_id).await.unwrap_err().body();
                assert_eq!(refused.code.as_str(), "forbidden", "{own:?} {name} {user_id}");
            }
        }
        assert_eq!(world.state(), before);
        let staff = act(&world, (100, Role::Moderator), "ban", 101).await.unwrap_err();
        let text = staff.to_string();
        assert!(text.starts_with("user 101 has the role moderator: only a higher"), "{text}");
        act(&world, (101, Role::Moderator), "timeout", 104).await.unwrap();
        act(&world, (101, Role::Moderator), "ban", 105).await.unwrap();
        act(&world, (103, Role::Admin), "ban", 101).await.unwrap();
    }

    #[tokio::test]
    async fn an_act_without_its_check_is_not_made() {
        let world = world().await;
        world.metadata.put_user(103, "root", 1);
        let root = |name: &str| {
            let fields = json!({"user": "root"});
            ModerationAct::named(name, fields).unwrap()
        };
        let moderator = moderator((101, Role::Moderator));
        let before = world.state();
        for name in ["ban", "timeout", "unban"] {
            world.metadata.fail_next("users_named");
            let failed = world.control.moderate(&moderator, StreamId(1), &root(name)).await;
            let error = failed.unwrap_err();
            assert!(matches!(error, ControlError::Store(_)), "{name}: {error}");
        }
        let by_name = |name: &str| {
            let user = UserRef(name.to_owned());
            BatchChange::Ban(SanctionRequest {
                user,
                stream_id: None,
                reason: None,
                note: None,
                duration_ms: None,
            })
        };
        world.metadata.fail_next("users_named");
        let changes = vec![by_name("root"), by_name("nobody")];
        let error = batch(&world, changes, false).await.unwrap_err();
        assert!(matches!(error, ControlError::Store(_)), "{error}");
        assert_eq!(world.state(), before);
    }

    #[tokio::test]
    async fn an_act_is_made_on_the_user_that_was_checked() {
        let world = world().await;
        let timeout = json!({"user": "ann"});
        let timeout = ModerationAct::named("timeout", timeout).unwrap();
        let moderator = moderator((101, Role::Moderator));
        world.control.moderate(&moderator, StreamId(1), &timeout).await.unwrap();
        let ban = |name: &str| {
            let user = UserRef(name.to_owned());
            BatchChange::Ban(SanctionRequest {
                user,
                stream_id: None,
                reason: None,
                note: None,
                duration_ms: None,
            })
        };
        batch(&world, vec![ban("ann"), ban("id:105")], false).await.unwrap();
        let audits = world.metadata.audits();
        let users: Vec<_> = audits.iter().map(|entry| &entry.detail["user"]).collect();
        assert_eq!(users[..2], ["id:42", "id:42"], "a name may belong to another user by then");
    }

    #[tokio::test]
    async fn a_given_role_protects_also_who_is_away() {
        let world = world().await;
        let grant = GrantRequest {
            user: named(110),
            role: Role::Moderator,
            stream_id: StreamId(1),
            note: None,
        };
        world.control.grant(&operator(), &grant).await.unwrap();
        let refused = act(&world, (101, Role::Moderator), "ban", 110).await.unwrap_err();
        assert!(matches!(refused, ControlError::NotHigherRole { .. }), "{refused}");
        world.registry.set_down(true);
        let outcome = batch(&world, vec![ban(110), ban(104)], false).await.unwrap();
        assert_eq!((outcome.changes, outcome.left_out.len()), (Some(1), 1), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_role_on_another_stream_protects_nobody_here() {
        let world = World::new().await;
        let other = StreamId(99);
        let viewer = Role::Viewer;
        let broadcaster = Role::Broadcaster;
        world.registry.place_on(other, broadcaster, viewer, 110, "b").await;
        world.registry.place_on(StreamId(1), viewer, viewer, 110, "b").await;
        world.registry.place_on(other, Role::Admin, Role::Admin, 111, "b").await;
        world.metadata.put_grant_of(Grant {
            user_id: UserId(112),
            stream_id: other,
            role: Role::Broadcaster,
            name: None,
            created_by: "op".to_owned(),
            created_at: 1,
        });
        world.grants.reload().await.unwrap();
        let ban = async |user_id, scope: &str| {
            let fields = json!({"user": named(user_id), "scope": scope});
            world.moderate((100, Role::Moderator), StreamId(1), "ban", fields).await
        };
        for user_id in [110, 112] {
            let refused = ban(user_id, "everywhere").await.unwrap_err();
            assert!(matches!(refused, ControlError::NotHigherRole { .. }), "{refused}");
            let banned = ban(user_id, "stream").await.unwrap();
            let undo = json!({ "audit_id": banned.audit_id });
            world.moderate_one((100, Role::Moderator), StreamId(1), "undo", undo).await.unwrap();
            let unban = ban(user_id, "stream").await.unwrap();
            assert_eq!(unban.stream_id, Some(StreamId(1)));
        }
        let refused = ban(111, "stream").await.unwrap_err();
        assert!(matches!(refused, ControlError::NotHigherRole { .. }), "{refused}");
        let on_stream = |user_id| {
            let BatchChange::Ban(request) = self::ban(user_id) else { panic!() };
            BatchChange::Ban(SanctionRequest { stream_id: Some(StreamId(1)), ..request })
        };
        let changes = [110, 111, 112].map(on_stream).to_vec();
        let outcome = batch(&world, changes, false).await.unwrap();
        assert_eq!((outcome.changes, outcome.left_out.len()), (Some(2), 1), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_moderator_lifts_no_sanction_of_its_own() {
        let world = world().await;
        act(&world, (103, Role::Admin), "timeout", 101).await.unwrap();
        let refused = act(&world, (101, Role::Moderator), "unban", 101).await.unwrap_err();
        assert!(matches!(refused, ControlError::OwnUser { .. }), "{refused}");
        act(&world, (102, Role::Moderator), "unban", 101).await.unwrap();
    }
}
