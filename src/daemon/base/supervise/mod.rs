//! Tasks with names, and what happens when one ends that should not.
//!
//! In: futures and a cancellation token. Out: running tasks; a fatal reason, if one of them failed
//! for good. Always holds: a task that panics or returns an error is started again after a pause
//! that grows (100 ms to 5 s), its failures counted and logged; every task ends soon after the
//! token is cancelled. Nothing queues here.

pub mod breaker;

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, error, info_span, warn};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A task that ran this long has recovered: its next failure pauses briefly again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// Starts tasks and knows when all have ended.
#[derive(Debug, Clone)]
pub struct Supervisor {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Supervisor {
    /// `stop` ends every task started here.
    pub fn new(stop: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), stop }
    }

    pub fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs a task until it returns `Ok` or the token is cancelled; a panic or an `Err` starts it
    /// anew from `make`. The future must itself watch the token and finish its work when cancelled.
    pub fn spawn<F, Fut>(&self, name: &'static str, mut make: F)
    where
        F: FnMut(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = self.stop.clone();
        let span = info_span!("task", name);
        let supervised = async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let started = Instant::now();
                match tokio::spawn(make(stop.clone()).in_current_span()).await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => warn!(error = format!("{error:#}"), "task failed"),
                    Err(panic) => error!(%panic, "task panicked"),
                }
                if stop.is_cancelled() {
                    return;
                }
                if started.elapsed() >= HEALTHY_AFTER {
                    pause = FIRST_PAUSE;
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => return,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        self.tracker.spawn(supervised.instrument(span));
    }

    /// Runs a task that cannot be made anew, because it owns the receiving end of a channel. If it
    /// panics or fails, `on_failure` is told: without it the daemon cannot go on.
    pub fn spawn_essential<Fut>(
        &self,
        name: &'static str,
        task: Fut,
        on_failure: impl FnOnce(String) + Send + 'static,
    ) where
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let span = info_span!("task", name);
        let supervised = async move {
            let failure = match tokio::spawn(task.in_current_span()).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("{name} failed: {error:#}"),
                Err(panic) => format!("{name} panicked: {panic}"),
            };
            error!(failure, "essential task ended");
            on_failure(failure);
        };
        self.tracker.spawn(supervised.instrument(span));
    }

    /// Waits until every task has ended; cancel the token first.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again() {
        let stop = CancellationToken::new();
        let supervisor = Supervisor::new(stop.clone());
        let runs = Arc::new(AtomicU32::new(0));
        let counter = runs.clone();
        supervisor.spawn("flaky", move |_| {
            let run = counter.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(run >= 2, "not yet");
                Ok(())
            }
        });
        supervisor.finished().await;
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn cancelling_ends_the_pause_between_failures() {
        let stop = CancellationToken::new();
        let supervisor = Supervisor::new(stop.clone());
        supervisor.spawn("broken", |_| async { anyhow::bail!("always") });
        tokio::time::sleep(Duration::from_secs(60)).await;
        stop.cancel();
        supervisor.finished().await;
    }
}
