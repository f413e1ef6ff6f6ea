//! Shadowed users. Like sanctions, those that have run out are swept away by every change.

use sqlx::SqliteConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::rows::{self, scope_column};
use crate::daemon::engines::metadata::{NewAudit, SWEEP_AFTER_MS};
use crate::protocol::admin::Shadow;
use crate::protocol::{StreamId, UserId};

pub(super) async fn put(
    file: &SqliteFile,
    shadows: &[Shadow],
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    sweep(&mut transaction, audit.at).await?;
    for shadow in shadows {
        sqlx::query(
            "INSERT OR REPLACE INTO shadows
         (user_id, stream_id, name, created_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(integer(shadow.user_id.0))
        .bind(scope_column(shadow.stream_id))
        .bind(&shadow.name)
        .bind(&shadow.created_by)
        .bind(integer(shadow.created_at))
        .bind(shadow.expires_at.map(integer))
        .execute(&mut *transaction)
        .await?;
    }
    let audit_id = audit::append(&mut transaction, audit).await?;
    transaction.commit().await?;
    Ok(audit_id)
}

pub(super) async fn lift(
    file: &SqliteFile,
    user_id: UserId,
    streams: &[Option<StreamId>],
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    sweep(&mut transaction, audit.at).await?;
    let mut lifted = 0;
    for stream_id in streams {
        let deleted = sqlx::query(
            "DELETE FROM shadows WHERE user_id = ? AND stream_id = ?
             AND (expires_at IS NULL OR expires_at > ?)",
        )
        .bind(integer(user_id.0))
        .bind(scope_column(*stream_id))
        .bind(integer(audit.at))
        .execute(&mut *transaction)
        .await?;
        lifted += deleted.rows_affected();
    }
    if lifted == 0 {
        return Err(StoreError::NotFound("shadow in force on this user"));
    }
    let audit_id = audit::append(&mut transaction, audit).await?;
    transaction.commit().await?;
    Ok(audit_id)
}

pub(super) async fn in_force(file: &SqliteFile, now_ms: u64) -> Result<Vec<Shadow>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM shadows WHERE expires_at IS NULL OR expires_at > ?
         ORDER BY created_at DESC, user_id DESC, stream_id",
    )
    .bind(integer(now_ms))
    .fetch_all(file.readers())
    .await?;
    rows.iter().map(rows::shadow).collect()
}

async fn sweep(connection: &mut SqliteConnection, now_ms: u64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM shadows WHERE expires_at <= ?")
        .bind(integer(now_ms.saturating_sub(SWEEP_AFTER_MS)))
        .execute(connection)
        .await?;
    Ok(())
}
