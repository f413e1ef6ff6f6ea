//! Plans how an audit entry is taken back, from the entries about the same target. Pure.

use serde_json::Value;

use super::entries::{changed_fields, number_in, overlap, read};
use super::of_sanctions::{SanctionPlan, sanctions_before};
use super::{undone_action, undone_entry};
use crate::daemon::engines::metadata::BEFORE;
use crate::daemon::stages::control::batch;
use crate::daemon::stages::control::comments::{WAS_DELETED, WAS_HIDDEN};
use crate::daemon::stages::control::drain::node_of;
use crate::daemon::stages::control::grants::{GrantDetail, GrantPlan, RevokeDetail};
use crate::daemon::stages::control::shadows::{ShadowDetail, ShadowPlan, UnshadowDetail};
use crate::protocol::admin::{
    AuditEntry, DrainRequest, Sanction, Shadow, ThrottleRequest, audit_action,
};
use crate::protocol::quantity::{show_share, show_time};
use crate::protocol::room::{RoomPatch, RoomSettings, RoomTerm, TermsPatch};
use crate::protocol::stream::{NewStream, StreamPatch};
use crate::protocol::throttle::FixedRate;
use crate::protocol::{CommentId, NodeId, PinnedComment, StreamId, UserId, on_stream};

/// The change that takes another back.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    Sanctions(SanctionPlan),
    Shadows(ShadowPlan),
    Grant(GrantPlan),
    /// The points that were forgiven count again.
    Forgiven {
        user_id: UserId,
    },
    Throttle {
        stream_id: StreamId,
        fixed: Option<FixedRate>,
    },
    Drain {
        node: NodeId,
        undo: bool,
    },
    Stream {
        stream_id: StreamId,
        patch: StreamPatch,
    },
    Room {
        stream_id: StreamId,
        patch: RoomPatch,
    },
    RoomTerms {
        stream_id: StreamId,
        patch: TermsPatch,
    },
    /// Pins what was pinned before; `None` for nothing.
    Pin {
        stream_id: StreamId,
        pinned: Option<PinnedComment>,
    },
    Comment(CommentPlan),
    /// Takes back each of these entries.
    Batch {
        entries: Vec<u64>,
    },
}

impl Plan {
    /// Returns the user whose points change with the entry that is taken back. Those of comments
    /// are known when the plan is carried out.
    pub(super) fn user_with_points(&self) -> Option<UserId> {
        match self {
            Self::Sanctions(
                SanctionPlan::Lift { user_id, .. } | SanctionPlan::Restore { user_id, .. },
            )
            | Self::Forgiven { user_id } => Some(*user_id),
            _ => None,
        }
    }

    /// Returns what is so when the plan is carried out, as a clause; `None` if only carrying it out
    /// tells.
    pub(super) fn now(&self) -> Option<String> {
        Some(match self {
            Self::Sanctions(SanctionPlan::Lift { kind, stream_id, .. }) => {
                format!("the {}{} is lifted", kind.as_str(), on_stream(*stream_id))
            }
            Self::Sanctions(SanctionPlan::Restore { sanctions, .. }) => {
                let texts: Vec<_> = sanctions.iter().map(Sanction::text).collect();
                let are = if texts.len() == 1 { "is" } else { "are" };
                format!("{} {are} in force again", texts.join(" and "))
            }
            Self::Shadows(ShadowPlan::Lift { .. }) => {
                "new comments of the user are shown to everybody".to_owned()
            }
            Self::Shadows(ShadowPlan::Restore { shadows, .. }) => {
                let texts: Vec<_> = shadows.iter().map(Shadow::text).collect();
                let are = if texts.len() == 1 { "is" } else { "are" };
                format!("{} {are} in force again", texts.join(" and "))
            }
            Self::Grant(GrantPlan::Revoke { stream_id, .. }) => {
                format!("the role on stream {stream_id} is revoked")
            }
            Self::Grant(GrantPlan::Restore(grant)) => format!("the user is {} again", grant.text()),
            Self::Forgiven { .. } => "the points from before count again".to_owned(),
            Self::Throttle { stream_id, fixed: Some(FixedRate { rate, until_ms }) } => {
                let share = show_share(*rate);
                match until_ms {
                    Some(end) => {
                        let end = show_time(*end);
                        format!("stream {stream_id} shows {share} again, until {end} UTC")
                    }
                    None => {
                        format!("stream {stream_id} shows {share} again, until it is set to auto")
                    }
                }
            }
            Self::Throttle { stream_id, fixed: None } => {
                format!("the throttle decides about stream {stream_id} again")
            }
            Self::Drain { node, undo: true } => format!("{node} accepts viewers again"),
            Self::Drain { node, undo: false } => format!("{node} drains again"),
            Self::Stream { stream_id, .. } => {
                format!("stream {stream_id} has its settings from before")
            }
            Self::Room { stream_id, patch } => {
                format!("in stream {stream_id}, {}", patch.texts().join(", "))
            }
            Self::Pin { stream_id, pinned: Some(pinned) } => {
                let comment_id = pinned.comment_id;
                format!("in stream {stream_id}, comment {comment_id} is pinned again")
            }
            Self::Pin { stream_id, pinned: None } => {
                format!("in stream {stream_id}, no comment is pinned")
            }
            Self::RoomTerms { .. } | Self::Comment(_) | Self::Batch { .. } => return None,
        })
    }
}

/// How to take back a deletion or a rejection.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CommentPlan {
    Restore {
        comment_id: CommentId,
        /// It was hidden from others by a decision before, and is again.
        stays_hidden: bool,
    },
    /// Puts it back into the review queue. It is shown again, if it was shown before.
    Reopen {
        comment_id: CommentId,
        /// The earlier entry that deletes it still.
        deleted_by: Option<u64>,
    },
    /// It was deleted before the change, and the undo only records that the change counts no more.
    StaysDeleted {
        /// The earlier entry that deletes it; `None` if none does.
        by: Option<u64>,
    },
}

/// Returns how to take `entry` back, or why that is not possible. `about` are the entries about the
/// same target, newest first.
pub(super) fn plan(entry: &AuditEntry, about: &[AuditEntry], now_ms: u64) -> Result<Plan, String> {
    let related = related_actions(&entry.action)?;
    let id = entry.audit_id;
    let later: Vec<_> = about.iter().filter(|other| other.audit_id > id).collect();
    if let Some(undo) = later.iter().find(|other| undone_entry(other) == Some(id)) {
        return Err(format!("entry {} has taken it back already", undo.audit_id));
    }
    let undone: Vec<u64> = later.iter().filter_map(|other| undone_entry(other)).collect();
    // A later change that was taken back does not count, nor does what took it back: together they
    // left what this entry had made.
    let counts = |other: &AuditEntry| {
        !undone.contains(&other.audit_id) && undone_entry(other).is_none_or(|earlier| earlier < id)
    };
    // The entry that an undo took back tells what the undo changed.
    let change_of = |other: &'_ AuditEntry| {
        let taken_back = undone_entry(other)?;
        about.iter().find(|earlier| earlier.audit_id == taken_back)
    };
    let touches = |other: &AuditEntry| {
        changes_again(other, related) && overlap(entry, change_of(other).unwrap_or(other))
    };
    if let Some(other) = later.iter().find(|other| counts(other) && touches(other)) {
        return Err(format!("entry {} has changed it again: undo that first", other.audit_id));
    }
    let before: Vec<_> = standing(about.iter().filter(|other| other.audit_id < id));
    match entry.action.as_str() {
        audit_action::BAN | audit_action::TIMEOUT | audit_action::UNBAN => {
            sanctions_before(entry, &before, now_ms).map(Plan::Sanctions)
        }
        audit_action::SHADOW => shadow(entry, now_ms),
        audit_action::UNSHADOW => unshadow(entry, now_ms),
        audit_action::GRANT => read(&entry.detail).map(GrantDetail::taken_back).map(Plan::Grant),
        audit_action::REVOKE => read(&entry.detail).map(RevokeDetail::taken_back).map(Plan::Grant),
        audit_action::FORGIVE => {
            Ok(Plan::Forgiven { user_id: UserId(number_in(&entry.target, "user ")?) })
        }
        audit_action::THROTTLE => throttle(entry, &before, now_ms),
        audit_action::DRAIN => drain(entry),
        audit_action::DELETE | audit_action::REJECT | audit_action::SHADOW_COMMENT => {
            comment(entry, &before, &later)
        }
        audit_action::ROOM => room(entry),
        audit_action::ROOM_TERMS => room_terms(entry),
        audit_action::PIN | audit_action::UNPIN => pin(entry),
        audit_action::BATCH | audit_action::DELETE_OF_USER | audit_action::CLEAR_ROOM => {
            Ok(Plan::Batch { entries: batch::entries_of(&entry.detail)? })
        }
        _ => stream(entry, &before),
    }
}

/// Returns whether an entry changes what related actions change, itself or by taking one back.
fn changes_again(other: &AuditEntry, related: &[&str]) -> bool {
    match undone_action(other) {
        Some(action) => related.contains(&action),
        None if other.action == audit_action::UNDO => !related.is_empty(),
        None => related.contains(&other.action.as_str()),
    }
}

/// Returns the actions that change the same thing, or why an action cannot be taken back.
fn related_actions(action: &str) -> Result<&'static [&'static str], String> {
    let why = match action {
        audit_action::BAN | audit_action::TIMEOUT | audit_action::UNBAN => {
            return Ok(&[audit_action::BAN, audit_action::TIMEOUT, audit_action::UNBAN]);
        }
        audit_action::SHADOW | audit_action::UNSHADOW => {
            return Ok(&[audit_action::SHADOW, audit_action::UNSHADOW]);
        }
        audit_action::GRANT | audit_action::REVOKE => {
            return Ok(&[audit_action::GRANT, audit_action::REVOKE]);
        }
        audit_action::FORGIVE => return Ok(&[audit_action::FORGIVE]),
        audit_action::THROTTLE => return Ok(&[audit_action::THROTTLE]),
        audit_action::DRAIN => return Ok(&[audit_action::DRAIN]),
        audit_action::UPDATE_STREAM => return Ok(&[audit_action::UPDATE_STREAM]),
        audit_action::ROOM => return Ok(&[audit_action::ROOM]),
        audit_action::ROOM_TERMS => return Ok(&[audit_action::ROOM_TERMS]),
        audit_action::PIN | audit_action::UNPIN => {
            return Ok(&[audit_action::PIN, audit_action::UNPIN]);
        }
        audit_action::DELETE | audit_action::REJECT | audit_action::SHADOW_COMMENT => {
            return Ok(&[audit_action::DELETE, audit_action::REJECT, audit_action::SHADOW_COMMENT]);
        }
        // The targets of its entries are looked at when each of them is taken back.
        audit_action::BATCH | audit_action::DELETE_OF_USER | audit_action::CLEAR_ROOM => {
            return Ok(&[]);
        }
        audit_action::ANNOUNCE => "viewers have read it; send a correction",
        audit_action::DM => "the user has read it, or will; send a correction",
        audit_action::OPEN_POLL => "viewers have seen it; close it: lc poll close",
        audit_action::CLOSE_POLL => "its result was told; open another poll: lc poll open",
        audit_action::RESTORE => "delete the comment again: lc delete",
        audit_action::UNSHADOW_COMMENT => "hide the comment again, or delete it: lc delete",
        audit_action::APPROVE => "the comment was shown; delete it: lc delete",
        audit_action::HIDE => {
            "the comment was published for its author only, and the log cannot show it to others \
             later; its author may write it again, and lc delete removes it for its author too"
        }
        audit_action::KICK => "the user may reconnect by itself",
        audit_action::ACKNOWLEDGE => "somebody knows of the loss now; the audit log has it",
        audit_action::CREATE_STREAM => "end the stream: lc streams end STREAM",
        audit_action::DELETE_STREAM => "create another stream; its id is not given again",
        audit_action::UNDO => "make the change again",
        audit_action::SAVE_VIEW => "`:forget NAME` in lc top removes the view",
        audit_action::FORGET_VIEW => "`:save NAME` in lc top saves a view again",
        _ => "it changed nothing that lasts",
    };
    Err(format!("{action} cannot be taken back: {why}"))
}

/// Returns the entries that still count: without those that were taken back, and without what took
/// them back.
fn standing<'a>(entries: impl Iterator<Item = &'a AuditEntry>) -> Vec<&'a AuditEntry> {
    let entries: Vec<_> = entries.collect();
    let undone: Vec<u64> = entries.iter().filter_map(|entry| undone_entry(entry)).collect();
    entries
        .into_iter()
        .filter(|entry| entry.action != audit_action::UNDO && !undone.contains(&entry.audit_id))
        .collect()
}

/// The text of the comment is looked for when the plan is carried out.
fn comment(
    entry: &AuditEntry,
    before: &[&AuditEntry],
    later: &[&AuditEntry],
) -> Result<Plan, String> {
    let restores = [audit_action::RESTORE, audit_action::UNSHADOW_COMMENT];
    if let Some(restored) = later.iter().find(|other| restores.contains(&&*other.action)) {
        return Err(format!("entry {} has restored the comment already", restored.audit_id));
    }
    let digits = entry.target.strip_prefix("comment ").unwrap_or_default();
    let comment_id: CommentId = digits
        .parse()
        .map_err(|_| format!("`{}` names nothing that can be changed back", entry.target))?;
    let of_comment = [audit_action::DELETE, audit_action::REJECT, audit_action::RESTORE];
    let last = before.iter().find(|earlier| of_comment.contains(&&*earlier.action));
    let deleted_by =
        last.filter(|earlier| earlier.action != audit_action::RESTORE).map(|it| it.audit_id);
    if entry.action == audit_action::REJECT {
        return Ok(Plan::Comment(CommentPlan::Reopen { comment_id, deleted_by }));
    }
    let was = |field| entry.detail.get(field).and_then(Value::as_bool).unwrap_or(false);
    Ok(Plan::Comment(if was(WAS_DELETED) || deleted_by.is_some() {
        CommentPlan::StaysDeleted { by: deleted_by }
    } else {
        CommentPlan::Restore { comment_id, stays_hidden: was(WAS_HIDDEN) }
    }))
}

fn shadow(entry: &AuditEntry, now_ms: u64) -> Result<Plan, String> {
    let user_id = UserId(number_in(&entry.target, "user ")?);
    let ShadowDetail { stream_id, replaces } = read(&entry.detail)?;
    Ok(Plan::Shadows(match replaces.filter(|replaced| replaced.is_in_force(now_ms)) {
        Some(replaced) => ShadowPlan::Restore { user_id, shadows: vec![replaced] },
        None => ShadowPlan::Lift { user_id, stream_id },
    }))
}

fn unshadow(entry: &AuditEntry, now_ms: u64) -> Result<Plan, String> {
    let user_id = UserId(number_in(&entry.target, "user ")?);
    let UnshadowDetail { lifted: mut shadows } = read(&entry.detail)?;
    shadows.retain(|shadow| shadow.is_in_force(now_ms));
    if shadows.is_empty() {
        return Err("what it lifted has run out meanwhile".to_owned());
    }
    Ok(Plan::Shadows(ShadowPlan::Restore { user_id, shadows }))
}

fn throttle(entry: &AuditEntry, before: &[&AuditEntry], now_ms: u64) -> Result<Plan, String> {
    let stream_id = StreamId(number_in(&entry.target, "stream ")?);
    // Without an earlier entry nobody had fixed it.
    let mut fixed = None;
    if let Some(earlier) = before.iter().find(|entry| entry.action == audit_action::THROTTLE) {
        let request: ThrottleRequest = read(&earlier.detail)?;
        let until_ms = request.for_ms.map(|for_ms| earlier.at + for_ms);
        fixed = request.sample_rate.map(|rate| FixedRate { rate, until_ms });
    }
    Ok(Plan::Throttle { stream_id, fixed: fixed.filter(|fixed| fixed.is_in_force(now_ms)) })
}

/// The state before the entry does not count: a node that was started again since drains no more.
fn drain(entry: &AuditEntry) -> Result<Plan, String> {
    let request: DrainRequest = read(&entry.detail)?;
    let node = node_of(&entry.target).ok_or_else(|| format!("`{}` names no node", entry.target))?;
    Ok(Plan::Drain { node, undo: !request.undo })
}

/// Each field that the entry changed gets the value that an earlier entry gave it.
fn stream(entry: &AuditEntry, before: &[&AuditEntry]) -> Result<Plan, String> {
    let stream_id = StreamId(number_in(&entry.target, "stream ")?);
    let changed: StreamPatch = read(&entry.detail)?;
    let mut known = StreamPatch::default();
    for earlier in before {
        let values = match earlier.action.as_str() {
            audit_action::UPDATE_STREAM => read::<StreamPatch>(&earlier.detail)?,
            audit_action::CREATE_STREAM => created(read(&earlier.detail)?),
            _ => continue,
        };
        known.title = known.title.or(values.title);
        known.description = known.description.or(values.description);
        known.starts_at = known.starts_at.or(values.starts_at);
        known.state = known.state.or(values.state);
        known.anonymous = known.anonymous.or(values.anonymous);
        known.moderation = known.moderation.or(values.moderation);
    }
    let patch = StreamPatch {
        title: known.title.filter(|_| changed.title.is_some()),
        description: known.description.filter(|_| changed.description.is_some()),
        starts_at: known.starts_at.filter(|_| changed.starts_at.is_some()),
        state: known.state.filter(|_| changed.state.is_some()),
        anonymous: known.anonymous.filter(|_| changed.anonymous.is_some()),
        moderation: known.moderation.filter(|_| changed.moderation.is_some()),
    };
    let is_whole = patch.title.is_some() == changed.title.is_some()
        && patch.description.is_some() == changed.description.is_some()
        && patch.starts_at.is_some() == changed.starts_at.is_some()
        && patch.state.is_some() == changed.state.is_some()
        && patch.anonymous.is_some() == changed.anonymous.is_some()
        && patch.moderation.is_some() == changed.moderation.is_some();
    if is_whole {
        Ok(Plan::Stream { stream_id, patch })
    } else {
        Err("the audit log does not tell what the stream was before".to_owned())
    }
}

/// Each setting that the entry changed gets the value that it replaced.
fn room(entry: &AuditEntry) -> Result<Plan, String> {
    let stream_id = StreamId(number_in(&entry.target, "stream ")?);
    let before: RoomSettings = match entry.detail.get(BEFORE) {
        Some(before) => read(before)?,
        None => return Err("the audit log does not tell what the room was before".to_owned()),
    };
    Ok(Plan::Room { stream_id, patch: changed_fields::<RoomPatch>(entry)?.back_to(&before) })
}

/// Each term that the entry named gets the state that it had.
fn room_terms(entry: &AuditEntry) -> Result<Plan, String> {
    let stream_id = StreamId(number_in(&entry.target, "stream ")?);
    let before: Vec<RoomTerm> = match entry.detail.get(BEFORE) {
        Some(before) => read(before)?,
        None => return Err("the audit log does not tell what the terms were before".to_owned()),
    };
    let changed: TermsPatch = changed_fields(entry)?;
    let patch = changed.back_to(&before);
    if patch == TermsPatch::default() {
        return Err("it removed terms that the room did not have".to_owned());
    }
    Ok(Plan::RoomTerms { stream_id, patch })
}

fn pin(entry: &AuditEntry) -> Result<Plan, String> {
    let stream_id = StreamId(number_in(&entry.target, "stream ")?);
    let pinned = read(entry.detail.get(BEFORE).unwrap_or(&Value::Null))?;
    Ok(Plan::Pin { stream_id, pinned })
}

fn created(new: NewStream) -> StreamPatch {
    StreamPatch {
        state: Some(new.first_state()),
        title: Some(new.title),
        description: Some(new.description),
        starts_at: Some(new.starts_at),
        anonymous: Some(new.anonymous),
        moderation: Some(new.moderation),
    }
}
