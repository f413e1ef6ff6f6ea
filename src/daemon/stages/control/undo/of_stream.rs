//! Decides which audit entries a moderator of a stream may take back: those of acts that it may
//! make, about its stream or about a user.

use serde::Deserialize;

use super::of_sanctions::SanctionPlan;
use super::plan::Plan;
use crate::daemon::stages::control::sanctions::SanctionDetail;
use crate::daemon::stages::control::shadows::{ShadowDetail, ShadowPlan, UnshadowDetail};
use crate::daemon::stages::control::{Actor, Control, ControlError};
use crate::protocol::admin::{AuditEntry, Outcome, UndoRequest, UserRef, audit_action};
use crate::protocol::{CommentId, Identity, StreamId, UserId};

/// The part of the audit entry of deletions of a user that says on which stream they were made.
#[derive(Debug, Deserialize)]
struct DeletionsDetail {
    #[serde(default)]
    stream_id: Option<StreamId>,
}

/// The streams that an entry changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryScope {
    Stream(StreamId),
    /// All of them, as moderators with a role on all of them may.
    Everywhere,
    /// More than moderators of a stream change.
    Operators,
}

impl Control {
    /// Takes back an act of moderators, as [`Self::undo`] does.
    ///
    /// # Errors
    /// Those of [`Self::undo`]; [`ControlError::EntryOfOtherStream`] and
    /// [`ControlError::EntryOfOperators`]; [`ControlError::OwnUser`] about the moderator itself,
    /// and [`ControlError::NotHigherRole`] if a sanction would be in force again.
    pub(crate) async fn undo_of_stream(
        &self,
        moderator: &Identity,
        stream_id: StreamId,
        request: &UndoRequest,
    ) -> Result<Outcome, ControlError> {
        let audit_id = request.audit_id;
        let entry = self.parts.metadata.audit_entry(audit_id).await?;
        let entry = entry.ok_or(ControlError::UnknownAudit(audit_id))?;
        let actor = Actor::bearer(moderator);
        let about = self.about(&entry).await?;
        match about.scope {
            EntryScope::Stream(known) if known != stream_id => {
                return Err(ControlError::EntryOfOtherStream { audit_id, stream_id });
            }
            EntryScope::Operators => {
                return Err(ControlError::EntryOfOperators { audit_id, action: entry.action });
            }
            EntryScope::Everywhere if !moderator.everywhere.is_staff() => {
                return Err(ControlError::EntryOfOperators { audit_id, action: entry.action });
            }
            EntryScope::Stream(_) | EntryScope::Everywhere => {}
        }
        let holds_on = match about.scope {
            EntryScope::Stream(known) => Some(known),
            EntryScope::Everywhere | EntryScope::Operators => None,
        };
        // Moderators may delete comments of their own, and take that back.
        if let Some(user_id) = about.user_id
            && !(entry.actor == actor.name() && user_id == moderator.user_id)
        {
            let plan = self.planned(&actor, audit_id, None).await?.plan;
            let user = self.resolve(&UserRef(format!("id:{user_id}"))).await?;
            self.check_user(moderator, holds_on, &user, is_against(&plan)).await?;
        }
        self.undo(&actor, request).await
    }

    async fn about(&self, entry: &AuditEntry) -> Result<AboutEntry, ControlError> {
        let of_user = user_of(&entry.target);
        let scope = match entry.action.as_str() {
            audit_action::DELETE
            | audit_action::REJECT
            | audit_action::RESTORE
            | audit_action::APPROVE
            | audit_action::HIDE
            | audit_action::SHADOW_COMMENT
            | audit_action::UNSHADOW_COMMENT => return self.about_comment(entry).await,
            audit_action::BAN | audit_action::TIMEOUT | audit_action::UNBAN => {
                sanction_scope(&SanctionDetail::of(&entry.detail).streams())
            }
            audit_action::CLEAR_ROOM
            | audit_action::ROOM
            | audit_action::ROOM_TERMS
            | audit_action::PIN
            | audit_action::UNPIN => scope_of(stream_of(&entry.target)),
            audit_action::DELETE_OF_USER => {
                let detail = DeletionsDetail::deserialize(&entry.detail).ok();
                scope_of(detail.and_then(|detail| detail.stream_id))
            }
            audit_action::SHADOW => {
                let detail = ShadowDetail::deserialize(&entry.detail).ok();
                scope_of(detail.and_then(|detail| detail.stream_id))
            }
            audit_action::UNSHADOW => {
                let detail = UnshadowDetail::deserialize(&entry.detail).ok();
                let lifted = detail.map(|detail| detail.lifted).unwrap_or_default();
                let first = lifted.first().and_then(|shadow| shadow.stream_id);
                let is_one = lifted.iter().all(|shadow| shadow.stream_id == first);
                scope_of(first.filter(|_| is_one))
            }
            _ => EntryScope::Operators,
        };
        Ok(AboutEntry { scope, user_id: of_user })
    }

    /// A held comment is in the review queue only.
    async fn about_comment(&self, entry: &AuditEntry) -> Result<AboutEntry, ControlError> {
        let comment_id: Option<CommentId> =
            entry.target.strip_prefix("comment ").and_then(|id| id.parse().ok());
        let comment_id = comment_id.ok_or(ControlError::UnknownAudit(entry.audit_id))?;
        if let Some(decided) = self.parts.metadata.decided_review(comment_id).await? {
            let item = decided.item;
            let scope = EntryScope::Stream(item.stream_id);
            return Ok(AboutEntry { scope, user_id: Some(item.user_id) });
        }
        let owner = self.owner(comment_id).await?;
        let scope = EntryScope::Stream(owner.stream_id);
        Ok(AboutEntry { scope, user_id: Some(owner.user_id) })
    }
}

/// The streams that an entry changes, and the user that it is about.
struct AboutEntry {
    scope: EntryScope,
    user_id: Option<UserId>,
}

/// Returns whether taking an entry back puts something in force against a user.
fn is_against(plan: &Plan) -> bool {
    matches!(
        plan,
        Plan::Sanctions(SanctionPlan::Restore { .. }) | Plan::Shadows(ShadowPlan::Restore { .. })
    )
}

/// A change of sanctions on all streams, or on several, is one of a moderator of all.
fn sanction_scope(streams: &[Option<StreamId>]) -> EntryScope {
    match streams {
        [Some(only)] => EntryScope::Stream(*only),
        _ => EntryScope::Everywhere,
    }
}

fn scope_of(stream_id: Option<StreamId>) -> EntryScope {
    stream_id.map_or(EntryScope::Operators, EntryScope::Stream)
}

fn stream_of(target: &str) -> Option<StreamId> {
    Some(StreamId(target.strip_prefix("stream ")?.parse().ok()?))
}

fn user_of(target: &str) -> Option<UserId> {
    Some(UserId(target.strip_prefix("user ")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::daemon::engines::metadata::in_memory::stream;
    use crate::daemon::stages::control::fakes::{World, comment_id, operator};
    use crate::protocol::Role;
    use crate::protocol::admin::{DrainRequest, ShadowRequest};
    use crate::protocol::stream::ModerationMode;

    const ONE: StreamId = StreamId(1);
    const TWO: StreamId = StreamId(2);

    const MODERATOR: (u64, Role) = (100, Role::Moderator);

    async fn undo(world: &World, stream_id: StreamId, audit_id: u64) -> Result<Outcome, String> {
        let fields = json!({ "audit_id": audit_id });
        let undone = world.moderate(MODERATOR, stream_id, "undo", fields).await;
        undone.map_err(|error| error.body().code.as_str().to_owned())
    }

    async fn world() -> World {
        let world = World::new().await;
        world.metadata.put_stream(stream(2, ModerationMode::Async));
        world.comment(1, "bad");
        world
    }

    #[tokio::test(start_paused = true)]
    async fn a_moderator_takes_acts_on_its_stream_back() {
        let world = world().await;
        let ann = json!({"user": "ann"});
        let comment = json!({ "comment_id": comment_id(1) });
        let last = json!({"user": "ann", "last_ms": 600_000});
        for (name, fields, is_of_stream) in [
            ("delete", comment.clone(), true),
            ("shadow", comment, true),
            ("clear_user", last, true),
            ("clear_room", json!({"last_ms": 600_000}), true),
            ("shadow", ann.clone(), true),
            ("ban", ann.clone(), false),
            ("timeout", ann.clone(), false),
        ] {
            let done = world.moderate(MODERATOR, ONE, name, fields).await.unwrap();
            if is_of_stream {
                assert_eq!(undo(&world, TWO, done.audit_id).await.unwrap_err(), "not_found");
            }
            undo(&world, ONE, done.audit_id).await.unwrap();
            let entry = world.metadata.audits().pop().unwrap();
            assert_eq!((&*entry.action, &*entry.actor), ("undo", "mod (user 100)"), "{name}");
            assert_eq!(undo(&world, ONE, done.audit_id).await.unwrap_err(), "bad_request");
        }
        assert_eq!(world.control.bans().await.unwrap(), []);
        assert_eq!(world.control.shadows().await.unwrap(), []);
        assert_eq!(undo(&world, ONE, 999).await.unwrap_err(), "not_found");
    }

    #[tokio::test(start_paused = true)]
    async fn other_entries_are_left_to_operators() {
        let world = world().await;
        let control = &world.control;
        let drain = DrainRequest { node: None, undo: false };
        let drained = control.drain(&operator(), &drain).await.unwrap();
        let user = UserRef("ann".to_owned());
        let everywhere = ShadowRequest { user, stream_id: None, note: None, duration_ms: None };
        let shadowed = control.shadow(&operator(), &everywhere).await.unwrap();
        let before = world.state();
        for done in [drained, shadowed] {
            assert_eq!(undo(&world, ONE, done.audit_id).await.unwrap_err(), "forbidden");
        }
        let lifted = world.moderate(MODERATOR, ONE, "unshadow", json!({"user": "ann"})).await;
        let error = lifted.unwrap_err();
        assert!(matches!(error, ControlError::ShadowedEverywhere(UserId(42))), "{error}");
        assert_eq!(error.body().code.as_str(), "forbidden");
        assert_eq!(world.state(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn an_undo_hits_no_equal_and_spares_nobody_itself() {
        let world = world().await;
        world.registry.place_as(Role::Moderator, 101, "b").await;
        let admin = (103, Role::Admin);
        let other = json!({"user": "id:101"});
        let timeout = world.moderate(admin, ONE, "timeout", other.clone()).await.unwrap();
        let own = json!({ "audit_id": timeout.audit_id });
        let own = world.moderate((101, Role::Moderator), ONE, "undo", own).await.unwrap_err();
        assert!(matches!(own, ControlError::OwnUser { .. }), "{own}");
        let lifted = world.moderate(admin, ONE, "unban", other).await.unwrap();
        let before = world.state();
        assert_eq!(undo(&world, ONE, lifted.audit_id).await.unwrap_err(), "forbidden");
        assert_eq!(world.state(), before);
        let again = json!({ "audit_id": lifted.audit_id });
        world.moderate(admin, ONE, "undo", again).await.unwrap();
        assert_eq!(world.control.bans().await.unwrap().len(), 1);
    }
}
