//! A circuit breaker in front of one dependency. After repeated failures it refuses calls at once,
//! so that callers do not wait, and lets a trial call through from time to time.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::protocol::admin::{BreakerState, BreakerStatus};

/// Consecutive failures that open a breaker.
const FAILURES_TO_OPEN: u32 = 3;
/// The time between two trial calls while a breaker is open.
pub const TRIAL_INTERVAL: Duration = Duration::from_secs(5);

/// The breaker of one dependency. Closed: calls pass. Open: calls are refused. Half-open: one trial
/// call is in progress.
#[derive(Debug)]
pub struct Breaker {
    dependency: &'static str,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: BreakerState,
    failures: u32,
    since: Instant,
    next_trial: Instant,
    last_error: Option<String>,
}

impl Breaker {
    pub fn new(dependency: &'static str) -> Self {
        let now = Instant::now();
        let inner = Inner {
            state: BreakerState::Closed,
            failures: 0,
            since: now,
            next_trial: now,
            last_error: None,
        };
        Self { dependency, inner: Mutex::new(inner) }
    }

    /// Returns whether a call may be made now. While open, one call per [`TRIAL_INTERVAL`] may be
    /// made; its caller must report the outcome.
    pub fn permits(&self) -> bool {
        let mut inner = self.lock();
        match inner.state {
            BreakerState::Closed => true,
            BreakerState::Open | BreakerState::HalfOpen => {
                let now = Instant::now();
                let due = now >= inner.next_trial;
                if due {
                    inner.next_trial = now + TRIAL_INTERVAL;
                    inner.enter(BreakerState::HalfOpen);
                }
                due
            }
        }
    }

    /// Records a successful call and closes the breaker.
    pub fn succeeded(&self) {
        let mut inner = self.lock();
        inner.failures = 0;
        if inner.state != BreakerState::Closed {
            info!(dependency = self.dependency, "circuit breaker closed");
            inner.enter(BreakerState::Closed);
            inner.last_error = None;
        }
    }

    /// Records a failed call, and opens the breaker if it was one too many or a trial.
    pub fn failed(&self, error: &dyn std::fmt::Display) {
        let mut inner = self.lock();
        inner.failures = inner.failures.saturating_add(1);
        inner.last_error = Some(error.to_string());
        let opens = inner.failures >= FAILURES_TO_OPEN || inner.state == BreakerState::HalfOpen;
        if opens && inner.state != BreakerState::Open {
            warn!(dependency = self.dependency, %error, "circuit breaker open");
            inner.enter(BreakerState::Open);
            inner.next_trial = Instant::now() + TRIAL_INTERVAL;
        }
    }

    /// Opens the breaker at once, for callers that know by other means that the dependency is down.
    pub fn open(&self, error: &dyn std::fmt::Display) {
        let mut inner = self.lock();
        inner.last_error = Some(error.to_string());
        if inner.state != BreakerState::Open {
            warn!(dependency = self.dependency, %error, "circuit breaker open");
            inner.enter(BreakerState::Open);
            inner.next_trial = Instant::now() + TRIAL_INTERVAL;
        }
    }

    /// Records the outcome of a call and returns it.
    pub fn observe<T, E: std::fmt::Display>(&self, result: Result<T, E>) -> Result<T, E> {
        match &result {
            Ok(_) => self.succeeded(),
            Err(error) => self.failed(error),
        }
        result
    }

    /// Returns the time until the next trial, for `retry_after_ms`, or zero while closed.
    pub fn retry_after(&self) -> Duration {
        let inner = self.lock();
        match inner.state {
            BreakerState::Closed => Duration::ZERO,
            _ => inner.next_trial.saturating_duration_since(Instant::now()),
        }
    }

    pub fn state(&self) -> BreakerState {
        self.lock().state
    }

    pub fn status(&self) -> BreakerStatus {
        let inner = self.lock();
        BreakerStatus {
            dependency: self.dependency.to_owned(),
            state: inner.state,
            last_error: inner.last_error.clone(),
            since_ms: inner.since.elapsed().as_millis() as u64,
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn enter(&mut self, state: BreakerState) {
        self.state = state;
        self.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_open_it_and_a_successful_trial_closes_it() {
        let breaker = Breaker::new("store");
        for _ in 0..FAILURES_TO_OPEN {
            assert!(breaker.permits());
            breaker.failed(&"down");
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(!breaker.permits());
        tokio::time::advance(TRIAL_INTERVAL).await;
        assert!(breaker.permits(), "one call is let through");
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(!breaker.permits(), "and only one");
        breaker.failed(&"still down");
        assert_eq!(breaker.state(), BreakerState::Open);
        tokio::time::advance(TRIAL_INTERVAL).await;
        assert!(breaker.permits());
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.status().last_error, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_without_outcome_is_followed_by_another() {
        let breaker = Breaker::new("store");
        (0..FAILURES_TO_OPEN).for_each(|_| breaker.failed(&"down"));
        tokio::time::advance(TRIAL_INTERVAL).await;
        assert!(breaker.permits());
        tokio::time::advance(TRIAL_INTERVAL).await;
        assert!(breaker.permits(), "another trial after the interval");
    }
}
