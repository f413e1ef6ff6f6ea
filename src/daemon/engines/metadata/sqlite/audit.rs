//! The audit log: appended to, never changed.

use sqlx::SqliteConnection;

use super::reputations;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::{NewAudit, rows};
use crate::protocol::admin::AuditEntry;

/// Adds an entry in the transaction of the change it records, and changes the points that it names;
/// returns its number.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "INSERT INTO audit (at, actor, action, target, detail) VALUES (?, ?, ?, ?, ?)
         RETURNING audit_id",
    )
    .bind(integer(audit.at))
    .bind(&audit.actor)
    .bind(audit.action)
    .bind(&audit.target)
    .bind(audit.detail.to_string())
    .fetch_one(&mut *connection)
    .await?;
    let audit_id = row.natural("audit_id")?;
    if let Some((change, half_life_ms)) = audit.point_change(audit_id) {
        reputations::apply(connection, &change, half_life_ms).await?;
    }
    Ok(audit_id)
}

pub(super) async fn record(file: &SqliteFile, audit: &NewAudit) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    let audit_id = append(&mut transaction, audit).await?;
    transaction.commit().await?;
    Ok(audit_id)
}

pub(super) async fn entry(
    file: &SqliteFile,
    audit_id: u64,
) -> Result<Option<AuditEntry>, StoreError> {
    let row = sqlx::query("SELECT * FROM audit WHERE audit_id = ?")
        .bind(integer(audit_id))
        .fetch_optional(file.readers())
        .await?;
    row.as_ref().map(rows::audit_entry).transpose()
}

/// Uses an index, so that it takes as long on an audit log of years.
pub(super) const ABOUT: &str =
    "SELECT * FROM audit WHERE target = ? ORDER BY audit_id DESC LIMIT ?";

pub(super) async fn about(
    file: &SqliteFile,
    target: &str,
    limit: usize,
) -> Result<Vec<AuditEntry>, StoreError> {
    let rows = sqlx::query(ABOUT)
        .bind(target)
        .bind(integer(limit as u64))
        .fetch_all(file.readers())
        .await?;
    rows.iter().map(rows::audit_entry).collect()
}

pub(super) async fn newest(file: &SqliteFile, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
    let rows = sqlx::query("SELECT * FROM audit ORDER BY audit_id DESC LIMIT ?")
        .bind(integer(limit as u64))
        .fetch_all(file.readers())
        .await?;
    rows.iter().map(rows::audit_entry).collect()
}
