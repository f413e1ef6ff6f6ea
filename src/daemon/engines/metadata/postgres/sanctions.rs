//! Bans and timeouts. The table holds what is in force, and for a while what has run out: every
//! change sweeps that away.

use sqlx::postgres::PgConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::metadata::{NewAudit, SWEEP_AFTER_MS, rows};
use crate::protocol::UserId;
use crate::protocol::admin::{Sanction, SanctionKind};

const PUT: &str = "INSERT INTO sanctions
    (user_id, kind, name, reason, created_by, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (user_id, kind) DO UPDATE SET name = excluded.name, reason = excluded.reason,
        created_by = excluded.created_by, created_at = excluded.created_at,
        expires_at = excluded.expires_at";

/// Rows that others are changing at this moment are left to them: a sweep waits for nobody.
const SWEEP: &str = "DELETE FROM sanctions WHERE (user_id, kind) IN (
        SELECT user_id, kind FROM sanctions WHERE expires_at <= $1 FOR UPDATE SKIP LOCKED)";

pub(super) async fn put(
    connection: &mut PgConnection,
    sanction: &Sanction,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    sqlx::query(PUT)
        .bind(integer(sanction.user_id.0))
        .bind(sanction.kind.as_str())
        .bind(sanction.name.as_deref().map(storable))
        .bind(sanction.reason.as_deref().map(storable))
        .bind(storable(&sanction.created_by))
        .bind(integer(sanction.created_at))
        .bind(sanction.expires_at.map(integer))
        .execute(&mut *connection)
        .await?;
    sweep(connection, audit.at).await?;
    audit::append(connection, audit).await
}

pub(super) async fn lift(
    connection: &mut PgConnection,
    user_id: UserId,
    kinds: &[SanctionKind],
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let lifted = sqlx::query(
        "DELETE FROM sanctions WHERE user_id = $1 AND kind = ANY($2)
         AND (expires_at IS NULL OR expires_at > $3)",
    )
    .bind(integer(user_id.0))
    .bind(kinds)
    .bind(integer(audit.at))
    .execute(&mut *connection)
    .await?;
    if lifted.rows_affected() == 0 {
        return Err(StoreError::NotFound("sanction in force on this user"));
    }
    sweep(connection, audit.at).await?;
    audit::append(connection, audit).await
}

pub(super) async fn in_force(
    connection: &mut PgConnection,
    now_ms: u64,
) -> Result<Vec<Sanction>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM sanctions WHERE expires_at IS NULL OR expires_at > $1
         ORDER BY created_at DESC, user_id DESC, kind",
    )
    .bind(integer(now_ms))
    .fetch_all(connection)
    .await?;
    rows.iter().map(rows::sanction).collect()
}

async fn sweep(connection: &mut PgConnection, now_ms: u64) -> Result<(), StoreError> {
    let swept_ms = now_ms.saturating_sub(SWEEP_AFTER_MS);
    sqlx::query(SWEEP).bind(integer(swept_ms)).execute(connection).await?;
    Ok(())
}
