//! Reading: pages of a stream, one comment, tombstones. Each query says which days it reads, so that
//! the server plans for those alone.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::day::Day;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::columns::{
    comment_id, integer, natural, shared_text,
};
use crate::daemon::engines::comments::{StoredComment, Tombstone};
use crate::protocol::{CommentId, SequencedComment, StreamId, UserId};

const LONGEST_PAGE: usize = 1000;
/// Sorts behind every key.
const NEWEST: [u8; 17] = [0xFF; 17];
/// A page is looked for in yesterday and today first, then in this many days before, and then in
/// all that is left: most are found in the first two partitions, however many there are.
const SECOND_LOOK_DAYS: u32 = 14;

/// The tombstone is asked for row by row: a page is short, and a join could read all of them. Written
/// as `coalesce`, because the planner takes half of the rows to be shown then; of `IS NULL` it
/// believes that nearly none are, and would read the whole stream and sort it.
pub(super) const PAGE: &str =
    "SELECT sort_key, user_id, name, message, created_at, seq FROM comments AS c
    WHERE stream_id = $1 AND sort_key >= $2 AND sort_key < $3 AND NOT shadow
      AND NOT coalesce((SELECT true FROM tombstones AS t
        WHERE t.stream_id = c.stream_id AND t.sort_key = c.sort_key
          AND t.sort_key >= $2 AND t.sort_key < $3), false)
    ORDER BY sort_key DESC LIMIT $4";

/// In the comment's day, steps from stream to stream by seeks in the primary key, and looks it up in
/// each.
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

/// `today` is where a page that begins with the newest is looked for first.
pub(super) async fn page(
    connection: &mut PgConnection,
    stream_id: StreamId,
    before: Option<CommentId>,
    limit: usize,
    today: Day,
) -> Result<Vec<SequencedComment>, StoreError> {
    let limit = limit.clamp(1, LONGEST_PAGE);
    let yesterday = before.map_or(today, Day::of).minus(1);
    let looks = [
        yesterday.first_key().to_vec(),
        yesterday.minus(SECOND_LOOK_DAYS).first_key().to_vec(),
        Vec::new(),
    ];
    let mut end = before.map_or_else(|| NEWEST.to_vec(), |id| id.sort_key().to_vec());
    let mut page = Vec::new();
    for begin in looks {
        let rows = sqlx::query(PAGE)
            .bind(integer(stream_id.0))
            .bind(&begin)
            .bind(&end)
            .bind(integer((limit - page.len()) as u64))
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            page.push(sequenced(row)?);
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
    connection: &mut PgConnection,
    since_ms: u64,
    limit: usize,
) -> Result<Vec<Tombstone>, StoreError> {
    let rows = sqlx::query(TOMBSTONES)
        .bind(integer(since_ms))
        .bind(integer(limit as u64))
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Tombstone {
                stream_id: StreamId(natural(row, "stream_id")?),
                comment_id: comment_id(row)?,
                reason: shared_text(row, "reason")?,
                deleted_at: natural(row, "deleted_at")?,
            })
        })
        .collect()
}

pub(super) async fn count(
    connection: &mut PgConnection,
    stream_id: StreamId,
) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT count(*) AS comments FROM comments WHERE stream_id = $1")
        .bind(integer(stream_id.0))
        .fetch_one(connection)
        .await?;
    natural(&row, "comments")
}

/// Whether the server answers, knows the tables, and takes writes: a replica does not.
pub(super) async fn is_there(connection: &mut PgConnection) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT pg_is_in_recovery() AS replica, 'comments'::regclass, 'tombstones'::regclass",
    )
    .fetch_one(connection)
    .await?;
    match row.try_get("replica")? {
        true => Err(StoreError::Unavailable("`postgres.url` names a read-only replica".to_owned())),
        false => Ok(()),
    }
}

fn sequenced(row: &PgRow) -> Result<SequencedComment, StoreError> {
    Ok(SequencedComment {
        comment_id: comment_id(row)?,
        user_id: UserId(natural(row, "user_id")?),
        name: shared_text(row, "name")?,
        message: shared_text(row, "message")?,
        created_at: natural(row, "created_at")?,
        seq: natural(row, "seq")?,
    })
}
