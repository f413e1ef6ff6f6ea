//! Whether the cluster can be reached, so that an append is refused at once instead of after its
//! timeout.
//!
//! A client that loses its last connection, or an append that was never acknowledged, is a suspicion.
//! A thread then asks the cluster, and while it does not answer, appends and reads are refused; the
//! first answer ends that. Without a suspicion the thread sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing::{info, warn};

use crate::daemon::engines::eventlog::LogError;

/// How long the cluster may take to answer before it counts as away.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_millis(700);
const PROBE_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(super) struct Health {
    down: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    suspected: bool,
    stopped: bool,
    reason: String,
}

impl Health {
    /// Starts the thread; `probe` blocks for at most [`PROBE_TIMEOUT`].
    pub(super) fn watch(
        self: &Arc<Self>,
        probe: impl Fn() -> Result<(), LogError> + Send + 'static,
    ) -> Result<(), LogError> {
        let health = self.clone();
        std::thread::Builder::new()
            .name("kafka-health".to_owned())
            .spawn(move || {
                while health.suspected() {
                    health.settle(&probe);
                }
            })
            .map(drop)
            .map_err(|error| LogError::Unavailable(format!("starting a thread: {error}")))
    }

    /// Refuses while the cluster is known to be away.
    pub(super) fn check(&self) -> Result<(), LogError> {
        if !self.down.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(LogError::Unavailable(self.lock().reason.clone()))
    }

    pub(super) fn suspect(&self, reason: &str) {
        let mut state = self.lock();
        if !state.suspected {
            state.suspected = true;
            reason.clone_into(&mut state.reason);
            self.changed.notify_all();
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Waits for a suspicion; false if there will be none.
    fn suspected(&self) -> bool {
        let mut state = self.lock();
        while !state.suspected && !state.stopped {
            self.changed.wait(&mut state);
        }
        !state.stopped
    }

    fn settle(&self, probe: &impl Fn() -> Result<(), LogError>) {
        while !self.lock().stopped {
            match probe() {
                Ok(()) => {
                    self.lock().suspected = false;
                    if self.down.swap(false, Ordering::AcqRel) {
                        info!("Kafka answers again");
                    }
                    return;
                }
                Err(error) => {
                    self.lock().reason = match error {
                        LogError::Unavailable(reason) => reason,
                        other => other.to_string(),
                    };
                    if !self.down.swap(true, Ordering::AcqRel) {
                        warn!(reason = self.lock().reason, "Kafka does not answer");
                    }
                }
            }
            std::thread::sleep(PROBE_PAUSE);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves `State` whole.
        self.state.lock()
    }
}
