//! The way from a pool to the run it belongs to.

use tokio::sync::mpsc;

use super::messages::PoolEvent;

/// An event with the index of the pool that sent it.
pub(crate) type IndexedEvent = (usize, PoolEvent);

/// Sends the events of one pool. Blocks when the run does not read them.
#[derive(Debug, Clone)]
pub(crate) struct EventSender {
    pool_index: usize,
    events: mpsc::Sender<IndexedEvent>,
}

impl EventSender {
    pub(crate) fn new(pool_index: usize, events: mpsc::Sender<IndexedEvent>) -> Self {
        Self { pool_index, events }
    }

    /// Returns false when the run is over.
    pub(crate) fn send(&self, event: PoolEvent) -> bool {
        self.events.blocking_send((self.pool_index, event)).is_ok()
    }
}

/// Sends [`PoolEvent::Ended`] when dropped, so that a pool never ends unnoticed.
#[derive(Debug)]
pub(crate) struct ExitGuard {
    events: EventSender,
    reason: Option<String>,
}

impl ExitGuard {
    pub(crate) fn new(events: EventSender) -> Self {
        Self { events, reason: None }
    }

    pub(crate) fn events(&self) -> &EventSender {
        &self.events
    }

    /// Sets why the pool ended. The last reason set is the one reported.
    pub(crate) fn set_reason(&mut self, reason: impl Into<Option<String>>) {
        self.reason = reason.into();
    }
}

impl Drop for ExitGuard {
    fn drop(&mut self) {
        self.events.send(PoolEvent::Ended(self.reason.take()));
    }
}
