//! Reading: pages of a stream, one comment, tombstones.

use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sqlite_file::{comment_id, integer, natural};
use crate::daemon::engines::comments::{StoredComment, Tombstone};
use crate::protocol::{CommentId, SequencedComment, StreamId, UserId};

const LONGEST_PAGE: usize = 1000;
/// Sorts behind every key.
const NEWEST: [u8; 17] = [0xFF; 17];

const PAGE: &str = "SELECT sort_key, user_id, name, message, created_at, seq FROM comments AS c
    WHERE stream_id = ? AND sort_key < ? AND shadow = 0 AND NOT EXISTS (
        SELECT 1 FROM tombstones AS t WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key)
    ORDER BY sort_key DESC LIMIT ?";

/// Steps from stream to stream by seeks in the primary key, and looks the comment up in each.
const BY_ID: &str = "WITH RECURSIVE kept (id) AS (
        SELECT min(stream_id) FROM comments
        UNION ALL
        SELECT (SELECT min(stream_id) FROM comments WHERE stream_id > kept.id) FROM kept
        WHERE kept.id IS NOT NULL)
    SELECT c.*, EXISTS (SELECT 1 FROM tombstones AS t
        WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key) AS deleted
    FROM kept CROSS JOIN comments AS c ON c.stream_id = kept.id AND c.sort_key = ?
    LIMIT 1";

const TOMBSTONES: &str = "SELECT stream_id, sort_key, reason, deleted_at FROM tombstones
    WHERE deleted_at >= ? ORDER BY deleted_at, stream_id, sort_key LIMIT ?";

pub(super) async fn page(
    readers: &SqlitePool,
    stream_id: StreamId,
    before: Option<CommentId>,
    limit: usize,
) -> Result<Vec<SequencedComment>, StoreError> {
    let before = before.map_or_else(|| NEWEST.to_vec(), |id| id.sort_key().to_vec());
    let rows = sqlx::query(PAGE)
        .bind(integer(stream_id.0))
        .bind(before)
        .bind(integer(limit.clamp(1, LONGEST_PAGE) as u64))
        .fetch_all(readers)
        .await?;
    rows.iter().map(sequenced).collect()
}

pub(super) async fn by_id(
    readers: &SqlitePool,
    id: CommentId,
) -> Result<Option<StoredComment>, StoreError> {
    let row = sqlx::query(BY_ID).bind(id.sort_key().to_vec()).fetch_optional(readers).await?;
    row.map(|row| {
        Ok(StoredComment {
            comment: sequenced(&row)?,
            stream_id: StreamId(natural(&row, "stream_id")?),
            deleted: row.try_get("deleted")?,
            shadow: row.try_get("shadow")?,
        })
    })
    .transpose()
}

pub(super) async fn tombstones_since(
    readers: &SqlitePool,
    since_ms: u64,
    limit: usize,
) -> Result<Vec<Tombstone>, StoreError> {
    let rows = sqlx::query(TOMBSTONES)
        .bind(integer(since_ms))
        .bind(integer(limit as u64))
        .fetch_all(readers)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Tombstone {
                stream_id: StreamId(natural(row, "stream_id")?),
                comment_id: comment_id(row)?,
                reason: text(row, "reason")?,
                deleted_at: natural(row, "deleted_at")?,
            })
        })
        .collect()
}

pub(super) async fn count(readers: &SqlitePool, stream_id: StreamId) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT count(*) AS comments FROM comments WHERE stream_id = ?")
        .bind(integer(stream_id.0))
        .fetch_one(readers)
        .await?;
    natural(&row, "comments")
}

fn sequenced(row: &SqliteRow) -> Result<SequencedComment, StoreError> {
    Ok(SequencedComment {
        comment_id: comment_id(row)?,
        user_id: UserId(natural(row, "user_id")?),
        name: text(row, "name")?,
        message: text(row, "message")?,
        created_at: natural(row, "created_at")?,
        seq: natural(row, "seq")?,
    })
}

fn text(row: &SqliteRow, column: &str) -> Result<Arc<str>, StoreError> {
    Ok(Arc::from(row.try_get::<&str, _>(column)?))
}
