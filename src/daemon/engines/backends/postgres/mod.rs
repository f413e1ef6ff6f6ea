//! A PostgreSQL server, as the engines on it share it: one bounded set of connections, and one
//! schema that is migrated at start. sqlx's types stay between here and those engines.
//!
//! Always holds: every table is in the schema `postgres.schema`, which is created at start if
//! absent; several nodes may start at once. A commit is on disk when it returns, even where the
//! server's default is not to wait for the disk. Every call ends within `postgres.timeout`, whether
//! the server is up, down or hung; nothing has to be restarted when it is back.
//!
//! When full: callers wait for one of `postgres.max_connections` connections, then get
//! [`StoreError::Unavailable`]. They get the same whenever the server does not answer, is shutting
//! down, or gave up a transaction in favour of another.

mod check;
mod migrate;
mod pool;
mod settings;
mod setup;
#[cfg(test)]
pub(crate) mod test_proxy;
#[cfg(test)]
pub(crate) mod test_schema;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;

pub(crate) use self::pool::{PostgresPool, statement, transaction};
pub use self::setup::PostgresSetupError;
use self::setup::Setup;
use super::sql::Columns as _;
use crate::daemon::base::config::PostgresConfig;
use crate::daemon::engines::StoreError;

/// A server with the settings of `[postgres]`. Cloning shares its connections.
#[derive(Debug, Clone)]
pub struct PostgresServer {
    setup: Setup,
    pool: PostgresPool,
}

impl PostgresServer {
    /// Connects, which shows whether the settings are right. Creates no table.
    pub async fn connect(config: &PostgresConfig) -> Result<Self, PostgresSetupError> {
        let first = Setup::connect(config).await?;
        let pool = PostgresPool::new(&first.setup, config, first.connection);
        Ok(Self { setup: first.setup, pool })
    }

    /// Fails if the section `[postgres]` cannot be used, whatever the server says. Does not
    /// connect.
    pub(crate) fn check_settings(config: &PostgresConfig) -> Result<(), PostgresSetupError> {
        setup::check(config)
    }

    /// Tries the stores without creating or changing anything. Returns a sentence that describes
    /// the server.
    pub(crate) async fn check(config: &PostgresConfig) -> Result<String, StoreError> {
        check::check(config).await
    }

    pub(crate) fn pool(&self) -> &PostgresPool {
        &self.pool
    }

    /// Creates the schema if it is absent and runs the migrations it lacks. `part` names them: each
    /// part has its own versions and its own table that records them.
    pub(crate) async fn migrate(
        &self,
        part: &'static str,
        migrator: Migrator,
    ) -> Result<(), PostgresSetupError> {
        migrate::bring_up_to_date(&self.setup, part, migrator).await
    }
}

/// Runs a query and fails if the server would refuse the writes of this engine. The query returns
/// whether this user may write to the engine's tables as `may_write`.
pub(crate) async fn check_writable(
    connection: &mut PgConnection,
    query: &'static str,
) -> Result<(), StoreError> {
    // A primary that was set to read only, as fail-over tools do, is no replica.
    let row = sqlx::query(
        "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only",
    )
    .fetch_one(&mut *connection)
    .await?;
    if row.flag("read_only")? {
        return Err(StoreError::Unavailable(
            "the server of `postgres.url` is read-only, a replica or a primary after a fail-over: \
             make it writable, or name the primary"
                .to_owned(),
        ));
    }
    let row = sqlx::query(query).fetch_one(connection).await?;
    if !row.flag("may_write")? {
        return Err(StoreError::Unavailable(
            "the user of `postgres.url` may not write to the tables in `postgres.schema`: GRANT \
             SELECT, INSERT, UPDATE, DELETE, or make the user their owner"
                .to_owned(),
        ));
    }
    Ok(())
}
