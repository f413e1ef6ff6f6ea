//! One SQLite file: a connection that writes, a few that read, and migrations. Every SQLite engine
//! is built on it; sqlx's types stay between here and those engines.
//!
//! Always holds: there is one writer, so no write ever meets a locked database. Readers see the
//! last commit and never wait (WAL). A commit is on disk when it returns. SQLite runs on threads of
//! its own, never on the runtime's. Nothing is written into a file that has lost its name: see
//! [`FileIdentity`].
//!
//! When full: callers wait for a connection up to [`ACQUIRE_TIMEOUT`], then get
//! [`StoreError::Unavailable`], as they do when the disk is full.

use std::ffi::OsString;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, SqliteConnection, Transaction};

use crate::daemon::engines::StoreError;
use crate::protocol::admin::PoolUse;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages of history are short reads; a few at a time keep two cores busy.
const READERS: u32 = 3;
/// Pages (4 KiB) of write-ahead log before they are copied into the file. More than SQLite's
/// default of 1000, so that not every batch of comments pays for a copy.
const CHECKPOINT_PAGES: &str = "4096";
/// The write-ahead log is truncated to this size after a burst.
const WAL_LIMIT_BYTES: &str = "67108864";
/// Negative: KiB. The upper levels of the trees stay in memory.
const CACHE_KIB: &str = "-16384";

/// An open file. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct SqliteFile {
    writer: SqlitePool,
    readers: SqlitePool,
    identity: Arc<FileIdentity>,
}

impl SqliteFile {
    /// Opens the file, creates it if it is absent, and runs the migrations it lacks.
    /// `without_it` says what a start without the file does, for a daemon that has lost it.
    pub(crate) async fn open(
        path: &Path,
        migrations: &Migrator,
        without_it: &'static str,
    ) -> Result<Self, StoreError> {
        let unavailable = |error: &dyn std::fmt::Display| {
            StoreError::Unavailable(format!("{}: {error}", path.display()))
        };
        let options = options(path);
        let writer =
            pool(1).connect_with(options.clone()).await.map_err(|error| unavailable(&error))?;
        migrations.run(&writer).await.map_err(|error| match error {
            MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => {
                StoreError::Corrupt(format!("{}: {error}", path.display()))
            }
            other => unavailable(&other),
        })?;
        let readers = pool(READERS)
            .connect_with(options.read_only(true))
            .await
            .map_err(|error| unavailable(&error))?;
        let identity = FileIdentity::of(path, without_it).map_err(|error| unavailable(&error))?;
        Ok(Self { writer, readers, identity: Arc::new(identity) })
    }

    /// Checks that the file could be opened: it can be read, its tables are not newer than those of
    /// this program, and this user may write it. Creates and changes nothing, also beside a running
    /// daemon.
    pub(crate) async fn check(path: &Path, migrations: &Migrator) -> Result<String, StoreError> {
        let name = path.display();
        let unavailable =
            |error: &dyn std::fmt::Display| StoreError::Unavailable(format!("{name}: {error}"));
        if !path.exists() {
            return Ok(format!("{name} will be created"));
        }
        std::fs::OpenOptions::new().write(true).open(path).map_err(|error| unavailable(&error))?;
        let mut connection = reading(path).connect().await.map_err(|error| unavailable(&error))?;
        let applied = sqlx::query_scalar::<_, i64>("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(&mut connection)
            .await;
        let closed = connection.close().await;
        let applied = applied.map_err(|error| unavailable(&error))?;
        closed.map_err(|error| unavailable(&error))?;
        let known = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
        if applied > known {
            return Err(StoreError::Corrupt(format!(
                "{name} is at version {applied}, this lcd knows up to {known}: start a newer lcd"
            )));
        }
        Ok(name.to_string())
    }

    /// Returns whether there is a file with tables, or one that cannot be read. Creates nothing.
    pub(crate) async fn has_tables(path: &Path) -> bool {
        if !path.exists() {
            return false;
        }
        let Ok(mut connection) = reading(path).connect().await else { return true };
        let tables = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM sqlite_schema")
            .fetch_one(&mut connection)
            .await;
        let _ = connection.close().await;
        tables.map_or(true, |tables| tables > 0)
    }

    /// Closes the connections. The last one copies what is beside the file into it, so that the
    /// file is whole by itself.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Returns the connections for reads.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Returns the connections that are used now; `None` once the file is closed.
    pub(crate) fn connections(&self) -> Option<PoolUse> {
        if self.writer.is_closed() {
            return None;
        }
        let used =
            |pool: &SqlitePool| u64::from(pool.size()).saturating_sub(pool.num_idle() as u64);
        let in_use = used(&self.writer) + used(&self.readers);
        Some(PoolUse { in_use, max: u64::from(1 + READERS) })
    }

    /// Begins a transaction that writes. Dropping it without a commit rolls it back.
    ///
    /// # Errors
    /// The file was deleted or replaced while it is open. A commit would be lost with it.
    pub(crate) async fn begin(&self) -> Result<FileTransaction, StoreError> {
        self.identity.check()?;
        let transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(FileTransaction { transaction, identity: self.identity.clone() })
    }

    /// Succeeds if the file can be read, still has its name, and is not locked for writing.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        // Reading without one of the files fails, too, with an error that names none of them.
        self.identity.check()?;
        sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&self.readers).await?;
        self.begin().await?.rollback().await
    }
}

/// A transaction on the connection that writes.
#[derive(Debug)]
pub(crate) struct FileTransaction {
    transaction: Transaction<'static, Sqlite>,
    identity: Arc<FileIdentity>,
}

impl FileTransaction {
    /// Commits, if the file still has its name before and after that. After an error the rows may
    /// be in the file that was moved away.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        let Self { transaction, identity } = self;
        identity.check()?;
        transaction.commit().await?;
        identity.check()
    }

    async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.transaction.rollback().await?)
    }
}

impl Deref for FileTransaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for FileTransaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

/// The device and the inode of the database and of the files beside it, as they were opened. SQLite
/// keeps writing into a file that was unlinked, and what is written then ends with the process.
#[derive(Debug)]
struct FileIdentity {
    files: Vec<(PathBuf, Inode)>,
    without_it: &'static str,
}

type Inode = (u64, u64);

impl FileIdentity {
    /// Reads the identities of the files of an open database.
    fn of(path: &Path, without_it: &'static str) -> std::io::Result<Self> {
        let mut files = vec![(path.to_owned(), inode(path)?)];
        for suffix in ["-wal", "-shm"] {
            let mut beside = OsString::from(path);
            beside.push(suffix);
            let beside = PathBuf::from(beside);
            match inode(&beside) {
                Ok(inode) => files.push((beside, inode)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { files, without_it })
    }

    /// Fails if one of the paths no longer leads to the open file. Costs three `stat` calls.
    fn check(&self) -> Result<(), StoreError> {
        let changed = self.files.iter().find(|(path, opened)| inode(path).ok() != Some(*opened));
        let Some((path, _)) = changed else { return Ok(()) };
        Err(StoreError::Unavailable(format!(
            "{} was deleted or replaced while it is open, and what is written now would be lost: \
             stop lcd, remove the files -wal and -shm beside it, put the file back from a backup \
             if you have one, and start lcd again. {}",
            path.display(),
            self.without_it
        )))
    }
}

fn inode(path: &Path) -> std::io::Result<Inode> {
    let file = std::fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Returns the options of a connection that changes nothing.
fn reading(path: &Path) -> SqliteConnectOptions {
    // A log beside the file belongs to a running daemon, or to one that was killed.
    let is_quiet = !path.with_extension("db-wal").exists();
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(is_quiet)
        .disable_statement_logging()
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

/// Returns whether a released connection may be used again. When SQLite rolls a transaction back by
/// itself (the disk fills up during a commit), the driver's own rollback fails and the driver keeps
/// counting that transaction as open, so no other could ever begin. Such a connection is replaced.
async fn is_between_transactions(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // The rollback of a dropped transaction is queued; the ping is answered after it.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

#[cfg(test)]
mod tests {
    use super::*;

    static MIGRATIONS: Migrator = sqlx::migrate!("migrations/reactions");
    const WITHOUT_FILE: &str = "A start without it begins again";

    #[tokio::test]
    async fn a_closed_file_is_whole_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        assert!(!SqliteFile::has_tables(&path).await);
        std::fs::write(&path, "").unwrap();
        assert!(!SqliteFile::has_tables(&path).await, "an empty file has none");
        let file = SqliteFile::open(&path, &MIGRATIONS, WITHOUT_FILE).await.unwrap();
        assert!(SqliteFile::has_tables(&path).await, "also beside an open one");
        let mut transaction = file.begin().await.unwrap();
        let insert = "INSERT INTO reaction_totals VALUES (1, 'fire', 1)";
        sqlx::query(insert).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        file.close().await;
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is beside it");
        let copy = dir.path().join("copy.db");
        std::fs::copy(&path, &copy).unwrap();
        let file = SqliteFile::open(&copy, &MIGRATIONS, WITHOUT_FILE).await.unwrap();
        let rows = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM reaction_totals");
        assert_eq!(rows.fetch_one(file.readers()).await.unwrap(), 1);
    }

    /// SQLite rolls back like this when the disk fills up during a commit.
    #[tokio::test]
    async fn a_rollback_by_sqlite_itself_frees_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        let file =
            SqliteFile::open(&dir.path().join("test.db"), &MIGRATIONS, WITHOUT_FILE).await.unwrap();
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

    #[tokio::test]
    async fn nothing_is_written_into_a_deleted_file() {
        for suffix in ["", "-wal", "-shm"] {
            let dir = tempfile::tempdir().unwrap();
            let file = SqliteFile::open(&dir.path().join("test.db"), &MIGRATIONS, WITHOUT_FILE)
                .await
                .unwrap();
            file.ping().await.unwrap();
            let victim = dir.path().join(format!("test.db{suffix}"));
            std::fs::remove_file(&victim).unwrap();
            for _ in 0..2 {
                let refused = file.ping().await.unwrap_err().to_string();
                assert!(refused.contains(&victim.display().to_string()), "{refused}");
                assert!(refused.ends_with(WITHOUT_FILE), "{refused}");
                assert!(file.begin().await.is_err());
                // Another file of the same name is not the open one.
                std::fs::write(&victim, b"").unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_file_deleted_in_a_transaction_refuses_commit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let file = SqliteFile::open(&path, &MIGRATIONS, WITHOUT_FILE).await.unwrap();
        let mut transaction = file.begin().await.unwrap();
        let insert = "INSERT INTO reaction_totals VALUES (1, 'fire', 1)";
        sqlx::query(insert).execute(&mut *transaction).await.unwrap();
        std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        let refused = transaction.commit().await.unwrap_err().to_string();
        assert!(refused.contains("deleted or replaced"), "{refused}");
        std::fs::rename(dir.path().join("elsewhere"), &path).unwrap();
        let rows = "SELECT count(*) FROM reaction_totals";
        let rows: i64 = sqlx::query_scalar(rows).fetch_one(file.readers()).await.unwrap();
        assert_eq!(rows, 0, "the refused row is not there");
        file.ping().await.unwrap();
    }
}
