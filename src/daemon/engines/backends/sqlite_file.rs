//! One SQLite file: the connection that writes, the few that read, and its schema brought up to
//! date. What every SQLite engine stands on; sqlx's types stay between here and those engines.
//!
//! Always holds: one writer, so no write ever meets a locked database; readers see the last commit
//! and wait for nobody (WAL). A commit is on disk when it returns. SQLite runs on threads of its own,
//! never on the runtime's.
//!
//! When full: callers wait for a connection up to [`ACQUIRE_TIMEOUT`], then get
//! [`StoreError::Unavailable`], as they do when the disk is full.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteError, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, Sqlite, SqliteConnection, Transaction};

use crate::daemon::engines::StoreError;
use crate::protocol::CommentId;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages of history are short reads; a few of them at a time keep two cores busy.
const READERS: u32 = 3;
/// Pages (4 KiB) of write-ahead log before they are copied into the file: larger than SQLite's own
/// 1000, so that a batch of comments does not pay for a copy each time.
const CHECKPOINT_PAGES: &str = "4096";
/// The write-ahead log is cut back to this after a burst made it longer.
const WAL_LIMIT_BYTES: &str = "67108864";
/// Negative: KiB. The upper levels of the trees stay in memory.
const CACHE_KIB: &str = "-16384";

/// An open file. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct SqliteFile {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteFile {
    /// Opens the file, makes it if it is absent, and brings its schema up to date.
    pub(crate) async fn open(path: &Path, migrations: &Migrator) -> Result<Self, StoreError> {
        let refuse = |what: &dyn std::fmt::Display| {
            StoreError::Unavailable(format!("{}: {what}", path.display()))
        };
        let options = options(path);
        let writer = pool(1).connect_with(options.clone()).await.map_err(|error| refuse(&error))?;
        migrations.run(&writer).await.map_err(|error| match error {
            MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => {
                StoreError::Corrupt(format!("{}: {error}", path.display()))
            }
            other => refuse(&other),
        })?;
        let readers = pool(READERS)
            .connect_with(options.read_only(true))
            .await
            .map_err(|error| refuse(&error))?;
        Ok(Self { writer, readers })
    }

    /// Where reads go.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// A transaction that writes. Dropping it without a commit undoes it.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Whether it can be read and is not locked for writing.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&self.readers).await?;
        self.begin().await?.rollback().await?;
        Ok(())
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", WAL_LIMIT_BYTES)
        .pragma("cache_size", CACHE_KIB)
        .disable_statement_logging()
}

fn pool(connections: u32) -> SqlitePoolOptions {
    // A connection to a file does not go stale, and opening another would forget its statements.
    SqlitePoolOptions::new()
        .min_connections(connections)
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_release(|connection, _| Box::pin(is_between_transactions(connection)))
}

/// Whether a connection that comes back may serve again. When SQLite undoes a transaction by itself
/// (the disk is full in the middle of a commit), the driver's own rollback fails and it goes on
/// counting that transaction as open: no other could ever begin. Such a connection is replaced.
async fn is_between_transactions(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // The rollback of a dropped transaction is on its way; this comes behind it.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// SQLite's primary result codes for a file that is not what it should be: `SQLITE_CORRUPT`,
/// `SQLITE_NOTADB`.
const DAMAGED: [u32; 2] = [11, 26];

/// For all engines on sqlx, which has one error for every database.
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let damaged = match &error {
            sqlx::Error::Database(cause) => match cause.try_downcast_ref::<SqliteError>() {
                Some(_) => {
                    // The low byte of an extended code is the primary one.
                    let code = cause.code().and_then(|code| code.parse::<u32>().ok());
                    code.is_some_and(|code| DAMAGED.contains(&(code & 0xFF)))
                }
                None => super::postgres::is_damage(&**cause),
            },
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnNotFound(_) => true,
            _ => false,
        };
        if damaged {
            Self::Corrupt(error.to_string())
        } else {
            Self::Unavailable(error.to_string())
        }
    }
}

/// For a column: SQLite's integers are signed. Ids are at most 2^63 − 1 by contract, and no time or
/// offset comes near.
pub(crate) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A column that holds a whole number of 0 or more.
pub(crate) fn natural(row: &SqliteRow, column: &str) -> Result<u64, StoreError> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value)
        .map_err(|_| StoreError::Corrupt(format!("column {column} holds {value}, expected >= 0")))
}

/// The same for a column that may be NULL.
pub(crate) fn natural_or_null(row: &SqliteRow, column: &str) -> Result<Option<u64>, StoreError> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(|_| natural(row, column)).transpose()
}

/// The column `sort_key` as the comment id it stands for.
pub(crate) fn comment_id(row: &SqliteRow) -> Result<CommentId, StoreError> {
    let bytes: &[u8] = row.try_get("sort_key")?;
    let key = bytes.try_into().map_err(|_| {
        StoreError::Corrupt(format!("a sort key of {} bytes, expected 16", bytes.len()))
    })?;
    Ok(CommentId::from_sort_key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    static MIGRATIONS: Migrator = sqlx::migrate!("migrations/reactions");

    /// As SQLite itself does when the disk is full in the middle of a commit.
    #[tokio::test]
    async fn a_transaction_that_sqlite_undid_by_itself_does_not_wedge_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        let file = SqliteFile::open(&dir.path().join("test.db"), &MIGRATIONS).await.unwrap();
        let insert = "INSERT OR ROLLBACK INTO reaction_totals VALUES (1, 'fire', 1)";
        for _ in 0..3 {
            let mut transaction = file.begin().await.unwrap();
            sqlx::query(insert).execute(&mut *transaction).await.unwrap();
            assert!(sqlx::query(insert).execute(&mut *transaction).await.is_err());
        }
        let mut transaction = file.begin().await.unwrap();
        sqlx::query(insert).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        file.ping().await.unwrap();
    }
}
