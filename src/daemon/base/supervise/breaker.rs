//! A circuit breaker in front of one dependency. After repeated failures it refuses calls at once,
//! so that callers do not wait, and lets a trial call through from time to time.
//!
//! A path with two directions, such as publishing and listening, has one breaker with a
//! [`BreakerHalf`] per direction. Each half opens it, and it closes only when all of them work.

use std::collections::BTreeMap;
use std::sync::Arc;
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
/// call is in progress. A half that fails makes it open for operators, and refuses no call.
#[derive(Debug)]
pub struct Breaker {
    dependency: &'static str,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The state of the calls, without the halves.
    calls: BreakerState,
    failures: u32,
    next_trial: Instant,
    /// The time at which the last call failed or the last trial began.
    last_trouble: Option<Instant>,
    last_error: Option<String>,
    /// The halves that fail, with their reasons.
    failing_halves: BTreeMap<String, String>,
    /// The time at which it was made, or closed.
    closed_since: Instant,
    /// The time of the first failure since everything worked. Trials and other errors do not
    /// change it.
    failing_since: Option<Instant>,
}

impl Breaker {
    pub fn new(dependency: &'static str) -> Self {
        let now = Instant::now();
        let inner = Inner {
            calls: BreakerState::Closed,
            failures: 0,
            next_trial: now,
            last_trouble: None,
            last_error: None,
            failing_halves: BTreeMap::new(),
            closed_since: now,
            failing_since: None,
        };
        Self { dependency, inner: Mutex::new(inner) }
    }

    pub fn dependency(&self) -> &'static str {
        self.dependency
    }

    /// Returns the half of this name, which works until it fails.
    pub fn half(self: &Arc<Self>, name: impl Into<String>) -> BreakerHalf {
        BreakerHalf { breaker: self.clone(), name: name.into() }
    }

    /// Returns whether a call may be made now. While open, one call per [`TRIAL_INTERVAL`] may be
    /// made; its caller must report the outcome.
    pub fn permits(&self) -> bool {
        let mut inner = self.lock();
        match inner.calls {
            BreakerState::Closed => true,
            BreakerState::Open | BreakerState::HalfOpen => {
                let now = Instant::now();
                let due = now >= inner.next_trial;
                if due {
                    inner.next_trial = now + TRIAL_INTERVAL;
                    inner.last_trouble = Some(now);
                    inner.calls = BreakerState::HalfOpen;
                }
                due
            }
        }
    }

    /// Records a successful call. Closes the breaker unless a half fails.
    pub fn succeeded(&self) {
        self.change(|inner| {
            inner.failures = 0;
            inner.calls = BreakerState::Closed;
            inner.last_error = None;
        });
    }

    /// Records a failed call, and opens the breaker if it was one too many or a trial.
    pub fn failed(&self, error: &dyn std::fmt::Display) {
        self.change(|inner| {
            inner.record_failure(error);
            if inner.failures >= FAILURES_TO_OPEN || inner.calls == BreakerState::HalfOpen {
                inner.open();
            }
        });
    }

    /// Opens the breaker at once, for callers that know by other means that the dependency is down.
    pub fn open(&self, error: &dyn std::fmt::Display) {
        self.change(|inner| {
            inner.record_failure(error);
            inner.open();
        });
    }

    /// Returns whether no call has failed and no trial has begun for this long.
    pub fn is_quiet(&self, since: Duration) -> bool {
        self.lock().last_trouble.is_none_or(|at| at.elapsed() >= since)
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
        match inner.calls {
            BreakerState::Closed => Duration::ZERO,
            _ => inner.next_trial.saturating_duration_since(Instant::now()),
        }
    }

    /// Returns the state that operators see: open while a half fails.
    pub fn state(&self) -> BreakerState {
        self.lock().shown()
    }

    pub fn status(&self) -> BreakerStatus {
        let inner = self.lock();
        let since = match inner.shown() {
            BreakerState::Closed => inner.closed_since,
            _ => inner.failing_since.unwrap_or(inner.closed_since),
        };
        BreakerStatus {
            dependency: self.dependency.to_owned(),
            state: inner.shown(),
            last_error: inner.error(),
            since_ms: since.elapsed().as_millis() as u64,
        }
    }

    /// Changes the state, logs if it opened or closed, and keeps the time of the outage.
    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        let before = inner.shown();
        change(&mut inner);
        let now = Instant::now();
        if inner.failures > 0 || !inner.failing_halves.is_empty() {
            inner.failing_since.get_or_insert(now);
        } else {
            inner.failing_since = None;
        }
        let after = inner.shown();
        let error = inner.error();
        if after == BreakerState::Closed && before != BreakerState::Closed {
            inner.closed_since = now;
        }
        drop(inner);
        let dependency = self.dependency;
        match (before, after) {
            (BreakerState::Closed, BreakerState::Open) => {
                warn!(dependency, error = error.unwrap_or_default(), "circuit breaker open");
            }
            (BreakerState::Open | BreakerState::HalfOpen, BreakerState::Closed) => {
                info!(dependency, "circuit breaker closed");
            }
            _ => {}
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn record_failure(&mut self, error: &dyn std::fmt::Display) {
        self.failures = self.failures.saturating_add(1);
        self.last_trouble = Some(Instant::now());
        self.last_error = Some(error.to_string());
    }

    fn open(&mut self) {
        if self.calls != BreakerState::Open {
            self.calls = BreakerState::Open;
            self.next_trial = Instant::now() + TRIAL_INTERVAL;
        }
    }

    fn shown(&self) -> BreakerState {
        match self.calls {
            BreakerState::Closed if !self.failing_halves.is_empty() => BreakerState::Open,
            calls => calls,
        }
    }

    /// Returns the error of the calls and those of the halves, each once.
    fn error(&self) -> Option<String> {
        let mut errors: Vec<&str> = self.last_error.as_deref().into_iter().collect();
        for error in self.failing_halves.values() {
            if !errors.contains(&error.as_str()) {
                errors.push(error);
            }
        }
        (!errors.is_empty()).then(|| errors.join("; "))
    }
}

/// One direction of a path, or one way of using a dependency. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BreakerHalf {
    breaker: Arc<Breaker>,
    name: String,
}

impl BreakerHalf {
    /// Opens the breaker, or replaces the reason of this half.
    pub fn failed(&self, error: &dyn std::fmt::Display) {
        self.breaker.change(|inner| {
            inner.failing_halves.insert(self.name.clone(), error.to_string());
        });
    }

    /// Closes the breaker, unless the calls or another half fail.
    pub fn succeeded(&self) {
        self.breaker.change(|inner| {
            inner.failing_halves.remove(&self.name);
        });
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

    #[tokio::test(start_paused = true)]
    async fn either_half_opens_and_only_both_close() {
        let breaker = Arc::new(Breaker::new("bus"));
        let publish = breaker.half("publish");
        let listen = breaker.half("listen");
        listen.failed(&"may not subscribe");
        publish.succeeded();
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.permits(), "a half refuses no call");
        publish.failed(&"may not publish");
        let error = breaker.status().last_error.unwrap();
        assert_eq!(error, "may not subscribe; may not publish");
        listen.succeeded();
        assert_eq!(breaker.state(), BreakerState::Open);
        publish.succeeded();
        assert_eq!((breaker.state(), breaker.status().last_error), (BreakerState::Closed, None));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_lasts_since_its_first_failure() {
        let breaker = Arc::new(Breaker::new("store"));
        tokio::time::advance(Duration::from_secs(60)).await;
        for second in 0..30 {
            if breaker.permits() {
                breaker.failed(&format!("error {second}"));
            }
            breaker.half("reads").failed(&format!("other error {second}"));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(breaker.status().since_ms, 30_000, "over trials and changed errors");
        breaker.half("reads").succeeded();
        breaker.succeeded();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(breaker.status().since_ms, 2_000, "since it closed");
        breaker.failed(&"once");
        breaker.succeeded();
        assert_eq!(breaker.status().since_ms, 2_000, "a single failure opens nothing");
    }
}
