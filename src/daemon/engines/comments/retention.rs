//! How long comments are kept, and the task that lets them go.

use std::future::Future;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument as _, info_span, warn};

use crate::daemon::base::clock::SharedClock;
use crate::daemon::engines::StoreError;

/// Between two rounds of letting go, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// `store.retention`, against the clock.
#[derive(Debug, Clone)]
pub struct Retention {
    keep: Duration,
    clock: SharedClock,
}

impl Retention {
    /// Zero keeps comments for good.
    pub fn new(keep: Duration, clock: SharedClock) -> Self {
        Self { keep, clock }
    }

    /// Comments made before this moment (milliseconds since the Unix epoch) may go; `None`: none.
    pub fn horizon_ms(&self) -> Option<u64> {
        let keep_ms = u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX);
        (keep_ms > 0).then(|| self.now_ms().saturating_sub(keep_ms))
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Between two rounds: short beside the retention itself.
    fn pause(&self) -> Duration {
        match self.keep / 10 {
            Duration::ZERO => LONGEST_PAUSE,
            tenth => tenth.clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
        }
    }
}

/// A task that does a round of an engine's upkeep now and then. Dropping this ends it, a round that
/// is under way included.
#[derive(Debug)]
pub(super) struct Upkeep {
    _stop: DropGuard,
}

impl Upkeep {
    /// The first round begins at once. One that fails is logged and made up for by the next.
    pub(super) fn start<F, Fut>(retention: &Retention, mut round: F) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let mut rounds = interval(retention.pause());
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = stop.clone();
        let task = async move {
            loop {
                rounds.tick().await;
                if let Err(error) = round().await {
                    warn!(%error, "the comment store's upkeep failed; it will be tried again");
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
    async fn zero_keeps_for_good_and_anything_else_up_to_then() {
        assert_eq!(keeping(Duration::ZERO).horizon_ms(), None);
        assert_eq!(keeping(Duration::from_secs(10)).horizon_ms(), Some(990_000));
        assert_eq!(keeping(Duration::from_secs(9999)).horizon_ms(), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_go_on_after_a_failure_and_end_with_the_engine() {
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
