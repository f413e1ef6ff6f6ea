//! Streams, their settings and the rates operators fixed for them.

use std::sync::Arc;

use sqlx::SqliteConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::room_life::pin;
use crate::daemon::engines::metadata::{NewAudit, rows};
use crate::protocol::room::RoomPatch;
use crate::protocol::stream::{NewStream, Stream, StreamPatch};
use crate::protocol::throttle::FixedRate;
use crate::protocol::{PinnedComment, StreamId};

pub(super) async fn create(
    file: &SqliteFile,
    new: NewStream,
    audit: NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let mut transaction = file.begin().await?;
    let stream_id = match new.stream_id {
        Some(chosen) => chosen,
        None => next_id(&mut transaction).await?,
    };
    let stream = new.begin(stream_id, audit.at);
    insert(&mut transaction, &stream).await?;
    let audit_id = audit::append(&mut transaction, &audit.of_stream(stream_id)).await?;
    transaction.commit().await?;
    Ok((audit_id, stream))
}

async fn next_id(connection: &mut SqliteConnection) -> Result<StreamId, StoreError> {
    let row = sqlx::query("SELECT coalesce(max(stream_id), 0) AS highest FROM streams")
        .fetch_one(connection)
        .await?;
    rows::next_stream_id(&row)
}

async fn insert(connection: &mut SqliteConnection, stream: &Stream) -> Result<(), StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO streams (stream_id, title, state, anonymous, moderation, created_at, ended_at,
             description, starts_at, started_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(integer(stream.stream_id.0))
    .bind(&stream.title)
    .bind(stream.state.as_str())
    .bind(stream.anonymous)
    .bind(rows::enum_text(&stream.moderation)?)
    .bind(integer(stream.created_at))
    .bind(stream.ended_at.map(integer))
    .bind(&stream.description)
    .bind(stream.starts_at.map(integer))
    .bind(stream.started_at.map(integer))
    .execute(connection)
    .await?;
    match inserted.rows_affected() {
        0 => Err(StoreError::Exists("stream")),
        _ => Ok(()),
    }
}

pub(super) async fn update(
    file: &SqliteFile,
    stream_id: StreamId,
    patch: StreamPatch,
    audit: &NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let mut transaction = file.begin().await?;
    let mut stream = known(&mut transaction, stream_id).await?;
    stream.apply(patch, audit.at);
    store(&mut transaction, &stream).await?;
    let audit_id = audit::append(&mut transaction, audit).await?;
    transaction.commit().await?;
    Ok((audit_id, stream))
}

/// Starts a stream that is due; `None` if it is not.
pub(super) async fn start_due(
    file: &SqliteFile,
    stream_id: StreamId,
    audit: &NewAudit,
) -> Result<Option<(u64, Stream)>, StoreError> {
    let mut transaction = file.begin().await?;
    let mut stream = match known(&mut transaction, stream_id).await {
        Ok(stream) if stream.is_due(audit.at) => stream,
        Ok(_) | Err(StoreError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.apply(StreamPatch::start(), audit.at);
    store(&mut transaction, &stream).await?;
    let audit_id = audit::append(&mut transaction, audit).await?;
    transaction.commit().await?;
    Ok(Some((audit_id, stream)))
}

/// The row stays, so that the id is not given again.
pub(super) async fn delete(
    file: &SqliteFile,
    stream_id: StreamId,
    audit: &NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let mut transaction = file.begin().await?;
    let stream = known(&mut transaction, stream_id).await?;
    sqlx::query("UPDATE streams SET deleted_at = ? WHERE stream_id = ?")
        .bind(integer(audit.at))
        .bind(integer(stream_id.0))
        .execute(&mut *transaction)
        .await?;
    let audit_id = audit::append(&mut transaction, audit).await?;
    transaction.commit().await?;
    Ok((audit_id, stream))
}

/// Stores what a patch can change.
async fn store(connection: &mut SqliteConnection, stream: &Stream) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE streams SET title = ?, state = ?, anonymous = ?, moderation = ?, ended_at = ?,
             description = ?, starts_at = ?, started_at = ?
         WHERE stream_id = ?",
    )
    .bind(&stream.title)
    .bind(stream.state.as_str())
    .bind(stream.anonymous)
    .bind(rows::enum_text(&stream.moderation)?)
    .bind(stream.ended_at.map(integer))
    .bind(&stream.description)
    .bind(stream.starts_at.map(integer))
    .bind(stream.started_at.map(integer))
    .bind(integer(stream.stream_id.0))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn known(
    connection: &mut SqliteConnection,
    stream_id: StreamId,
) -> Result<Stream, StoreError> {
    let row = sqlx::query("SELECT * FROM streams WHERE stream_id = ? AND deleted_at IS NULL")
        .bind(integer(stream_id.0))
        .fetch_optional(connection)
        .await?;
    rows::stream(&row.ok_or(StoreError::NotFound("stream"))?)
}

pub(super) async fn update_room(
    file: &SqliteFile,
    stream_id: StreamId,
    patch: RoomPatch,
    audit: NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let mut transaction = file.begin().await?;
    let mut stream = known(&mut transaction, stream_id).await?;
    let audit = audit.with_before(&stream.room);
    stream.room.apply(patch);
    sqlx::query("UPDATE streams SET room = ? WHERE stream_id = ?")
        .bind(rows::room_text(&stream.room)?)
        .bind(integer(stream_id.0))
        .execute(&mut *transaction)
        .await?;
    let audit_id = audit::append(&mut transaction, &audit).await?;
    transaction.commit().await?;
    Ok((audit_id, stream))
}

pub(super) async fn set_pinned(
    file: &SqliteFile,
    stream_id: StreamId,
    pinned: Option<Arc<PinnedComment>>,
    only: Option<Arc<PinnedComment>>,
    audit: NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let mut transaction = file.begin().await?;
    let mut stream = known(&mut transaction, stream_id).await?;
    let audit = pin(&mut stream, pinned, only.as_deref(), audit)?;
    sqlx::query("UPDATE streams SET pinned = ? WHERE stream_id = ?")
        .bind(rows::pinned_text(stream.pinned.as_deref())?)
        .bind(integer(stream_id.0))
        .execute(&mut *transaction)
        .await?;
    let audit_id = audit::append(&mut transaction, &audit).await?;
    transaction.commit().await?;
    Ok((audit_id, stream))
}

pub(super) async fn by_id(
    file: &SqliteFile,
    stream_id: StreamId,
) -> Result<Option<Stream>, StoreError> {
    let row = sqlx::query("SELECT * FROM streams WHERE stream_id = ? AND deleted_at IS NULL")
        .bind(integer(stream_id.0))
        .fetch_optional(file.readers())
        .await?;
    row.as_ref().map(rows::stream).transpose()
}

pub(super) async fn all(file: &SqliteFile) -> Result<Vec<Stream>, StoreError> {
    let rows = sqlx::query("SELECT * FROM streams WHERE deleted_at IS NULL ORDER BY stream_id")
        .fetch_all(file.readers())
        .await?;
    rows.iter().map(rows::stream).collect()
}

pub(super) async fn throttle_overrides(
    file: &SqliteFile,
) -> Result<Vec<(StreamId, FixedRate)>, StoreError> {
    let rows = sqlx::query(
        "SELECT stream_id, throttle_override, throttle_until FROM streams
         WHERE throttle_override IS NOT NULL AND deleted_at IS NULL ORDER BY stream_id",
    )
    .fetch_all(file.readers())
    .await?;
    rows.iter().map(rows::throttle_override).collect()
}

pub(super) async fn set_throttle_override(
    file: &SqliteFile,
    stream_id: StreamId,
    fixed: Option<FixedRate>,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    let updated = sqlx::query(
        "UPDATE streams SET throttle_override = ?, throttle_until = ?
         WHERE stream_id = ? AND deleted_at IS NULL",
    )
    .bind(fixed.map(|fixed| fixed.rate.share()))
    .bind(fixed.and_then(|fixed| fixed.until_ms).map(integer))
    .bind(integer(stream_id.0))
    .execute(&mut *transaction)
    .await?;
    if updated.rows_affected() == 0 {
        return Err(StoreError::NotFound("stream"));
    }
    let audit_id = audit::append(&mut transaction, audit).await?;
    transaction.commit().await?;
    Ok(audit_id)
}
