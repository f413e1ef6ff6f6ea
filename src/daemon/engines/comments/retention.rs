//! The retention of comments, and the background task that enforces it.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument as _, info_span, warn};

use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::StoreError;

/// Bounds of the pause between two rounds.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// `store.retention` and the clock it is measured by.
#[derive(Debug, Clone)]
pub struct Retention {
    keep: Duration,
    clock: SharedClock,
}

impl Retention {
    /// Creates a retention; zero keeps comments forever.
    pub fn new(keep: Duration, clock: SharedClock) -> Self {
        Self { keep, clock }
    }

    /// Returns the time (milliseconds since the Unix epoch) before which comments are expired;
    /// `None` if they are kept forever.
    pub fn horizon_ms(&self) -> Option<u64> {
        let keep_ms = u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX);
        (keep_ms > 0).then(|| self.now_ms().saturating_sub(keep_ms))
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Returns the pause between two rounds: a tenth of the retention, within bounds.
    fn pause(&self) -> Duration {
        match self.keep / 10 {
            Duration::ZERO => LONGEST_PAUSE,
            tenth => tenth.clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
        }
    }
}

/// A task that runs a round of an engine's upkeep at intervals. Dropping it ends the task,
/// including a running round.
#[derive(Debug)]
pub(super) struct Upkeep {
    _stop: DropGuard,
}

impl Upkeep {
    /// Starts the task; the first round begins at once. A failed round is logged, and the next one
    /// makes up for it.
    pub(super) fn start<F, Fut>(retention: &Retention, mut round: F) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let mut rounds = ticker_from_now(retention.pause());
        let ended = stop.clone();
        let task = async move {
            loop {
                rounds.tick().await;
                if let Err(error) = round().await {
                    warn!(%error, "comment store upkeep failed; retrying later");
                }
            }
        };
        let task = async move {
            let _ = ended.run_until_cancelled(task).await;
        };
        tokio::spawn(task.instrument(info_span!("task", name = "comment store upkeep")));
        Self { _stop: stop.drop_guard() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::daemon::base::clock::TokioClock;

    fn keeping(keep: Duration) -> Retention {
        Retention::new(keep, Arc::new(TokioClock::starting_at(Duration::from_secs(1000))))
    }

    #[tokio::test(start_paused = true)]
    async fn zero_keeps_comments_forever() {
        assert_eq!(keeping(Duration::ZERO).horizon_ms(), None);
        assert_eq!(keeping(Duration::from_secs(10)).horizon_ms(), Some(990_000));
        assert_eq!(keeping(Duration::from_secs(9999)).horizon_ms(), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_continue_after_a_failure() {
        let rounds = Arc::new(AtomicU32::new(0));
        let counter = rounds.clone();
        let upkeep = Upkeep::start(&keeping(Duration::from_secs(100)), move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async { Err(StoreError::Unavailable("down".to_owned())) }
        });
        tokio::time::sleep(Duration::from_secs(35)).await;
        assert_eq!(rounds.load(Ordering::SeqCst), 4, "at once and every tenth of the retention");
        drop(upkeep);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(rounds.load(Ordering::SeqCst), 4);
    }
}
