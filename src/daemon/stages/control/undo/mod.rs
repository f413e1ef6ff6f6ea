//! Takes back what an operator did.
//!
//! The audit log is the history that this is read from: what an entry changed, what was there
//! before, and whether it was changed again since. An undo is recorded like any other change, with
//! the target of the entry that it takes back.

mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::json;
use tokio::time::Instant;

use self::plan::{Plan, plan};
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::NewAudit;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::UserId;
use crate::protocol::admin::{AuditEntry, Outcome, Sanction, SanctionKind, UndoRequest};

/// The action of an audit entry that takes back another.
pub(super) const UNDO: &str = "undo";
/// Earlier entries about one target that are looked at.
const MAX_ENTRIES: usize = 1_000;

impl Control {
    /// Takes back a ban, timeout, unban, throttle, drain or change of a stream.
    pub async fn undo(
        &self,
        actor: &Actor,
        request: &UndoRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let audit_id = request.audit_id;
        let metadata = &self.parts.metadata;
        let entry = metadata.audit_entry(audit_id).await?;
        let entry = entry.ok_or(ControlError::UnknownAudit(audit_id))?;
        let about = metadata.audit_about(&entry.target, MAX_ENTRIES).await?;
        let now_ms = self.parts.clock.now_ms();
        let plan = plan(&entry, &about, now_ms)
            .map_err(|why| ControlError::NotUndoable { audit_id, why })?;
        let audit = NewAudit {
            at: now_ms,
            actor: actor.name().to_owned(),
            action: UNDO,
            target: entry.target,
            detail: json!({
                "undoes": audit_id, "action": entry.action, "note": request.note,
            }),
        };
        self.carry_out(plan, audit, started).await
    }

    async fn carry_out(
        &self,
        plan: Plan,
        audit: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let metadata = &self.parts.metadata;
        match plan {
            Plan::Lift { user_id, kind } => {
                let user_name = self.name_of(user_id).await?;
                let lifted = metadata.lift(user_id, &[kind], audit).await;
                let audit_id = lifted.map_err(|error| match error {
                    StoreError::NotFound(_) => ControlError::NotSanctioned(user_id),
                    other => other.into(),
                })?;
                let results = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
                let done = outcome(audit_id, results, started);
                Ok(Outcome { user_id: Some(user_id), user_name, ..done })
            }
            Plan::Restore { user_id, sanctions } => {
                let user_name = self.name_of(user_id).await?;
                let is_banned = sanctions.iter().any(|it| it.kind == SanctionKind::Ban);
                let mut audit_id = 0;
                for sanction in sanctions {
                    let sanction = Sanction { name: user_name.clone(), ..sanction };
                    audit_id = metadata.sanction(sanction, audit.clone()).await?;
                }
                let done = if is_banned {
                    // The user may have connected while the ban was lifted.
                    self.enforce_ban(user_id, audit_id, started).await
                } else {
                    let results = self.command_all_nodes(NodeCommand::ReloadSanctions).await;
                    outcome(audit_id, results, started)
                };
                Ok(Outcome { user_id: Some(user_id), user_name, ..done })
            }
            Plan::Throttle { stream_id, sample_rate } => {
                let stored = metadata.set_throttle_override(stream_id, sample_rate, audit);
                let audit_id = stored.await?;
                let command = NodeCommand::Throttle { stream_id, sample_rate };
                let results = self.command_all_nodes(command).await;
                Ok(outcome(audit_id, results, started))
            }
            Plan::Drain { node, undo } => {
                let audit_id = metadata.audit(audit).await?;
                Ok(self.drain_node(node, undo, audit_id, started).await)
            }
            // As with any other change, a stream that ends dismisses its viewers.
            Plan::Stream { stream_id, patch } => {
                self.change_stream(stream_id, patch, audit, started).await
            }
        }
    }

    async fn name_of(&self, user_id: UserId) -> Result<Option<String>, ControlError> {
        let record = self.parts.metadata.user(user_id).await?;
        Ok(record.map(|record| record.name.as_ref().to_owned()))
    }

    /// Returns the newest entries, with what undoes what.
    pub async fn audit_log(&self, limit: usize) -> Result<Vec<AuditEntry>, ControlError> {
        let mut entries = self.parts.metadata.audit_log(limit).await?;
        link(&mut entries);
        Ok(entries)
    }
}

/// Returns the entry that an entry takes back.
fn undone_entry(entry: &AuditEntry) -> Option<u64> {
    if entry.action != UNDO {
        return None;
    }
    entry.detail.get("undoes")?.as_u64()
}

/// Writes into entries what undoes what. An undo is always newer than what it undoes, so the
/// newest entries are enough to know.
fn link(entries: &mut [AuditEntry]) {
    let undos: BTreeMap<u64, u64> =
        entries.iter().filter_map(|entry| Some((undone_entry(entry)?, entry.audit_id))).collect();
    for entry in entries {
        entry.undoes = undone_entry(entry);
        entry.undone_by = undos.get(&entry.audit_id).copied();
    }
}
