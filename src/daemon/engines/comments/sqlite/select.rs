//! Reads: pages of a stream, one comment, tombstones.

use sqlx::sqlite::SqlitePool;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::comments::{StoredComment, Tombstone, rows};
use crate::protocol::{CommentId, SequencedComment, StreamId};

const PAGE: &str = "SELECT sort_key, user_id, name, message, created_at, seq FROM comments AS c
    WHERE stream_id = ? AND sort_key < ? AND shadow = 0 AND NOT EXISTS (
        SELECT 1 FROM tombstones AS t WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key)
    ORDER BY sort_key DESC LIMIT ?";

/// Walks from stream to stream by seeks in the primary key, and looks the comment up in each.
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
    let rows = sqlx::query(PAGE)
        .bind(integer(stream_id.0))
        .bind(rows::end_key(before))
        .bind(rows::limit(rows::page_limit(limit)))
        .fetch_all(readers)
        .await?;
    rows.iter().map(rows::comment).collect()
}

pub(super) async fn by_id(
    readers: &SqlitePool,
    id: CommentId,
) -> Result<Option<StoredComment>, StoreError> {
    let row = sqlx::query(BY_ID).bind(id.sort_key().to_vec()).fetch_optional(readers).await?;
    row.as_ref().map(rows::stored_comment).transpose()
}

pub(super) async fn tombstones_since(
    readers: &SqlitePool,
    since_ms: u64,
    limit: usize,
) -> Result<Vec<Tombstone>, StoreError> {
    let rows = sqlx::query(TOMBSTONES)
        .bind(integer(since_ms))
        .bind(rows::limit(limit))
        .fetch_all(readers)
        .await?;
    rows.iter().map(rows::tombstone).collect()
}

pub(super) async fn count(readers: &SqlitePool, stream_id: StreamId) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT count(*) AS comments FROM comments WHERE stream_id = ?")
        .bind(integer(stream_id.0))
        .fetch_one(readers)
        .await?;
    row.natural("comments")
}
