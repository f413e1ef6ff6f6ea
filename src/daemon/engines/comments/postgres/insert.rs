//! Bulk writes: a batch is one statement per table, with its columns as arrays.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use sqlx::postgres::PgConnection;

use super::day::Day;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::comments::{ArchivedComment, Tombstone};
use crate::protocol::{Seq, StreamId};

const COMMENTS: &str = "INSERT INTO comments
    (stream_id, sort_key, user_id, name, message, created_at, seq, shadow, log)
    SELECT *, $9::bigint FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::text[],
        $5::text[], $6::bigint[], $7::bigint[], $8::boolean[])
    ON CONFLICT DO NOTHING";

const TOMBSTONES: &str = "INSERT INTO tombstones (stream_id, sort_key, reason, deleted_at)
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::bigint[])
    ON CONFLICT DO NOTHING";

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

/// Inserts tombstones in the same way.
pub(super) async fn tombstones(
    connection: &mut PgConnection,
    mut tombstones: Vec<&Tombstone>,
) -> Result<(), StoreError> {
    if tombstones.is_empty() {
        return Ok(());
    }
    tombstones.sort_by_cached_key(|row| (row.stream_id, row.comment_id.sort_key()));
    let rows = || tombstones.iter();
    sqlx::query(TOMBSTONES)
        .bind(rows().map(|row| integer(row.stream_id.0)).collect::<Vec<_>>())
        .bind(rows().map(|row| row.comment_id.sort_key()).collect::<Vec<_>>())
        .bind(rows().map(|row| storable(&row.reason)).collect::<Vec<_>>())
        .bind(rows().map(|row| integer(row.deleted_at)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
