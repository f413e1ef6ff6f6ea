//! A connection that knows whether its node answers: while it does not, calls fail at once.
//!
//! A call that times out, or finds the connection lost, marks the connection down. From then on
//! calls fail at once, and a task probes the node with the pauses of [`PROBE_BACKOFF`]. The first
//! answer marks the connection up. An error returned by the server is an answer.
//!
//! A connection that is watched asks its node by itself: in [`WATCH_INTERVAL`], and as soon as the
//! connection is lost. A node that was killed is marked down when it refuses the next connection,
//! one that hangs after `redis.timeout`. One that is slow, or only closed the connection, answers
//! and is not marked.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::ConnectionManager;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value};
use tokio::sync::Notify;
use tracing::{Instrument as _, info, info_span, warn};

use crate::daemon::engines::StoreError;
use crate::net::backoff::BackoffBounds;

const PROBE_BACKOFF: BackoffBounds =
    BackoffBounds { first: Duration::from_millis(10), longest: Duration::from_millis(250) };
/// Time between two questions to a node that is watched.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// Why a call to a node failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RedisFailure {
    /// The call may or may not have been executed.
    #[error("Redis node {address} of `redis.nodes` does not answer: {reason}")]
    Unavailable { address: Arc<str>, reason: String },
    #[error("Redis node {address} of `redis.nodes` refuses: {reason}")]
    Refused { address: Arc<str>, reason: String },
    #[error("Redis node {address} of `redis.nodes` answers unexpectedly: {reason}")]
    Unexpected { address: Arc<str>, reason: String },
}

impl From<RedisFailure> for StoreError {
    fn from(failure: RedisFailure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}

/// One connection to one node, and whether the node answers on it. Clones share both.
#[derive(Clone)]
pub struct GuardedConnection {
    address: Arc<str>,
    connection: ConnectionManager,
    timeout: Duration,
    state: Arc<State>,
}

/// Is told why a node does not answer, and `None` when it answers again. Must not block.
pub type OutageObserver = Box<dyn Fn(Option<&str>) + Send + Sync>;

/// The reason why the node does not answer, while it does not.
#[derive(Default)]
struct State {
    outage: Mutex<Option<String>>,
    observer: Option<OutageObserver>,
}

impl State {
    fn outage(&self) -> Option<String> {
        self.outage.lock().clone()
    }

    /// Returns the previous outage.
    fn set(&self, outage: Option<String>) -> Option<String> {
        let mut known = self.outage.lock();
        // Under the lock, so that the observer is told last what was set last.
        if let Some(observer) = &self.observer {
            observer(outage.as_deref());
        }
        std::mem::replace(&mut *known, outage)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("outage", &self.outage).finish_non_exhaustive()
    }
}

impl GuardedConnection {
    pub(super) fn new(address: Arc<str>, connection: ConnectionManager, timeout: Duration) -> Self {
        Self { address, connection, timeout, state: Arc::default() }
    }

    /// Watches the node until every clone is dropped. `lost` is notified when the connection is
    /// lost. Must be called inside a tokio runtime.
    pub(super) fn watched(self, lost: Arc<Notify>, observer: OutageObserver) -> Self {
        let state = Arc::new(State { observer: Some(observer), ..State::default() });
        let watched = Self { state, ..self };
        let watch = watch(WatchedParts::of(&watched), lost);
        tokio::spawn(watch.instrument(info_span!("task", name = "redis watch")));
        watched
    }

    pub fn is_up(&self) -> bool {
        self.state.outage().is_none()
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisFailure> {
        self.run(|mut connection| async move { command.query_async(&mut connection).await }).await
    }

    pub async fn query_all<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
    ) -> Result<T, RedisFailure> {
        self.run(|mut connection| async move { pipeline.query_async(&mut connection).await }).await
    }

    /// Runs a call within `redis.timeout`; fails at once while the node is known to be down.
    pub async fn run<T, F>(
        &self,
        call: impl FnOnce(ConnectionManager) -> F,
    ) -> Result<T, RedisFailure>
    where
        T: FromRedisValue,
        F: Future<Output = RedisResult<Value>>,
    {
        if let Some(reason) = self.state.outage() {
            return Err(self.unavailable(reason));
        }
        let reason = match tokio::time::timeout(self.timeout, call(self.connection.clone())).await {
            Ok(Ok(answer)) => return self.convert(answer),
            Ok(Err(error)) if !is_outage(&error) => {
                let address = self.address.clone();
                let reason = error.to_string();
                return Err(RedisFailure::Refused { address, reason });
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:?} (`redis.timeout`)", self.timeout),
        };
        self.mark_down(&reason);
        Err(self.unavailable(reason))
    }

    fn unavailable(&self, reason: String) -> RedisFailure {
        RedisFailure::Unavailable { address: self.address.clone(), reason }
    }

    fn convert<T: FromRedisValue>(&self, answer: Value) -> Result<T, RedisFailure> {
        redis::from_redis_value(answer).map_err(|error| {
            let address = self.address.clone();
            let reason = error.to_string();
            RedisFailure::Unexpected { address, reason }
        })
    }

    fn mark_down(&self, reason: &str) {
        if self.state.set(Some(reason.to_owned())).is_some() {
            return;
        }
        warn!(address = %self.address, reason, "a Redis node does not answer");
        let address = self.address.clone();
        let state = Arc::downgrade(&self.state);
        let probe = probe(state, self.connection.clone(), self.timeout, address);
        tokio::spawn(probe.instrument(info_span!("task", name = "redis probe")));
    }
}

/// Returns whether the error means that there was no answer, rather than an error of the server.
/// Bytes that are no Redis protocol also end the connection.
fn is_outage(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || error.kind() == ErrorKind::Parse
}

/// A watched connection that ends when nobody else holds it.
struct WatchedParts {
    state: Weak<State>,
    address: Arc<str>,
    connection: ConnectionManager,
    timeout: Duration,
}

impl WatchedParts {
    fn of(watched: &GuardedConnection) -> Self {
        let GuardedConnection { address, connection, timeout, state } = watched.clone();
        Self { state: Arc::downgrade(&state), address, connection, timeout }
    }

    fn upgrade(&self) -> Option<GuardedConnection> {
        Some(GuardedConnection {
            state: self.state.upgrade()?,
            address: self.address.clone(),
            connection: self.connection.clone(),
            timeout: self.timeout,
        })
    }
}

/// Asks the node in every interval, and at once when the connection is lost: whether it takes
/// another one says whether it is gone.
async fn watch(parts: WatchedParts, lost: Arc<Notify>) {
    let ping = redis::cmd("PING");
    loop {
        let _ = tokio::time::timeout(WATCH_INTERVAL, lost.notified()).await;
        let Some(watched) = parts.upgrade() else { return };
        // A failure has marked the connection down, and everything else is an answer.
        let _ = watched.query::<Value>(&ping).await;
    }
}

/// Probes until the node answers or every clone of the connection is dropped.
async fn probe(
    state: Weak<State>,
    mut connection: ConnectionManager,
    timeout: Duration,
    address: Arc<str>,
) {
    let mut backoff = PROBE_BACKOFF.start();
    while state.strong_count() > 0 {
        let ping = redis::cmd("PING");
        let call = ping.query_async::<Value>(&mut connection);
        let answered = match tokio::time::timeout(timeout, call).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => !is_outage(&error),
            Err(_) => false,
        };
        if answered {
            if let Some(state) = state.upgrade() {
                state.set(None);
                info!(%address, "the Redis node answers again");
            }
            return;
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}

impl std::fmt::Debug for GuardedConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardedConnection")
            .field("address", &self.address)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use crate::daemon::engines::backends::redis_nodes::RedisNodes;
    use crate::daemon::testing::redis_server::{PATIENCE, RedisServer, SHORT_TIMEOUT, config_of};

    use super::*;

    async fn until_up(connection: &GuardedConnection) {
        let up = async {
            while !connection.is_up() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, up).await.expect("it is probed until it answers");
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn a_hung_node_costs_one_timeout() {
        let server = RedisServer::start().await;
        let nodes = RedisNodes::open(&config_of(&[&server], SHORT_TIMEOUT)).unwrap();
        let connection = nodes.guarded(0);
        let ping = redis::cmd("PING");
        connection.query::<String>(&ping).await.unwrap();
        server.hang();
        let started = Instant::now();
        let error = connection.query::<String>(&ping).await.unwrap_err();
        assert!(matches!(error, RedisFailure::Unavailable { .. }), "{error}");
        assert!(started.elapsed() >= nodes.timeout());
        let started = Instant::now();
        for _ in 0..100 {
            connection.query::<String>(&ping).await.unwrap_err();
        }
        assert!(started.elapsed() < nodes.timeout(), "calls fail at once");
        server.go_on();
        until_up(&connection).await;
        connection.query::<String>(&ping).await.unwrap();
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn a_restarted_node_is_found_again() {
        let mut server = RedisServer::start().await;
        let nodes = RedisNodes::open(&config_of(&[&server], SHORT_TIMEOUT)).unwrap();
        let connection = nodes.guarded(0);
        let ping = redis::cmd("PING");
        connection.query::<String>(&ping).await.unwrap();
        server.kill();
        let error = connection.query::<String>(&ping).await.unwrap_err().to_string();
        assert!(error.contains(connection.address()) && error.contains("redis.nodes"), "{error}");
        server.start_again_empty().await;
        until_up(&connection).await;
        connection.query::<String>(&ping).await.unwrap();
    }

    /// A connection that nobody uses, and the outages that its observer was told.
    struct Watched {
        _connection: GuardedConnection,
        told: Arc<Mutex<Vec<Option<String>>>>,
        timeout: Duration,
    }

    impl Watched {
        async fn on(server: &RedisServer, timeout: Duration) -> Self {
            let nodes = RedisNodes::open(&config_of(&[server], timeout)).unwrap();
            let told = Arc::<Mutex<Vec<_>>>::default();
            let seen = told.clone();
            let observer: OutageObserver =
                Box::new(move |outage| seen.lock().push(outage.map(str::to_owned)));
            let connection = nodes.watched(0, observer).unwrap();
            connection.query::<String>(&redis::cmd("PING")).await.unwrap();
            Self { _connection: connection, told, timeout: nodes.timeout() }
        }

        /// Returns the time until so many changes were told.
        async fn until_told(&self, changes: usize) -> Duration {
            let began = Instant::now();
            while self.told.lock().len() < changes {
                assert!(began.elapsed() < PATIENCE, "{:?}", self.told.lock());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            began.elapsed()
        }
    }

    /// Slack for a busy machine.
    const SLACK: Duration = Duration::from_secs(2);
    /// `redis.timeout` that no answer takes on a busy machine.
    const LONG_TIMEOUT: Duration = Duration::from_secs(4);
    /// The time for which a slow node does not answer: it is asked meanwhile.
    const SLOW: Duration = Duration::from_millis(400);

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn a_watched_node_that_dies_is_told_at_once() {
        let mut server = RedisServer::start().await;
        let watched = Watched::on(&server, LONG_TIMEOUT).await;
        server.kill();
        let took = watched.until_told(1).await;
        assert!(took < SLACK, "`redis.timeout` is not waited for: {took:?}");
        assert!(watched.told.lock()[0].is_some());
        server.start_again_empty().await;
        watched.until_told(2).await;
        assert_eq!(watched.told.lock()[1], None);
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn a_watched_node_that_hangs_is_told() {
        let server = RedisServer::start().await;
        let watched = Watched::on(&server, Duration::from_secs(1)).await;
        server.hang();
        let took = watched.until_told(1).await;
        assert!(took < WATCH_INTERVAL + watched.timeout + SLACK, "{took:?}");
        server.go_on();
        watched.until_told(2).await;
        assert_eq!(watched.told.lock()[1], None);
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn a_slow_node_or_a_closed_connection_is_none() {
        let server = RedisServer::start().await;
        let watched = Watched::on(&server, LONG_TIMEOUT).await;
        for _ in 0..5 {
            server.hang();
            tokio::time::sleep(SLOW).await;
            server.go_on();
            let mut close = redis::cmd("CLIENT");
            server.ask::<u64>(close.arg("KILL").arg("TYPE").arg("normal")).await;
            tokio::time::sleep(SLOW).await;
        }
        tokio::time::sleep(WATCH_INTERVAL + watched.timeout).await;
        assert_eq!(*watched.told.lock(), [], "it answered each time");
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn an_error_reply_is_an_answer() {
        let server = RedisServer::start().await;
        let connection =
            RedisNodes::open(&config_of(&[&server], SHORT_TIMEOUT)).unwrap().guarded(0);
        let error = connection.query::<String>(&redis::cmd("NO-SUCH")).await.unwrap_err();
        assert!(matches!(error, RedisFailure::Refused { .. }), "{error}");
        let error = connection.query::<Vec<u64>>(&redis::cmd("PING")).await.unwrap_err();
        assert!(matches!(error, RedisFailure::Unexpected { .. }), "{error}");
        assert!(connection.is_up());
    }
}
