//! Partitions by day: made ahead and on demand, dropped whole when their time is over. Any node may
//! do either at any moment; one does at a time.

use std::collections::{BTreeSet, HashSet};

use parking_lot::{Mutex, MutexGuard};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use tracing::info;

use super::day::Day;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::{PostgresPool, statement, transaction};

/// Both are cut in the same days.
const TABLES: [&str; 2] = ["comments", "tombstones"];

/// Held while the set of partitions is changed. Taken with what follows it in `lock`: waited for
/// where a comment waits for its partition, only tried where another node does the same work anyway.
const LOCK: &str = "pg_advisory_xact_lock";
const TRY_LOCK: &str = "pg_try_advisory_xact_lock";

/// Dropping needs the tables for itself. It waits this long for those who use them, because all who
/// come later wait behind it; if it gets them, dropping two partitions is a matter of milliseconds.
const FOR_ITSELF: &str = "SET LOCAL lock_timeout = '500ms';
    LOCK TABLE comments, tombstones IN ACCESS EXCLUSIVE MODE";

/// What this node knows of the partitions there are.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    /// Days whose partitions were there. At most one entry a day of the retention, or of the
    /// daemon's own life.
    known: Mutex<HashSet<Day>>,
}

impl Partitions {
    /// Makes the partitions of these days that are not there.
    pub(super) async fn ensure(
        &self,
        pool: &PostgresPool,
        days: &BTreeSet<Day>,
    ) -> Result<(), StoreError> {
        let unknown: Vec<Day> = {
            let known = self.known();
            days.iter().filter(|day| !known.contains(day)).copied().collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        transaction!(pool, |connection| make(connection, &unknown)).await?;
        self.known().extend(unknown);
        Ok(())
    }

    /// Asks the server again before the next write: a partition may be gone.
    pub(super) fn forget(&self) {
        self.known().clear();
    }

    /// Drops the partitions of all days before this one. Returns how many days; none if another
    /// node is at it.
    pub(super) async fn drop_before(
        &self,
        pool: &PostgresPool,
        first_kept: Day,
    ) -> Result<usize, StoreError> {
        self.known().retain(|day| *day >= first_kept);
        let names = statement!(pool, |connection| names_before(connection, first_kept));
        let names = pool.bounded(names).await?;
        let mut dropped = 0;
        for name in names {
            let work = transaction!(pool, |connection| drop_day(connection, &name));
            if !pool.bounded(work).await? {
                break;
            }
            info!(day = name, "dropped a day of comments that is past `store.retention`");
            dropped += 1;
        }
        Ok(dropped)
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Day>> {
        // A set of days is whole at every moment.
        self.known.lock()
    }
}

async fn lock(connection: &mut PgConnection, function: &str) -> Result<bool, StoreError> {
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT {function}(hashtextextended('lcd partitions ' || current_schema(), 0))::text AS had"
    )))
    .fetch_one(connection)
    .await?;
    // The one that waits returns nothing.
    Ok(row.try_get::<&str, _>("had")? != "false")
}

async fn exists(connection: &mut PgConnection, table: &str) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT to_regclass($1) IS NOT NULL AS there")
        .bind(table)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get("there")?)
}

/// Makes a table and attaches it, rather than creating it as a partition, because attaching waits
/// for no reader or writer of the other days.
async fn make(connection: &mut PgConnection, days: &[Day]) -> Result<(), StoreError> {
    lock(connection, LOCK).await?;
    for day in days {
        for table in TABLES {
            let partition = format!("{table}_{}", day.name());
            if exists(connection, &partition).await? {
                continue;
            }
            let (from, to) = (literal(*day), literal(day.plus(1)));
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

/// The first sort key of a day, in SQL.
fn literal(day: Day) -> String {
    format!("'\\x{:016x}'", u64::from_be_bytes(day.first_key()))
}

/// The days, by name, oldest first.
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

/// False if another node is at it.
async fn drop_day(connection: &mut PgConnection, name: &str) -> Result<bool, StoreError> {
    if !lock(connection, TRY_LOCK).await? {
        return Ok(false);
    }
    connection.execute(FOR_ITSELF).await?;
    // Comments and their tombstones together: none comes back for want of the other.
    let [comments, tombstones] = TABLES;
    connection
        .execute(AssertSqlSafe(format!(
            "DROP TABLE IF EXISTS {comments}_{name}, {tombstones}_{name}"
        )))
        .await?;
    Ok(true)
}
