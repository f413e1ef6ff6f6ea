//! The blocked terms of rooms. The row of the stream is locked while its terms are changed.

use sqlx::postgres::PgConnection;

use super::{audit, streams};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::metadata::{ChangedTerms, NewAudit, rows, terms_after};
use crate::protocol::StreamId;
use crate::protocol::room::{RoomTerm, TermsPatch};

/// Text that a term cannot have, U+0000 included, is refused before: see
/// [`normal_term`](crate::protocol::room::normal_term).
pub(super) async fn change(
    connection: &mut PgConnection,
    stream_id: StreamId,
    patch: &TermsPatch,
    audit: NewAudit,
) -> Result<ChangedTerms, StoreError> {
    streams::locked(connection, stream_id).await?;
    let stored = sqlx::query("SELECT * FROM room_terms WHERE stream_id = $1")
        .bind(integer(stream_id.0))
        .fetch_all(&mut *connection)
        .await?;
    let change = terms_after(rows::room_terms(&stored)?, patch)?;
    let added: Vec<_> = patch.add.iter().map(|added| added.term.clone()).collect();
    let actions: Vec<_> = patch.add.iter().map(|added| added.action.as_str().to_owned()).collect();
    let removed: Vec<_> = patch.remove.iter().chain(&added).cloned().collect();
    sqlx::query("DELETE FROM room_terms WHERE stream_id = $1 AND term = ANY($2::text[])")
        .bind(integer(stream_id.0))
        .bind(removed)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO room_terms (stream_id, term, action)
         SELECT $1, term, action FROM unnest($2::text[], $3::text[]) AS added (term, action)",
    )
    .bind(integer(stream_id.0))
    .bind(added)
    .bind(actions)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE streams SET terms_version = terms_version + 1 WHERE stream_id = $1")
        .bind(integer(stream_id.0))
        .execute(&mut *connection)
        .await?;
    let audit_id = audit::append(connection, &audit.with_before(&change.before)).await?;
    Ok(ChangedTerms { audit_id, terms: change.after })
}

pub(super) async fn of_rooms(
    connection: &mut PgConnection,
    rooms: &[StreamId],
) -> Result<Vec<(StreamId, RoomTerm)>, StoreError> {
    let ids: Vec<i64> = rooms.iter().map(|stream_id| integer(stream_id.0)).collect();
    let stored = sqlx::query("SELECT * FROM room_terms WHERE stream_id = ANY($1)")
        .bind(ids)
        .fetch_all(connection)
        .await?;
    rows::room_terms(&stored)
}

pub(super) async fn versions(
    connection: &mut PgConnection,
) -> Result<Vec<(StreamId, u64)>, StoreError> {
    let stored = sqlx::query(
        "SELECT stream_id, terms_version FROM streams WHERE terms_version > 0 ORDER BY stream_id",
    )
    .fetch_all(connection)
    .await?;
    stored.iter().map(rows::terms_version).collect()
}
