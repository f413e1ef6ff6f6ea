//! The connections of this node: at most `postgres.max_connections`, made when needed, shared by all
//! stores.
//!
//! sqlx has a pool of its own; this one is here because of what happens while a server hangs. A
//! connection that was given up in the middle of an answer is closed at once, where sqlx's waits
//! without bound for the rest of the answer and keeps the connection's place meanwhile; and a refused
//! connection is an error at once, where sqlx's goes on trying until the caller's time is over. After
//! one failure no idle connection that was made before it is trusted any more, so a restart of the
//! server costs one failed call, not one a connection.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::setup::{Setup, silence};
use crate::daemon::base::config::PostgresConfig;
use crate::daemon::engines::StoreError;

/// A connection that was used this recently is not asked first whether it still lives.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// Connections idle for longer are closed.
const LONGEST_IDLE: Duration = Duration::from_secs(300);
/// Older connections are not used again: after a fail-over or a change of addresses, load comes back
/// to where it belongs.
const LONGEST_LIFE: Duration = Duration::from_secs(1800);

/// Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct PostgresPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: PgConnectOptions,
    timeout: Duration,
    max_connections: u32,
    /// One for each connection in use.
    permits: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

#[derive(Debug)]
struct Idle {
    /// The last used last. With those in use never more than there are permits.
    connections: Vec<(PgConnection, Times)>,
    /// Connections made before this moment are not used again.
    distrusted: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    made: Instant,
    used: Instant,
}

impl PostgresPool {
    /// With one connection in it already.
    pub(super) fn new(setup: &Setup, config: &PostgresConfig, first: PgConnection) -> Self {
        let max_connections = config.max_connections.max(1);
        let now = Instant::now();
        let connections = vec![(first, Times { made: now, used: now })];
        let shared = Shared {
            options: setup.options.clone(),
            timeout: config.timeout,
            max_connections,
            permits: Arc::new(Semaphore::new(max_connections as usize)),
            idle: Mutex::new(Idle { connections, distrusted: now }),
        };
        Self { shared: Arc::new(shared) }
    }

    #[cfg(test)]
    pub(super) fn max_connections(&self) -> u32 {
        self.shared.max_connections
    }

    /// Ends what takes longer than `postgres.timeout`, connecting included. Every call of a store
    /// goes through here, once.
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
            format!("all {max} connections (`postgres.max_connections`) are busy")
        } else {
            format!("PostgreSQL: {}", silence(limit))
        }))
    }

    /// A connection for one statement.
    pub(crate) async fn session(&self) -> Result<Session, StoreError> {
        let permit = Arc::clone(&self.shared.permits).acquire_owned().await;
        let permit =
            permit.map_err(|_| StoreError::Unavailable("the pool is closed".to_owned()))?;
        let (connection, made) = self.connection().await?;
        Ok(Session { pool: self.clone(), connection, made, in_transaction: false, _permit: permit })
    }

    /// A connection in a transaction.
    pub(crate) async fn begin(&self) -> Result<Session, StoreError> {
        let mut session = self.session().await?;
        let begun = session.connection.execute("BEGIN").await;
        begun.inspect_err(|_| self.distrust_idle())?;
        session.in_transaction = true;
        Ok(session)
    }

    async fn connection(&self) -> Result<(PgConnection, Instant), StoreError> {
        while let Some((mut connection, times)) = self.pop_idle() {
            if times.used.elapsed() < TRUSTED_FOR || connection.ping().await.is_ok() {
                return Ok((connection, times.made));
            }
        }
        let made = Instant::now();
        Ok((self.shared.options.connect().await?, made))
    }

    fn pop_idle(&self) -> Option<(PgConnection, Times)> {
        let mut idle = self.idle();
        let distrusted = idle.distrusted;
        idle.connections
            .retain(|(_, times)| times.made >= distrusted && times.used.elapsed() < LONGEST_IDLE);
        idle.connections.pop()
    }

    fn push_idle(&self, connection: PgConnection, made: Instant) {
        let mut idle = self.idle();
        if made >= idle.distrusted && made.elapsed() < LONGEST_LIFE {
            idle.connections.push((connection, Times { made, used: Instant::now() }));
        }
    }

    fn distrust_idle(&self) {
        self.idle().distrusted = Instant::now();
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // Whole at every moment: nothing between its changes can panic.
        self.shared.idle.lock()
    }
}

/// A connection in use. Dropped before [`Self::end`] it is closed, and with it whatever it was in
/// the middle of.
#[derive(Debug)]
pub(crate) struct Session {
    pool: PostgresPool,
    connection: PgConnection,
    made: Instant,
    in_transaction: bool,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Commits what went well and undoes what did not; gives the connection back unless it may be
    /// broken.
    pub(crate) async fn end<T>(mut self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        let ending = match &outcome {
            Err(StoreError::Unavailable(_) | StoreError::Corrupt(_)) => {
                self.pool.distrust_idle();
                return outcome;
            }
            Ok(_) => "COMMIT",
            Err(StoreError::NotFound(_) | StoreError::Exists(_) | StoreError::Incomplete(_)) => {
                "ROLLBACK"
            }
        };
        if self.in_transaction {
            let ended = self.connection.execute(ending).await;
            ended.inspect_err(|_| self.pool.distrust_idle())?;
        }
        self.pool.push_idle(self.connection, self.made);
        outcome
    }
}

/// A future that does `$work` in one transaction of `$pool`, commits it if that is `Ok`, and undoes it
/// if not. `$connection` is the `&mut PgConnection` it works on.
macro_rules! transaction {
    ($pool:expr, |$connection:ident| $work:expr) => {
        $crate::daemon::engines::backends::postgres::statement!(@ begin, $pool, |$connection| $work)
    };
}
pub(crate) use transaction;

/// The same for work that needs no transaction: one statement, or several that only read.
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
