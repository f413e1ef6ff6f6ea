//! What the workers write of one stream.

use std::sync::atomic::{AtomicU64, Ordering};

/// Grows; each worker adds once a fan-out, not once a viewer, and once for a viewer that is behind.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    sent_bytes: AtomicU64,
    turns: AtomicU64,
    held_up: AtomicU64,
}

/// The meter at one moment, or the difference of two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Bytes that sockets took, without what TLS, TCP and IP put around them.
    pub(crate) sent_bytes: u64,
    /// Viewers that it was a fan-out's turn to write to.
    pub(crate) turns: u64,
    /// Of these, whose socket was full, though it still takes something now and then.
    pub(crate) held_up: u64,
}

impl Meter {
    pub(crate) fn add_bytes(&self, bytes: u64) {
        if bytes > 0 {
            self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_turns(&self, turns: u64, held_up: u64) {
        self.turns.fetch_add(turns, Ordering::Relaxed);
        if held_up > 0 {
            self.held_up.fetch_add(held_up, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Reading {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Reading {
            sent_bytes: value(&self.sent_bytes),
            turns: value(&self.turns),
            held_up: value(&self.held_up),
        }
    }
}

impl Reading {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes - before.sent_bytes,
            turns: self.turns - before.turns,
            held_up: self.held_up - before.held_up,
        }
    }
}
