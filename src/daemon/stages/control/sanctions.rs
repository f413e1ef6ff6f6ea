//! Bans, timeouts, and closing a user's connections.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::CommandResults;
use super::users::ResolvedUser;
use super::validate::{self, LONGEST_MS, LONGEST_TIMEOUT_MS};
use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{
    Outcome, Sanction, SanctionKind, SanctionRequest, UserRequest, audit_action,
};
use crate::protocol::{CloseCode, UserId};

/// The field of an audit entry with the sanction that its sanction replaced. The other fields are
/// those of the request.
const REPLACES: &str = "replaces";

/// A change of a user's sanctions that is stored. The nodes do not follow it yet.
pub(super) struct StoredSanction {
    pub(super) user: ResolvedUser,
    pub(super) audit_id: u64,
    /// The sanction of the same kind that was in force before.
    pub(super) replaced: Option<Sanction>,
    /// When the new sanction ends, in milliseconds since the Unix epoch.
    pub(super) expires_at: Option<u64>,
}

impl StoredSanction {
    /// Writes the user, and what is known of the sanction, into the outcome of the change.
    pub(super) fn written_in(self, outcome: Outcome) -> Outcome {
        let Self { user, replaced, expires_at, .. } = self;
        user.named_in(Outcome { replaced, expires_at, ..outcome })
    }
}

/// Returns the request of the audit entry of a ban or timeout.
pub(super) fn without_replaced(detail: &Value) -> Value {
    let mut detail = detail.clone();
    if let Some(fields) = detail.as_object_mut() {
        fields.remove(REPLACES);
    }
    detail
}

impl Control {
    /// Bans a user, for a time or forever. All nodes refuse the user first; then the user's
    /// connections are closed.
    pub async fn ban(
        &self,
        actor: &Actor,
        request: &SanctionRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let in_force = self.bans().await?;
        let stored = self.store_ban(actor, request, &in_force).await?;
        let done = self.enforce_ban(stored.user.user_id, stored.audit_id, started).await;
        Ok(stored.written_in(done))
    }

    /// Makes every node refuse a banned user, and closes the user's connections.
    pub(super) async fn enforce_ban(
        &self,
        user_id: UserId,
        audit_id: u64,
        started: Instant,
    ) -> Outcome {
        let results = self.enforce_sanctions(&[user_id], 0).await;
        let connections = Some(results.connections);
        Outcome { connections, ..outcome(audit_id, results, started) }
    }

    /// Makes every node follow the stored sanctions, then closes the connections of users that are
    /// banned: at once, or after a time in which the ban may be taken back.
    pub(super) async fn enforce_sanctions(
        &self,
        banned: &[UserId],
        after_ms: u64,
    ) -> CommandResults {
        let reloaded = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
        let closing = banned.iter().map(|user_id| {
            let user_id = *user_id;
            let command = match after_ms {
                0 => NodeCommand::Disconnect { user_id, code: CloseCode::Banned },
                after_ms => NodeCommand::DisconnectBanned { user_id, after_ms },
            };
            self.command_nodes_of_user(user_id, command)
        });
        join_all(closing).await.into_iter().fold(reloaded, CommandResults::merge)
    }

    /// Stops a user from commenting for 1 second to 30 days. The user can still watch.
    ///
    /// # Errors
    /// [`ControlError::StaysBanned`]: a banned user may not watch, and a timeout would not change
    /// that.
    pub async fn timeout(
        &self,
        actor: &Actor,
        request: &SanctionRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let in_force = self.bans().await?;
        let stored = self.store_timeout(actor, request, &in_force).await?;
        let results = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
        let done = outcome(stored.audit_id, results, started);
        Ok(stored.written_in(done))
    }

    /// Lifts bans and timeouts.
    pub async fn unban(
        &self,
        actor: &Actor,
        request: &UserRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let stored = self.store_unban(actor, request).await?;
        let results = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
        Ok(stored.user.named_in(outcome(stored.audit_id, results, started)))
    }

    /// Closes every connection of a user, who may reconnect at once.
    pub async fn kick(
        &self,
        actor: &Actor,
        request: &UserRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let stored = self.store_kick(actor, request).await?;
        let user_id = stored.user.user_id;
        let disconnect = NodeCommand::Disconnect { user_id, code: CloseCode::Kicked };
        let results = self.command_nodes_of_user(user_id, disconnect).await;
        let connections = Some(results.connections);
        let done = outcome(stored.audit_id, results, started);
        Ok(stored.user.named_in(Outcome { connections, ..done }))
    }

    /// Returns the bans and timeouts in force, newest first.
    pub async fn bans(&self) -> Result<Vec<Sanction>, ControlError> {
        Ok(self.parts.metadata.sanctions(self.parts.clock.now_ms()).await?)
    }

    /// Stores a ban and its audit entry. `in_force` are the sanctions in force.
    pub(super) async fn store_ban(
        &self,
        actor: &Actor,
        request: &SanctionRequest,
        in_force: &[Sanction],
    ) -> Result<StoredSanction, ControlError> {
        if let Some(duration_ms) = request.duration_ms {
            validate::lifetime_ms("duration_ms", duration_ms, LONGEST_MS)?;
        }
        self.store_sanction(actor, request, SanctionKind::Ban, in_force).await
    }

    /// Stores a timeout and its audit entry.
    pub(super) async fn store_timeout(
        &self,
        actor: &Actor,
        request: &SanctionRequest,
        in_force: &[Sanction],
    ) -> Result<StoredSanction, ControlError> {
        let Some(duration_ms) = request.duration_ms else {
            let problem = "must be given: a timeout ends, a ban need not".to_owned();
            return Err(ControlError::Invalid { field: "duration_ms", problem });
        };
        validate::lifetime_ms("duration_ms", duration_ms, LONGEST_TIMEOUT_MS)?;
        self.store_sanction(actor, request, SanctionKind::Timeout, in_force).await
    }

    /// Lifts a user's sanctions in the store.
    pub(super) async fn store_unban(
        &self,
        actor: &Actor,
        request: &UserRequest,
    ) -> Result<StoredSanction, ControlError> {
        validate::operator_note(request.note.as_deref())?;
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let entry = self.entry(actor, audit_action::UNBAN, format!("user {user_id}"), request);
        let kinds = [SanctionKind::Ban, SanctionKind::Timeout];
        let lifted = self.parts.metadata.lift(user_id, &kinds, entry).await;
        let audit_id = lifted.map_err(|error| match error {
            StoreError::NotFound(_) => ControlError::NotSanctioned(user_id),
            other => other.into(),
        })?;
        Ok(StoredSanction { user, audit_id, replaced: None, expires_at: None })
    }

    /// Records that a user's connections are closed.
    pub(super) async fn store_kick(
        &self,
        actor: &Actor,
        request: &UserRequest,
    ) -> Result<StoredSanction, ControlError> {
        validate::operator_note(request.note.as_deref())?;
        let user = self.resolve(&request.user).await?;
        let entry =
            self.entry(actor, audit_action::KICK, format!("user {}", user.user_id), request);
        let audit_id = self.parts.metadata.audit(entry).await?;
        Ok(StoredSanction { user, audit_id, replaced: None, expires_at: None })
    }

    /// Stores a sanction and its audit entry, which names the sanction that it replaces.
    async fn store_sanction(
        &self,
        actor: &Actor,
        request: &SanctionRequest,
        kind: SanctionKind,
        in_force: &[Sanction],
    ) -> Result<StoredSanction, ControlError> {
        let reason = validate::reason(request.reason.as_deref())?;
        validate::operator_note(request.note.as_deref())?;
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let of_user =
            |kind| in_force.iter().find(|it| it.user_id == user_id && it.kind == kind).cloned();
        if let (SanctionKind::Timeout, Some(ban)) = (kind, of_user(SanctionKind::Ban)) {
            return Err(ControlError::StaysBanned { user_id, ban: ban.text() });
        }
        let replaced = of_user(kind);
        let now = self.parts.clock.now_ms();
        let expires_at = request.duration_ms.map(|duration_ms| now + duration_ms);
        let sanction = Sanction {
            user_id,
            kind,
            name: user.name.as_deref().map(str::to_owned),
            reason,
            created_by: actor.name().to_owned(),
            created_at: now,
            expires_at,
        };
        let mut entry = self.entry(actor, kind.as_str(), format!("user {user_id}"), request);
        if let (Some(replaced), Some(fields)) = (&replaced, entry.detail.as_object_mut()) {
            fields.insert(REPLACES.to_owned(), json!(replaced));
        }
        // One that replaces another corrects it.
        if replaced.is_none() {
            entry = self.costing_sanction(entry, user_id, kind);
        }
        let audit_id = self.parts.metadata.sanction(sanction, entry).await?;
        Ok(StoredSanction { user, audit_id, replaced, expires_at })
    }
}
