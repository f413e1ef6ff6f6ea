//! The wall clock, injected wherever a time is stored or sent, so that tests can replace it.
//!
//! Intervals and deadlines use `tokio::time::Instant` (in tasks) or `std::time::Instant` (in the
//! delivery workers) instead, because they must not jump with the wall clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source of wall-clock time.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Returns the time since the Unix epoch.
    fn now(&self) -> Duration;

    /// Returns the time in milliseconds since the Unix epoch.
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
        // A clock before 1970 is wrong. Time 0 keeps the daemon running.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A clock that follows tokio's: in paused tests it stands still and advances with it.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    started: tokio::time::Instant,
    epoch: Duration,
}

impl TokioClock {
    /// Returns a clock that starts at `epoch` after 1970.
    pub fn starting_at(epoch: Duration) -> Self {
        Self { started: tokio::time::Instant::now(), epoch }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.epoch + self.started.elapsed()
    }
}
