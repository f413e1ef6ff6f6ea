//! Tells tails of the throttle's changes. All tails of a node share one look at the cluster, so
//! that many of them cost the registry no more than one.

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use tokio::time::Interval;

use super::{AdminParts, AdminState};
use crate::daemon::base::shared_reading::SharedReading;
use crate::daemon::base::ticker::ticker_from_now;
use crate::protocol::StreamId;
use crate::protocol::admin::TailItem;
use crate::protocol::throttle::SampleRate;

/// Interval at which a tail looks at the throttle.
const INTERVAL: Duration = Duration::from_millis(500);
/// A look that is younger is shared. Shorter than the interval, so that a single tail, whose ticks
/// are not exact, takes a new look at each.
const SHARED_FOR: Duration = Duration::from_millis(400);

/// The share of a stream's comments that the throttle shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ShownShare {
    sample_rate: SampleRate,
    fixed: bool,
}

type Shares = AHashMap<StreamId, ShownShare>;

/// The latest look at the throttle of all streams.
#[derive(Debug, Default)]
pub(super) struct SharedThrottle(SharedReading<Shares>);

impl SharedThrottle {
    async fn shares(&self, parts: &AdminParts) -> Arc<Shares> {
        let look = async {
            let rates = parts.cluster().await.rates();
            let shares = rates.into_iter().map(|(stream_id, stream)| {
                let fixed = stream.throttle_override.is_some();
                (stream_id, ShownShare { sample_rate: stream.sample_rate, fixed })
            });
            shares.collect()
        };
        self.latest(look).await
    }

    async fn latest(&self, look: impl Future<Output = Shares>) -> Arc<Shares> {
        self.0.latest(SHARED_FOR, |_| true, look).await
    }
}

/// Watches the throttle of one stream for one tail.
#[derive(Debug)]
pub(super) struct ThrottleWatch {
    stream_id: StreamId,
    ticks: Interval,
    /// The share that the reader was told.
    shown: ShownShare,
}

impl ThrottleWatch {
    /// Starts with all comments shown, which readers are not told.
    pub(super) fn new(stream_id: StreamId) -> Self {
        let shown = ShownShare { sample_rate: SampleRate::ALL, fixed: false };
        Self { stream_id, ticks: ticker_from_now(INTERVAL), shown }
    }

    /// Waits for a change.
    pub(super) async fn next(&mut self, state: &AdminState) -> TailItem {
        loop {
            self.ticks.tick().await;
            let shares = state.throttle.shares(&state.parts).await;
            // No node has read a comment of the stream yet, or none can be asked.
            let Some(shown) = shares.get(&self.stream_id).copied() else { continue };
            if shown != self.shown {
                self.shown = shown;
                let ShownShare { sample_rate, fixed } = shown;
                let timestamp = state.parts.control.parts().clock.now_ms();
                return TailItem::Throttle { sample_rate, fixed, timestamp };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_tails_share_one_look() {
        let throttle = SharedThrottle::default();
        let looks = AtomicU64::new(0);
        let tail = |_| async {
            let mut ticks = ticker_from_now(INTERVAL);
            for _ in 0..10 {
                ticks.tick().await;
                let ask = async {
                    looks.fetch_add(1, Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Shares::new()
                };
                throttle.latest(ask).await;
            }
        };
        join_all((0..50).map(tail)).await;
        assert_eq!(looks.load(Relaxed), 10, "as many as one tail takes");
    }
}
