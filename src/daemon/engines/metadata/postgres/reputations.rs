//! The points of users and their causes.

use std::collections::{BTreeMap, HashMap};

use sqlx::postgres::{PgConnection, PgRow};

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::metadata::{KnownUser, UserPointChange, rows};
use crate::policy::reputation::{CountedCause, KEPT_HALF_LIVES, Reputation};
use crate::protocol::UserId;

/// A user without a row needs one, because only a row can be locked. In the order of ids, in which
/// every node takes the rows, so that no two wait for each other.
const ENSURE: &str = "INSERT INTO reputations (user_id, points, at, since, texts)
    SELECT id, 0::float8, $2::bigint, NULL::bigint, '[]' FROM unnest($1::bigint[]) AS id ORDER BY id
    ON CONFLICT DO NOTHING";

const LOCK: &str = "SELECT user_id, points, at, since, texts FROM reputations
    WHERE user_id = ANY($1) ORDER BY user_id FOR UPDATE";

const CAUSES: &str = "SELECT user_id, cause, points, at, text_key FROM reputation_causes
    WHERE user_id = ANY($1) AND cause = ANY($2)";

const PUT_CAUSES: &str = "INSERT INTO reputation_causes (user_id, cause, points, at, text_key)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::float8[], $4::bigint[], $5::bigint[])
    ON CONFLICT (user_id, cause) DO UPDATE SET points = excluded.points, at = excluded.at,
        text_key = excluded.text_key";

const PUT: &str = "INSERT INTO reputations (user_id, points, at, since, texts)
    SELECT * FROM unnest($1::bigint[], $2::float8[], $3::bigint[], $4::bigint[], $5::text[])
    ON CONFLICT (user_id) DO UPDATE SET points = excluded.points, at = excluded.at,
        since = excluded.since, texts = excluded.texts";

/// Rows that others are changing at this moment are left to them: a sweep waits for nobody.
const SWEEP_CAUSES: &str = "DELETE FROM reputation_causes WHERE (user_id, cause) IN (
        SELECT user_id, cause FROM reputation_causes WHERE at < $1 FOR UPDATE SKIP LOCKED)";
const SWEEP: &str = "DELETE FROM reputations WHERE user_id IN (
        SELECT user_id FROM reputations WHERE at < $1 FOR UPDATE SKIP LOCKED)";

const KNOWN: &str = "SELECT ids.id AS user_id, users.user_id IS NOT NULL AS is_recorded,
        users.account_created, points, at, since, texts
    FROM unnest($1::bigint[]) AS ids (id) LEFT JOIN users ON users.user_id = ids.id
        LEFT JOIN reputations ON reputations.user_id = ids.id
    WHERE users.user_id IS NOT NULL OR reputations.user_id IS NOT NULL";

pub(super) async fn count(
    connection: &mut PgConnection,
    changes: &[UserPointChange],
    half_life_ms: u64,
) -> Result<(), StoreError> {
    apply(connection, changes, half_life_ms).await?;
    let Some(now_ms) = changes.iter().map(|one| one.change.at).max() else { return Ok(()) };
    let swept_ms = now_ms.saturating_sub(half_life_ms.saturating_mul(KEPT_HALF_LIVES));
    for sweep in [SWEEP_CAUSES, SWEEP] {
        sqlx::query(sweep).bind(integer(swept_ms)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Makes changes in a transaction, in five statements however many they are.
pub(super) async fn apply(
    connection: &mut PgConnection,
    changes: &[UserPointChange],
    half_life_ms: u64,
) -> Result<(), StoreError> {
    let Some(first_ms) = changes.iter().map(|one| one.change.at).min() else { return Ok(()) };
    let mut reputations = lock(connection, changes, first_ms).await?;
    let known = causes(connection, changes).await?;
    // By user and cause, because a statement changes a row once.
    let mut counted: BTreeMap<(UserId, &str), CountedCause> = BTreeMap::new();
    for UserPointChange { user_id, change } in changes {
        let reputation = reputations.entry(*user_id).or_default();
        let cause = (*user_id, change.cause.as_str());
        let before = counted.get(&cause).or_else(|| known.get(&(*user_id, change.cause.clone())));
        if let Some(now) = reputation.change(before, change, half_life_ms) {
            counted.insert(cause, now);
        }
    }
    if counted.is_empty() {
        return Ok(());
    }
    put_causes(connection, &counted).await?;
    put(connection, &reputations).await
}

async fn lock(
    connection: &mut PgConnection,
    changes: &[UserPointChange],
    first_ms: u64,
) -> Result<BTreeMap<UserId, Reputation>, StoreError> {
    let mut ids: Vec<i64> = changes.iter().map(|one| integer(one.user_id.0)).collect();
    ids.sort_unstable();
    ids.dedup();
    sqlx::query(ENSURE).bind(&ids).bind(integer(first_ms)).execute(&mut *connection).await?;
    let rows = sqlx::query(LOCK).bind(&ids).fetch_all(connection).await?;
    let read = |row: &PgRow| -> Result<_, StoreError> {
        Ok((UserId(row.natural("user_id")?), rows::reputation(row)?))
    };
    rows.iter().map(read).collect()
}

async fn causes(
    connection: &mut PgConnection,
    changes: &[UserPointChange],
) -> Result<HashMap<(UserId, String), CountedCause>, StoreError> {
    let ids: Vec<i64> = changes.iter().map(|one| integer(one.user_id.0)).collect();
    let names: Vec<&str> = changes.iter().map(|one| one.change.cause.as_str()).collect();
    let rows = sqlx::query(CAUSES).bind(ids).bind(names).fetch_all(connection).await?;
    let read = |row: &PgRow| -> Result<_, StoreError> {
        let key = (UserId(row.natural("user_id")?), row.text("cause")?.to_owned());
        Ok((key, rows::counted_cause(row)?))
    };
    rows.iter().map(read).collect()
}

async fn put_causes(
    connection: &mut PgConnection,
    counted: &BTreeMap<(UserId, &str), CountedCause>,
) -> Result<(), StoreError> {
    let ids: Vec<i64> = counted.keys().map(|(user_id, _)| integer(user_id.0)).collect();
    let names: Vec<&str> = counted.keys().map(|(_, cause)| *cause).collect();
    let points: Vec<f64> = counted.values().map(|cause| cause.points).collect();
    let times: Vec<i64> = counted.values().map(|cause| integer(cause.at)).collect();
    let texts: Vec<Option<i64>> = counted.values().map(|cause| cause.text.map(i64::from)).collect();
    sqlx::query(PUT_CAUSES)
        .bind(ids)
        .bind(names)
        .bind(points)
        .bind(times)
        .bind(texts)
        .execute(connection)
        .await?;
    Ok(())
}

async fn put(
    connection: &mut PgConnection,
    reputations: &BTreeMap<UserId, Reputation>,
) -> Result<(), StoreError> {
    let ids: Vec<i64> = reputations.keys().map(|user_id| integer(user_id.0)).collect();
    let points: Vec<f64> = reputations.values().map(|one| one.points).collect();
    let times: Vec<i64> = reputations.values().map(|one| integer(one.at)).collect();
    let since: Vec<Option<i64>> = reputations.values().map(|one| one.since.map(integer)).collect();
    let texts = reputations.values().map(|one| rows::text_keys(&one.texts));
    let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
    sqlx::query(PUT)
        .bind(ids)
        .bind(points)
        .bind(times)
        .bind(since)
        .bind(texts)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn known(
    connection: &mut PgConnection,
    users: &[UserId],
) -> Result<Vec<KnownUser>, StoreError> {
    let ids: Vec<i64> = users.iter().map(|user_id| integer(user_id.0)).collect();
    let rows = sqlx::query(KNOWN).bind(ids).fetch_all(connection).await?;
    rows.iter().map(rows::known_user).collect()
}
