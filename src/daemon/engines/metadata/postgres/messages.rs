//! Direct messages to users, until they have them.

use sqlx::postgres::PgConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::metadata::{KeptIds, NewAudit, NewMessage, rows};
use crate::protocol::kept_message::{MAX_KEPT_MESSAGES, MAX_KEPT_OF_SENDER};
use crate::protocol::{KeptMessage, UserId};

/// Held until the end of the transaction by everybody that keeps a message for a user: an id is
/// taken before the commit, and must not become visible after a higher one was acknowledged.
const LOCK_USER: &str = "SELECT pg_advisory_xact_lock(
        hashtextextended('lcd kept messages ' || current_schema() || ' ' || $1::bigint::text, 0))";

/// Removes the oldest messages beyond the bounds that the newest of this sender counts for.
const TRIM: &str = "DELETE FROM kept_messages WHERE user_id = $1 AND (
        ((from_user IS NULL) = ($2::bigint IS NULL) AND message_id NOT IN (
            SELECT message_id FROM kept_messages
            WHERE user_id = $1 AND (from_user IS NULL) = ($2::bigint IS NULL)
            ORDER BY message_id DESC LIMIT $3))
        OR (from_user = $2 AND message_id NOT IN (
            SELECT message_id FROM kept_messages WHERE user_id = $1 AND from_user = $2
            ORDER BY message_id DESC LIMIT $4)))";

/// Rows that others are removing at this moment are left to them: a sweep waits for nobody.
const SWEEP: &str = "DELETE FROM kept_messages WHERE message_id IN (
        SELECT message_id FROM kept_messages WHERE sent_at <= $1
        ORDER BY sent_at LIMIT $2 FOR UPDATE SKIP LOCKED)";

pub(super) async fn keep(
    connection: &mut PgConnection,
    user_id: UserId,
    new: &NewMessage,
    audit: Option<&NewAudit>,
) -> Result<KeptIds, StoreError> {
    sqlx::query(LOCK_USER).bind(integer(user_id.0)).execute(&mut *connection).await?;
    let row = sqlx::query(
        "INSERT INTO kept_messages (user_id, sent_at, sender, from_user, message)
         VALUES ($1, $2, $3, $4, $5) RETURNING message_id",
    )
    .bind(integer(user_id.0))
    .bind(integer(new.sent_at))
    .bind(storable(&new.from))
    .bind(new.from_user.map(|sender| integer(sender.0)))
    .bind(storable(&new.message))
    .fetch_one(&mut *connection)
    .await?;
    let message_id = row.natural("message_id")?;
    sqlx::query(TRIM)
        .bind(integer(user_id.0))
        .bind(new.from_user.map(|sender| integer(sender.0)))
        .bind(integer(MAX_KEPT_MESSAGES))
        .bind(integer(MAX_KEPT_OF_SENDER))
        .execute(&mut *connection)
        .await?;
    let audit_id = match audit {
        Some(audit) => Some(audit::append(connection, audit).await?),
        None => None,
    };
    Ok(KeptIds { message_id, audit_id })
}

pub(super) async fn kept(
    connection: &mut PgConnection,
    user_id: UserId,
    now_ms: u64,
) -> Result<Vec<KeptMessage>, StoreError> {
    let rows = sqlx::query(
        "SELECT message_id, sender, from_user, message, sent_at FROM kept_messages
         WHERE user_id = $1 AND sent_at > $2 ORDER BY message_id",
    )
    .bind(integer(user_id.0))
    .bind(rows::kept_since(now_ms))
    .fetch_all(connection)
    .await?;
    rows.iter().map(rows::kept_message).collect()
}

pub(super) async fn acknowledge(
    connection: &mut PgConnection,
    user_id: UserId,
    up_to: u64,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM kept_messages WHERE user_id = $1 AND message_id <= $2")
        .bind(integer(user_id.0))
        .bind(integer(up_to))
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes messages that have run out. Returns whether there may be more.
pub(super) async fn sweep(
    connection: &mut PgConnection,
    now_ms: u64,
    limit: usize,
) -> Result<bool, StoreError> {
    let swept = sqlx::query(SWEEP)
        .bind(rows::kept_since(now_ms))
        .bind(integer(limit as u64))
        .execute(connection)
        .await?;
    Ok(swept.rows_affected() >= limit as u64)
}
