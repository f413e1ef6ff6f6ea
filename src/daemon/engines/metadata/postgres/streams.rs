//! Streams, their settings and the rates operators fixed for them.

use std::sync::Arc;

use sqlx::postgres::PgConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::check_writable;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::metadata::room_life::pin;
use crate::daemon::engines::metadata::{NewAudit, rows};
use crate::protocol::room::RoomPatch;
use crate::protocol::stream::{NewStream, Stream, StreamPatch};
use crate::protocol::throttle::FixedRate;
use crate::protocol::{PinnedComment, StreamId};

/// Held from asking for the highest id until the new one is committed, by every node that creates a
/// stream; those that read or change streams wait for nothing.
const LOCK_IDS: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('lcd stream ids ' || current_schema(), 0))";

pub(super) async fn create(
    connection: &mut PgConnection,
    new: NewStream,
    audit: NewAudit,
) -> Result<(u64, Stream), StoreError> {
    sqlx::query(LOCK_IDS).execute(&mut *connection).await?;
    let stream_id = match new.stream_id {
        Some(chosen) => chosen,
        None => next_id(connection).await?,
    };
    let stream = new.begin(stream_id, audit.at);
    insert(connection, &stream).await?;
    let audit_id = audit::append(connection, &audit.of_stream(stream_id)).await?;
    Ok((audit_id, stream))
}

async fn next_id(connection: &mut PgConnection) -> Result<StreamId, StoreError> {
    let row = sqlx::query("SELECT coalesce(max(stream_id), 0) AS highest FROM streams")
        .fetch_one(connection)
        .await?;
    rows::next_stream_id(&row)
}

async fn insert(connection: &mut PgConnection, stream: &Stream) -> Result<(), StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO streams (stream_id, title, state, anonymous, moderation, created_at, ended_at,
             description, starts_at, started_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
    )
    .bind(integer(stream.stream_id.0))
    .bind(storable(&stream.title))
    .bind(stream.state.as_str())
    .bind(stream.anonymous)
    .bind(rows::enum_text(&stream.moderation)?)
    .bind(integer(stream.created_at))
    .bind(stream.ended_at.map(integer))
    .bind(storable(&stream.description))
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
    connection: &mut PgConnection,
    stream_id: StreamId,
    patch: StreamPatch,
    audit: &NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let mut stream = locked(connection, stream_id).await?;
    stream.apply(patch, audit.at);
    store(connection, &stream).await?;
    Ok((audit::append(connection, audit).await?, stream))
}

/// Starts a stream that is due; `None` if it is not.
pub(super) async fn start_due(
    connection: &mut PgConnection,
    stream_id: StreamId,
    audit: &NewAudit,
) -> Result<Option<(u64, Stream)>, StoreError> {
    let mut stream = match locked(connection, stream_id).await {
        Ok(stream) if stream.is_due(audit.at) => stream,
        Ok(_) | Err(StoreError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.apply(StreamPatch::start(), audit.at);
    store(connection, &stream).await?;
    Ok(Some((audit::append(connection, audit).await?, stream)))
}

/// The row stays, so that the id is not given again.
pub(super) async fn delete(
    connection: &mut PgConnection,
    stream_id: StreamId,
    audit: &NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let stream = locked(connection, stream_id).await?;
    sqlx::query("UPDATE streams SET deleted_at = $1 WHERE stream_id = $2")
        .bind(integer(audit.at))
        .bind(integer(stream_id.0))
        .execute(&mut *connection)
        .await?;
    Ok((audit::append(connection, audit).await?, stream))
}

/// Stores what a patch can change.
async fn store(connection: &mut PgConnection, stream: &Stream) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE streams SET title = $1, state = $2, anonymous = $3, moderation = $4, ended_at = $5,
             description = $6, starts_at = $7, started_at = $8
         WHERE stream_id = $9",
    )
    .bind(storable(&stream.title))
    .bind(stream.state.as_str())
    .bind(stream.anonymous)
    .bind(rows::enum_text(&stream.moderation)?)
    .bind(stream.ended_at.map(integer))
    .bind(storable(&stream.description))
    .bind(stream.starts_at.map(integer))
    .bind(stream.started_at.map(integer))
    .bind(integer(stream.stream_id.0))
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns a stream that nobody else changes before the transaction ends.
pub(super) async fn locked(
    connection: &mut PgConnection,
    stream_id: StreamId,
) -> Result<Stream, StoreError> {
    let row =
        sqlx::query("SELECT * FROM streams WHERE stream_id = $1 AND deleted_at IS NULL FOR UPDATE")
            .bind(integer(stream_id.0))
            .fetch_optional(connection)
            .await?;
    rows::stream(&row.ok_or(StoreError::NotFound("stream"))?)
}

pub(super) async fn update_room(
    connection: &mut PgConnection,
    stream_id: StreamId,
    patch: RoomPatch,
    audit: NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let mut stream = locked(connection, stream_id).await?;
    let audit = audit.with_before(&stream.room);
    stream.room.apply(patch);
    sqlx::query("UPDATE streams SET room = $1 WHERE stream_id = $2")
        .bind(rows::room_text(&stream.room)?)
        .bind(integer(stream_id.0))
        .execute(&mut *connection)
        .await?;
    Ok((audit::append(connection, &audit).await?, stream))
}

pub(super) async fn set_pinned(
    connection: &mut PgConnection,
    stream_id: StreamId,
    pinned: Option<Arc<PinnedComment>>,
    only: Option<Arc<PinnedComment>>,
    audit: NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let mut stream = locked(connection, stream_id).await?;
    let audit = pin(&mut stream, pinned, only.as_deref(), audit)?;
    sqlx::query("UPDATE streams SET pinned = $1 WHERE stream_id = $2")
        .bind(rows::pinned_text(stream.pinned.as_deref())?)
        .bind(integer(stream_id.0))
        .execute(&mut *connection)
        .await?;
    Ok((audit::append(connection, &audit).await?, stream))
}

pub(super) async fn by_id(
    connection: &mut PgConnection,
    stream_id: StreamId,
) -> Result<Option<Stream>, StoreError> {
    let row = sqlx::query("SELECT * FROM streams WHERE stream_id = $1 AND deleted_at IS NULL")
        .bind(integer(stream_id.0))
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(rows::stream).transpose()
}

pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<Stream>, StoreError> {
    let rows = sqlx::query("SELECT * FROM streams WHERE deleted_at IS NULL ORDER BY stream_id")
        .fetch_all(connection)
        .await?;
    rows.iter().map(rows::stream).collect()
}

/// Succeeds if the server answers, knows the tables, and accepts changes.
pub(super) async fn ping(connection: &mut PgConnection) -> Result<(), StoreError> {
    check_writable(
        connection,
        "SELECT bool_and(has_table_privilege(name, 'INSERT')) AS may_write
         FROM unnest(ARRAY['streams', 'users', 'sanctions', 'reviews', 'audit',
             'pending_events', 'saved_views', 'shadows', 'room_terms', 'reputations',
             'reputation_causes', 'polls', 'poll_votes',
             'poll_totals', 'kept_messages']) AS name",
    )
    .await
}

pub(super) async fn throttle_overrides(
    connection: &mut PgConnection,
) -> Result<Vec<(StreamId, FixedRate)>, StoreError> {
    let rows = sqlx::query(
        "SELECT stream_id, throttle_override, throttle_until FROM streams
         WHERE throttle_override IS NOT NULL AND deleted_at IS NULL ORDER BY stream_id",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(rows::throttle_override).collect()
}

pub(super) async fn set_throttle_override(
    connection: &mut PgConnection,
    stream_id: StreamId,
    fixed: Option<FixedRate>,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let updated = sqlx::query(
        "UPDATE streams SET throttle_override = $1, throttle_until = $2
         WHERE stream_id = $3 AND deleted_at IS NULL",
    )
    .bind(fixed.map(|fixed| fixed.rate.share()))
    .bind(fixed.and_then(|fixed| fixed.until_ms).map(integer))
    .bind(integer(stream_id.0))
    .execute(&mut *connection)
    .await?;
    if updated.rows_affected() == 0 {
        return Err(StoreError::NotFound("stream"));
    }
    audit::append(connection, audit).await
}
