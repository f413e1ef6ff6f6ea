//! The meter of one store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::recorder::LatencyRecorder;
use crate::protocol::admin::PoolUse;
use crate::protocol::latency::LatencyHistogram;

/// A caller that drops a call sooner than this did not give up because the store is slow: its own
/// client left, or the node stops.
const GIVEN_UP_AFTER: Duration = Duration::from_millis(250);

/// Reads the connections when the node is sampled; `None` if the store is closed.
type ReadPool = Box<dyn Fn() -> Option<PoolUse> + Send>;

/// Counts the calls of this node to the engine behind one contract.
#[derive(Default)]
pub struct StoreMeter {
    failed: AtomicU64,
    /// Of the calls that did not fail.
    latency: LatencyRecorder,
    about: Mutex<StoreAbout>,
    read_pool: Mutex<Option<ReadPool>>,
}

/// The engine of a store and its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreAbout {
    /// The engine, as the configuration names it.
    pub engine: String,
    /// The servers, the file, or `in this process`.
    pub address: String,
}

impl std::fmt::Debug for StoreMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreMeter").field("about", &*self.about.lock()).finish_non_exhaustive()
    }
}

impl StoreMeter {
    /// Begins to measure a call. One that is dropped before [`StoreCall::end`] counts as failed if
    /// its caller has waited for [`GIVEN_UP_AFTER`], and not at all if it has not.
    pub fn begin(self: &Arc<Self>) -> StoreCall {
        StoreCall { meter: self.clone(), began: Instant::now(), has_ended: false }
    }

    pub fn set_about(&self, about: StoreAbout) {
        *self.about.lock() = about;
    }

    /// Reads the connections from a function, once per second.
    pub fn read_pool_with(&self, read: impl Fn() -> Option<PoolUse> + Send + 'static) {
        *self.read_pool.lock() = Some(Box::new(read));
    }

    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Returns the durations of the calls that did not fail.
    pub fn latency(&self) -> LatencyHistogram {
        self.latency.read()
    }

    pub(super) fn about(&self) -> StoreAbout {
        self.about.lock().clone()
    }

    /// Returns the connections, if the store has a bound on them.
    pub fn pool(&self) -> Option<PoolUse> {
        let read = self.read_pool.lock();
        read.as_ref().and_then(|read| read())
    }
}

/// A call that is being measured.
#[derive(Debug)]
pub struct StoreCall {
    meter: Arc<StoreMeter>,
    began: Instant,
    has_ended: bool,
}

impl StoreCall {
    /// Counts the call. `failed` says that the store did not carry it out.
    pub fn end(mut self, failed: bool) {
        self.has_ended = true;
        if failed {
            self.meter.failed.fetch_add(1, Ordering::Relaxed);
        } else {
            self.meter.latency.record(self.began.elapsed(), 1);
        }
    }
}

impl Drop for StoreCall {
    fn drop(&mut self) {
        if !self.has_ended && self.began.elapsed() >= GIVEN_UP_AFTER {
            self.meter.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_end_fail_or_are_given_up() {
        let meter = Arc::new(StoreMeter::default());
        let call = meter.begin();
        tokio::time::advance(Duration::from_millis(20)).await;
        call.end(false);
        meter.begin().end(true);
        let given_up = meter.begin();
        tokio::time::advance(GIVEN_UP_AFTER).await;
        drop(given_up);
        drop(meter.begin());
        assert_eq!((meter.failed(), meter.latency().count()), (2, 1));
        assert!(meter.latency().sum() >= Duration::from_millis(20));
        assert_eq!(meter.pool(), None);
        meter.read_pool_with(|| Some(PoolUse { in_use: 1, max: 4 }));
        assert_eq!(meter.pool(), Some(PoolUse { in_use: 1, max: 4 }));
    }
}
