//! Shadowed users. Like sanctions, those that have run out are swept away by every change.

use sqlx::postgres::PgConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::metadata::rows::{self, scope_column};
use crate::daemon::engines::metadata::{NewAudit, SWEEP_AFTER_MS};
use crate::protocol::admin::Shadow;
use crate::protocol::{StreamId, UserId};

const PUT: &str = "INSERT INTO shadows
    (user_id, stream_id, name, created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (user_id, stream_id) DO UPDATE SET name = excluded.name,
        created_by = excluded.created_by, created_at = excluded.created_at,
        expires_at = excluded.expires_at";

/// Rows that others are changing at this moment are left to them: a sweep waits for nobody.
const SWEEP: &str = "DELETE FROM shadows WHERE (user_id, stream_id) IN (
        SELECT user_id, stream_id FROM shadows WHERE expires_at <= $1 FOR UPDATE SKIP LOCKED)";

pub(super) async fn put(
    connection: &mut PgConnection,
    shadows: &[Shadow],
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    // In the order of their keys, as every transaction locks them.
    let mut shadows: Vec<_> = shadows.iter().collect();
    shadows.sort_by_key(|shadow| (shadow.user_id, scope_column(shadow.stream_id)));
    for shadow in shadows {
        sqlx::query(PUT)
            .bind(integer(shadow.user_id.0))
            .bind(scope_column(shadow.stream_id))
            .bind(shadow.name.as_deref().map(storable))
            .bind(storable(&shadow.created_by))
            .bind(integer(shadow.created_at))
            .bind(shadow.expires_at.map(integer))
            .execute(&mut *connection)
            .await?;
    }
    sweep(connection, audit.at).await?;
    audit::append(connection, audit).await
}

pub(super) async fn lift(
    connection: &mut PgConnection,
    user_id: UserId,
    streams: &[Option<StreamId>],
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let streams: Vec<i64> = streams.iter().map(|stream_id| scope_column(*stream_id)).collect();
    let lifted = sqlx::query(
        "DELETE FROM shadows WHERE user_id = $1 AND stream_id = ANY($2)
         AND (expires_at IS NULL OR expires_at > $3)",
    )
    .bind(integer(user_id.0))
    .bind(streams)
    .bind(integer(audit.at))
    .execute(&mut *connection)
    .await?;
    if lifted.rows_affected() == 0 {
        return Err(StoreError::NotFound("shadow in force on this user"));
    }
    sweep(connection, audit.at).await?;
    audit::append(connection, audit).await
}

pub(super) async fn in_force(
    connection: &mut PgConnection,
    now_ms: u64,
) -> Result<Vec<Shadow>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM shadows WHERE expires_at IS NULL OR expires_at > $1
         ORDER BY created_at DESC, user_id DESC, stream_id",
    )
    .bind(integer(now_ms))
    .fetch_all(connection)
    .await?;
    rows.iter().map(rows::shadow).collect()
}

async fn sweep(connection: &mut PgConnection, now_ms: u64) -> Result<(), StoreError> {
    let swept_ms = now_ms.saturating_sub(SWEEP_AFTER_MS);
    sqlx::query(SWEEP).bind(integer(swept_ms)).execute(connection).await?;
    Ok(())
}
