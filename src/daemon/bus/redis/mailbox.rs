//! What a listener has not taken yet.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::daemon::bus::{BusMessage, Heard};
use crate::protocol::StreamId;

/// Filled by the links, emptied by the listener.
#[derive(Debug)]
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
    arrived: Notify,
    lost: AtomicU64,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Inner {
    heard: VecDeque<Heard>,
    /// Redis nodes that are away while channels of ours are there.
    cut: BTreeSet<usize>,
}

impl Mailbox {
    /// Holds at most `capacity` messages; the newest are lost when it is full.
    pub(super) fn new(capacity: usize) -> Self {
        let (inner, arrived, lost) = Default::default();
        Self { inner, arrived, lost, capacity }
    }

    pub(super) fn put(&self, stream_id: StreamId, messages: Vec<BusMessage>) {
        let mut inner = self.lock();
        let room = self.capacity.saturating_sub(inner.heard.len());
        let too_many = messages.len().saturating_sub(room);
        if too_many > 0 {
            self.lost.fetch_add(too_many as u64, Ordering::Relaxed);
        }
        let fitting = messages.into_iter().take(room);
        inner.heard.extend(fitting.map(|message| Heard::Message(stream_id, message)));
        drop(inner);
        self.arrived.notify_one();
    }

    /// Notes whether the link to a Redis node leaves the listener without something it wants. News of
    /// it are few, so they go beyond the capacity.
    pub(super) fn set_cut(&self, node: usize, cut: bool) {
        let mut inner = self.lock();
        let before = inner.cut.is_empty();
        if cut {
            inner.cut.insert(node);
        } else {
            inner.cut.remove(&node);
        }
        match (before, inner.cut.is_empty()) {
            (true, false) => inner.heard.push_back(Heard::Interrupted),
            (false, true) => inner.heard.push_back(Heard::Restored),
            _ => return,
        }
        drop(inner);
        self.arrived.notify_one();
    }

    /// The oldest. Cancel-safe.
    pub(super) async fn take(&self) -> Heard {
        loop {
            if let Some(heard) = self.lock().heard.pop_front() {
                return heard;
            }
            self.arrived.notified().await;
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in a critical section can panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
