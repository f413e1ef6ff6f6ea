//! Reads audit entries.

use serde::Deserialize;
use serde_json::Value;

use crate::daemon::engines::metadata::BEFORE;
use crate::daemon::stages::control::sanctions::SanctionDetail;
use crate::protocol::admin::{AuditEntry, audit_action};
use crate::protocol::room::{RoomPatch, TermsPatch};

/// Reads a part of the detail of an entry.
pub(super) fn read<T: for<'a> Deserialize<'a>>(detail: &Value) -> Result<T, String> {
    T::deserialize(detail).map_err(|error| format!("an audit entry cannot be read: {error}"))
}

/// Returns the number in a target such as `user 42`.
pub(super) fn number_in(target: &str, prefix: &str) -> Result<u64, String> {
    let number = target.strip_prefix(prefix).and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| format!("`{target}` names nothing that can be changed back"))
}

/// Reads what an entry changed, without what it replaced.
pub(super) fn changed_fields<T: for<'a> Deserialize<'a>>(entry: &AuditEntry) -> Result<T, String> {
    let mut detail = entry.detail.clone();
    if let Some(fields) = detail.as_object_mut() {
        fields.remove(BEFORE);
    }
    read(&detail)
}

/// Returns whether two entries that change the same thing change the same part of it. Only of
/// rooms, roles and sanctions it is known: each rule of a room is one, each of its terms, and the
/// role and the sanctions on each stream.
pub(super) fn overlap(entry: &AuditEntry, other: &AuditEntry) -> bool {
    if [audit_action::BAN, audit_action::TIMEOUT, audit_action::UNBAN].contains(&&*entry.action) {
        return SanctionDetail::of(&entry.detail).overlaps(&SanctionDetail::of(&other.detail));
    }
    if entry.action == audit_action::GRANT || entry.action == audit_action::REVOKE {
        return entry.detail.get("stream_id") == other.detail.get("stream_id");
    }
    if entry.action != other.action {
        return true;
    }
    match entry.action.as_str() {
        audit_action::ROOM => parts_overlap(entry, other, RoomPatch::overlaps),
        audit_action::ROOM_TERMS => parts_overlap(entry, other, TermsPatch::overlaps),
        _ => true,
    }
}

fn parts_overlap<T: for<'a> Deserialize<'a>>(
    entry: &AuditEntry,
    other: &AuditEntry,
    overlaps: fn(&T, &T) -> bool,
) -> bool {
    match (changed_fields(entry), changed_fields(other)) {
        (Ok(one), Ok(another)) => overlaps(&one, &another),
        _ => true,
    }
}
