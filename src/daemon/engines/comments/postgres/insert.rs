//! Bulk writes: a batch is one statement per table, with its columns as arrays.

use sqlx::postgres::PgConnection;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::comments::{ArchivedComment, Tombstone};

const COMMENTS: &str = "INSERT INTO comments
    (stream_id, sort_key, user_id, name, message, created_at, seq, shadow)
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::text[], $5::text[],
        $6::bigint[], $7::bigint[], $8::boolean[])
    ON CONFLICT DO NOTHING";

const TOMBSTONES: &str = "INSERT INTO tombstones (stream_id, sort_key, reason, deleted_at)
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::text[], $4::bigint[])
    ON CONFLICT DO NOTHING";

/// Inserts comments in the order of their keys, as every node does, so that two nodes with the same
/// batch never deadlock and neighbours in the index are written together. If a comment is in the
/// batch twice, the first one counts.
pub(super) async fn comments(
    connection: &mut PgConnection,
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
