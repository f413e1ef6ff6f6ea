//! The ids of users whose tokens name them by a text.

use sqlx::SqliteConnection;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::Subject;
use crate::daemon::engines::metadata::subjects::NO_FREE_ID;
use crate::protocol::UserId;

const KNOWN: &str = "SELECT user_id FROM subjects WHERE issuer = ? AND subject = ?";
/// Changes nothing if the subject has an id, or the id belongs to another.
const ASSIGN: &str = "INSERT INTO subjects (issuer, subject, user_id, created_at)
    VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";

pub(super) async fn id_of(
    file: &SqliteFile,
    subject: &Subject,
    now_ms: u64,
) -> Result<UserId, StoreError> {
    let known = sqlx::query(KNOWN).bind(subject.issuer()).bind(subject.name());
    match known.fetch_optional(file.readers()).await? {
        Some(row) => Ok(UserId(row.natural("user_id")?)),
        None => {
            let mut transaction = file.begin().await?;
            let user_id = assign(&mut transaction, subject, now_ms).await?;
            transaction.commit().await?;
            Ok(user_id)
        }
    }
}

async fn assign(
    connection: &mut SqliteConnection,
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
        let known = sqlx::query(KNOWN).bind(subject.issuer()).bind(subject.name());
        if let Some(row) = known.fetch_optional(&mut *connection).await? {
            return Ok(UserId(row.natural("user_id")?));
        }
    }
    Err(NO_FREE_ID)
}
