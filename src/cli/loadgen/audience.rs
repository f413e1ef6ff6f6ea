//! The viewers of a run.
//!
//! In: how many, where, how fast to connect. Out: what each receives, into the ledger. Always holds: a
//! viewer that is cut off comes back with its position where the close code allows it, and its account
//! goes on. When full: a viewer whose payloads are not entered fast enough reads later, and the report
//! says that the generator was the bottleneck.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ledger::{LedgerHandle, Presence, Received, histogram};
use super::submissions::ByKind;
use crate::client::viewer::{
    ConnectError, Reconnect, ViewerConnection, ViewerError, ViewerOptions,
};

/// Small enough that a server soon feels that nobody reads.
const SLOW_WINDOW_BYTES: usize = 4096;

/// Who watches.
#[derive(Debug)]
pub(crate) struct AudiencePlan {
    /// One for each viewer.
    pub viewers: Vec<ViewerOptions>,
    /// How many in a hundred never read.
    pub slow_percent: f64,
    /// Connections a second.
    pub connect_rate: f64,
}

impl AudiencePlan {
    /// Spreads slow viewers evenly among the others.
    fn is_slow(&self, viewer: usize) -> bool {
        let slow_among = |viewers: usize| (viewers as f64 * self.slow_percent / 100.0) as u64;
        slow_among(viewer + 1) > slow_among(viewer)
    }
}

/// What happened to connections, as it happens.
#[derive(Debug, Default)]
pub(crate) struct AudienceLog {
    pub connected: AtomicU64,
    pub reconnects: AtomicU64,
    /// Viewers that are gone for good.
    pub disconnected: AtomicU64,
    closed: Mutex<ByKind>,
}

impl AudienceLog {
    pub(crate) fn closed(&self) -> ByKind {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count_close(&self, error: &ViewerError) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        *closed.entry(error.kind()).or_default() += 1;
    }
}

/// Viewers that are connected, each read by a task of its own. Dropping it disconnects them.
#[derive(Debug)]
pub(crate) struct Audience {
    pub slow: u64,
    /// From the time a viewer was to connect to its welcome.
    pub connect: Histogram<u64>,
    pub failed: ByKind,
    pub first_failure: Option<ConnectError>,
    _tasks: JoinSet<()>,
}

/// One viewer.
struct Seat {
    viewer: usize,
    options: ViewerOptions,
    slow: bool,
    ledger: Arc<LedgerHandle>,
    log: Arc<AudienceLog>,
}

impl Audience {
    /// Connects all viewers at the planned rate, and returns when each has its welcome or failed.
    pub(crate) async fn gather(
        plan: &AudiencePlan,
        ledger: &Arc<LedgerHandle>,
        log: &Arc<AudienceLog>,
        stop: &CancellationToken,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        // One result a viewer; a full channel makes viewers wait with their first read.
        let (results, mut arriving) = mpsc::channel(256);
        for (viewer, options) in plan.viewers.iter().enumerate() {
            let due = start + Duration::from_secs_f64(viewer as f64 / plan.connect_rate);
            let slow = plan.is_slow(viewer);
            let (ledger, log) = (ledger.clone(), log.clone());
            let seat = Seat { viewer, options: options.clone(), slow, ledger, log };
            tasks.spawn(seat.occupy(due, results.clone()));
        }
        drop(results);
        let mut audience = Self {
            slow: (0..plan.viewers.len()).filter(|viewer| plan.is_slow(*viewer)).count() as u64,
            connect: histogram(),
            failed: ByKind::new(),
            first_failure: None,
            _tasks: tasks,
        };
        while let Some(result) = tokio::select! {
            result = arriving.recv() => result,
            () = stop.cancelled() => None,
        } {
            audience.count(result);
        }
        audience
    }

    fn count(&mut self, result: Result<Duration, ConnectError>) {
        match result {
            Ok(waited) => self.connect.saturating_record(waited.as_micros() as u64),
            Err(error) => {
                *self.failed.entry(error.kind()).or_default() += 1;
                self.first_failure.get_or_insert(error);
            }
        }
    }
}

impl Seat {
    async fn occupy(mut self, due: Instant, results: mpsc::Sender<Result<Duration, ConnectError>>) {
        sleep_until(due).await;
        if self.slow {
            self.options.receive_window_bytes = Some(SLOW_WINDOW_BYTES);
        }
        let connection = match self.join().await {
            Ok(connection) => connection,
            Err(error) => {
                // The receiver is gone only when the run is over.
                let _ = results.send(Err(error)).await;
                return;
            }
        };
        self.log.connected.fetch_add(1, Relaxed);
        let _ = results.send(Ok(due.elapsed())).await;
        drop(results);
        if self.slow {
            // Holds the connection, and never reads from it.
            std::future::pending::<()>().await;
        }
        self.watch(connection).await;
    }

    async fn join(&self) -> Result<ViewerConnection, ConnectError> {
        let (connection, welcome) = ViewerConnection::join(&self.options).await?;
        if !self.slow {
            let at = self.ledger.micros(Instant::now());
            self.ledger.lock().joined(self.viewer, &welcome, at);
        }
        Ok(connection)
    }

    /// Reads until the server will not have the viewer back.
    async fn watch(&mut self, mut connection: ViewerConnection) {
        let mut reconnect = Reconnect::default();
        loop {
            let error = self.read(&mut connection, &mut reconnect).await;
            drop(connection);
            self.log.count_close(&error);
            let Some(wait) = reconnect.after_end(&error) else { break };
            self.ledger.lock().left(self.viewer, Presence::Returning);
            match self.come_back(&mut reconnect, wait).await {
                Some(again) => connection = again,
                None => break,
            }
            self.log.reconnects.fetch_add(1, Relaxed);
        }
        self.ledger.lock().left(self.viewer, Presence::Gone);
        self.log.disconnected.fetch_add(1, Relaxed);
    }

    async fn read(
        &self,
        connection: &mut ViewerConnection,
        reconnect: &mut Reconnect,
    ) -> ViewerError {
        let encoding = self.options.encoding;
        loop {
            let payload = match connection.next_payload().await {
                Ok(payload) => payload,
                Err(error) => return error,
            };
            match self.ledger.receive(self.viewer, encoding, &payload, Instant::now()) {
                Received::Bye(wait_ms) => reconnect.bye(wait_ms),
                // Counted by the ledger; the connection itself is sound.
                Received::Entered | Received::Malformed(_) => {}
            }
        }
    }

    async fn come_back(
        &mut self,
        reconnect: &mut Reconnect,
        mut wait: Duration,
    ) -> Option<ViewerConnection> {
        loop {
            tokio::time::sleep(wait).await;
            self.options.resume = self.ledger.lock().position(self.viewer);
            match self.join().await {
                Ok(connection) => {
                    reconnect.succeeded();
                    return Some(connection);
                }
                Err(error) => wait = reconnect.after_failure(&error)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_viewers_are_spread_among_the_others() {
        let slow = |slow_percent: f64| {
            let plan = AudiencePlan { viewers: Vec::new(), slow_percent, connect_rate: 1.0 };
            (0..1000).filter(|viewer| plan.is_slow(*viewer)).collect::<Vec<_>>()
        };
        assert_eq!(slow(1.0).len(), 10);
        assert_eq!(slow(0.0).len(), 0);
        assert_eq!(slow(100.0).len(), 1000);
        assert_eq!(slow(0.25), [399, 799]);
    }
}
