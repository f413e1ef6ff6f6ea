//! Bans and timeouts. The table holds what is in force, and for a while what has run out: every
//! change sweeps that away.

use sqlx::SqliteConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::{NewAudit, SWEEP_AFTER_MS, rows};
use crate::protocol::UserId;
use crate::protocol::admin::{Sanction, SanctionKind};

pub(super) async fn put(
    file: &SqliteFile,
    sanction: &Sanction,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    sweep(&mut transaction, audit.at).await?;
    sqlx::query(
        "INSERT OR REPLACE INTO sanctions
         (user_id, kind, name, reason, created_by, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(integer(sanction.user_id.0))
    .bind(sanction.kind.as_str())
    .bind(&sanction.name)
    .bind(&sanction.reason)
    .bind(&sanction.created_by)
    .bind(integer(sanction.created_at))
    .bind(sanction.expires_at.map(integer))
    .execute(&mut *transaction)
    .await?;
    let audit_id = audit::append(&mut transaction, audit).await?;
    transaction.commit().await?;
    Ok(audit_id)
}

pub(super) async fn lift(
    file: &SqliteFile,
    user_id: UserId,
    kinds: &[SanctionKind],
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    sweep(&mut transaction, audit.at).await?;
    let mut lifted = 0;
    for kind in kinds {
        let deleted = sqlx::query(
            "DELETE FROM sanctions WHERE user_id = ? AND kind = ?
             AND (expires_at IS NULL OR expires_at > ?)",
        )
        .bind(integer(user_id.0))
        .bind(kind.as_str())
        .bind(integer(audit.at))
        .execute(&mut *transaction)
        .await?;
        lifted += deleted.rows_affected();
    }
    if lifted == 0 {
        return Err(StoreError::NotFound("sanction in force on this user"));
    }
    let audit_id = audit::append(&mut transaction, audit).await?;
    transaction.commit().await?;
    Ok(audit_id)
}

pub(super) async fn in_force(file: &SqliteFile, now_ms: u64) -> Result<Vec<Sanction>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM sanctions WHERE expires_at IS NULL OR expires_at > ?
         ORDER BY created_at DESC, user_id DESC, kind",
    )
    .bind(integer(now_ms))
    .fetch_all(file.readers())
    .await?;
    rows.iter().map(rows::sanction).collect()
}

async fn sweep(connection: &mut SqliteConnection, now_ms: u64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM sanctions WHERE expires_at <= ?")
        .bind(integer(now_ms.saturating_sub(SWEEP_AFTER_MS)))
        .execute(connection)
        .await?;
    Ok(())
}
