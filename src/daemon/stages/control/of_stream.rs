//! Carries out the acts of moderators of one stream.

use super::{Actor, Control, ControlError};
use crate::protocol::admin::{
    DeleteOfUserRequest, Outcome, RestoreRequest, SanctionRequest, ShadowRequest, UnbanRequest,
    UserRef, UserRequest,
};
use crate::protocol::moderation::{
    ActScope, ClearUserRequest, SanctionActRequest, ShadowActRequest, UnbanActRequest,
    UnshadowActRequest,
};
use crate::protocol::{CommentId, Identity, ModerationAct, StreamId};

/// The comment or the user that an act names.
enum Named {
    Comment(CommentId),
    User(UserRef),
}

impl Named {
    fn of(comment_id: Option<CommentId>, user: Option<UserRef>) -> Result<Self, ControlError> {
        match (comment_id, user) {
            (Some(comment_id), None) => Ok(Self::Comment(comment_id)),
            (None, Some(user)) => Ok(Self::User(user)),
            (Some(_), Some(_)) => Err(invalid("and `comment_id` are given: name one of them")),
            (None, None) => Err(invalid("or `comment_id` is missing")),
        }
    }
}

fn invalid(problem: &str) -> ControlError {
    ControlError::Invalid { field: "user", problem: problem.to_owned() }
}

impl Control {
    /// Carries out an act of a moderator on a stream. Comments of other streams are not touched,
    /// and shadows hold on this one. Bans and timeouts hold on the streams of the moderator's role,
    /// which are all or this one, unless the act says where.
    ///
    /// # Errors
    /// Those of the operation with the name of the act, [`ControlError::OfOtherStream`],
    /// [`ControlError::RoleOfOneStream`], [`ControlError::OwnUser`] and
    /// [`ControlError::NotHigherRole`]; of a message [`ControlError::NotInStream`]; of an undo also
    /// [`ControlError::EntryOfOtherStream`] and [`ControlError::EntryOfOperators`].
    pub async fn moderate(
        &self,
        moderator: &Identity,
        stream_id: StreamId,
        act: &ModerationAct,
    ) -> Result<Outcome, ControlError> {
        let stream = self.require_stream(stream_id).await?;
        let act = self.permitted_act(moderator, stream_id, act).await?;
        let actor = &Actor::bearer(moderator);
        let expected = Some(stream_id);
        match &act {
            ModerationAct::Delete(request) => self.delete_of_stream(actor, request, expected).await,
            ModerationAct::ClearUser(request) => {
                let ClearUserRequest { user, last_ms, reason, note } = request.clone();
                let stream_id = expected;
                let request = DeleteOfUserRequest { user, last_ms, stream_id, reason, note };
                self.delete_of_user(actor, &request).await
            }
            ModerationAct::ClearRoom(request) => self.clear_room(actor, stream_id, request).await,
            ModerationAct::Timeout(request) => {
                let shortest = Some(stream.room.shortest_timeout_ms());
                let request = sanction_of(moderator, stream_id, request)?;
                let duration_ms = request.duration_ms.or(shortest);
                self.timeout(actor, &SanctionRequest { duration_ms, ..request }).await
            }
            ModerationAct::Ban(request) => {
                self.ban(actor, &sanction_of(moderator, stream_id, request)?).await
            }
            ModerationAct::Unban(request) => {
                let UnbanActRequest { user, scope, note } = request.clone();
                let named = stream_of_act(moderator, stream_id, scope)?;
                let request = UnbanRequest { user, stream_id: named, note };
                // Both keep the user from the stream.
                let both = [None, Some(stream_id)];
                let is_both = scope.is_none() && named.is_none();
                let streams = if is_both { &both[..] } else { std::slice::from_ref(&named) };
                self.unban_on(actor, &request, streams).await
            }
            ModerationAct::Approve(request) => {
                self.approve_of_stream(actor, request, expected).await
            }
            ModerationAct::Reject(request) => self.reject_of_stream(actor, request, expected).await,
            ModerationAct::Shadow(request) => {
                self.shadow_of_stream(actor, request, stream_id).await
            }
            ModerationAct::Unshadow(request) => {
                self.unshadow_of_stream(actor, request, stream_id).await
            }
            ModerationAct::Pin(request) => self.pin(actor, stream_id, request).await,
            ModerationAct::Unpin(request) => self.unpin(actor, stream_id, request).await,
            ModerationAct::OpenPoll(request) => self.open_poll(actor, stream_id, request).await,
            ModerationAct::ClosePoll(request) => self.close_poll(actor, stream_id, request).await,
            ModerationAct::Message(request) => {
                self.direct_of_stream(moderator, stream_id, request).await
            }
            ModerationAct::Undo(request) => {
                self.undo_of_stream(moderator, stream_id, request).await
            }
        }
    }

    async fn shadow_of_stream(
        &self,
        actor: &Actor,
        request: &ShadowActRequest,
        stream_id: StreamId,
    ) -> Result<Outcome, ControlError> {
        let ShadowActRequest { comment_id, user, duration_ms, note } = request.clone();
        match Named::of(comment_id, user)? {
            Named::Comment(_) if duration_ms.is_some() => {
                let problem = "is for a user: a comment stays hidden".to_owned();
                Err(ControlError::Invalid { field: "duration_ms", problem })
            }
            Named::Comment(comment_id) => {
                let request = RestoreRequest { comment_id, note };
                self.shadow_comment(actor, &request, stream_id).await
            }
            Named::User(user) => {
                let stream_id = Some(stream_id);
                self.shadow(actor, &ShadowRequest { user, stream_id, note, duration_ms }).await
            }
        }
    }

    async fn unshadow_of_stream(
        &self,
        actor: &Actor,
        request: &UnshadowActRequest,
        stream_id: StreamId,
    ) -> Result<Outcome, ControlError> {
        let UnshadowActRequest { comment_id, user, note } = request.clone();
        match Named::of(comment_id, user)? {
            Named::Comment(comment_id) => {
                let request = RestoreRequest { comment_id, note };
                self.unshadow_comment(actor, &request, stream_id).await
            }
            Named::User(user) => {
                self.unshadow_on(actor, &UserRequest { user, note }, stream_id).await
            }
        }
    }
}

/// Returns the stream that an act of a moderator of `stream_id` holds on; `None` if that is all.
pub(super) fn stream_of_act(
    moderator: &Identity,
    stream_id: StreamId,
    scope: Option<ActScope>,
) -> Result<Option<StreamId>, ControlError> {
    let is_everywhere = moderator.everywhere.is_staff();
    match scope {
        Some(ActScope::Stream) => Ok(Some(stream_id)),
        None if !is_everywhere => Ok(Some(stream_id)),
        Some(ActScope::Everywhere) if !is_everywhere => {
            Err(ControlError::RoleOfOneStream { stream_id, role: moderator.role })
        }
        None | Some(ActScope::Everywhere) => Ok(None),
    }
}

fn sanction_of(
    moderator: &Identity,
    stream_id: StreamId,
    request: &SanctionActRequest,
) -> Result<SanctionRequest, ControlError> {
    let SanctionActRequest { user, scope, reason, note, duration_ms } = request.clone();
    let stream_id = stream_of_act(moderator, stream_id, scope)?;
    Ok(SanctionRequest { user, stream_id, reason, note, duration_ms })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::daemon::engines::metadata::MetadataStore as _;
    use crate::daemon::engines::metadata::in_memory::stream;
    use crate::daemon::stages::control::fakes::{
        STARTED_MS, World, comment_id, moderator, operator,
    };
    use crate::protocol::Role;
    use crate::protocol::admin::{ReviewItem, Sanction};
    use crate::protocol::room::RoomPatch;
    use crate::protocol::stream::ModerationMode;

    const ONE: StreamId = StreamId(1);
    const TWO: StreamId = StreamId(2);

    async fn act(
        world: &World,
        stream_id: StreamId,
        name: &str,
        fields: Value,
    ) -> Result<Outcome, ControlError> {
        world.moderate((100, Role::Moderator), stream_id, name, fields).await
    }

    fn waiting() -> ReviewItem {
        let item = json!({
            "comment_id": comment_id(9),
            "stream_id": ONE,
            "user_id": "42",
            "name": "ann",
            "message": "buy",
            "reason": "link",
            "flagged_at": STARTED_MS,
            "held": true,
        });
        serde_json::from_value(item).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn comments_of_other_streams_are_left_alone() {
        let world = World::new().await;
        world.metadata.put_stream(stream(2, ModerationMode::Async));
        world.comment(1, "bad");
        world.metadata.queue_review(waiting(), 0).await.unwrap();
        let before = world.state();
        let clear = json!({"user": "ann", "last_ms": 600_000});
        for (name, fields) in [
            ("delete", json!({ "comment_id": comment_id(1) })),
            ("approve", json!({ "comment_id": comment_id(9) })),
            ("reject", json!({ "comment_id": comment_id(9) })),
            ("clear_user", clear.clone()),
            ("clear_room", json!({"last_ms": 600_000})),
        ] {
            let error = act(&world, TWO, name, fields).await.unwrap_err();
            assert_eq!(error.body().code.as_str(), "not_found", "{name}: {error}");
        }
        assert_eq!(world.state(), before);
        let of = async |stream_id| {
            world.control.review_queue_of(&operator(), stream_id, 9).await.unwrap().len()
        };
        assert_eq!((of(ONE).await, of(TWO).await), (1, 0));
        assert_eq!(act(&world, ONE, "clear_user", clear).await.unwrap().changes, Some(1));
        act(&world, ONE, "approve", json!({ "comment_id": comment_id(9) })).await.unwrap();
        assert_eq!(of(ONE).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_is_the_shortest_of_the_room() {
        let world = World::new().await;
        let length = async |fields| {
            let done = act(&world, ONE, "timeout", fields).await.unwrap();
            let timeout = world.control.bans().await.unwrap().remove(0);
            assert_eq!(done.expires_at, timeout.expires_at, "a moderator is told");
            timeout.expires_at.unwrap() - STARTED_MS
        };
        let ann = json!({"user": "ann"});
        assert_eq!(length(ann.clone()).await, 600_000);
        let timeouts_ms = Some(vec![60_000, 3_600_000]);
        let patch = RoomPatch { timeouts_ms, ..RoomPatch::default() };
        world.control.update_room(&operator(), ONE, &patch).await.unwrap();
        assert_eq!(length(ann.clone()).await, 60_000);
        assert_eq!(length(json!({"user": "ann", "duration_ms": 5_000})).await, 5_000);
        act(&world, ONE, "unban", ann.clone()).await.unwrap();
        assert!(world.control.bans().await.unwrap().is_empty());
        let unknown = act(&world, StreamId(9), "ban", ann).await.unwrap_err();
        assert!(matches!(unknown, ControlError::UnknownStream(_)), "{unknown}");
    }

    const MODERATOR: (u64, Role) = (100, Role::Moderator);

    async fn in_force(world: &World) -> Vec<(&'static str, Option<u64>)> {
        let sanctions = world.control.bans().await.unwrap();
        let shown = |it: &Sanction| (it.kind.as_str(), it.stream_id.map(|stream_id| stream_id.0));
        let mut shown: Vec<_> = sanctions.iter().map(shown).collect();
        shown.sort_unstable();
        shown
    }

    #[tokio::test(start_paused = true)]
    async fn sanctions_hold_where_the_role_holds() {
        let world = World::new().await;
        world.metadata.put_stream(stream(2, ModerationMode::Async));
        let ann = || json!({"user": "ann"});
        let scoped = |scope: &str| json!({"user": "ann", "scope": scope});
        let banned = world.moderate_one(MODERATOR, TWO, "ban", ann()).await.unwrap();
        assert_eq!(banned.stream_id, Some(TWO));
        world.moderate_one(MODERATOR, ONE, "timeout", scoped("stream")).await.unwrap();
        assert_eq!(in_force(&world).await, [("ban", Some(2)), ("timeout", Some(1))]);
        world.moderate(MODERATOR, ONE, "timeout", ann()).await.unwrap();
        world.moderate(MODERATOR, ONE, "ban", scoped("stream")).await.unwrap();
        let all = [("ban", Some(1)), ("ban", Some(2)), ("timeout", None), ("timeout", Some(1))];
        assert_eq!(in_force(&world).await, all);
        let before = world.state();
        for (name, fields) in [
            ("ban", scoped("everywhere")),
            ("timeout", scoped("everywhere")),
            ("unban", scoped("everywhere")),
        ] {
            let error = world.moderate_one(MODERATOR, ONE, name, fields).await.unwrap_err();
            assert!(matches!(error, ControlError::RoleOfOneStream { .. }), "{name}: {error}");
            assert_eq!(error.body().code.as_str(), "forbidden");
        }
        assert_eq!(world.state(), before, "nothing was changed");
        let lifted = world.moderate_one(MODERATOR, ONE, "unban", ann()).await.unwrap();
        assert_eq!(lifted.left_out.len(), 1, "not what holds on stream 2: {lifted:?}");
        assert_eq!(in_force(&world).await, [("ban", Some(2)), ("timeout", None)]);
        let error = world.moderate_one(MODERATOR, ONE, "unban", ann()).await.unwrap_err();
        assert_eq!(error.body().code.as_str(), "forbidden", "{error}");
        world.moderate(MODERATOR, TWO, "unban", ann()).await.unwrap();
        assert_eq!(in_force(&world).await, [], "both keep the user from stream 2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_moderator_of_one_stream_undoes_there() {
        let world = World::new().await;
        world.metadata.put_stream(stream(2, ModerationMode::Async));
        let ann = || json!({"user": "ann"});
        let everywhere = world.moderate(MODERATOR, ONE, "ban", ann()).await.unwrap();
        let on_two = world.moderate_one(MODERATOR, TWO, "ban", ann()).await.unwrap();
        let undo = async |stream_id, audit_id| {
            let fields = json!({ "audit_id": audit_id });
            let undone = world.moderate_one(MODERATOR, stream_id, "undo", fields).await;
            undone.map_err(|error| error.body().code.as_str())
        };
        let before = world.state();
        assert_eq!(undo(ONE, everywhere.audit_id).await.unwrap_err(), "forbidden");
        assert_eq!(undo(ONE, on_two.audit_id).await.unwrap_err(), "not_found");
        assert_eq!(world.state(), before);
        undo(TWO, on_two.audit_id).await.unwrap();
        assert_eq!(in_force(&world).await, [("ban", None)]);
        let both = world.moderate(MODERATOR, TWO, "unban", ann()).await.unwrap();
        assert_eq!(undo(TWO, both.audit_id).await.unwrap_err(), "forbidden");
        let back = json!({ "audit_id": both.audit_id });
        world.moderate(MODERATOR, TWO, "undo", back).await.unwrap();
        assert_eq!(in_force(&world).await, [("ban", None)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_of_one_stream_does_not_outrank_elsewhere() {
        let world = World::new().await;
        world.registry.place_as(Role::Moderator, 42, "b").await;
        let broadcaster = Identity { role: Role::Broadcaster, ..moderator(MODERATOR) };
        let ban = async |scope: &str| {
            let fields = json!({"user": "ann", "scope": scope});
            let act = ModerationAct::named("ban", fields).unwrap();
            world.control.moderate(&broadcaster, ONE, &act).await
        };
        let error = ban("everywhere").await.unwrap_err();
        assert!(matches!(error, ControlError::NotHigherRole { .. }), "{error}");
        ban("stream").await.unwrap();
        assert_eq!(in_force(&world).await, [("ban", Some(1))]);
    }
}
