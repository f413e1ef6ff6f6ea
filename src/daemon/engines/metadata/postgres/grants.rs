//! Roles of users on single streams.

use sqlx::postgres::PgConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::metadata::{NewAudit, rows};
use crate::protocol::admin::Grant;
use crate::protocol::{StreamId, UserId};

const PUT: &str = "INSERT INTO grants
    (user_id, stream_id, role, name, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (user_id, stream_id) DO UPDATE SET role = excluded.role, name = excluded.name,
        created_by = excluded.created_by, created_at = excluded.created_at";

pub(super) async fn put(
    connection: &mut PgConnection,
    grant: &Grant,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    sqlx::query(PUT)
        .bind(integer(grant.user_id.0))
        .bind(integer(grant.stream_id.0))
        .bind(grant.role.as_str())
        .bind(grant.name.as_deref().map(storable))
        .bind(storable(&grant.created_by))
        .bind(integer(grant.created_at))
        .execute(&mut *connection)
        .await?;
    audit::append(connection, audit).await
}

pub(super) async fn revoke(
    connection: &mut PgConnection,
    user_id: UserId,
    stream_id: StreamId,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let revoked = sqlx::query("DELETE FROM grants WHERE user_id = $1 AND stream_id = $2")
        .bind(integer(user_id.0))
        .bind(integer(stream_id.0))
        .execute(&mut *connection)
        .await?;
    if revoked.rows_affected() == 0 {
        return Err(StoreError::NotFound("role given on this stream"));
    }
    audit::append(connection, audit).await
}

pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<Grant>, StoreError> {
    let rows =
        sqlx::query("SELECT * FROM grants ORDER BY created_at DESC, user_id DESC, stream_id")
            .fetch_all(connection)
            .await?;
    rows.iter().map(rows::grant).collect()
}
