//! PostgreSQL, as the engines on it share it: one bounded set of connections, one schema that is
//! brought up to date, one reading of its errors. sqlx's types stay between here and those engines.
//!
//! Always holds: every table is in the schema `postgres.schema`, made at start if absent; several
//! nodes may start at once. A commit is on disk when it returns, even where the server's default is
//! not to wait for it. Every call ends within `postgres.timeout`, whether the server is up, down or
//! hung; nothing has to be restarted when it is back.
//!
//! When full: callers wait for one of `postgres.max_connections` connections, then get
//! [`StoreError::Unavailable`](crate::daemon::engines::StoreError::Unavailable), as they do whenever the server does
//! not answer, is shutting down, or gave up a transaction in favour of another.

pub(crate) mod columns;
mod migrate;
mod pool;
mod setup;
#[cfg(test)]
pub(crate) mod test_proxy;
#[cfg(test)]
pub(crate) mod test_schema;
#[cfg(test)]
mod tests;

use sqlx::error::DatabaseError;
use sqlx::migrate::Migrator;

pub(crate) use self::pool::{PostgresPool, statement, transaction};
pub use self::setup::PostgresSetupError;
use self::setup::Setup;
use crate::daemon::base::config::PostgresConfig;
use crate::daemon::engines::comments::postgres::PostgresComments;
use crate::daemon::engines::comments::retention::Retention;
use crate::daemon::engines::metadata::postgres::PostgresMetadata;

/// Both stores on one server, sharing its connections. Cloning shares everything.
#[derive(Debug, Clone)]
pub struct PostgresStores {
    setup: Setup,
    pool: PostgresPool,
}

impl PostgresStores {
    /// Connects, which shows whether the settings are right. Makes no table yet.
    pub async fn open(config: &PostgresConfig) -> Result<Self, PostgresSetupError> {
        let (setup, first) = Setup::connect(config).await?;
        let pool = PostgresPool::new(&setup, config, first);
        Ok(Self { setup, pool })
    }

    /// The metadata store, its tables brought up to date.
    pub async fn metadata(&self) -> Result<PostgresMetadata, PostgresSetupError> {
        let migrator = sqlx::migrate!("migrations/postgres/metadata");
        self.migrate("metadata", migrator).await?;
        Ok(PostgresMetadata::new(self.pool.clone()))
    }

    /// The comment store, its tables brought up to date; keeps its partitions as retention says
    /// until the last clone is dropped.
    pub async fn comments(
        &self,
        retention: Retention,
    ) -> Result<PostgresComments, PostgresSetupError> {
        let migrator = sqlx::migrate!("migrations/postgres/comments");
        self.migrate("comments", migrator).await?;
        Ok(PostgresComments::start(self.pool.clone(), retention))
    }

    async fn migrate(
        &self,
        part: &'static str,
        migrator: Migrator,
    ) -> Result<(), PostgresSetupError> {
        migrate::bring_up_to_date(&self.setup, part, migrator).await
    }
}

/// Whether an error of the server says that its data is damaged (`data_corrupted`,
/// `index_corrupted`). Any other may pass: locks, limits, shutdowns, a missing right.
pub(super) fn is_damage(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| ["XX001", "XX002"].contains(&&*code))
}
