//! Reads: pages of a stream, one comment, tombstones. Each query names the days it reads, so that
//! the server plans for those days only.

use std::collections::BTreeMap;

use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::day::Day;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::check_writable;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::comments::rows::{self, Place};
use crate::daemon::engines::comments::{
    CommentKey, MAX_COUNTED_REPLIES, SINCE_COMMENTS, StoredComment, Tombstone, first_id_at,
};
use crate::protocol::{CommentId, SequencedComment, StreamId, UserId};

/// Days that are read at a time: the two with the newest places, which complete most pages, then
/// this many, and then all remaining ones.
const SECOND_RANGE_DAYS: usize = 14;

/// The days in which a stream has comments before a place, those with the newest comments first.
const DAYS: &str = "SELECT day, last_place[1] AS log, last_place[2] AS seq FROM stream_days
    WHERE stream_id = $1 AND first_place < ARRAY[$2::bigint, $3::bigint] ORDER BY last_place DESC";

/// Looks tombstones up row by row: a page is short, and a join could read all of them. It uses
/// `coalesce` because the planner then estimates that half of the rows are visible. With `IS NULL`
/// it estimates almost none, and would read the whole stream and sort it.
pub(super) const PAGE: &str =
    "SELECT sort_key, user_id, name, message, created_at, log, seq, badges,
        parent_key
    FROM comments AS c
    WHERE stream_id = $1 AND sort_key >= $2 AND sort_key < $3 AND (log, seq) < ($4, $5)
      AND (NOT shadow OR user_id = $7)
      AND NOT coalesce((SELECT true FROM tombstones AS t
        WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key
          AND t.sort_key >= $2 AND t.sort_key < $3
          AND (t.deleted_place > t.restored_place
            OR (t.hidden_place > t.restored_place AND c.user_id IS DISTINCT FROM $7))), false)
    ORDER BY log DESC, seq DESC LIMIT $6";

/// Partitions of days before the parent's are not read.
const REPLIES: &str = "SELECT sort_key, user_id, name, message, created_at, log, seq, badges,
        parent_key
    FROM comments AS c
    WHERE stream_id = $1 AND parent_key = $2 AND sort_key >= $3 AND (log, seq) < ($6, $7)
      AND (NOT shadow OR user_id = $5)
      AND NOT coalesce((SELECT true FROM tombstones AS t
        WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key AND t.sort_key >= $3
          AND (t.deleted_place > t.restored_place
            OR (t.hidden_place > t.restored_place AND c.user_id IS DISTINCT FROM $5))), false)
    ORDER BY log DESC, seq DESC LIMIT $4";

const REPLY_COUNT: &str = "SELECT count(*) AS replies FROM (
    SELECT FROM comments AS c
    WHERE stream_id = $1 AND parent_key = $2 AND sort_key >= $3
      AND (NOT shadow OR user_id = $5)
      AND NOT coalesce((SELECT true FROM tombstones AS t
        WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key AND t.sort_key >= $3
          AND (t.deleted_place > t.restored_place
            OR (t.hidden_place > t.restored_place AND c.user_id IS DISTINCT FROM $5))), false)
    LIMIT $4) AS shown";

const HIDDEN_AUTHORS: &str = "SELECT user_id FROM hidden_authors WHERE stream_id = $1";

const PLACE: &str = "SELECT log, seq FROM comments WHERE stream_id = $1 AND sort_key = $2";
const PLACE_OF_OLDER: &str = "SELECT log, seq FROM comments WHERE stream_id = $1 AND sort_key < $2
    ORDER BY sort_key DESC LIMIT 1";

const FIRST_SINCE: &str = "SELECT sort_key FROM (
        SELECT sort_key, log, seq FROM comments WHERE stream_id = $1 AND sort_key >= $2
        ORDER BY sort_key LIMIT $3) AS following
    ORDER BY log, seq LIMIT 1";

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
        WHERE t.stream_id = found.stream_id AND t.sort_key = $1
          AND greatest(t.deleted_place, t.hidden_place) > t.restored_place) AS deleted,
        EXISTS (SELECT FROM tombstones AS t
        WHERE t.stream_id = found.stream_id AND t.sort_key = $1
          AND t.hidden_place > t.restored_place
          AND t.deleted_place <= t.restored_place) AS only_hidden
    FROM kept CROSS JOIN LATERAL (SELECT * FROM comments AS c
        WHERE c.stream_id = kept.id AND c.sort_key = $1 LIMIT 1) AS found
    LIMIT 1";

const TOMBSTONES: &str = "SELECT stream_id, sort_key, reason, deleted_at,
        deleted_place <= restored_place AS only_hidden
    FROM tombstones
    WHERE deleted_at >= $1 AND greatest(deleted_place, hidden_place) > restored_place
    ORDER BY deleted_at, stream_id, sort_key LIMIT $2";

/// A day of a stream, and the place of its newest comment.
struct StreamDay {
    day: Day,
    last: Place,
}

/// Reads a page: days in the order of their last places, until the page is full and the other days
/// are older. Only after a clock was wrong do days overlap in the log. A reader is also shown the
/// reader's own comments that are hidden from others.
pub(super) async fn page(
    connection: &mut PgConnection,
    reader: Option<UserId>,
    stream_id: StreamId,
    before: Option<CommentId>,
    limit: usize,
) -> Result<Vec<SequencedComment>, StoreError> {
    let limit = rows::page_limit(limit);
    let end = match before {
        None => Place::END,
        Some(before) => match place_of(connection, stream_id, before).await? {
            None => return Ok(Vec::new()),
            Some(end) => end,
        },
    };
    let days = days_before(connection, stream_id, end).await?;
    let mut page = BTreeMap::new();
    let mut rest = days.as_slice();
    for size in [2, SECOND_RANGE_DAYS, usize::MAX] {
        let Some(newest) = rest.first() else { break };
        let oldest_read = page.first_key_value().map(|((place, _), _)| *place);
        if page.len() == limit && oldest_read.is_some_and(|oldest| oldest > newest.last) {
            break;
        }
        let (read, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        let part = PagePart { reader, stream_id, end, days: read, limit };
        read_days(connection, part, &mut page).await?;
    }
    Ok(page.into_values().rev().collect())
}

/// The days that a page reads at a time.
struct PagePart<'a> {
    reader: Option<UserId>,
    stream_id: StreamId,
    end: Place,
    days: &'a [StreamDay],
    limit: usize,
}

/// Adds the newest comments of the range of these days to the page, and keeps its newest `limit`.
async fn read_days(
    connection: &mut PgConnection,
    part: PagePart<'_>,
    page: &mut BTreeMap<(Place, Uuid), SequencedComment>,
) -> Result<(), StoreError> {
    let PagePart { reader, stream_id, end, days, limit } = part;
    let days = || days.iter().map(|day| day.day);
    let (Some(first), Some(last)) = (days().min(), days().max()) else { return Ok(()) };
    let rows = sqlx::query(PAGE)
        .bind(integer(stream_id.0))
        .bind(first.first_key())
        .bind(last.plus(1).first_key())
        .bind(end.log)
        .bind(end.seq)
        .bind(rows::limit(limit))
        .bind(reader.map(|user_id| integer(user_id.0)))
        .fetch_all(connection)
        .await?;
    for row in &rows {
        let comment = rows::comment(row)?;
        page.insert((rows::place(row)?, comment.comment_id.0), comment);
    }
    while page.len() > limit {
        page.pop_first();
    }
    Ok(())
}

/// A reply may have an id from before that of its parent by this, as the clocks of nodes differ.
const CLOCK_TOLERANCE_MS: u64 = 3_600_000;

/// Returns the first key that a reply to a comment may have.
fn first_reply_key(parent_id: CommentId) -> [u8; 8] {
    Day::at_unix_ms(parent_id.unix_ms().saturating_sub(CLOCK_TOLERANCE_MS)).first_key()
}

/// Reads a page of the replies to a comment. A reader is also shown the reader's own ones that are
/// hidden from others.
pub(super) async fn replies(
    connection: &mut PgConnection,
    reader: Option<UserId>,
    parent: CommentKey,
    before: Option<CommentId>,
    limit: usize,
) -> Result<Vec<SequencedComment>, StoreError> {
    let end = match before {
        None => Place::END,
        Some(before) => match place_of(connection, parent.stream_id, before).await? {
            None => return Ok(Vec::new()),
            Some(end) => end,
        },
    };
    let rows = sqlx::query(REPLIES)
        .bind(integer(parent.stream_id.0))
        .bind(parent.comment_id.sort_key())
        .bind(first_reply_key(parent.comment_id))
        .bind(rows::limit(rows::page_limit(limit)))
        .bind(reader.map(|user_id| integer(user_id.0)))
        .bind(end.log)
        .bind(end.seq)
        .fetch_all(connection)
        .await?;
    rows.iter().map(rows::comment).collect()
}

/// Counts the replies that [`replies`] shows.
pub(super) async fn reply_count(
    connection: &mut PgConnection,
    reader: Option<UserId>,
    parent: CommentKey,
) -> Result<usize, StoreError> {
    let row = sqlx::query(REPLY_COUNT)
        .bind(integer(parent.stream_id.0))
        .bind(parent.comment_id.sort_key())
        .bind(first_reply_key(parent.comment_id))
        .bind(rows::limit(MAX_COUNTED_REPLIES))
        .bind(reader.map(|user_id| integer(user_id.0)))
        .fetch_one(connection)
        .await?;
    Ok(row.natural("replies")? as usize)
}

pub(super) async fn hidden_authors(
    connection: &mut PgConnection,
    stream_id: StreamId,
) -> Result<Vec<UserId>, StoreError> {
    let rows = sqlx::query(HIDDEN_AUTHORS).bind(integer(stream_id.0)).fetch_all(connection).await?;
    rows.iter().map(rows::author).collect()
}

async fn days_before(
    connection: &mut PgConnection,
    stream_id: StreamId,
    end: Place,
) -> Result<Vec<StreamDay>, StoreError> {
    let rows = sqlx::query(DAYS)
        .bind(integer(stream_id.0))
        .bind(end.log)
        .bind(end.seq)
        .fetch_all(connection)
        .await?;
    let day = |row: &PgRow| {
        let day = Day::from_key(row.bytes("day")?)?;
        let last = rows::place(row)?;
        Ok(StreamDay { day, last })
    };
    rows.iter().map(day).collect()
}

/// Returns the place that a page before this comment ends at.
async fn place_of(
    connection: &mut PgConnection,
    stream_id: StreamId,
    before: CommentId,
) -> Result<Option<Place>, StoreError> {
    let stream_id = integer(stream_id.0);
    let key = before.sort_key();
    let exact = sqlx::query(PLACE).bind(stream_id).bind(key).fetch_optional(&mut *connection);
    if let Some(row) = exact.await? {
        return Ok(Some(rows::place(&row)?));
    }
    let older = sqlx::query(PLACE_OF_OLDER).bind(stream_id).bind(key).fetch_optional(connection);
    older.await?.map(|row| Ok(rows::place(&row)?.next())).transpose()
}

pub(super) async fn first_since(
    connection: &mut PgConnection,
    stream_id: StreamId,
    since_ms: u64,
) -> Result<Option<CommentId>, StoreError> {
    let row = sqlx::query(FIRST_SINCE)
        .bind(integer(stream_id.0))
        .bind(first_id_at(since_ms).sort_key())
        .bind(rows::limit(SINCE_COMMENTS))
        .fetch_optional(connection)
        .await?;
    row.map(|row| row.comment_id()).transpose()
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

/// Succeeds if the server answers, knows the tables, and accepts writes.
pub(super) async fn ping(connection: &mut PgConnection) -> Result<(), StoreError> {
    check_writable(
        connection,
        "SELECT has_table_privilege('comments', 'INSERT')
            AND has_table_privilege('tombstones', 'INSERT')
            AND has_table_privilege('tombstones', 'UPDATE')
            AND has_table_privilege('archive_positions', 'INSERT')
            AND has_table_privilege('archive_positions', 'UPDATE')
            AND has_table_privilege('hidden_authors', 'INSERT') AS may_write",
    )
    .await
}
