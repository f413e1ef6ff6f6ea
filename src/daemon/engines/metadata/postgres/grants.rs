//! Roles of users on single streams.

use sqlx::postgres::PgConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::metadata::{NewAudit, REVOKED, rows};
use crate::protocol::admin::Grant;
use crate::protocol::{StreamId, UserId};

const PUT: &str = "INSERT INTO grants
    (user_id, stream_id, role, name, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (user_id, stream_id) DO UPDATE SET role = excluded.role, name = excluded.name,
        created_by = excluded.created_by, created_at = excluded.created_at";

/// Held until the end of the transaction by every change of a user's roles: a row that is not there
/// yet cannot be locked, and each change must know what it replaces.
const LOCK_USER: &str = "SELECT pg_advisory_xact_lock(
        hashtextextended('lcd grants ' || current_schema() || ' ' || $1::bigint::text, 0))";

pub(super) async fn put(
    connection: &mut PgConnection,
    grant: &Grant,
    audit: NewAudit,
) -> Result<u64, StoreError> {
    lock(connection, grant.user_id).await?;
    let replaced = take(connection, grant.user_id, grant.stream_id).await?;
    sqlx::query(PUT)
        .bind(integer(grant.user_id.0))
        .bind(integer(grant.stream_id.0))
        .bind(grant.role.as_str())
        .bind(grant.name.as_deref().map(storable))
        .bind(storable(&grant.created_by))
        .bind(integer(grant.created_at))
        .execute(&mut *connection)
        .await?;
    audit::append(connection, &audit.replacing_grant(replaced.as_ref())).await
}

pub(super) async fn revoke(
    connection: &mut PgConnection,
    user_id: UserId,
    stream_id: StreamId,
    audit: NewAudit,
) -> Result<u64, StoreError> {
    lock(connection, user_id).await?;
    let revoked = take(connection, user_id, stream_id).await?;
    let revoked = revoked.ok_or(StoreError::NotFound("role given on this stream"))?;
    audit::append(connection, &audit.with_field(REVOKED, &revoked)).await
}

async fn lock(connection: &mut PgConnection, user_id: UserId) -> Result<(), StoreError> {
    sqlx::query(LOCK_USER).bind(integer(user_id.0)).execute(connection).await?;
    Ok(())
}

/// Deletes the role that a user was given on a stream, and returns it.
async fn take(
    connection: &mut PgConnection,
    user_id: UserId,
    stream_id: StreamId,
) -> Result<Option<Grant>, StoreError> {
    let row = sqlx::query("DELETE FROM grants WHERE user_id = $1 AND stream_id = $2 RETURNING *")
        .bind(integer(user_id.0))
        .bind(integer(stream_id.0))
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(rows::grant).transpose()
}

pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<Grant>, StoreError> {
    let rows =
        sqlx::query("SELECT * FROM grants ORDER BY created_at DESC, user_id DESC, stream_id")
            .fetch_all(connection)
            .await?;
    rows.iter().map(rows::grant).collect()
}
