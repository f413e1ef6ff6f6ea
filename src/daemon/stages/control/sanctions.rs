//! Bans, timeouts, and closing a user's connections.

use tokio::time::Instant;

use super::users::ResolvedUser;
use super::validate::{self, LONGEST_MS, LONGEST_TIMEOUT_MS};
use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{Outcome, Sanction, SanctionKind, SanctionRequest, UserRequest};
use crate::protocol::{CloseCode, UserId};

struct StoredSanction {
    user: ResolvedUser,
    audit_id: u64,
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
        if let Some(duration_ms) = request.duration_ms {
            validate::lifetime_ms("duration_ms", duration_ms, LONGEST_MS)?;
        }
        let StoredSanction { user, audit_id } =
            self.store_sanction(actor, request, SanctionKind::Ban).await?;
        Ok(user.named_in(self.enforce_ban(user.user_id, audit_id, started).await))
    }

    /// Makes every node refuse a banned user, and closes the user's connections.
    pub(super) async fn enforce_ban(
        &self,
        user_id: UserId,
        audit_id: u64,
        started: Instant,
    ) -> Outcome {
        let reloaded = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
        let disconnect = NodeCommand::Disconnect { user_id, code: CloseCode::Banned };
        let closed = self.command_nodes_of_user(user_id, disconnect).await;
        let connections = Some(closed.connections);
        Outcome { connections, ..outcome(audit_id, reloaded.merge(closed), started) }
    }

    /// Stops a user from commenting for 1 second to 30 days. The user can still watch.
    pub async fn timeout(
        &self,
        actor: &Actor,
        request: &SanctionRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let Some(duration_ms) = request.duration_ms else {
            let problem = "must be given: a timeout ends, a ban need not".to_owned();
            return Err(ControlError::Invalid { field: "duration_ms", problem });
        };
        validate::lifetime_ms("duration_ms", duration_ms, LONGEST_TIMEOUT_MS)?;
        let StoredSanction { user, audit_id } =
            self.store_sanction(actor, request, SanctionKind::Timeout).await?;
        let results = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
        Ok(user.named_in(outcome(audit_id, results, started)))
    }

    /// Lifts bans and timeouts.
    pub async fn unban(
        &self,
        actor: &Actor,
        request: &UserRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let entry = self.entry(actor, "unban", format!("user {user_id}"), request);
        let kinds = [SanctionKind::Ban, SanctionKind::Timeout];
        let lifted = self.parts.metadata.lift(user_id, &kinds, entry).await;
        let audit_id = lifted.map_err(|error| match error {
            StoreError::NotFound(_) => ControlError::NotSanctioned(user_id),
            other => other.into(),
        })?;
        let results = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
        Ok(user.named_in(outcome(audit_id, results, started)))
    }

    /// Closes every connection of a user, who may reconnect at once.
    pub async fn kick(
        &self,
        actor: &Actor,
        request: &UserRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let entry = self.entry(actor, "kick", format!("user {user_id}"), request);
        let audit_id = self.parts.metadata.audit(entry).await?;
        let disconnect = NodeCommand::Disconnect { user_id, code: CloseCode::Kicked };
        let results = self.command_nodes_of_user(user_id, disconnect).await;
        let connections = Some(results.connections);
        Ok(user.named_in(Outcome { connections, ..outcome(audit_id, results, started) }))
    }

    /// Returns the bans and timeouts in force, newest first.
    pub async fn bans(&self) -> Result<Vec<Sanction>, ControlError> {
        Ok(self.parts.metadata.sanctions(self.parts.clock.now_ms()).await?)
    }

    /// Stores a sanction and its audit entry.
    async fn store_sanction(
        &self,
        actor: &Actor,
        request: &SanctionRequest,
        kind: SanctionKind,
    ) -> Result<StoredSanction, ControlError> {
        let reason = validate::reason(request.reason.as_deref())?;
        validate::operator_note(request.note.as_deref())?;
        let user = self.resolve(&request.user).await?;
        let now = self.parts.clock.now_ms();
        let sanction = Sanction {
            user_id: user.user_id,
            kind,
            name: user.name.as_deref().map(str::to_owned),
            reason,
            created_by: actor.name().to_owned(),
            created_at: now,
            expires_at: request.duration_ms.map(|duration_ms| now + duration_ms),
        };
        let target = format!("user {}", user.user_id);
        let entry = self.entry(actor, kind.as_str(), target, request);
        let audit_id = self.parts.metadata.sanction(sanction, entry).await?;
        Ok(StoredSanction { user, audit_id })
    }
}
