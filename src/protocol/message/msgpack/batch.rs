//! The comments of a batch: each row holds the differences to the row before.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{bytes, invalid, whole_id};
use crate::protocol::comment::SequencedComment;
use crate::protocol::message::CommentsBatch;
use crate::protocol::{Badges, CommentId, UserId};

/// A comment id: the ticks since the previous comment of the batch if these two give the id, else
/// the 16 bytes. Ids of one node differ only by their ticks; an id that no node of ours made, with
/// another version or variant, is carried as it is.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum CompactId {
    TicksSincePrevious(u64),
    Whole(ByteBuf),
}

/// `[id, user_id, name, message, seq − previous seq, created_at − time of id in ms, badges,
/// parent_id]`; a comment that is no reply leaves out the last one, and without badges both.
#[derive(Serialize, Deserialize)]
pub(super) struct CompactComment {
    id: CompactId,
    user_id: u64,
    name: Arc<str>,
    message: Arc<str>,
    seq_delta: u64,
    created_delta: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    badges: Option<Badges>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent_id: Option<ByteBuf>,
}

pub(super) fn compact(batch: &CommentsBatch) -> Vec<CompactComment> {
    let mut previous: Option<CommentId> = None;
    let mut previous_seq = batch.from_seq;
    let mut rows = Vec::with_capacity(batch.comments.len());
    for comment in &batch.comments {
        let id = comment.comment_id;
        let code = match previous {
            Some(before) if let Some(ticks) = ticks_since(before, id) => {
                CompactId::TicksSincePrevious(ticks)
            }
            _ => CompactId::Whole(bytes(id)),
        };
        rows.push(CompactComment {
            id: code,
            user_id: comment.user_id.0,
            name: comment.name.clone(),
            message: comment.message.clone(),
            seq_delta: comment.seq - previous_seq,
            created_delta: comment.created_at.wrapping_sub(id.unix_ms()) as i64,
            badges: (!comment.badges.is_empty() || comment.parent_id.is_some())
                .then_some(comment.badges),
            parent_id: comment.parent_id.map(bytes),
        });
        previous = Some(id);
        previous_seq = comment.seq;
    }
    rows
}

pub(super) fn expand(
    from_seq: u64,
    rows: Vec<CompactComment>,
) -> Result<Vec<SequencedComment>, rmp_serde::decode::Error> {
    let mut previous: Option<CommentId> = None;
    let mut seq = from_seq;
    let mut comments = Vec::with_capacity(rows.len());
    for row in rows {
        let CompactComment { id, user_id, name, message, seq_delta, created_delta, .. } = row;
        let comment_id = match (id, previous) {
            (CompactId::Whole(bytes), _) => whole_id(&bytes)?,
            (CompactId::TicksSincePrevious(ticks), Some(before)) => {
                after(before, ticks).ok_or_else(|| invalid("comment id out of range"))?
            }
            (CompactId::TicksSincePrevious(_), None) => {
                return Err(invalid("the first comment of a batch has no whole id"));
            }
        };
        seq = seq.checked_add(seq_delta).ok_or_else(|| invalid("seq out of range"))?;
        let created_at = comment_id.unix_ms().wrapping_add_signed(created_delta);
        comments.push(SequencedComment {
            comment_id,
            user_id: UserId(user_id),
            name,
            message,
            created_at,
            seq,
            badges: row.badges.unwrap_or_default(),
            parent_id: row.parent_id.map(|bytes| whole_id(&bytes)).transpose()?,
        });
        previous = Some(comment_id);
    }
    Ok(comments)
}

/// Returns the ticks that [`after`] needs to give `id`, if it can.
fn ticks_since(before: CommentId, id: CommentId) -> Option<u64> {
    let ticks = id.unix_ticks().checked_sub(before.unix_ticks())?;
    (after(before, ticks) == Some(id)).then_some(ticks)
}

/// Returns the id of the same node `ticks` later, if that is in range.
fn after(before: CommentId, ticks: u64) -> Option<CommentId> {
    let total = before.unix_ticks().checked_add(ticks).filter(|ticks| *ticks < 1 << 59)?;
    let origin = before.origin();
    let mut node = [0_u8; 6];
    node.copy_from_slice(&origin[2..]);
    let clock_sequence = u16::from_be_bytes([origin[0] & 0x3F, origin[1]]);
    Some(CommentId::from_unix_ticks(total, clock_sequence, node))
}
