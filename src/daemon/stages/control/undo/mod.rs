//! Takes back what an operator did.
//!
//! The audit log is the history that this is read from: what an entry changed, what was there
//! before, and whether it was changed again since. An undo is recorded like any other change, with
//! the target of the entry that it takes back.

mod comments;
mod entries;
mod of_sanctions;
mod of_stream;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tokio::time::Instant;

use self::comments::{CommentEffect, Undoing};
use self::of_sanctions::SanctionPlan;
use self::plan::{Plan, plan};
use super::cluster::CommandResults;
use super::restore::comments_text;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{NewAudit, PointCause};
use crate::protocol::admin::{
    AuditEntry, Outcome, Sanction, SanctionKind, UndoRequest, audit_action,
};
use crate::protocol::{UserId, UserScope};

/// Earlier entries about one target that are looked at.
const MAX_ENTRIES: usize = 1_000;

/// How to take an entry back, and the audit entry for that.
struct PlannedUndo {
    plan: Plan,
    audit: NewAudit,
}

/// Sanctions that were taken back in the store.
struct StoredUndo {
    audit_id: u64,
    user_id: UserId,
    user_name: Option<String>,
    /// The bans that are in force again.
    banned: Vec<UserScope>,
    /// The ban that is lifted.
    lifted: Option<UserScope>,
}

/// The result of taking back one entry of several.
enum UndonePart {
    Sanctions(StoredUndo),
    Comment(CommentEffect),
}

/// Entries that were taken back as one.
#[derive(Default)]
struct UndoneBatch {
    changes: u64,
    has_sanctions: bool,
    banned: BTreeSet<UserScope>,
    /// Comments that are shown again.
    restored: u64,
    /// Comments that their authors are shown again, and nobody else.
    hidden: u64,
    /// Comments that are in the review queue again.
    waiting: u64,
    left_out: Vec<String>,
    first_error: Option<ControlError>,
}

impl UndoneBatch {
    fn add(&mut self, part: UndonePart) {
        self.changes += 1;
        match part {
            UndonePart::Sanctions(stored) => {
                self.has_sanctions = true;
                if let Some(lifted) = stored.lifted {
                    self.banned.remove(&lifted);
                }
                self.banned.extend(stored.banned);
            }
            UndonePart::Comment(effect) => {
                self.restored += u64::from(effect.is_restored);
                self.hidden += u64::from(effect.is_hidden);
                self.waiting += u64::from(effect.waits_for_review);
            }
        }
    }

    fn leave_out(&mut self, error: ControlError) {
        // Recorded, and carried out later.
        self.changes += u64::from(matches!(error, ControlError::Deferred { .. }));
        self.left_out.push(error.to_string());
        self.first_error.get_or_insert(error);
    }
}

impl Control {
    /// Takes back a ban, timeout, unban, shadow, unshadow, given or revoked role, forgiving,
    /// throttle, drain, change of a stream or of its room, deletion, rejection or hiding of a
    /// comment, or several changes that were made as one.
    pub async fn undo(
        &self,
        actor: &Actor,
        request: &UndoRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let planned = self.planned(actor, request.audit_id, request.note.as_deref()).await?;
        let PlannedUndo { plan, audit } = planned;
        let now = plan.now();
        let outcome = self.carry_out(actor, request, plan, audit, started).await?;
        Ok(Outcome { now: now.or(outcome.now.clone()), ..outcome })
    }

    async fn carry_out(
        &self,
        actor: &Actor,
        request: &UndoRequest,
        plan: Plan,
        audit: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        match plan {
            Plan::Sanctions(plan) => {
                let stored = self.store_sanctions(plan, audit).await?;
                let results = self.enforce_sanctions(&stored.banned, 0).await;
                let connections = (!stored.banned.is_empty()).then_some(results.connections);
                let base = outcome(stored.audit_id, results, started);
                let StoredUndo { user_id, user_name, .. } = stored;
                Ok(Outcome { user_id: Some(user_id), user_name, connections, ..base })
            }
            Plan::Shadows(plan) => self.apply_shadow_plan(plan, audit, started).await,
            Plan::Grant(plan) => self.apply_grant_plan(plan, audit, started).await,
            Plan::Forgiven { user_id } => {
                let user_name = self.name_of(user_id).await?;
                let audit_id = self.parts.metadata.audit(audit).await?;
                let base = outcome(audit_id, CommandResults::default(), started);
                Ok(Outcome { user_id: Some(user_id), user_name, ..base })
            }
            Plan::Throttle { stream_id, fixed } => {
                self.fix_rate(stream_id, fixed, audit, started).await
            }
            Plan::Drain { node, undo } => {
                let audit_id = self.parts.metadata.audit(audit).await?;
                Ok(self.drain_node(node, undo, audit_id, started).await)
            }
            // As with any other change, a stream that ends dismisses its viewers.
            Plan::Stream { stream_id, patch } => {
                self.change_stream(stream_id, patch, audit, started).await
            }
            Plan::Room { stream_id, patch } => {
                self.change_room(stream_id, patch, audit, started).await
            }
            Plan::RoomTerms { stream_id, patch } => {
                self.change_terms(stream_id, &patch, audit, started).await
            }
            Plan::Pin { stream_id, pinned } => {
                self.restore_pin(request.audit_id, stream_id, pinned, audit, started).await
            }
            Plan::Comment(plan) => {
                let note = request.note.as_deref();
                let undoing = Undoing { actor, audit_id: request.audit_id, note };
                let undone = self.undo_comment(undoing, plan, audit).await?;
                let base = outcome(undone.audit_id, CommandResults::default(), started);
                Ok(Outcome { user_id: undone.user_id, now: undone.effect.now(), ..base })
            }
            Plan::Batch { entries } => {
                let note = request.note.as_deref();
                self.undo_batch(actor, &entries, note, audit, started).await
            }
        }
    }

    /// Returns how to take an entry back, and the audit entry for that.
    async fn planned(
        &self,
        actor: &Actor,
        audit_id: u64,
        note: Option<&str>,
    ) -> Result<PlannedUndo, ControlError> {
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
            action: audit_action::UNDO,
            target: entry.target,
            detail: json!({ "undoes": audit_id, "action": entry.action, "note": note }),
            points: None,
        };
        let audit = match plan.user_with_points() {
            Some(user_id) => self.giving_back(audit, user_id, PointCause::Entry(audit_id)),
            None => audit,
        };
        Ok(PlannedUndo { plan, audit })
    }

    /// Takes back the entries of several changes that were made as one, as far as each can be, and
    /// records that with one more entry. Nodes reload the sanctions once.
    async fn undo_batch(
        &self,
        actor: &Actor,
        entries: &[u64],
        note: Option<&str>,
        audit: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let mut undone = UndoneBatch::default();
        // The latest first, because several may be about one user or comment.
        for audit_id in entries.iter().rev() {
            match self.undo_one_of_batch(actor, *audit_id, note).await {
                Ok(part) => undone.add(part),
                Err(error) => undone.leave_out(error),
            }
        }
        let UndoneBatch {
            changes, has_sanctions, banned, restored, hidden, waiting, left_out, ..
        } = undone;
        if let Some(error) = undone.first_error.filter(|_| changes == 0) {
            return Err(error);
        }
        let recorded = self.parts.metadata.audit(audit).await;
        let banned: Vec<_> = banned.into_iter().collect();
        let mut results = CommandResults::default();
        if has_sanctions {
            results = self.enforce_sanctions(&banned, 0).await;
        }
        let connections = (!banned.is_empty()).then_some(results.connections);
        let base = outcome(recorded?, results, started);
        let now = comments_text(restored, hidden, waiting);
        Ok(Outcome { changes: Some(changes), left_out, connections, now, ..base })
    }

    /// Takes back one of several changes. Of sanctions, only the store knows yet.
    async fn undo_one_of_batch(
        &self,
        actor: &Actor,
        audit_id: u64,
        note: Option<&str>,
    ) -> Result<UndonePart, ControlError> {
        let PlannedUndo { plan, audit } = self.planned(actor, audit_id, note).await?;
        match plan {
            Plan::Sanctions(plan) => {
                Ok(UndonePart::Sanctions(self.store_sanctions(plan, audit).await?))
            }
            Plan::Comment(plan) => {
                let undoing = Undoing { actor, audit_id, note };
                let undone = self.undo_comment(undoing, plan, audit).await?;
                Ok(UndonePart::Comment(undone.effect))
            }
            _ => {
                let why = "it is no part of several changes".to_owned();
                Err(ControlError::NotUndoable { audit_id, why })
            }
        }
    }

    /// Stores the sanctions of a plan. The nodes do not follow them yet.
    async fn store_sanctions(
        &self,
        plan: SanctionPlan,
        audit: NewAudit,
    ) -> Result<StoredUndo, ControlError> {
        let metadata = &self.parts.metadata;
        match plan {
            SanctionPlan::Restore { user_id, sanctions } => {
                let user_name = self.name_of(user_id).await?;
                let bans = sanctions.iter().filter(|it| it.kind == SanctionKind::Ban);
                // The user may have connected while the ban was lifted.
                let banned = bans.map(|ban| UserScope { user_id, stream_id: ban.stream_id });
                let banned = banned.collect();
                let named = |sanction: Sanction| Sanction { name: user_name.clone(), ..sanction };
                let sanctions: Vec<_> = sanctions.into_iter().map(named).collect();
                let audit_id = metadata.put_sanctions(&sanctions, audit).await?.audit_id;
                Ok(StoredUndo { audit_id, user_id, user_name, banned, lifted: None })
            }
            SanctionPlan::Lift { user_id, kind, stream_id } => {
                let user_name = self.name_of(user_id).await?;
                let lifted = metadata.lift(user_id, &[kind], &[stream_id], audit).await;
                let audit_id = lifted.map_err(|error| match error {
                    StoreError::NotFound(_) => ControlError::NotSanctioned(user_id),
                    other => other.into(),
                })?;
                let lifted =
                    (kind == SanctionKind::Ban).then_some(UserScope { user_id, stream_id });
                Ok(StoredUndo { audit_id, user_id, user_name, banned: Vec::new(), lifted })
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
    if entry.action != audit_action::UNDO {
        return None;
    }
    entry.detail.get("undoes")?.as_u64()
}

/// Returns the action of the entry that an entry takes back.
fn undone_action(entry: &AuditEntry) -> Option<&str> {
    if entry.action != audit_action::UNDO {
        return None;
    }
    entry.detail.get("action")?.as_str()
}

/// Writes into entries what undoes what. An undo is always newer than what it undoes, so the
/// newest entries are enough to know.
pub(super) fn link(entries: &mut [AuditEntry]) {
    let undos: BTreeMap<u64, u64> =
        entries.iter().filter_map(|entry| Some((undone_entry(entry)?, entry.audit_id))).collect();
    for entry in entries {
        entry.undoes = undone_entry(entry);
        entry.undone_by = undos.get(&entry.audit_id).copied();
    }
}
