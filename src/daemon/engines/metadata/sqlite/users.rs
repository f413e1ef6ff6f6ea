//! Users as last seen: what makes an operator's `ban ann` possible.

use sqlx::{QueryBuilder, Sqlite};

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::{MAX_USERS_NAMED, UserRecord, rows};
use crate::protocol::UserId;

/// Rows of one statement.
const ROWS: usize = 128;

pub(super) async fn remember(file: &SqliteFile, users: &[UserRecord]) -> Result<(), StoreError> {
    let mut transaction = file.begin().await?;
    for part in users.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO users (user_id, name, seen_at, account_created) ",
        );
        insert.push_values(part, |mut row, user| {
            row.push_bind(integer(user.user_id.0))
                .push_bind(user.name.clone())
                .push_bind(integer(user.seen_at))
                .push_bind(user.account_created.map(integer));
        });
        insert.push(
            " ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, seen_at = excluded.seen_at,
                account_created = coalesce(excluded.account_created, users.account_created)
             WHERE excluded.seen_at >= users.seen_at",
        );
        insert.build().execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

pub(super) async fn by_id(
    file: &SqliteFile,
    user_id: UserId,
) -> Result<Option<UserRecord>, StoreError> {
    let row = sqlx::query("SELECT * FROM users WHERE user_id = ?")
        .bind(integer(user_id.0))
        .fetch_optional(file.readers())
        .await?;
    row.as_ref().map(rows::user).transpose()
}

pub(super) async fn named(file: &SqliteFile, name: &str) -> Result<Vec<UserRecord>, StoreError> {
    let rows =
        sqlx::query("SELECT * FROM users WHERE name = ? ORDER BY seen_at DESC, user_id LIMIT ?")
            .bind(name)
            .bind(integer(MAX_USERS_NAMED as u64))
            .fetch_all(file.readers())
            .await?;
    rows.iter().map(rows::user).collect()
}
