//! Bans and timeouts. The table holds what is in force, and for a while what has run out: every
//! change sweeps that away.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::metadata::rows::{self, scope_column};
use crate::daemon::engines::metadata::{NewAudit, PutSanctions, SWEEP_AFTER_MS};
use crate::protocol::admin::{Sanction, SanctionKind};
use crate::protocol::{StreamId, UserId};

const PUT: &str = "INSERT INTO sanctions
    (user_id, kind, stream_id, name, reason, created_by, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (user_id, kind, stream_id) DO UPDATE SET name = excluded.name,
        reason = excluded.reason, created_by = excluded.created_by,
        created_at = excluded.created_at, expires_at = excluded.expires_at";

/// Rows that others are changing at this moment are left to them: a sweep waits for nobody.
const SWEEP: &str = "DELETE FROM sanctions WHERE (user_id, kind, stream_id) IN (
        SELECT user_id, kind, stream_id FROM sanctions WHERE expires_at <= $1
        FOR UPDATE SKIP LOCKED)";

/// Held until the end of the transaction by every change of a user's sanctions: a row that is not
/// there yet cannot be locked, and each change must know what it replaces.
const LOCK_USER: &str = "SELECT pg_advisory_xact_lock(
        hashtextextended('lcd sanctions ' || current_schema() || ' ' || $1::bigint::text, 0))";

const TAKE: &str = "DELETE FROM sanctions
    WHERE user_id = $1 AND kind = ANY($2) AND stream_id = ANY($3)
        AND (expires_at IS NULL OR expires_at > $4) RETURNING *";

pub(super) async fn put(
    connection: &mut PgConnection,
    sanctions: &[Sanction],
    audit: NewAudit,
) -> Result<PutSanctions, StoreError> {
    // In the same order everywhere, so that no two changes wait for each other.
    let users: BTreeSet<_> = sanctions.iter().map(|sanction| sanction.user_id).collect();
    for user_id in users {
        lock(connection, user_id).await?;
    }
    let mut replaced = Vec::new();
    for sanction in sanctions {
        let kinds = [sanction.kind];
        let streams = [sanction.stream_id];
        replaced.extend(take(connection, sanction.user_id, &kinds, &streams, audit.at).await?);
        sqlx::query(PUT)
            .bind(integer(sanction.user_id.0))
            .bind(sanction.kind.as_str())
            .bind(scope_column(sanction.stream_id))
            .bind(sanction.name.as_deref().map(storable))
            .bind(sanction.reason.as_deref().map(storable))
            .bind(storable(&sanction.created_by))
            .bind(integer(sanction.created_at))
            .bind(sanction.expires_at.map(integer))
            .execute(&mut *connection)
            .await?;
    }
    sweep(connection, audit.at).await?;
    let audit_id = audit::append(connection, &audit.replacing_sanctions(&replaced)).await?;
    Ok(PutSanctions { audit_id, replaced })
}

pub(super) async fn lift(
    connection: &mut PgConnection,
    user_id: UserId,
    kinds: &[SanctionKind],
    streams: &[Option<StreamId>],
    audit: NewAudit,
) -> Result<u64, StoreError> {
    lock(connection, user_id).await?;
    let lifted = take(connection, user_id, kinds, streams, audit.at).await?;
    if lifted.is_empty() {
        return Err(StoreError::NotFound("sanction in force on this user"));
    }
    sweep(connection, audit.at).await?;
    audit::append(connection, &audit.lifting(lifted)).await
}

async fn lock(connection: &mut PgConnection, user_id: UserId) -> Result<(), StoreError> {
    sqlx::query(LOCK_USER).bind(integer(user_id.0)).execute(connection).await?;
    Ok(())
}

/// Deletes the sanctions that are in force at `now_ms`, and returns them.
async fn take(
    connection: &mut PgConnection,
    user_id: UserId,
    kinds: &[SanctionKind],
    streams: &[Option<StreamId>],
    now_ms: u64,
) -> Result<Vec<Sanction>, StoreError> {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let streams: Vec<i64> = streams.iter().map(|stream_id| scope_column(*stream_id)).collect();
    let rows = sqlx::query(TAKE)
        .bind(integer(user_id.0))
        .bind(kinds)
        .bind(streams)
        .bind(integer(now_ms))
        .fetch_all(connection)
        .await?;
    rows.iter().map(rows::sanction).collect()
}

pub(super) async fn in_force(
    connection: &mut PgConnection,
    now_ms: u64,
) -> Result<Vec<Sanction>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM sanctions WHERE expires_at IS NULL OR expires_at > $1
         ORDER BY created_at DESC, user_id DESC, kind, stream_id",
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
