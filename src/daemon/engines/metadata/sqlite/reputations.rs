//! The points of users and their causes.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::{KnownUser, UserPointChange, rows};
use crate::policy::reputation::{CountedCause, KEPT_HALF_LIVES, Reputation};
use crate::protocol::UserId;

/// Users of one statement.
const ROWS: usize = 512;

pub(super) async fn count(
    file: &SqliteFile,
    changes: &[UserPointChange],
    half_life_ms: u64,
) -> Result<(), StoreError> {
    let mut transaction = file.begin().await?;
    for change in changes {
        apply(&mut transaction, change, half_life_ms).await?;
    }
    if let Some(now_ms) = changes.iter().map(|one| one.change.at).max() {
        sweep(&mut transaction, now_ms, half_life_ms).await?;
    }
    transaction.commit().await
}

/// Makes a change in a transaction.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    UserPointChange { user_id, change }: &UserPointChange,
    half_life_ms: u64,
) -> Result<(), StoreError> {
    let mut reputation = stored(&mut *connection, *user_id).await?;
    let before = cause(&mut *connection, *user_id, &change.cause).await?;
    let Some(counted) = reputation.change(before.as_ref(), change, half_life_ms) else {
        return Ok(());
    };
    sqlx::query(
        "INSERT OR REPLACE INTO reputation_causes (user_id, cause, points, at, text_key)
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(integer(user_id.0))
    .bind(&change.cause)
    .bind(counted.points)
    .bind(integer(counted.at))
    .bind(counted.text.map(i64::from))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT OR REPLACE INTO reputations (user_id, points, at, since, texts)
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(integer(user_id.0))
    .bind(reputation.points)
    .bind(integer(reputation.at))
    .bind(reputation.since.map(integer))
    .bind(rows::text_keys(&reputation.texts)?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn stored(
    connection: &mut SqliteConnection,
    user_id: UserId,
) -> Result<Reputation, StoreError> {
    let row = sqlx::query("SELECT * FROM reputations WHERE user_id = ?")
        .bind(integer(user_id.0))
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(rows::reputation).transpose()?.unwrap_or_default())
}

async fn cause(
    connection: &mut SqliteConnection,
    user_id: UserId,
    cause: &str,
) -> Result<Option<CountedCause>, StoreError> {
    let row = sqlx::query("SELECT * FROM reputation_causes WHERE user_id = ? AND cause = ?")
        .bind(integer(user_id.0))
        .bind(cause)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(rows::counted_cause).transpose()
}

/// Removes what hardly anything is left of.
async fn sweep(
    connection: &mut SqliteConnection,
    now_ms: u64,
    half_life_ms: u64,
) -> Result<(), StoreError> {
    let swept_ms = now_ms.saturating_sub(half_life_ms.saturating_mul(KEPT_HALF_LIVES));
    for delete in
        ["DELETE FROM reputation_causes WHERE at < ?", "DELETE FROM reputations WHERE at < ?"]
    {
        sqlx::query(delete).bind(integer(swept_ms)).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn known(
    file: &SqliteFile,
    users: &[UserId],
) -> Result<Vec<KnownUser>, StoreError> {
    let mut known = Vec::new();
    for part in users.chunks(ROWS) {
        let mut select = QueryBuilder::<Sqlite>::new("WITH ids (id) AS (");
        select.push_values(part, |mut row, user_id| {
            row.push_bind(integer(user_id.0));
        });
        select.push(
            ") SELECT ids.id AS user_id, users.user_id IS NOT NULL AS is_recorded,
                users.account_created, points, at, since, texts
             FROM ids LEFT JOIN users ON users.user_id = ids.id
                LEFT JOIN reputations ON reputations.user_id = ids.id
             WHERE users.user_id IS NOT NULL OR reputations.user_id IS NOT NULL",
        );
        let rows = select.build().fetch_all(file.readers()).await?;
        for row in &rows {
            known.push(rows::known_user(row)?);
        }
    }
    Ok(known)
}
