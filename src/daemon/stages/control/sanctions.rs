//! Bans, timeouts, and closing a user's connections.

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::cluster::CommandResults;
use super::users::ResolvedUser;
use super::validate::{self, LONGEST_MS, LONGEST_TIMEOUT_MS};
use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{PutSanctions, REPLACES};
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{
    Outcome, Sanction, SanctionKind, SanctionRequest, UnbanRequest, UserRequest, audit_action,
};
use crate::protocol::{CloseCode, StreamId, UserId, UserScope};

/// The parts of the audit entry of a ban, timeout or unban that say on which streams it holds.
#[derive(Debug, Deserialize)]
pub(super) struct SanctionDetail {
    #[serde(default)]
    pub(super) stream_id: Option<StreamId>,
    /// The sanctions that an unban lifted; `None` in entries of earlier versions.
    #[serde(default)]
    pub(super) lifted: Option<Vec<Sanction>>,
}

impl SanctionDetail {
    /// Reads it from the detail of an entry. One that cannot be read is about all streams.
    pub(super) fn of(detail: &Value) -> Self {
        Self::deserialize(detail).unwrap_or(Self { stream_id: None, lifted: None })
    }

    /// Returns the streams, each once; `None` stands for all.
    pub(super) fn streams(&self) -> Vec<Option<StreamId>> {
        let lifted = self.lifted.as_deref().unwrap_or_default();
        let mut streams: Vec<_> = lifted.iter().map(|sanction| sanction.stream_id).collect();
        if streams.is_empty() {
            streams.push(self.stream_id);
        }
        streams.sort_unstable();
        streams.dedup();
        streams
    }

    /// Returns whether both change what holds on a stream, or on all.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let others = other.streams();
        self.streams().iter().any(|stream| others.contains(stream))
    }
}

/// A change of a user's sanctions that is stored. The nodes do not follow it yet.
pub(super) struct StoredSanction {
    pub(super) user: ResolvedUser,
    /// The stream that it is about; `None` if that is all.
    pub(super) stream_id: Option<StreamId>,
    pub(super) audit_id: u64,
    /// The sanction of the same kind that was in force before.
    pub(super) replaced: Option<Sanction>,
    /// When the new sanction ends, in milliseconds since the Unix epoch.
    pub(super) expires_at: Option<u64>,
    /// Sanctions on the user that stay in force, as clauses.
    pub(super) stays: Vec<String>,
}

impl StoredSanction {
    /// Returns the user and the streams.
    pub(super) fn scope(&self) -> UserScope {
        UserScope { user_id: self.user.user_id, stream_id: self.stream_id }
    }

    /// Writes the user, and what is known of the sanction, into the outcome of the change.
    pub(super) fn written_in(self, outcome: Outcome) -> Outcome {
        let Self { user, stream_id, replaced, expires_at, stays, .. } = self;
        let mut outcome = outcome;
        outcome.left_out.extend(stays);
        user.named_in(Outcome { stream_id, replaced, expires_at, ..outcome })
    }
}

/// Returns the request of the audit entry of a ban or timeout: its other fields.
pub(super) fn without_replaced(detail: &Value) -> Value {
    let mut detail = detail.clone();
    if let Some(fields) = detail.as_object_mut() {
        fields.remove(REPLACES);
    }
    detail
}

impl Control {
    /// Bans a user from a stream or from all, for a time or forever. All nodes refuse the user
    /// first; then the user's connections there are closed.
    ///
    /// # Errors
    /// [`ControlError::UnknownStream`].
    pub async fn ban(
        &self,
        actor: &Actor,
        request: &SanctionRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let in_force = self.bans().await?;
        let stored = self.store_ban(actor, request, &in_force).await?;
        let done = self.enforce_ban(stored.scope(), stored.audit_id, started).await;
        Ok(stored.written_in(done))
    }

    /// Makes every node refuse a banned user, and closes the user's connections.
    pub(super) async fn enforce_ban(
        &self,
        banned: UserScope,
        audit_id: u64,
        started: Instant,
    ) -> Outcome {
        let results = self.enforce_sanctions(&[banned], 0).await;
        let connections = Some(results.connections);
        Outcome { connections, ..outcome(audit_id, results, started) }
    }

    /// Makes every node follow the stored sanctions, then closes the connections of users that are
    /// banned: at once, or after a time in which the ban may be taken back.
    pub(super) async fn enforce_sanctions(
        &self,
        banned: &[UserScope],
        after_ms: u64,
    ) -> CommandResults {
        let reloaded = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
        let closing = banned.iter().map(|who| {
            let UserScope { user_id, stream_id } = *who;
            let command = match after_ms {
                0 => NodeCommand::Disconnect { user_id, stream_id, code: CloseCode::Banned },
                after_ms => NodeCommand::DisconnectBanned { user_id, stream_id, after_ms },
            };
            self.command_nodes_of_user(user_id, command)
        });
        join_all(closing).await.into_iter().fold(reloaded, CommandResults::merge)
    }

    /// Stops a user from commenting on a stream or on all, for 1 second to 30 days. The user can
    /// still watch.
    ///
    /// # Errors
    /// [`ControlError::UnknownStream`]; [`ControlError::StaysBanned`]: a user that is banned there
    /// may not watch, and a timeout would not change that.
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

    /// Lifts the ban and the timeout on a stream, or those on all. Others on the user stay, and are
    /// named in the outcome if they hold there too.
    ///
    /// # Errors
    /// [`ControlError::NotSanctioned`]; [`ControlError::SanctionedElsewhere`] and
    /// [`ControlError::SanctionedEverywhere`] if there are others only.
    pub async fn unban(
        &self,
        actor: &Actor,
        request: &UnbanRequest,
    ) -> Result<Outcome, ControlError> {
        self.unban_on(actor, request, &[request.stream_id]).await
    }

    /// Lifts bans and timeouts as [`Self::unban`], on each of these streams; `None` stands for all.
    pub(super) async fn unban_on(
        &self,
        actor: &Actor,
        request: &UnbanRequest,
        streams: &[Option<StreamId>],
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let stored = self.store_unban(actor, request, streams).await?;
        let results = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
        let done = outcome(stored.audit_id, results, started);
        Ok(stored.written_in(done))
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
        let code = CloseCode::Kicked;
        let disconnect = NodeCommand::Disconnect { user_id, stream_id: None, code };
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

    /// Lifts a user's sanctions on these streams in the store; `None` stands for all.
    pub(super) async fn store_unban(
        &self,
        actor: &Actor,
        request: &UnbanRequest,
        streams: &[Option<StreamId>],
    ) -> Result<StoredSanction, ControlError> {
        validate::operator_note(request.note.as_deref())?;
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let mut of_user = self.bans().await?;
        of_user.retain(|sanction| sanction.user_id == user_id);
        let (named, mut others): (Vec<_>, Vec<_>) =
            of_user.into_iter().partition(|sanction| streams.contains(&sanction.stream_id));
        // Moderators of a stream are not told what happens on others.
        others.retain(|sanction| sanction.stream_id.is_none() || streams.contains(&None));
        if named.is_empty() {
            return Err(not_lifted(user_id, &others));
        }
        let entry = self.entry(actor, audit_action::UNBAN, format!("user {user_id}"), request);
        let kinds = [SanctionKind::Ban, SanctionKind::Timeout];
        let lifted = self.parts.metadata.lift(user_id, &kinds, streams, entry).await;
        let audit_id = lifted.map_err(|error| match error {
            StoreError::NotFound(_) => ControlError::NotSanctioned(user_id),
            other => other.into(),
        })?;
        Ok(StoredSanction {
            user,
            stream_id: request.stream_id,
            audit_id,
            replaced: None,
            expires_at: None,
            stays: others.iter().map(|it| format!("{} stays in force", it.text())).collect(),
        })
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
        Ok(StoredSanction {
            user,
            stream_id: None,
            audit_id,
            replaced: None,
            expires_at: None,
            stays: Vec::new(),
        })
    }

    /// Stores a sanction and its audit entry. One that replaces another corrects it, and costs no
    /// points.
    async fn store_sanction(
        &self,
        actor: &Actor,
        request: &SanctionRequest,
        kind: SanctionKind,
        in_force: &[Sanction],
    ) -> Result<StoredSanction, ControlError> {
        let reason = validate::reason(request.reason.as_deref())?;
        validate::operator_note(request.note.as_deref())?;
        let stream_id = request.stream_id;
        if let Some(stream_id) = stream_id {
            self.require_stream(stream_id).await?;
        }
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let of_user =
            |kind| in_force.iter().filter(move |it| it.user_id == user_id && it.kind == kind);
        let mut bans = of_user(SanctionKind::Ban);
        let ban = bans.find(|ban| ban.stream_id.is_none() || ban.stream_id == stream_id);
        if let (SanctionKind::Timeout, Some(ban)) = (kind, ban) {
            return Err(ControlError::StaysBanned { user_id, ban: ban.text() });
        }
        let now = self.parts.clock.now_ms();
        let expires_at = request.duration_ms.map(|duration_ms| now + duration_ms);
        let sanction = Sanction {
            user_id,
            kind,
            stream_id,
            name: user.name.as_deref().map(str::to_owned),
            reason,
            created_by: actor.name().to_owned(),
            created_at: now,
            expires_at,
        };
        let mut entry = self.entry(actor, kind.as_str(), format!("user {user_id}"), request);
        // Points count on all streams, so moderators of one stream must not be able to give them.
        if stream_id.is_none() {
            entry = self.costing_sanction(entry, user_id, kind);
        }
        let put = self.parts.metadata.put_sanctions(&[sanction], entry).await?;
        let PutSanctions { audit_id, mut replaced } = put;
        let replaced = replaced.pop();
        Ok(StoredSanction { user, stream_id, audit_id, replaced, expires_at, stays: Vec::new() })
    }
}

/// Returns why an unban lifts nothing, by the other sanctions on the user.
fn not_lifted(user_id: UserId, others: &[Sanction]) -> ControlError {
    if others.is_empty() {
        return ControlError::NotSanctioned(user_id);
    }
    let texts: Vec<_> = others.iter().map(Sanction::text).collect();
    let stays = texts.join(", ");
    if others.iter().any(|sanction| sanction.stream_id.is_none()) {
        return ControlError::SanctionedEverywhere { user_id, stays };
    }
    ControlError::SanctionedElsewhere { user_id, stays }
}
