//! Counts what the workers write of one stream.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::policy::egress::MeterReading;

/// Counters that only grow. A worker adds once per fan-out, and once per write to a viewer that
/// is behind.
#[derive(Debug, Default)]
pub(crate) struct EgressMeter {
    sent_bytes: AtomicU64,
    visits: AtomicU64,
    held_up: AtomicU64,
}

impl EgressMeter {
    pub(crate) fn add_bytes(&self, bytes: u64) {
        if bytes > 0 {
            self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_visits(&self, visits: u64, held_up: u64) {
        self.visits.fetch_add(visits, Ordering::Relaxed);
        if held_up > 0 {
            self.held_up.fetch_add(held_up, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> MeterReading {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MeterReading {
            sent_bytes: value(&self.sent_bytes),
            visits: value(&self.visits),
            held_up: value(&self.held_up),
        }
    }
}
