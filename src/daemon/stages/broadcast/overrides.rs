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
    rates: Arc<Mutex<AHashMap<StreamId, FixedRate>>>,
    clock: SharedClock,
}

impl RateOverrides {
    pub fn new(clock: SharedClock) -> Self {
        Self { rates: Arc::default(), clock }
    }

    pub fn set(&self, stream_id: StreamId, fixed: Option<FixedRate>) {
        let mut rates = self.rates.lock();
        match fixed {
            Some(fixed) => rates.insert(stream_id, fixed),
            None => rates.remove(&stream_id),
        };
    }

    /// Replaces all of them.
    pub fn replace(&self, rates: Vec<(StreamId, FixedRate)>) {
        *self.rates.lock() = rates.into_iter().collect();
    }

    pub(super) fn get(&self, stream_id: StreamId) -> Option<FixedRate> {
        let now_ms = self.clock.now_ms();
        let fixed = self.rates.lock().get(&stream_id).copied()?;
        fixed.is_in_force(now_ms).then_some(fixed)
    }

    pub(super) fn streams(&self) -> Vec<StreamId> {
        let now_ms = self.clock.now_ms();
        let rates = self.rates.lock();
        let in_force = rates.iter().filter(|(_, fixed)| fixed.is_in_force(now_ms));
        in_force.map(|(stream_id, _)| *stream_id).collect()
    }
}
