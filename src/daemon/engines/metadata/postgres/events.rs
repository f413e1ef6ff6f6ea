//! Events for the log that changes decided on.

use sqlx::postgres::PgConnection;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::metadata::{PendingEvent, rows};
use crate::protocol::StreamId;

/// Events that another node claims at this moment are left to it. A claim by a clock that was more
/// than a minute ahead does not count.
const CLAIM: &str = "UPDATE pending_events SET claimed_at = $1 WHERE number IN (SELECT number
        FROM pending_events WHERE claimed_at <= $2 OR claimed_at > $1 + 60000 ORDER BY number LIMIT $3
        FOR UPDATE SKIP LOCKED)
    RETURNING number, stream_id, payload";

/// Stores an event in the transaction of its audit entry.
pub(super) async fn insert(
    connection: &mut PgConnection,
    number: u64,
    event: &PendingEvent,
    at: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO pending_events (number, stream_id, payload, claimed_at)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(integer(number))
    .bind(integer(event.stream_id.0))
    .bind(&event.payload)
    .bind(integer(at))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn claim(
    connection: &mut PgConnection,
    now_ms: u64,
    pause_ms: u64,
    limit: usize,
) -> Result<Vec<(u64, PendingEvent)>, StoreError> {
    let rows = sqlx::query(CLAIM)
        .bind(integer(now_ms))
        .bind(integer(now_ms.saturating_sub(pause_ms)))
        .bind(integer(limit as u64))
        .fetch_all(connection)
        .await?;
    let mut events: Vec<_> = rows.iter().map(rows::pending_event).collect::<Result<_, _>>()?;
    events.sort_by_key(|(number, _)| *number);
    Ok(events)
}

pub(super) async fn remove(connection: &mut PgConnection, number: u64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM pending_events WHERE number = $1")
        .bind(integer(number))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn is_pending(
    connection: &mut PgConnection,
    number: u64,
) -> Result<bool, StoreError> {
    let found = sqlx::query("SELECT 1 AS found FROM pending_events WHERE number = $1")
        .bind(integer(number))
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

pub(super) async fn has_pending(
    connection: &mut PgConnection,
    stream_id: StreamId,
) -> Result<bool, StoreError> {
    let query = "SELECT 1 AS found FROM pending_events WHERE stream_id = $1 LIMIT 1";
    let found = sqlx::query(query).bind(integer(stream_id.0)).fetch_optional(connection).await?;
    Ok(found.is_some())
}
