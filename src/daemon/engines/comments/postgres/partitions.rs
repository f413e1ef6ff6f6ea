//! Partitions per day: created ahead and on demand, dropped whole when they are past the retention.
//! Any node may do either at any time, but only one at a time.

use std::collections::{BTreeSet, HashSet};

use parking_lot::Mutex;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use tracing::info;

use super::day::Day;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::{PostgresPool, statement, transaction};

/// Both are partitioned by the same days.
const TABLES: [&str; 2] = ["comments", "tombstones"];

/// Lock functions for changing the set of partitions. [`LOCK`] waits, for a comment that needs its
/// partition. [`TRY_LOCK`] does not, where another node that holds the lock does the same work.
const LOCK: &str = "pg_advisory_xact_lock";
const TRY_LOCK: &str = "pg_try_advisory_xact_lock";

/// Locks the tables exclusively, as dropping needs. It waits this long for current users, because
/// all later ones queue behind it. Once it has the lock, dropping two partitions takes
/// milliseconds.
const LOCK_TABLES: &str = "SET LOCAL lock_timeout = '500ms';
    LOCK TABLE comments, tombstones IN ACCESS EXCLUSIVE MODE";

/// The partitions that this node knows to exist.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    /// Days whose partitions exist. At most one entry per day of the retention, or of the daemon's
    /// uptime.
    known: Mutex<HashSet<Day>>,
}

impl Partitions {
    /// Creates the partitions of these days that do not exist.
    pub(super) async fn ensure(
        &self,
        pool: &PostgresPool,
        days: &BTreeSet<Day>,
    ) -> Result<(), StoreError> {
        let unknown: Vec<Day> = {
            let known = self.known.lock();
            days.iter().filter(|day| !known.contains(day)).copied().collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        transaction!(pool, |connection| create(connection, &unknown)).await?;
        self.known.lock().extend(unknown);
        Ok(())
    }

    /// Makes the next write check again: a partition may have been dropped.
    pub(super) fn forget(&self) {
        self.known.lock().clear();
    }

    /// Drops the partitions of all days before `first_kept` and returns the number of days. Stops
    /// if another node is dropping them.
    pub(super) async fn drop_before(
        &self,
        pool: &PostgresPool,
        first_kept: Day,
    ) -> Result<usize, StoreError> {
        self.known.lock().retain(|day| *day >= first_kept);
        let names = statement!(pool, |connection| names_before(connection, first_kept));
        let names = pool.bounded(names).await?;
        let mut dropped = 0;
        for name in names {
            let work = transaction!(pool, |connection| drop_day(connection, &name));
            if !pool.bounded(work).await? {
                break;
            }
            info!(day = name, "dropped a day of comments past `store.retention`");
            dropped += 1;
        }
        let forget = statement!(pool, |connection| forget_days_before(connection, first_kept));
        pool.bounded(forget).await?;
        Ok(dropped)
    }
}

async fn lock(connection: &mut PgConnection, function: &str) -> Result<bool, StoreError> {
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT {function}(hashtextextended('lcd partitions ' || current_schema(), 0))::text AS acquired"
    )))
    .fetch_one(connection)
    .await?;
    // `LOCK` returns void, shown as an empty text.
    Ok(row.try_get::<&str, _>("acquired")? != "false")
}

async fn exists(connection: &mut PgConnection, table: &str) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT to_regclass($1) IS NOT NULL AS found")
        .bind(table)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get("found")?)
}

/// Creates a table and attaches it, rather than creating it as a partition, because attaching does
/// not wait for readers or writers of other days.
async fn create(connection: &mut PgConnection, days: &[Day]) -> Result<(), StoreError> {
    lock(connection, LOCK).await?;
    for day in days {
        for table in TABLES {
            let partition = format!("{table}_{}", day.name());
            if exists(connection, &partition).await? {
                continue;
            }
            let from = literal(*day);
            let to = literal(day.plus(1));
            connection
                .execute(AssertSqlSafe(format!(
                    "CREATE TABLE {partition} (LIKE {table} INCLUDING ALL);
                     ALTER TABLE {table} ATTACH PARTITION {partition}
                     FOR VALUES FROM ({from}) TO ({to})"
                )))
                .await?;
        }
    }
    Ok(())
}

/// Returns the first sort key of a day as an SQL literal.
fn literal(day: Day) -> String {
    format!("'\\x{:016x}'", u64::from_be_bytes(day.first_key()))
}

/// Returns the names of the days before `first_kept`, oldest first.
async fn names_before(
    connection: &mut PgConnection,
    first_kept: Day,
) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(
        "SELECT DISTINCT right(child.relname, 8) AS day FROM pg_inherits
         JOIN pg_class AS child ON child.oid = inhrelid
         WHERE inhparent IN ('comments'::regclass, 'tombstones'::regclass)
           AND child.relname ~ '^(comments|tombstones)_[0-9]{8}$'
           AND right(child.relname, 8) < $1
         ORDER BY day",
    )
    .bind(first_kept.name())
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok(row.try_get("day")?)).collect()
}

/// Removes the days of streams that have been dropped.
async fn forget_days_before(
    connection: &mut PgConnection,
    first_kept: Day,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM stream_days WHERE day < $1")
        .bind(first_kept.first_key())
        .execute(connection)
        .await?;
    Ok(())
}

/// Drops a day. Returns false if another node holds the lock.
async fn drop_day(connection: &mut PgConnection, name: &str) -> Result<bool, StoreError> {
    if !lock(connection, TRY_LOCK).await? {
        return Ok(false);
    }
    connection.execute(LOCK_TABLES).await?;
    // Comments and their tombstones together, so that no deleted comment reappears.
    let [comments, tombstones] = TABLES;
    connection
        .execute(AssertSqlSafe(format!(
            "DROP TABLE IF EXISTS {comments}_{name}, {tombstones}_{name}"
        )))
        .await?;
    Ok(true)
}
