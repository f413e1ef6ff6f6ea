//! Reads: pages of a stream, one comment, tombstones. Each query names the days it reads, so that
//! the server plans for those days only.

use sqlx::postgres::PgConnection;

use super::day::Day;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::check_writable;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::comments::{StoredComment, Tombstone, rows};
use crate::protocol::{CommentId, SequencedComment, StreamId};

/// A page is read from today and yesterday first, then from this many days before, and then from
/// all remaining days. Most pages are complete after the first two partitions, however many there
/// are.
const SECOND_RANGE_DAYS: u32 = 14;

/// Looks tombstones up row by row: a page is short, and a join could read all of them. It uses
/// `coalesce` because the planner then estimates that half of the rows are visible. With `IS NULL`
/// it estimates almost none, and would read the whole stream and sort it.
pub(super) const PAGE: &str =
    "SELECT sort_key, user_id, name, message, created_at, seq FROM comments AS c
    WHERE stream_id = $1 AND sort_key >= $2 AND sort_key < $3 AND NOT shadow
      AND NOT coalesce((SELECT true FROM tombstones AS t
        WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key
          AND t.sort_key >= $2 AND t.sort_key < $3), false)
    ORDER BY sort_key DESC LIMIT $4";

/// In the comment's day, walks from stream to stream by seeks in the primary key, and looks the
/// comment up in each.
const BY_ID: &str = "WITH RECURSIVE kept (id) AS (
        (SELECT stream_id FROM comments WHERE sort_key >= $2 AND sort_key < $3
         ORDER BY stream_id LIMIT 1)
        UNION ALL
        SELECT (SELECT stream_id FROM comments
            WHERE stream_id > kept.id AND sort_key >= $2 AND sort_key < $3
            ORDER BY stream_id LIMIT 1) FROM kept
        WHERE kept.id IS NOT NULL)
    SELECT found.*, EXISTS (SELECT FROM tombstones AS t
        WHERE t.stream_id = found.stream_id AND t.sort_key = $1) AS deleted
    FROM kept CROSS JOIN LATERAL (SELECT * FROM comments AS c
        WHERE c.stream_id = kept.id AND c.sort_key = $1 LIMIT 1) AS found
    LIMIT 1";

const TOMBSTONES: &str = "SELECT stream_id, sort_key, reason, deleted_at FROM tombstones
    WHERE deleted_at >= $1 ORDER BY deleted_at, stream_id, sort_key LIMIT $2";

/// Reads a page. One that begins with the newest comment is looked up in `today` first.
pub(super) async fn page(
    connection: &mut PgConnection,
    stream_id: StreamId,
    before: Option<CommentId>,
    limit: usize,
    today: Day,
) -> Result<Vec<SequencedComment>, StoreError> {
    let limit = rows::page_limit(limit);
    let yesterday = before.map_or(today, Day::of).minus(1);
    let range_begins = [
        yesterday.first_key().to_vec(),
        yesterday.minus(SECOND_RANGE_DAYS).first_key().to_vec(),
        Vec::new(),
    ];
    let mut end = rows::end_key(before);
    let mut page = Vec::new();
    for begin in range_begins {
        let rows = sqlx::query(PAGE)
            .bind(integer(stream_id.0))
            .bind(&begin)
            .bind(&end)
            .bind(rows::limit(limit - page.len()))
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            page.push(rows::comment(row)?);
        }
        if page.len() == limit {
            break;
        }
        end = begin;
    }
    Ok(page)
}

pub(super) async fn by_id(
    connection: &mut PgConnection,
    id: CommentId,
) -> Result<Option<StoredComment>, StoreError> {
    let day = Day::of(id);
    let row = sqlx::query(BY_ID)
        .bind(id.sort_key())
        .bind(day.first_key())
        .bind(day.plus(1).first_key())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(rows::stored_comment).transpose()
}

pub(super) async fn tombstones_since(
    connection: &mut PgConnection,
    since_ms: u64,
    limit: usize,
) -> Result<Vec<Tombstone>, StoreError> {
    let rows = sqlx::query(TOMBSTONES)
        .bind(integer(since_ms))
        .bind(rows::limit(limit))
        .fetch_all(connection)
        .await?;
    rows.iter().map(rows::tombstone).collect()
}

pub(super) async fn count(
    connection: &mut PgConnection,
    stream_id: StreamId,
) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT count(*) AS comments FROM comments WHERE stream_id = $1")
        .bind(integer(stream_id.0))
        .fetch_one(connection)
        .await?;
    row.natural("comments")
}

/// Succeeds if the server answers, knows the tables, and accepts writes.
pub(super) async fn ping(connection: &mut PgConnection) -> Result<(), StoreError> {
    check_writable(
        connection,
        "SELECT pg_is_in_recovery() AS replica, 'comments'::regclass, 'tombstones'::regclass",
    )
    .await
}
