//! Roles on single streams that operators give, beside those in tokens.
//!
//! A role counts from the next connection or request on. So that it does at once, the connections
//! of the user to the stream are closed, with a code after which clients reconnect.

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::base::handoff::ViewerSink;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::directory::Grants;
use crate::daemon::engines::metadata::NewAudit;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{
    GRANTED_ROLES, Grant, GrantRequest, Outcome, RevokeRequest, audit_action,
};
use crate::protocol::{CloseCode, StreamId, UserId};

/// The parts of the audit entry of a given role that taking it back needs.
#[derive(Debug, Deserialize)]
pub(super) struct GrantDetail {
    user_id: UserId,
    stream_id: StreamId,
    /// The role on the stream that was given before.
    #[serde(default)]
    replaces: Option<Grant>,
}

impl GrantDetail {
    pub(super) fn taken_back(self) -> GrantPlan {
        let Self { user_id, stream_id, replaces } = self;
        replaces.map_or(GrantPlan::Revoke { user_id, stream_id }, GrantPlan::Restore)
    }
}

/// The part of the audit entry of a revoked role that taking it back needs.
#[derive(Debug, Deserialize)]
pub(super) struct RevokeDetail {
    revoked: Grant,
}

impl RevokeDetail {
    pub(super) fn taken_back(self) -> GrantPlan {
        GrantPlan::Restore(self.revoked)
    }
}

/// The change of a user's role that takes another back.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum GrantPlan {
    Revoke { user_id: UserId, stream_id: StreamId },
    Restore(Grant),
}

impl Control {
    /// Gives a user a role on a stream.
    ///
    /// # Errors
    /// The role is none of [`GRANTED_ROLES`], the stream or the user does not exist, the note is
    /// too long, or the store does not answer.
    pub async fn grant(
        &self,
        actor: &Actor,
        request: &GrantRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        if !GRANTED_ROLES.contains(&request.role) {
            let problem = "must be moderator or broadcaster: all are viewers, and an admin is one \
                           on all streams, by the token";
            return Err(ControlError::Invalid { field: "role", problem: problem.to_owned() });
        }
        let stream_id = request.stream_id;
        self.require_stream(stream_id).await?;
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let grant = Grant {
            user_id,
            stream_id,
            role: request.role,
            name: user.name.as_deref().map(str::to_owned),
            created_by: actor.name().to_owned(),
            created_at: self.parts.clock.now_ms(),
        };
        let mut entry = self.entry(actor, audit_action::GRANT, format!("user {user_id}"), request);
        if let Some(fields) = entry.detail.as_object_mut() {
            fields.insert("user_id".to_owned(), json!(user_id));
        }
        let audit_id = self.parts.metadata.put_grant(&grant, entry).await?;
        Ok(user.named_in(self.enforce_grants(audit_id, started).await))
    }

    /// Takes the role that a user was given on a stream. Roles in its token stay.
    ///
    /// # Errors
    /// The user was given none there, the note is too long, or the store does not answer.
    pub async fn revoke(
        &self,
        actor: &Actor,
        request: &RevokeRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let stream_id = request.stream_id;
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let entry = self.entry(actor, audit_action::REVOKE, format!("user {user_id}"), request);
        let audit_id = self.store_revocation(user_id, stream_id, entry).await?;
        Ok(user.named_in(self.enforce_grants(audit_id, started).await))
    }

    /// Returns the roles that were given, the newest first.
    pub async fn grants(&self) -> Result<Vec<Grant>, ControlError> {
        Ok(self.parts.metadata.grants().await?)
    }

    async fn store_revocation(
        &self,
        user_id: UserId,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<u64, ControlError> {
        let revoked = self.parts.metadata.revoke_grant(user_id, stream_id, audit).await;
        revoked.map_err(|error| match error {
            StoreError::NotFound(_) => ControlError::NoRoleGiven { user_id, stream_id },
            other => other.into(),
        })
    }

    async fn enforce_grants(&self, audit_id: u64, started: Instant) -> Outcome {
        let results = self.command_all_nodes(NodeCommand::ReloadGrants).await;
        let connections = Some(results.connections);
        Outcome { connections, ..outcome(audit_id, results, started) }
    }

    /// Carries out a plan that takes a change of roles back, and returns the audit entry.
    pub(super) async fn apply_grant_plan(
        &self,
        plan: GrantPlan,
        audit: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let (user_id, audit_id) = match plan {
            GrantPlan::Revoke { user_id, stream_id } => {
                (user_id, self.store_revocation(user_id, stream_id, audit).await?)
            }
            GrantPlan::Restore(grant) => {
                (grant.user_id, self.parts.metadata.put_grant(&grant, audit).await?)
            }
        };
        let outcome = self.enforce_grants(audit_id, started).await;
        Ok(Outcome { user_id: Some(user_id), ..outcome })
    }
}

/// Closes the connections of users whose roles have changed since the last call, on the streams of
/// those roles, so that they reconnect with those of now. Returns their number.
pub async fn reconnect_changed(grants: &Grants, sink: &dyn ViewerSink) -> u64 {
    let mut closed = 0;
    for changed in grants.changed() {
        closed += sink.disconnect_user(changed, CloseCode::Kicked, None).await;
    }
    closed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::control::fakes::{World, operator};
    use crate::protocol::Role;
    use crate::protocol::admin::{UndoRequest, UserRef};

    const STREAM: StreamId = StreamId(1);

    fn request(role: Role) -> GrantRequest {
        GrantRequest { user: UserRef("ann".to_owned()), role, stream_id: STREAM, note: None }
    }

    fn revocation(stream: u64) -> RevokeRequest {
        let user = UserRef("ann".to_owned());
        RevokeRequest { user, stream_id: StreamId(stream), note: None }
    }

    async fn undo(world: &World, audit_id: u64) -> Outcome {
        let request = UndoRequest { audit_id, note: None };
        world.control.undo(&operator(), &request).await.unwrap()
    }

    fn role(world: &World) -> Role {
        world.grants.role_on(UserId(42), STREAM)
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_reaches_all_nodes_and_connections() {
        let world = World::new().await;
        let done = world.control.grant(&operator(), &request(Role::Moderator)).await.unwrap();
        assert_eq!(done.user_id, Some(UserId(42)));
        assert_eq!(role(&world), Role::Moderator);
        let lines = world.journal.lines();
        assert!(lines.contains(&"a: disconnect 42 of 1 kicked".to_owned()), "{lines:?}");
        for node in ["b", "c"] {
            assert!(lines.contains(&format!("{node}: ReloadGrants")), "{lines:?}");
        }
        let audit = &world.metadata.audits()[0];
        assert_eq!((&*audit.action, &*audit.target), ("grant", "user 42"));
        let listed = world.control.grants().await.unwrap();
        assert_eq!(listed[0].text(), "moderator on stream 1");
        world.control.revoke(&operator(), &revocation(1)).await.unwrap();
        assert_eq!(role(&world), Role::Viewer);
        assert!(world.control.grants().await.unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn given_and_revoked_roles_can_be_undone() {
        let world = World::new().await;
        let control = &world.control;
        let first = control.grant(&operator(), &request(Role::Moderator)).await.unwrap();
        let higher = control.grant(&operator(), &request(Role::Broadcaster)).await.unwrap();
        let undone = undo(&world, higher.audit_id).await;
        assert_eq!(undone.now.as_deref(), Some("the user is moderator on stream 1 again"));
        assert_eq!(role(&world), Role::Moderator);
        let revoked = control.revoke(&operator(), &revocation(1)).await.unwrap();
        undo(&world, revoked.audit_id).await;
        assert_eq!(role(&world), Role::Moderator);
        let undone = undo(&world, first.audit_id).await;
        assert_eq!(undone.now.as_deref(), Some("the role on stream 1 is revoked"));
        assert_eq!(role(&world), Role::Viewer);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_grant_changes_nothing() {
        let world = World::new().await;
        let before = world.state();
        for role in [Role::Viewer, Role::Admin] {
            let refused = world.control.grant(&operator(), &request(role)).await.unwrap_err();
            assert_eq!(refused.body().code.as_str(), "bad_message", "{refused}");
        }
        let elsewhere = GrantRequest { stream_id: StreamId(99), ..request(Role::Moderator) };
        let unknown = world.control.grant(&operator(), &elsewhere).await.unwrap_err();
        assert_eq!(unknown.body().code.as_str(), "unknown_stream");
        let nobody = UserRef("nobody".to_owned());
        let nobody = GrantRequest { user: nobody, ..request(Role::Moderator) };
        let unknown = world.control.grant(&operator(), &nobody).await.unwrap_err();
        assert_eq!(unknown.body().code.as_str(), "not_found");
        let none = world.control.revoke(&operator(), &revocation(1)).await.unwrap_err();
        assert!(matches!(none, ControlError::NoRoleGiven { .. }), "{none}");
        assert_eq!(none.body().code.as_str(), "not_found");
        assert_eq!(world.state(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_being_away_is_a_retryable_error() {
        let world = World::new().await;
        world.metadata.set_down(true);
        let refused = world.control.grant(&operator(), &request(Role::Moderator)).await;
        assert!(refused.unwrap_err().body().retry_after_ms.is_some());
    }
}
