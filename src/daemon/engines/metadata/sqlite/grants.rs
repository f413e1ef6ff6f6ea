//! Roles of users on single streams.

use sqlx::SqliteConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::{NewAudit, REVOKED, rows};
use crate::protocol::admin::Grant;
use crate::protocol::{StreamId, UserId};

pub(super) async fn put(
    file: &SqliteFile,
    grant: &Grant,
    audit: NewAudit,
) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    let replaced = take(&mut transaction, grant.user_id, grant.stream_id).await?;
    sqlx::query(
        "INSERT OR REPLACE INTO grants
         (user_id, stream_id, role, name, created_by, created_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(integer(grant.user_id.0))
    .bind(integer(grant.stream_id.0))
    .bind(grant.role.as_str())
    .bind(&grant.name)
    .bind(&grant.created_by)
    .bind(integer(grant.created_at))
    .execute(&mut *transaction)
    .await?;
    let audit = audit.replacing_grant(replaced.as_ref());
    let audit_id = audit::append(&mut transaction, &audit).await?;
    transaction.commit().await?;
    Ok(audit_id)
}

pub(super) async fn revoke(
    file: &SqliteFile,
    user_id: UserId,
    stream_id: StreamId,
    audit: NewAudit,
) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    let revoked = take(&mut transaction, user_id, stream_id).await?;
    let revoked = revoked.ok_or(StoreError::NotFound("role given on this stream"))?;
    let audit_id = audit::append(&mut transaction, &audit.with_field(REVOKED, &revoked)).await?;
    transaction.commit().await?;
    Ok(audit_id)
}

/// Deletes the role that a user was given on a stream, and returns it.
async fn take(
    connection: &mut SqliteConnection,
    user_id: UserId,
    stream_id: StreamId,
) -> Result<Option<Grant>, StoreError> {
    let row = sqlx::query("DELETE FROM grants WHERE user_id = ? AND stream_id = ? RETURNING *")
        .bind(integer(user_id.0))
        .bind(integer(stream_id.0))
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(rows::grant).transpose()
}

pub(super) async fn all(file: &SqliteFile) -> Result<Vec<Grant>, StoreError> {
    let rows =
        sqlx::query("SELECT * FROM grants ORDER BY created_at DESC, user_id DESC, stream_id")
            .fetch_all(file.readers())
            .await?;
    rows.iter().map(rows::grant).collect()
}
