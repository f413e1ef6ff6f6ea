//! Rows of the comment tables, the same in SQLite and PostgreSQL.

use std::sync::Arc;

use super::{StoredComment, Tombstone};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns, integer};
use crate::daemon::engines::eventlog::Position;
use crate::protocol::events::HiddenFrom;
use crate::protocol::{Epoch, SequencedComment, StreamId, UserId};

const LONGEST_PAGE: usize = 1000;

/// Returns the number of comments that a page may have.
pub(super) fn page_limit(limit: usize) -> usize {
    limit.clamp(1, LONGEST_PAGE)
}

/// The place of a comment in the order of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The number of the log, given in the order in which the store saw the logs. 0 for comments of
    /// a version that did not number them.
    pub(super) log: i64,
    pub(super) seq: i64,
}

impl Place {
    /// Comes after every comment.
    pub(super) const END: Self = Self { log: i64::MAX, seq: i64::MAX };

    /// Returns the place right after this one.
    pub(super) fn next(self) -> Self {
        Self { seq: self.seq.saturating_add(1), ..self }
    }
}

pub(super) fn place(row: &impl Columns) -> Result<Place, StoreError> {
    Ok(Place { log: row.integer("log")?, seq: row.integer("seq")? })
}

/// Returns the position of a row of `archive_positions`.
pub(super) fn position(row: &impl Columns) -> Result<Position, StoreError> {
    let partition = row.natural("log_partition")?;
    let partition = u32::try_from(partition)
        .map_err(|_| StoreError::Corrupt(format!("a position in partition {partition}")))?;
    Ok(Position { partition, offset: row.natural("next_offset")? })
}

/// A position with the epoch of its log.
pub(super) fn position_of_log(row: &impl Columns) -> Result<(Epoch, Position), StoreError> {
    let epoch = row.natural("epoch")?;
    let epoch = u32::try_from(epoch)
        .map_err(|_| StoreError::Corrupt(format!("a log with the epoch {epoch}")))?;
    Ok((Epoch(epoch), position(row)?))
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
        badges: row.badges()?,
        parent_id: row.parent_id()?,
    })
}

pub(super) fn author(row: &impl Columns) -> Result<UserId, StoreError> {
    Ok(UserId(row.natural("user_id")?))
}

pub(super) fn stored_comment(row: &impl Columns) -> Result<StoredComment, StoreError> {
    Ok(StoredComment {
        comment: comment(row)?,
        stream_id: StreamId(row.natural("stream_id")?),
        deleted: row.flag("deleted")?,
        only_hidden: row.flag("only_hidden")?,
        shadow: row.flag("shadow")?,
    })
}

pub(super) fn tombstone(row: &impl Columns) -> Result<Tombstone, StoreError> {
    Ok(Tombstone {
        stream_id: StreamId(row.natural("stream_id")?),
        comment_id: row.comment_id()?,
        reason: Arc::from(row.text("reason")?),
        deleted_at: row.natural("deleted_at")?,
        hidden_from: if row.flag("only_hidden")? {
            HiddenFrom::Others
        } else {
            HiddenFrom::Everybody
        },
    })
}
