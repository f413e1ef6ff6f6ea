//! Counts what the workers write of one stream.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that only grow. A worker adds once per fan-out, and once per write to a viewer that
/// is behind.
#[derive(Debug, Default)]
pub(crate) struct EgressMeter {
    sent_bytes: AtomicU64,
    visits: AtomicU64,
    held_up: AtomicU64,
}

/// The counters at one moment, or the difference of two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MeterReading {
    /// Bytes that sockets took, without the overhead of TLS, TCP and IP.
    pub(crate) sent_bytes: u64,
    /// Visits of fan-outs to viewers.
    pub(crate) visits: u64,
    /// Visits that found the socket full, though it still drains.
    pub(crate) held_up: u64,
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

impl MeterReading {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes - before.sent_bytes,
            visits: self.visits - before.visits,
            held_up: self.held_up - before.held_up,
        }
    }
}
