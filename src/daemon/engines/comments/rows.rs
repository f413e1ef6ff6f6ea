//! Rows of the comment tables, the same in SQLite and PostgreSQL.

use std::sync::Arc;

use super::{StoredComment, Tombstone};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns, integer};
use crate::protocol::{CommentId, SequencedComment, StreamId, UserId};

const LONGEST_PAGE: usize = 1000;
/// Sorts after every key.
const NEWEST: [u8; 17] = [0xFF; 17];

/// Returns the number of comments that a page may have.
pub(super) fn page_limit(limit: usize) -> usize {
    limit.clamp(1, LONGEST_PAGE)
}

/// Returns the sort key that a page ends before; `None` is the newest page.
pub(super) fn end_key(before: Option<CommentId>) -> Vec<u8> {
    before.map_or_else(|| NEWEST.to_vec(), |id| id.sort_key().to_vec())
}

/// Converts a limit for a `LIMIT` clause.
pub(super) fn limit(limit: usize) -> i64 {
    integer(limit as u64)
}

pub(super) fn comment(row: &impl Columns) -> Result<SequencedComment, StoreError> {
    Ok(SequencedComment {
        comment_id: row.comment_id()?,
        user_id: UserId(row.natural("user_id")?),
        name: Arc::from(row.text("name")?),
        message: Arc::from(row.text("message")?),
        created_at: row.natural("created_at")?,
        seq: row.natural("seq")?,
    })
}

pub(super) fn stored_comment(row: &impl Columns) -> Result<StoredComment, StoreError> {
    Ok(StoredComment {
        comment: comment(row)?,
        stream_id: StreamId(row.natural("stream_id")?),
        deleted: row.flag("deleted")?,
        shadow: row.flag("shadow")?,
    })
}

pub(super) fn tombstone(row: &impl Columns) -> Result<Tombstone, StoreError> {
    Ok(Tombstone {
        stream_id: StreamId(row.natural("stream_id")?),
        comment_id: row.comment_id()?,
        reason: Arc::from(row.text("reason")?),
        deleted_at: row.natural("deleted_at")?,
    })
}
