//! Reads: pages of a stream, one comment, tombstones.

use sqlx::sqlite::SqlitePool;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::comments::rows::{self, Place};
use crate::daemon::engines::comments::{
    CommentKey, MAX_COUNTED_REPLIES, SINCE_COMMENTS, StoredComment, Tombstone, first_id_at,
};
use crate::protocol::{CommentId, SequencedComment, StreamId, UserId};

const PAGE: &str = "SELECT sort_key, user_id, name, message, created_at, seq, badges, parent_key
    FROM comments AS c INDEXED BY comments_by_place
    WHERE stream_id = ?1 AND (log, seq) < (?2, ?3) AND (shadow = 0 OR user_id = ?5)
        AND NOT EXISTS (
            SELECT 1 FROM tombstones AS t
            WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key
                AND (t.deleted_place > t.restored_place
                    OR (t.hidden_place > t.restored_place AND c.user_id IS NOT ?5)))
    ORDER BY log DESC, seq DESC LIMIT ?4";

const REPLIES: &str = "SELECT sort_key, user_id, name, message, created_at, seq, badges, parent_key
    FROM comments AS c INDEXED BY comments_by_parent
    WHERE stream_id = ?1 AND parent_key = ?2 AND (log, seq) < (?5, ?6)
        AND (shadow = 0 OR user_id = ?4)
        AND NOT EXISTS (
            SELECT 1 FROM tombstones AS t
            WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key
                AND (t.deleted_place > t.restored_place
                    OR (t.hidden_place > t.restored_place AND c.user_id IS NOT ?4)))
    ORDER BY log DESC, seq DESC LIMIT ?3";

const REPLY_COUNT: &str = "SELECT count(*) AS replies FROM (
    SELECT 1 FROM comments AS c INDEXED BY comments_by_parent
    WHERE stream_id = ?1 AND parent_key = ?2 AND (shadow = 0 OR user_id = ?4)
        AND NOT EXISTS (
            SELECT 1 FROM tombstones AS t
            WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key
                AND (t.deleted_place > t.restored_place
                    OR (t.hidden_place > t.restored_place AND c.user_id IS NOT ?4)))
    LIMIT ?3)";

const HIDDEN_AUTHORS: &str = "SELECT user_id FROM hidden_authors WHERE stream_id = ?";

const PLACE: &str = "SELECT log, seq FROM comments WHERE stream_id = ? AND sort_key = ?";
const PLACE_OF_OLDER: &str = "SELECT log, seq FROM comments WHERE stream_id = ? AND sort_key < ?
    ORDER BY sort_key DESC LIMIT 1";

const FIRST_SINCE: &str = "SELECT sort_key FROM (
        SELECT sort_key, log, seq FROM comments WHERE stream_id = ? AND sort_key >= ?
        ORDER BY sort_key LIMIT ?)
    ORDER BY log, seq LIMIT 1";

/// Walks from stream to stream by seeks in the primary key, and looks the comment up in each.
const BY_ID: &str = "WITH RECURSIVE kept (id) AS (
        SELECT min(stream_id) FROM comments
        UNION ALL
        SELECT (SELECT min(stream_id) FROM comments WHERE stream_id > kept.id) FROM kept
        WHERE kept.id IS NOT NULL)
    SELECT c.*, EXISTS (SELECT 1 FROM tombstones AS t
        WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key
            AND max(t.deleted_place, t.hidden_place) > t.restored_place) AS deleted,
        EXISTS (SELECT 1 FROM tombstones AS t
        WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key
            AND t.hidden_place > t.restored_place
            AND t.deleted_place <= t.restored_place) AS only_hidden
    FROM kept CROSS JOIN comments AS c ON c.stream_id = kept.id AND c.sort_key = ?
    LIMIT 1";

const TOMBSTONES: &str = "SELECT stream_id, sort_key, reason, deleted_at,
        deleted_place <= restored_place AS only_hidden
    FROM tombstones
    WHERE deleted_at >= ? AND max(deleted_place, hidden_place) > restored_place
    ORDER BY deleted_at, stream_id, sort_key LIMIT ?";

/// Reads a page. A reader is also shown the reader's own comments that are hidden from others.
pub(super) async fn page(
    readers: &SqlitePool,
    reader: Option<UserId>,
    stream_id: StreamId,
    before: Option<CommentId>,
    limit: usize,
) -> Result<Vec<SequencedComment>, StoreError> {
    let end = match before {
        None => Place::END,
        Some(before) => match place_of(readers, stream_id, before).await? {
            None => return Ok(Vec::new()),
            Some(end) => end,
        },
    };
    let rows = sqlx::query(PAGE)
        .bind(integer(stream_id.0))
        .bind(end.log)
        .bind(end.seq)
        .bind(rows::limit(rows::page_limit(limit)))
        .bind(reader.map(|user_id| integer(user_id.0)))
        .fetch_all(readers)
        .await?;
    rows.iter().map(rows::comment).collect()
}

/// Reads a page of the replies to a comment. A reader is also shown the reader's own ones that are
/// hidden from others.
pub(super) async fn replies(
    readers: &SqlitePool,
    reader: Option<UserId>,
    parent: CommentKey,
    before: Option<CommentId>,
    limit: usize,
) -> Result<Vec<SequencedComment>, StoreError> {
    let end = match before {
        None => Place::END,
        Some(before) => match place_of(readers, parent.stream_id, before).await? {
            None => return Ok(Vec::new()),
            Some(end) => end,
        },
    };
    let rows = sqlx::query(REPLIES)
        .bind(integer(parent.stream_id.0))
        .bind(parent.comment_id.sort_key().to_vec())
        .bind(rows::limit(rows::page_limit(limit)))
        .bind(reader.map(|user_id| integer(user_id.0)))
        .bind(end.log)
        .bind(end.seq)
        .fetch_all(readers)
        .await?;
    rows.iter().map(rows::comment).collect()
}

/// Counts the replies that [`replies`] shows.
pub(super) async fn reply_count(
    readers: &SqlitePool,
    reader: Option<UserId>,
    parent: CommentKey,
) -> Result<usize, StoreError> {
    let row = sqlx::query(REPLY_COUNT)
        .bind(integer(parent.stream_id.0))
        .bind(parent.comment_id.sort_key().to_vec())
        .bind(rows::limit(MAX_COUNTED_REPLIES))
        .bind(reader.map(|user_id| integer(user_id.0)))
        .fetch_one(readers)
        .await?;
    Ok(row.natural("replies")? as usize)
}

pub(super) async fn hidden_authors(
    readers: &SqlitePool,
    stream_id: StreamId,
) -> Result<Vec<UserId>, StoreError> {
    let rows = sqlx::query(HIDDEN_AUTHORS).bind(integer(stream_id.0)).fetch_all(readers).await?;
    rows.iter().map(rows::author).collect()
}

/// Returns the place that a page before this comment ends at.
async fn place_of(
    readers: &SqlitePool,
    stream_id: StreamId,
    before: CommentId,
) -> Result<Option<Place>, StoreError> {
    let find = |sql| {
        sqlx::query(sql)
            .bind(integer(stream_id.0))
            .bind(before.sort_key().to_vec())
            .fetch_optional(readers)
    };
    if let Some(row) = find(PLACE).await? {
        return Ok(Some(rows::place(&row)?));
    }
    let older = find(PLACE_OF_OLDER).await?;
    older.map(|row| Ok(rows::place(&row)?.next())).transpose()
}

pub(super) async fn first_since(
    readers: &SqlitePool,
    stream_id: StreamId,
    since_ms: u64,
) -> Result<Option<CommentId>, StoreError> {
    let row = sqlx::query(FIRST_SINCE)
        .bind(integer(stream_id.0))
        .bind(first_id_at(since_ms).sort_key().to_vec())
        .bind(rows::limit(SINCE_COMMENTS))
        .fetch_optional(readers)
        .await?;
    row.map(|row| row.comment_id()).transpose()
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
