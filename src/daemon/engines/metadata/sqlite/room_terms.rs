//! The blocked terms of rooms.

use sqlx::{QueryBuilder, Sqlite};

use super::{audit, streams};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::{ChangedTerms, NewAudit, rows, terms_after};
use crate::protocol::StreamId;
use crate::protocol::room::{RoomTerm, TermsPatch};

/// Rooms of one statement.
const ROOMS: usize = 512;

const VERSIONS: &str = "SELECT stream_id, terms_version FROM streams WHERE terms_version > 0
                        ORDER BY stream_id";

pub(super) async fn change(
    file: &SqliteFile,
    stream_id: StreamId,
    patch: &TermsPatch,
    audit: NewAudit,
) -> Result<ChangedTerms, StoreError> {
    let mut transaction = file.begin().await?;
    streams::known(&mut transaction, stream_id).await?;
    let stored = sqlx::query("SELECT * FROM room_terms WHERE stream_id = ?")
        .bind(integer(stream_id.0))
        .fetch_all(&mut *transaction)
        .await?;
    let change = terms_after(rows::room_terms(&stored)?, patch)?;
    let removed = patch.remove.iter().chain(patch.add.iter().map(|added| &added.term));
    for term in removed {
        sqlx::query("DELETE FROM room_terms WHERE stream_id = ? AND term = ?")
            .bind(integer(stream_id.0))
            .bind(term)
            .execute(&mut *transaction)
            .await?;
    }
    for added in &patch.add {
        sqlx::query("INSERT INTO room_terms (stream_id, term, action) VALUES (?, ?, ?)")
            .bind(integer(stream_id.0))
            .bind(&added.term)
            .bind(added.action.as_str())
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query("UPDATE streams SET terms_version = terms_version + 1 WHERE stream_id = ?")
        .bind(integer(stream_id.0))
        .execute(&mut *transaction)
        .await?;
    let audit = audit.with_before(&change.before);
    let audit_id = audit::append(&mut transaction, &audit).await?;
    transaction.commit().await?;
    Ok(ChangedTerms { audit_id, terms: change.after })
}

pub(super) async fn of_rooms(
    file: &SqliteFile,
    rooms: &[StreamId],
) -> Result<Vec<(StreamId, RoomTerm)>, StoreError> {
    let mut terms = Vec::new();
    for rooms in rooms.chunks(ROOMS) {
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT * FROM room_terms WHERE stream_id IN (");
        let mut ids = query.separated(", ");
        for stream_id in rooms {
            ids.push_bind(integer(stream_id.0));
        }
        query.push(")");
        terms.extend(query.build().fetch_all(file.readers()).await?);
    }
    rows::room_terms(&terms)
}

pub(super) async fn versions(file: &SqliteFile) -> Result<Vec<(StreamId, u64)>, StoreError> {
    let stored = sqlx::query(VERSIONS).fetch_all(file.readers()).await?;
    stored.iter().map(rows::terms_version).collect()
}
