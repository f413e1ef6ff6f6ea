//! Direct messages to users, until they have them.

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::{KeptIds, NewAudit, NewMessage, rows};
use crate::protocol::kept_message::{MAX_KEPT_MESSAGES, MAX_KEPT_OF_SENDER};
use crate::protocol::{KeptMessage, UserId};

/// Removes the oldest messages beyond the bounds that the newest of this sender counts for.
const TRIM: &str = "DELETE FROM kept_messages WHERE user_id = ?1 AND (
        ((from_user IS NULL) = (?2 IS NULL) AND message_id NOT IN (
            SELECT message_id FROM kept_messages
            WHERE user_id = ?1 AND (from_user IS NULL) = (?2 IS NULL)
            ORDER BY message_id DESC LIMIT ?3))
        OR (from_user = ?2 AND message_id NOT IN (
            SELECT message_id FROM kept_messages WHERE user_id = ?1 AND from_user = ?2
            ORDER BY message_id DESC LIMIT ?4)))";

const SWEEP: &str = "DELETE FROM kept_messages WHERE message_id IN (
        SELECT message_id FROM kept_messages WHERE sent_at <= ? ORDER BY sent_at LIMIT ?)";

pub(super) async fn keep(
    file: &SqliteFile,
    user_id: UserId,
    new: &NewMessage,
    audit: Option<&NewAudit>,
) -> Result<KeptIds, StoreError> {
    let mut transaction = file.begin().await?;
    let row = sqlx::query(
        "INSERT INTO kept_messages (user_id, sent_at, sender, from_user, message)
         VALUES (?, ?, ?, ?, ?) RETURNING message_id",
    )
    .bind(integer(user_id.0))
    .bind(integer(new.sent_at))
    .bind(&new.from)
    .bind(new.from_user.map(|sender| integer(sender.0)))
    .bind(&new.message)
    .fetch_one(&mut *transaction)
    .await?;
    let message_id = row.natural("message_id")?;
    sqlx::query(TRIM)
        .bind(integer(user_id.0))
        .bind(new.from_user.map(|sender| integer(sender.0)))
        .bind(integer(MAX_KEPT_MESSAGES))
        .bind(integer(MAX_KEPT_OF_SENDER))
        .execute(&mut *transaction)
        .await?;
    let audit_id = match audit {
        Some(audit) => Some(audit::append(&mut transaction, audit).await?),
        None => None,
    };
    transaction.commit().await?;
    Ok(KeptIds { message_id, audit_id })
}

pub(super) async fn kept(
    file: &SqliteFile,
    user_id: UserId,
    now_ms: u64,
) -> Result<Vec<KeptMessage>, StoreError> {
    let rows = sqlx::query(
        "SELECT message_id, sender, from_user, message, sent_at FROM kept_messages
         WHERE user_id = ? AND sent_at > ? ORDER BY message_id",
    )
    .bind(integer(user_id.0))
    .bind(rows::kept_since(now_ms))
    .fetch_all(file.readers())
    .await?;
    rows.iter().map(rows::kept_message).collect()
}

pub(super) async fn acknowledge(
    file: &SqliteFile,
    user_id: UserId,
    up_to: u64,
) -> Result<(), StoreError> {
    // The file has one writer, which need not wait for this if there is nothing to forget.
    let kept =
        sqlx::query("SELECT 1 FROM kept_messages WHERE user_id = ? AND message_id <= ? LIMIT 1")
            .bind(integer(user_id.0))
            .bind(integer(up_to))
            .fetch_optional(file.readers())
            .await?;
    if kept.is_none() {
        return Ok(());
    }
    let mut transaction = file.begin().await?;
    sqlx::query("DELETE FROM kept_messages WHERE user_id = ? AND message_id <= ?")
        .bind(integer(user_id.0))
        .bind(integer(up_to))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// Removes messages that have run out. Returns whether there may be more.
pub(super) async fn sweep(
    file: &SqliteFile,
    now_ms: u64,
    limit: usize,
) -> Result<bool, StoreError> {
    let until = rows::kept_since(now_ms);
    let first = sqlx::query("SELECT 1 FROM kept_messages WHERE sent_at <= ? LIMIT 1")
        .bind(until)
        .fetch_optional(file.readers())
        .await?;
    if first.is_none() {
        return Ok(false);
    }
    let mut transaction = file.begin().await?;
    let swept = sqlx::query(SWEEP)
        .bind(until)
        .bind(integer(limit as u64))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(swept.rows_affected() >= limit as u64)
}
