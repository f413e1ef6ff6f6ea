//! Whether the cluster can be reached, so that an append is refused at once instead of after its
//! timeout.
//!
//! A client that loses its last connection, or an append that is not acknowledged, raises a
//! suspicion. A thread then probes the cluster. Appends and reads are refused from the first probe
//! that fails to the first that succeeds. Without a suspicion the thread sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::{info, warn};

use crate::daemon::engines::eventlog::LogError;

/// A cluster that does not answer a probe within this time counts as unreachable.
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
                while health.wait_for_suspicion() {
                    health.probe_until_reachable(&probe);
                }
            })
            .map(drop)
            .map_err(|error| LogError::Unavailable(format!("starting a thread: {error}")))
    }

    /// Fails while the cluster is known to be unreachable.
    pub(super) fn check(&self) -> Result<(), LogError> {
        if !self.down.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(LogError::Unavailable(self.state.lock().reason.clone()))
    }

    /// Makes the thread probe the cluster.
    pub(super) fn suspect(&self, reason: &str) {
        let mut state = self.state.lock();
        if !state.suspected {
            state.suspected = true;
            reason.clone_into(&mut state.reason);
            self.changed.notify_all();
        }
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Waits for a suspicion; false once stopped.
    fn wait_for_suspicion(&self) -> bool {
        let mut state = self.state.lock();
        while !state.suspected && !state.stopped {
            self.changed.wait(&mut state);
        }
        !state.stopped
    }

    fn probe_until_reachable(&self, probe: &impl Fn() -> Result<(), LogError>) {
        while !self.state.lock().stopped {
            match probe() {
                Ok(()) => {
                    self.state.lock().suspected = false;
                    if self.down.swap(false, Ordering::AcqRel) {
                        info!("Kafka is reachable again");
                    }
                    return;
                }
                Err(error) => {
                    self.state.lock().reason = match error {
                        LogError::Unavailable(reason) => reason,
                        other => other.to_string(),
                    };
                    if !self.down.swap(true, Ordering::AcqRel) {
                        warn!(reason = self.state.lock().reason, "Kafka is unreachable");
                    }
                }
            }
            std::thread::sleep(PROBE_PAUSE);
        }
    }
}
