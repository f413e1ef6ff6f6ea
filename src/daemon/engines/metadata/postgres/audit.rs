//! The audit log: appended to, never changed.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::columns::{integer, natural, text};
use crate::daemon::engines::metadata::NewAudit;
use crate::protocol::admin::AuditEntry;

/// Adds an entry, in the transaction of the change it records; returns its number.
pub(super) async fn append(
    connection: &mut PgConnection,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "INSERT INTO audit (at, actor, action, target, detail)
         VALUES ($1, $2, $3, $4, $5::json) RETURNING audit_id",
    )
    .bind(integer(audit.at))
    .bind(text(&audit.actor))
    .bind(audit.action)
    .bind(text(&audit.target))
    .bind(audit.detail.to_string())
    .fetch_one(connection)
    .await?;
    natural(&row, "audit_id")
}

pub(super) async fn newest(
    connection: &mut PgConnection,
    limit: usize,
) -> Result<Vec<AuditEntry>, StoreError> {
    let rows = sqlx::query(
        "SELECT audit_id, at, actor, action, target, detail::text AS detail FROM audit
         ORDER BY audit_id DESC LIMIT $1",
    )
    .bind(integer(limit as u64))
    .fetch_all(connection)
    .await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &PgRow) -> Result<AuditEntry, StoreError> {
    let detail = serde_json::from_str(row.try_get("detail")?)
        .map_err(|error| StoreError::Corrupt(format!("detail of an audit entry: {error}")))?;
    Ok(AuditEntry {
        audit_id: natural(row, "audit_id")?,
        at: natural(row, "at")?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        target: row.try_get("target")?,
        detail,
    })
}
