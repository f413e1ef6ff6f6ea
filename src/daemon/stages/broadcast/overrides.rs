//! The shares that operators fixed.

use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::Mutex;

use crate::daemon::base::clock::SharedClock;
use crate::protocol::StreamId;
use crate::protocol::throttle::FixedRate;

/// Shares that operators fixed, by stream. Control writes them, the coordinator reads them. One
/// that has ended is not returned any more, even if nobody removes it.
#[derive(Debug, Clone)]
pub struct RateOverrides {
    rates: Arc<Mutex<Rates>>,
    clock: SharedClock,
}

#[derive(Debug, Default)]
struct Rates {
    by_stream: AHashMap<StreamId, FixedRate>,
    /// Incremented with each change of one stream.
    changes: u64,
}

/// A point between two changes.
#[derive(Debug, Clone, Copy)]
pub struct RatesRead(u64);

impl RateOverrides {
    pub fn new(clock: SharedClock) -> Self {
        Self { rates: Arc::default(), clock }
    }

    pub fn set(&self, stream_id: StreamId, fixed: Option<FixedRate>) {
        let mut rates = self.rates.lock();
        rates.changes += 1;
        match fixed {
            Some(fixed) => rates.by_stream.insert(stream_id, fixed),
            None => rates.by_stream.remove(&stream_id),
        };
    }

    /// Begins a reload. Must be called before the store is read.
    pub fn begin(&self) -> RatesRead {
        RatesRead(self.rates.lock().changes)
    }

    /// Replaces all of them with what the store had, unless one was changed since the reload began:
    /// the store may have been read before that change.
    pub fn finish(&self, begun: RatesRead, stored: Vec<(StreamId, FixedRate)>) {
        let mut rates = self.rates.lock();
        if rates.changes == begun.0 {
            rates.by_stream = stored.into_iter().collect();
        }
    }

    pub(super) fn get(&self, stream_id: StreamId) -> Option<FixedRate> {
        let now_ms = self.clock.now_ms();
        let fixed = self.rates.lock().by_stream.get(&stream_id).copied()?;
        fixed.is_in_force(now_ms).then_some(fixed)
    }

    pub(super) fn streams(&self) -> Vec<StreamId> {
        let now_ms = self.clock.now_ms();
        let rates = self.rates.lock();
        let in_force = rates.by_stream.iter().filter(|(_, fixed)| fixed.is_in_force(now_ms));
        in_force.map(|(stream_id, _)| *stream_id).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::base::clock::TokioClock;
    use crate::protocol::throttle::SampleRate;

    const STREAM: StreamId = StreamId(1);

    #[tokio::test(start_paused = true)]
    async fn a_reload_from_before_a_change_is_dropped() {
        let clock = Arc::new(TokioClock::starting_at(Duration::from_secs(1)));
        let overrides = RateOverrides::new(clock);
        let fixed = FixedRate::from(SampleRate::NONE);
        overrides.finish(overrides.begin(), vec![(STREAM, fixed)]);
        assert_eq!(overrides.get(STREAM), Some(fixed));
        let begun = overrides.begin();
        overrides.set(STREAM, None);
        overrides.finish(begun, vec![(STREAM, fixed)]);
        assert_eq!(overrides.get(STREAM), None, "the operator's word is the latest");
        overrides.finish(overrides.begin(), Vec::new());
        assert_eq!(overrides.streams(), []);
    }
}
