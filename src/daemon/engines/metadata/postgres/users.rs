//! Users as last seen: what makes an operator's `ban ann` possible.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::metadata::{MAX_USERS_NAMED, UserRecord, rows};
use crate::protocol::UserId;

const REMEMBER: &str = "INSERT INTO users (user_id, name, seen_at, account_created)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[])
    ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, seen_at = excluded.seen_at,
        account_created = coalesce(excluded.account_created, users.account_created)
    WHERE excluded.seen_at >= users.seen_at";

pub(super) async fn remember(
    connection: &mut PgConnection,
    users: &[UserRecord],
) -> Result<(), StoreError> {
    // One row for each user, because a statement changes a row once; in the order of ids, in which
    // every node takes the rows, so that no two wait for each other.
    let mut newest = BTreeMap::<UserId, &UserRecord>::new();
    for user in users {
        let known = newest.entry(user.user_id).or_insert(user);
        if user.seen_at >= known.seen_at {
            *known = user;
        }
    }
    let ids: Vec<_> = newest.values().map(|user| integer(user.user_id.0)).collect();
    let names: Vec<_> = newest.values().map(|user| storable(&user.name)).collect();
    let times: Vec<_> = newest.values().map(|user| integer(user.seen_at)).collect();
    let created: Vec<_> = newest.values().map(|user| user.account_created.map(integer)).collect();
    sqlx::query(REMEMBER)
        .bind(ids)
        .bind(names)
        .bind(times)
        .bind(created)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn by_id(
    connection: &mut PgConnection,
    user_id: UserId,
) -> Result<Option<UserRecord>, StoreError> {
    let row = sqlx::query("SELECT * FROM users WHERE user_id = $1")
        .bind(integer(user_id.0))
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(rows::user).transpose()
}

pub(super) async fn named(
    connection: &mut PgConnection,
    name: &str,
) -> Result<Vec<UserRecord>, StoreError> {
    let rows =
        sqlx::query("SELECT * FROM users WHERE name = $1 ORDER BY seen_at DESC, user_id LIMIT $2")
            .bind(storable(name))
            .bind(integer(MAX_USERS_NAMED as u64))
            .fetch_all(connection)
            .await?;
    rows.iter().map(rows::user).collect()
}
