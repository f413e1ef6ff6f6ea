//! Named tasks that are restarted when they fail.
//!
//! In: futures and a cancellation token. Out: running tasks; a reason, if an essential task failed.
//! Always holds: a task that panics or returns an error is logged and started again after a pause
//! that grows from 100 ms to 5 s. Every task ends soon after the token is cancelled. Nothing is
//! queued here.

pub mod breaker;

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, error, info_span, warn};

use crate::net::backoff::BackoffBounds;

/// The pauses between a failure and the restart.
const RESTART_PAUSES: BackoffBounds =
    BackoffBounds { first: Duration::from_millis(100), longest: Duration::from_secs(5) };
/// A task that ran this long has recovered: the pause after its next failure is the first one
/// again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// Says how a task ended that returned nothing. The text of the error itself has the message of the
/// panic, which may quote a comment.
pub fn early_end(error: &JoinError) -> &'static str {
    if error.is_panic() { "panicked" } else { "was cancelled" }
}

/// Starts tasks and waits for their end.
#[derive(Debug, Clone)]
pub struct Supervisor {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Supervisor {
    /// Returns a supervisor whose tasks end when `stop` is cancelled.
    pub fn new(stop: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), stop }
    }

    pub fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs the task that `make` returns until it returns `Ok` or the token is cancelled. After a
    /// panic or an `Err` it is made again. The task must watch the token itself and finish when
    /// cancelled.
    pub fn spawn<F, Fut>(&self, name: &'static str, mut make: F)
    where
        F: FnMut(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = self.stop.clone();
        let span = info_span!("task", name);
        let supervised = async move {
            let mut backoff = RESTART_PAUSES.start();
            loop {
                let started = Instant::now();
                match tokio::spawn(make(stop.clone()).in_current_span()).await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => warn!(error = format!("{error:#}"), "task failed"),
                    Err(error) => error!("task {}", early_end(&error)),
                }
                if stop.is_cancelled() {
                    return;
                }
                if started.elapsed() >= HEALTHY_AFTER {
                    backoff.reset();
                }
                tokio::select! {
                    () = tokio::time::sleep(backoff.next_pause()) => {}
                    () = stop.cancelled() => return,
                }
            }
        };
        self.tracker.spawn(supervised.instrument(span));
    }

    /// Runs a task that cannot be restarted, because it owns the receiving end of a channel. If it
    /// panics or fails, `on_failure` is called with the reason: the daemon cannot run without it.
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
                Err(error) => format!("{name} {}", early_end(&error)),
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

    #[tokio::test]
    async fn a_panic_is_told_without_its_message() {
        let supervisor = Supervisor::new(CancellationToken::new());
        let (tell, told) = tokio::sync::oneshot::channel();
        let comment = "what somebody wrote";
        let task = async move {
            assert!(comment.is_empty(), "cannot cut `{comment}`");
            Ok(())
        };
        supervisor.spawn_essential("cutter", task, |reason| tell.send(reason).unwrap());
        assert_eq!(told.await.unwrap(), "cutter panicked");
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
