//! Events for the log that changes decided on.

use sqlx::SqliteConnection;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::{PendingEvent, rows};
use crate::protocol::StreamId;

/// Stores an event in the transaction of its audit entry.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    number: u64,
    event: &PendingEvent,
    at: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO pending_events (number, stream_id, payload, claimed_at) VALUES (?, ?, ?, ?)",
    )
    .bind(integer(number))
    .bind(integer(event.stream_id.0))
    .bind(event.payload.clone())
    .bind(integer(at))
    .execute(connection)
    .await?;
    Ok(())
}

/// Claims events that nobody claimed within `pause_ms`, and those of a clock that
/// was more than a minute ahead.
pub(super) async fn claim(
    file: &SqliteFile,
    now_ms: u64,
    pause_ms: u64,
    limit: usize,
) -> Result<Vec<(u64, PendingEvent)>, StoreError> {
    let due = sqlx::query("SELECT 1 FROM pending_events LIMIT 1");
    if due.fetch_optional(file.readers()).await?.is_none() {
        return Ok(Vec::new());
    }
    let mut transaction = file.begin().await?;
    let rows = sqlx::query(
        "UPDATE pending_events SET claimed_at = ?1 WHERE number IN (SELECT number
            FROM pending_events WHERE claimed_at <= ?2 OR claimed_at > ?1 + 60000 ORDER BY number LIMIT ?3)
         RETURNING number, stream_id, payload",
    )
    .bind(integer(now_ms))
    .bind(integer(now_ms.saturating_sub(pause_ms)))
    .bind(integer(limit as u64))
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let mut events: Vec<_> = rows.iter().map(rows::pending_event).collect::<Result<_, _>>()?;
    events.sort_by_key(|(number, _)| *number);
    Ok(events)
}

pub(super) async fn remove(file: &SqliteFile, number: u64) -> Result<(), StoreError> {
    let mut transaction = file.begin().await?;
    sqlx::query("DELETE FROM pending_events WHERE number = ?")
        .bind(integer(number))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

pub(super) async fn is_pending(file: &SqliteFile, number: u64) -> Result<bool, StoreError> {
    let found = sqlx::query("SELECT 1 FROM pending_events WHERE number = ?")
        .bind(integer(number))
        .fetch_optional(file.readers())
        .await?;
    Ok(found.is_some())
}

pub(super) async fn has_pending(
    file: &SqliteFile,
    stream_id: StreamId,
) -> Result<bool, StoreError> {
    let found = sqlx::query("SELECT 1 FROM pending_events WHERE stream_id = ? LIMIT 1")
        .bind(integer(stream_id.0))
        .fetch_optional(file.readers())
        .await?;
    Ok(found.is_some())
}
