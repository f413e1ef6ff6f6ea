//! The connections of this node: at most `postgres.max_connections`, opened when needed, shared by
//! all stores.
//!
//! sqlx has a pool of its own; this one exists because of its behaviour while a server hangs. A
//! connection abandoned in the middle of an answer is closed at once, where sqlx's pool waits
//! without bound for the rest of the answer and keeps the connection's permit meanwhile. A refused
//! connection is an error at once, where sqlx's pool retries until the caller's timeout. After a
//! failure no idle connection opened before it is used again, so a restart of the server costs one
//! failed call, not one per connection.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::setup::{Setup, no_answer_within};
use crate::daemon::base::config::PostgresConfig;
use crate::daemon::engines::StoreError;
use crate::protocol::admin::PoolUse;

/// A connection that was used this recently is not pinged before use.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// Connections idle for longer are closed.
const LONGEST_IDLE: Duration = Duration::from_secs(300);
/// Older connections are not used again, so that load returns to the right server after a fail-over
/// or a change of addresses.
const LONGEST_LIFE: Duration = Duration::from_secs(1800);

/// Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct PostgresPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    setup: Setup,
    timeout: Duration,
    max_connections: u32,
    /// One per connection in use.
    permits: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

#[derive(Debug)]
struct Idle {
    /// Most recently used last. Idle connections and those in use together never exceed the
    /// permits.
    connections: Vec<(PgConnection, Times)>,
    /// Connections opened before this moment are not used again.
    distrusted_before: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    opened: Instant,
    last_used: Instant,
}

impl PostgresPool {
    /// Creates a pool that holds one connection.
    pub(super) fn new(setup: &Setup, config: &PostgresConfig, first: PgConnection) -> Self {
        let max_connections = config.max_connections.max(1);
        let now = Instant::now();
        let connections = vec![(first, Times { opened: now, last_used: now })];
        let shared = Shared {
            setup: setup.clone(),
            timeout: config.timeout,
            max_connections,
            permits: Arc::new(Semaphore::new(max_connections as usize)),
            idle: Mutex::new(Idle { connections, distrusted_before: now }),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the connections that are used now.
    pub(crate) fn connections(&self) -> PoolUse {
        let max = u64::from(self.shared.max_connections);
        let free = self.shared.permits.available_permits() as u64;
        PoolUse { in_use: max.saturating_sub(free), max }
    }

    #[cfg(test)]
    pub(super) fn max_connections(&self) -> u32 {
        self.shared.max_connections
    }

    /// Limits work to `postgres.timeout`, connecting included. Every call of a store goes through
    /// here, once.
    pub(crate) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let limit = self.shared.timeout;
        if let Ok(outcome) = timeout(limit, work).await {
            return outcome;
        }
        self.distrust_idle();
        let busy = self.shared.permits.available_permits() == 0;
        Err(StoreError::Unavailable(if busy {
            let max = self.shared.max_connections;
            format!("all connections are busy (`postgres.max_connections` is {max})")
        } else {
            format!("PostgreSQL: {}", no_answer_within(limit))
        }))
    }

    /// Returns a connection for one statement.
    pub(crate) async fn session(&self) -> Result<Session, StoreError> {
        let permit = Arc::clone(&self.shared.permits).acquire_owned().await;
        let permit =
            permit.map_err(|_| StoreError::Unavailable("the pool is closed".to_owned()))?;
        let (connection, opened) = self.connection().await?;
        let pool = self.clone();
        Ok(Session { pool, connection, opened, in_transaction: false, _permit: permit })
    }

    /// Returns a connection in a transaction.
    pub(crate) async fn begin(&self) -> Result<Session, StoreError> {
        let mut session = self.session().await?;
        let begun = session.connection.execute("BEGIN").await;
        begun.inspect_err(|_| self.distrust_idle())?;
        session.in_transaction = true;
        Ok(session)
    }

    async fn connection(&self) -> Result<(PgConnection, Instant), StoreError> {
        while let Some((mut connection, times)) = self.pop_idle() {
            if times.last_used.elapsed() < TRUSTED_FOR || connection.ping().await.is_ok() {
                return Ok((connection, times.opened));
            }
        }
        let opened = Instant::now();
        let connected = self.shared.setup.checked_connection().await;
        let connection = connected.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok((connection, opened))
    }

    fn pop_idle(&self) -> Option<(PgConnection, Times)> {
        let mut idle = self.shared.idle.lock();
        let trusted_from = idle.distrusted_before;
        idle.connections.retain(|(_, times)| {
            times.opened >= trusted_from && times.last_used.elapsed() < LONGEST_IDLE
        });
        idle.connections.pop()
    }

    fn push_idle(&self, connection: PgConnection, opened: Instant) {
        let mut idle = self.shared.idle.lock();
        if opened >= idle.distrusted_before && opened.elapsed() < LONGEST_LIFE {
            let last_used = Instant::now();
            idle.connections.push((connection, Times { opened, last_used }));
        }
    }

    fn distrust_idle(&self) {
        self.shared.idle.lock().distrusted_before = Instant::now();
    }
}

/// A connection in use. If it is dropped before [`Self::end`], it is closed and its unfinished work
/// is abandoned.
#[derive(Debug)]
pub(crate) struct Session {
    pool: PostgresPool,
    connection: PgConnection,
    opened: Instant,
    in_transaction: bool,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Commits after a success and rolls back after a failure; returns the connection to the pool
    /// unless it may be broken.
    pub(crate) async fn end<T>(mut self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        let ending = match &outcome {
            Err(StoreError::Unavailable(_) | StoreError::Corrupt(_)) => {
                self.pool.distrust_idle();
                return outcome;
            }
            Ok(_) => "COMMIT",
            Err(
                StoreError::NotFound(_)
                | StoreError::NotATerm(_)
                | StoreError::Exists(_)
                | StoreError::Full(_)
                | StoreError::Incomplete(_),
            ) => "ROLLBACK",
        };
        if self.in_transaction {
            let ended = self.connection.execute(ending).await;
            ended.inspect_err(|_| self.pool.distrust_idle())?;
        }
        self.pool.push_idle(self.connection, self.opened);
        outcome
    }
}

/// A future that runs `$work` in one transaction of `$pool`, commits it if the result is `Ok`, and
/// rolls it back otherwise. `$connection` is the `&mut PgConnection` of the transaction.
macro_rules! transaction {
    ($pool:expr, |$connection:ident| $work:expr) => {
        $crate::daemon::engines::backends::postgres::statement!(@ begin, $pool, |$connection| $work)
    };
}
pub(crate) use transaction;

/// The same without a transaction: for one statement, or several that only read.
macro_rules! statement {
    ($pool:expr, |$connection:ident| $work:expr) => {
        $crate::daemon::engines::backends::postgres::statement!(@ session, $pool, |$connection| $work)
    };
    (@ $open:ident, $pool:expr, |$connection:ident| $work:expr) => {
        async {
            let mut session = $pool.$open().await?;
            let outcome = {
                let $connection = session.connection();
                $work.await
            };
            session.end(outcome).await
        }
    };
}
pub(crate) use statement;
