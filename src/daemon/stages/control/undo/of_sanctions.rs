//! Plans how a ban, a timeout or an unban is taken back. Pure.

use super::entries::{number_in, read};
use crate::daemon::stages::control::sanctions::{SanctionDetail, without_replaced};
use crate::protocol::admin::{AuditEntry, Sanction, SanctionKind, SanctionRequest, audit_action};
use crate::protocol::{StreamId, UserId};

/// The change of a user's sanctions that takes another back.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SanctionPlan {
    Lift {
        user_id: UserId,
        kind: SanctionKind,
        stream_id: Option<StreamId>,
    },
    /// Puts sanctions in force again.
    Restore {
        user_id: UserId,
        sanctions: Vec<Sanction>,
    },
}

/// Returns how to take back a ban, a timeout or an unban. `before` are the earlier entries about
/// the user that count, newest first.
pub(super) fn sanctions_before(
    entry: &AuditEntry,
    before: &[&AuditEntry],
    now_ms: u64,
) -> Result<SanctionPlan, String> {
    let kind = match entry.action.as_str() {
        audit_action::BAN => SanctionKind::Ban,
        audit_action::TIMEOUT => SanctionKind::Timeout,
        _ => return unban(entry, before, now_ms),
    };
    let user_id = UserId(number_in(&entry.target, "user ")?);
    let stream_id = SanctionDetail::of(&entry.detail).stream_id;
    Ok(match in_force(before, kind, stream_id, now_ms) {
        Some(earlier) => SanctionPlan::Restore { user_id, sanctions: vec![earlier] },
        None => SanctionPlan::Lift { user_id, kind, stream_id },
    })
}

fn unban(entry: &AuditEntry, before: &[&AuditEntry], now_ms: u64) -> Result<SanctionPlan, String> {
    let user_id = UserId(number_in(&entry.target, "user ")?);
    let kinds = [SanctionKind::Ban, SanctionKind::Timeout];
    let mut sanctions = match SanctionDetail::of(&entry.detail).lifted {
        Some(lifted) => lifted,
        // Entries of earlier versions do not name them; all sanctions held on all streams then.
        None => kinds.iter().filter_map(|kind| in_force(before, *kind, None, now_ms)).collect(),
    };
    sanctions.retain(|sanction| sanction.expires_at.is_none_or(|end| end > now_ms));
    if sanctions.is_empty() {
        return Err("what it lifted has run out meanwhile".to_owned());
    }
    Ok(SanctionPlan::Restore { user_id, sanctions })
}

/// Returns the sanction of a kind that earlier entries left in force on a stream, or on all, if it
/// has not run out.
fn in_force(
    before: &[&AuditEntry],
    kind: SanctionKind,
    stream_id: Option<StreamId>,
    now_ms: u64,
) -> Option<Sanction> {
    let is_about = |entry: &&&AuditEntry| {
        let is_change = entry.action == kind.as_str() || entry.action == audit_action::UNBAN;
        is_change && SanctionDetail::of(&entry.detail).streams().contains(&stream_id)
    };
    let last = before.iter().find(is_about);
    let entry = last.filter(|entry| entry.action != audit_action::UNBAN)?;
    let request: SanctionRequest = read(&without_replaced(&entry.detail)).ok()?;
    let expires_at = request.duration_ms.map(|duration_ms| entry.at + duration_ms);
    let sanction = Sanction {
        user_id: UserId(number_in(&entry.target, "user ").ok()?),
        kind,
        stream_id,
        name: None,
        reason: request.reason,
        created_by: entry.actor.clone(),
        created_at: entry.at,
        expires_at,
    };
    expires_at.is_none_or(|end| end > now_ms).then_some(sanction)
}
