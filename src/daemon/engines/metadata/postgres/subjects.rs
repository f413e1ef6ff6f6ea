//! The ids of users whose tokens name them by a text.

use sqlx::postgres::PgConnection;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::{PostgresPool, statement, transaction};
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::metadata::Subject;
use crate::daemon::engines::metadata::subjects::NO_FREE_ID;
use crate::protocol::UserId;

const KNOWN: &str = "SELECT user_id FROM subjects WHERE issuer = $1 AND subject = $2";
/// Changes nothing if the subject has an id, or the id belongs to another. Waits for a transaction
/// that is giving either.
const ASSIGN: &str = "INSERT INTO subjects (issuer, subject, user_id, created_at)
    VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

/// Returns the id of a subject, which is given one if it has none.
pub(super) async fn id_of(
    pool: &PostgresPool,
    subject: &Subject,
    now_ms: u64,
) -> Result<UserId, StoreError> {
    let known = statement!(pool, |connection| known(connection, subject));
    if let Some(user_id) = pool.bounded(known).await? {
        return Ok(user_id);
    }
    pool.bounded(transaction!(pool, |connection| assign(connection, subject, now_ms))).await
}

/// Returns the id of a subject that has one.
async fn known(
    connection: &mut PgConnection,
    subject: &Subject,
) -> Result<Option<UserId>, StoreError> {
    let known = sqlx::query(KNOWN).bind(subject.issuer()).bind(subject.name());
    let row = known.fetch_optional(connection).await?;
    row.map(|row| Ok(UserId(row.natural("user_id")?))).transpose()
}

/// Gives a subject an id, unless another node has just done so. A statement sees what others have
/// committed before it began, so the look-up after a conflict finds the id of the other node.
async fn assign(
    connection: &mut PgConnection,
    subject: &Subject,
    now_ms: u64,
) -> Result<UserId, StoreError> {
    for candidate in subject.candidates() {
        let assigned = sqlx::query(ASSIGN)
            .bind(subject.issuer())
            .bind(subject.name())
            .bind(integer(candidate.0))
            .bind(integer(now_ms))
            .execute(&mut *connection)
            .await?;
        if assigned.rows_affected() > 0 {
            return Ok(candidate);
        }
        if let Some(user_id) = known(&mut *connection, subject).await? {
            return Ok(user_id);
        }
    }
    Err(NO_FREE_ID)
}
