//! The wall clock, injected wherever a time is written down, so that tests can own it.
//!
//! Intervals and deadlines use `tokio::time::Instant` (in tasks) or `std::time::Instant` (in the
//! delivery workers) instead: they must not jump when the wall clock does.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, from a source that tests can replace.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Since the Unix epoch.
    fn now(&self) -> Duration;

    fn now_ms(&self) -> u64 {
        self.now().as_millis() as u64
    }
}

pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        // A clock before 1970 is a broken machine; time 0 keeps it running.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A clock that follows tokio's, and so stands still and jumps with it in paused tests.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    started: tokio::time::Instant,
    epoch: Duration,
}

impl TokioClock {
    /// Starts at `epoch` after 1970.
    pub fn starting_at(epoch: Duration) -> Self {
        Self { started: tokio::time::Instant::now(), epoch }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.epoch + self.started.elapsed()
    }
}
