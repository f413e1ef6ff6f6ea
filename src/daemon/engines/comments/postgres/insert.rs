//! Bulk writes: a batch is one statement per table, with its columns as arrays.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use sqlx::postgres::PgConnection;

use super::day::Day;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::comments::ArchivedComment;
use crate::daemon::engines::comments::marks::CommentMark;
use crate::protocol::{CommentId, Seq, StreamId, UserId};

const COMMENTS: &str = "INSERT INTO comments
    (stream_id, sort_key, user_id, name, message, created_at, seq, shadow, badges, parent_key, log)
    SELECT *, $11::bigint FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::text[],
        $5::text[], $6::bigint[], $7::bigint[], $8::boolean[], $9::bigint[], $10::bytea[])
    ON CONFLICT DO NOTHING";

/// Places only grow. A deletion that still counts keeps its reason and its time.
const MARKS: &str = "INSERT INTO tombstones AS t
    (stream_id, sort_key, reason, deleted_at, deleted_place, hidden_place, restored_place)
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::bigint[], $5::bytea[],
        $6::bytea[], $7::bytea[])
    ON CONFLICT (stream_id, sort_key) DO UPDATE SET
        reason = CASE WHEN greatest(excluded.deleted_place, excluded.hidden_place) = '\\x00'
                OR greatest(t.deleted_place, t.hidden_place)
                    > greatest(t.restored_place, excluded.restored_place)
            THEN t.reason ELSE excluded.reason END,
        deleted_at = CASE WHEN greatest(excluded.deleted_place, excluded.hidden_place) = '\\x00'
                OR greatest(t.deleted_place, t.hidden_place)
                    > greatest(t.restored_place, excluded.restored_place)
            THEN t.deleted_at ELSE excluded.deleted_at END,
        deleted_place = greatest(t.deleted_place, excluded.deleted_place),
        hidden_place = greatest(t.hidden_place, excluded.hidden_place),
        restored_place = greatest(t.restored_place, excluded.restored_place)";

const HIDDEN_AUTHORS: &str = "INSERT INTO hidden_authors (stream_id, user_id)
    SELECT * FROM unnest($1::bigint[], $2::bigint[]) ON CONFLICT DO NOTHING";

/// Widens the range of each day to the places of new comments.
const DAYS: &str = "INSERT INTO stream_days (stream_id, day, first_place, last_place)
    SELECT stream_id, day, ARRAY[$5::bigint, first_seq], ARRAY[$5::bigint, last_seq]
    FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[])
        AS new (stream_id, day, first_seq, last_seq)
    ON CONFLICT (stream_id, day) DO UPDATE SET
        first_place = least(stream_days.first_place, excluded.first_place),
        last_place = greatest(stream_days.last_place, excluded.last_place)";

/// Inserts comments of the log with this number, in the order of their keys, as every node does, so
/// that two nodes with the same batch never deadlock and neighbours in the index are written
/// together. If a comment is in the batch twice, the first one counts.
pub(super) async fn comments(
    connection: &mut PgConnection,
    log: i64,
    mut comments: Vec<&ArchivedComment>,
) -> Result<(), StoreError> {
    if comments.is_empty() {
        return Ok(());
    }
    comments.sort_by_cached_key(|row| (row.comment.stream_id, row.comment.comment_id.sort_key()));
    let rows = || comments.iter().map(|row| &*row.comment);
    sqlx::query(COMMENTS)
        .bind(rows().map(|comment| integer(comment.stream_id.0)).collect::<Vec<_>>())
        .bind(rows().map(|comment| comment.comment_id.sort_key()).collect::<Vec<_>>())
        .bind(rows().map(|comment| integer(comment.user_id.0)).collect::<Vec<_>>())
        .bind(rows().map(|comment| storable(&comment.name)).collect::<Vec<_>>())
        .bind(rows().map(|comment| storable(&comment.message)).collect::<Vec<_>>())
        .bind(rows().map(|comment| integer(comment.created_at)).collect::<Vec<_>>())
        .bind(comments.iter().map(|row| integer(row.seq)).collect::<Vec<_>>())
        .bind(comments.iter().map(|row| row.shadow).collect::<Vec<_>>())
        .bind(rows().map(|comment| i64::from(comment.badges.bits())).collect::<Vec<_>>())
        .bind(rows().map(|comment| comment.parent_id.map(CommentId::sort_key)).collect::<Vec<_>>())
        .bind(log)
        .execute(&mut *connection)
        .await?;
    widen_days(connection, log, &comments).await
}

async fn widen_days(
    connection: &mut PgConnection,
    log: i64,
    comments: &[&ArchivedComment],
) -> Result<(), StoreError> {
    let mut days: BTreeMap<(StreamId, Day), RangeInclusive<Seq>> = BTreeMap::new();
    for row in comments {
        let key = (row.comment.stream_id, Day::of(row.comment.comment_id));
        let range = days.entry(key).or_insert(row.seq..=row.seq);
        *range = *range.start().min(&row.seq)..=*range.end().max(&row.seq);
    }
    sqlx::query(DAYS)
        .bind(days.keys().map(|(stream_id, _)| integer(stream_id.0)).collect::<Vec<_>>())
        .bind(days.keys().map(|(_, day)| day.first_key()).collect::<Vec<_>>())
        .bind(days.values().map(|range| integer(*range.start())).collect::<Vec<_>>())
        .bind(days.values().map(|range| integer(*range.end())).collect::<Vec<_>>())
        .bind(log)
        .execute(connection)
        .await?;
    Ok(())
}

/// Stores the deletions and restorations of a batch from the log with this number.
pub(super) async fn marks(
    connection: &mut PgConnection,
    log: i64,
    marks: Vec<CommentMark<'_>>,
) -> Result<(), StoreError> {
    if marks.is_empty() {
        return Ok(());
    }
    let marks = || marks.iter();
    sqlx::query(MARKS)
        .bind(marks().map(|mark| integer(mark.stream_id.0)).collect::<Vec<_>>())
        .bind(marks().map(|mark| mark.comment_id.sort_key()).collect::<Vec<_>>())
        .bind(marks().map(|mark| storable(mark.reason())).collect::<Vec<_>>())
        .bind(marks().map(|mark| integer(mark.deleted_at())).collect::<Vec<_>>())
        .bind(marks().map(|mark| mark.deleted_place(log)).collect::<Vec<_>>())
        .bind(marks().map(|mark| mark.hidden_place(log)).collect::<Vec<_>>())
        .bind(marks().map(|mark| mark.restored_place(log)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Lists the authors of comments that are hidden from others.
pub(super) async fn hidden_authors(
    connection: &mut PgConnection,
    authors: &BTreeSet<(StreamId, UserId)>,
) -> Result<(), StoreError> {
    if authors.is_empty() {
        return Ok(());
    }
    sqlx::query(HIDDEN_AUTHORS)
        .bind(authors.iter().map(|(stream_id, _)| integer(stream_id.0)).collect::<Vec<_>>())
        .bind(authors.iter().map(|(_, user_id)| integer(user_id.0)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
