//! The blocked terms of rooms.

use super::{audit, streams};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::{ChangedTerms, NewAudit, rows, terms_after};
use crate::protocol::StreamId;
use crate::protocol::room::{RoomTerm, TermsPatch};

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
    let audit = audit.with_before(&change.before);
    let audit_id = audit::append(&mut transaction, &audit).await?;
    transaction.commit().await?;
    Ok(ChangedTerms { audit_id, terms: change.after })
}

pub(super) async fn all(file: &SqliteFile) -> Result<Vec<(StreamId, RoomTerm)>, StoreError> {
    let stored = sqlx::query("SELECT * FROM room_terms").fetch_all(file.readers()).await?;
    rows::room_terms(&stored)
}
