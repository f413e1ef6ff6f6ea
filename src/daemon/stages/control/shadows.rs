//! Users whose comments only they see.
//!
//! Comments of a shadowed user are accepted and acknowledged like all others, and marked in the
//! log. Nothing is sent to the user, and no connection is closed.

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::validate::{self, LONGEST_MS};
use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::NewAudit;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{Outcome, Shadow, ShadowRequest, UserRequest, audit_action};
use crate::protocol::{StreamId, UserId};

/// The parts of the audit entry of a shadow that taking it back needs.
#[derive(Debug, Deserialize)]
pub(super) struct ShadowDetail {
    #[serde(default)]
    pub(super) stream_id: Option<StreamId>,
    /// The shadow on the same streams that was in force before.
    #[serde(default)]
    pub(super) replaces: Option<Shadow>,
}

/// The part of the audit entry of lifted shadows that taking it back needs.
#[derive(Debug, Deserialize)]
pub(super) struct UnshadowDetail {
    pub(super) lifted: Vec<Shadow>,
}

/// The change of a user's shadows that takes another back.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ShadowPlan {
    Lift {
        user_id: UserId,
        stream_id: Option<StreamId>,
    },
    /// Puts shadows of one user in force again; at least one.
    Restore {
        user_id: UserId,
        shadows: Vec<Shadow>,
    },
}

impl Control {
    /// Makes new comments of a user, on one stream or all, visible to nobody but the user.
    pub async fn shadow(
        &self,
        actor: &Actor,
        request: &ShadowRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        if let Some(duration_ms) = request.duration_ms {
            validate::lifetime_ms("duration_ms", duration_ms, LONGEST_MS)?;
        }
        validate::operator_note(request.note.as_deref())?;
        if let Some(stream_id) = request.stream_id
            && self.parts.streams.get(stream_id).is_none()
        {
            return Err(ControlError::UnknownStream(stream_id));
        }
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let in_force = self.shadows().await?;
        let same = |it: &&Shadow| it.user_id == user_id && it.stream_id == request.stream_id;
        let replaced = in_force.iter().find(same);
        let now = self.parts.clock.now_ms();
        let shadow = Shadow {
            user_id,
            stream_id: request.stream_id,
            name: user.name.as_deref().map(str::to_owned),
            created_by: actor.name().to_owned(),
            created_at: now,
            expires_at: request.duration_ms.map(|duration_ms| now + duration_ms),
        };
        let mut entry = self.entry(actor, audit_action::SHADOW, format!("user {user_id}"), request);
        if let (Some(replaced), Some(fields)) = (replaced, entry.detail.as_object_mut()) {
            fields.insert("replaces".to_owned(), json!(replaced));
        }
        let audit_id = self.parts.metadata.put_shadows(&[shadow], entry).await?;
        let results = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
        Ok(user.named_in(outcome(audit_id, results, started)))
    }

    /// Lifts all shadows of a user. Comments from before stay visible to the user only.
    pub async fn unshadow(
        &self,
        actor: &Actor,
        request: &UserRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let mut lifted = self.shadows().await?;
        lifted.retain(|shadow| shadow.user_id == user_id);
        let outcome = self.lift_and_record(actor, request, user_id, &lifted, started).await?;
        Ok(user.named_in(outcome))
    }

    /// Lifts the shadow of a user on one stream. One on all streams stays.
    ///
    /// # Errors
    /// [`ControlError::NotShadowed`]; [`ControlError::ShadowedEverywhere`] if there is only one on
    /// all streams.
    pub(super) async fn unshadow_on(
        &self,
        actor: &Actor,
        request: &UserRequest,
        stream_id: StreamId,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let in_force = self.shadows().await?;
        let of_user = || in_force.iter().filter(move |shadow| shadow.user_id == user_id);
        let everywhere = of_user().find(|shadow| shadow.stream_id.is_none());
        let lifted: Vec<_> =
            of_user().filter(|shadow| shadow.stream_id == Some(stream_id)).cloned().collect();
        if lifted.is_empty() && everywhere.is_some() {
            return Err(ControlError::ShadowedEverywhere(user_id));
        }
        let outcome = self.lift_and_record(actor, request, user_id, &lifted, started).await?;
        let stays = everywhere.map(|shadow| format!("{} stays in force", shadow.text()));
        let left_out = stays.into_iter().collect();
        Ok(Outcome { left_out, ..user.named_in(outcome) })
    }

    async fn lift_and_record(
        &self,
        actor: &Actor,
        request: &UserRequest,
        user_id: UserId,
        lifted: &[Shadow],
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let mut entry =
            self.entry(actor, audit_action::UNSHADOW, format!("user {user_id}"), request);
        if let Some(fields) = entry.detail.as_object_mut() {
            fields.insert("lifted".to_owned(), json!(lifted));
        }
        let streams: Vec<_> = lifted.iter().map(|shadow| shadow.stream_id).collect();
        let audit_id = self.lift_shadows(user_id, &streams, entry).await?;
        let results = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
        Ok(outcome(audit_id, results, started))
    }

    /// Returns the shadows in force, newest first.
    pub async fn shadows(&self) -> Result<Vec<Shadow>, ControlError> {
        Ok(self.parts.metadata.shadows(self.parts.clock.now_ms()).await?)
    }

    async fn lift_shadows(
        &self,
        user_id: UserId,
        streams: &[Option<StreamId>],
        audit: NewAudit,
    ) -> Result<u64, ControlError> {
        let lifted = self.parts.metadata.lift_shadows(user_id, streams, audit).await;
        lifted.map_err(|error| match error {
            StoreError::NotFound(_) => ControlError::NotShadowed(user_id),
            other => other.into(),
        })
    }

    /// Carries out a plan that takes a change of shadows back, and returns the audit entry.
    pub(super) async fn apply_shadow_plan(
        &self,
        plan: ShadowPlan,
        audit: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let (user_id, audit_id) = match plan {
            ShadowPlan::Lift { user_id, stream_id } => {
                (user_id, self.lift_shadows(user_id, &[stream_id], audit).await?)
            }
            ShadowPlan::Restore { user_id, shadows } => {
                (user_id, self.parts.metadata.put_shadows(&shadows, audit).await?)
            }
        };
        let results = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
        Ok(Outcome { user_id: Some(user_id), ..outcome(audit_id, results, started) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::control::fakes::{World, operator};
    use crate::protocol::admin::{UndoRequest, UserRef};

    const STREAM: StreamId = StreamId(1);

    fn request(stream_id: Option<StreamId>, duration_ms: Option<u64>) -> ShadowRequest {
        ShadowRequest { user: UserRef("ann".to_owned()), stream_id, note: None, duration_ms }
    }

    async fn undo(world: &World, audit_id: u64) -> Outcome {
        let request = UndoRequest { audit_id, note: None };
        world.control.undo(&operator(), &request).await.unwrap()
    }

    /// Returns the streams that the user is shadowed on.
    async fn streams(world: &World) -> Vec<Option<StreamId>> {
        let shadows = world.control.shadows().await.unwrap();
        assert!(shadows.iter().all(|shadow| shadow.user_id == UserId(42)));
        shadows.iter().map(|shadow| shadow.stream_id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_shadow_reaches_all_nodes_and_no_viewer() {
        let world = World::new().await;
        world.registry.place(42, "a").await;
        let done = world.control.shadow(&operator(), &request(Some(STREAM), None)).await.unwrap();
        assert_eq!((done.user_id, done.connections), (Some(UserId(42)), None));
        assert!(world.sanctions.is_shadowed(UserId(42), STREAM));
        assert!(!world.sanctions.is_shadowed(UserId(42), StreamId(2)));
        let lines = world.journal.lines();
        for node in ["b", "c"] {
            assert!(lines.contains(&format!("{node}: ReloadSanctions")), "{lines:?}");
        }
        assert!(!lines.iter().any(|line| line.contains("isconnect") || line.contains("irect")));
        let audit = &world.metadata.audits()[0];
        assert_eq!((&*audit.action, &*audit.target), ("shadow", "user 42"));
    }

    #[tokio::test(start_paused = true)]
    async fn shadows_and_their_lifting_can_be_undone() {
        let world = World::new().await;
        let control = &world.control;
        let first = control.shadow(&operator(), &request(None, None)).await.unwrap();
        let longer = control.shadow(&operator(), &request(None, Some(60_000))).await.unwrap();
        let undone = undo(&world, longer.audit_id).await;
        assert_eq!(
            undone.now.as_deref(),
            Some("the shadow on all streams without an end is in force again")
        );
        undo(&world, first.audit_id).await;
        assert_eq!(streams(&world).await, []);
        control.shadow(&operator(), &request(None, None)).await.unwrap();
        control.shadow(&operator(), &request(Some(STREAM), None)).await.unwrap();
        let user = UserRequest { user: UserRef("42".to_owned()), note: None };
        let lifted = control.unshadow(&operator(), &user).await.unwrap();
        assert_eq!(streams(&world).await, []);
        undo(&world, lifted.audit_id).await;
        let entries = control.audit_log(10).await.unwrap();
        let undos = entries.iter().filter(|entry| entry.action == audit_action::UNDO);
        assert_eq!(undos.count(), 3, "two shadows come back with one entry");
        let mut again = streams(&world).await;
        again.sort_unstable();
        assert_eq!(again, [None, Some(STREAM)]);
        assert!(world.sanctions.is_shadowed(UserId(42), STREAM));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_shadow_changes_nothing() {
        let world = World::new().await;
        let before = world.state();
        let unknown = world.control.shadow(&operator(), &request(Some(StreamId(99)), None)).await;
        assert!(matches!(unknown, Err(ControlError::UnknownStream(StreamId(99)))), "{unknown:?}");
        let short = world.control.shadow(&operator(), &request(None, Some(5))).await;
        assert!(matches!(short, Err(ControlError::Invalid { .. })), "{short:?}");
        let user = UserRequest { user: UserRef("ann".to_owned()), note: None };
        let lifted = world.control.unshadow(&operator(), &user).await;
        assert!(matches!(lifted, Err(ControlError::NotShadowed(UserId(42)))), "{lifted:?}");
        assert_eq!(world.state(), before);
    }
}
