//! The audit log: appended to, never changed.

use sqlx::postgres::PgConnection;

use super::reputations;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::metadata::{NewAudit, rows};
use crate::protocol::admin::AuditEntry;

/// Adds an entry in the transaction of the change it records, and changes the points that it names;
/// returns its number.
pub(super) async fn append(
    connection: &mut PgConnection,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "INSERT INTO audit (at, actor, action, target, detail)
         VALUES ($1, $2, $3, $4, $5::json) RETURNING audit_id",
    )
    .bind(integer(audit.at))
    .bind(storable(&audit.actor))
    .bind(audit.action)
    .bind(storable(&audit.target))
    .bind(audit.detail.to_string())
    .fetch_one(&mut *connection)
    .await?;
    let audit_id = row.natural("audit_id")?;
    if let Some((change, half_life_ms)) = audit.point_change(audit_id) {
        reputations::apply(connection, std::slice::from_ref(&change), half_life_ms).await?;
    }
    Ok(audit_id)
}

pub(super) async fn entry(
    connection: &mut PgConnection,
    audit_id: u64,
) -> Result<Option<AuditEntry>, StoreError> {
    let row = sqlx::query(
        "SELECT audit_id, at, actor, action, target, detail::text AS detail FROM audit
         WHERE audit_id = $1",
    )
    .bind(integer(audit_id))
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(rows::audit_entry).transpose()
}

pub(super) async fn about(
    connection: &mut PgConnection,
    target: &str,
    limit: usize,
) -> Result<Vec<AuditEntry>, StoreError> {
    let rows = sqlx::query(
        "SELECT audit_id, at, actor, action, target, detail::text AS detail FROM audit
         WHERE target = $1 ORDER BY audit_id DESC LIMIT $2",
    )
    .bind(storable(target))
    .bind(integer(limit as u64))
    .fetch_all(connection)
    .await?;
    rows.iter().map(rows::audit_entry).collect()
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
    rows.iter().map(rows::audit_entry).collect()
}
