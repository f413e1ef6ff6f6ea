//! The unread events of one listener.
//!
//! Messages are bounded by the capacity; an overflow drops the oldest and counts them. Notices of
//! outages are never dropped, only merged: at most two are between two messages.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::daemon::engines::bus::{BusError, BusEvent, BusMessage};
use crate::protocol::StreamId;

#[derive(Debug)]
pub(super) struct ListenerQueue {
    capacity: usize,
    inner: Mutex<QueueState>,
    /// A single listener waits for it, so one permit is enough.
    arrived: Notify,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<BusEvent>,
    /// Number of messages among the events.
    messages: usize,
    /// The needed Redis nodes that are away, and why.
    away: BTreeMap<usize, String>,
    closed: bool,
}

/// Set while a connection is in use. Late messages of an abandoned connection must not follow those
/// of its successor. Read and written while the queue is locked.
#[derive(Debug)]
pub(super) struct ConnectionActive(AtomicBool);

impl Default for ConnectionActive {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl ListenerQueue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, inner: Mutex::default(), arrived: Notify::new(), lost: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.inner.lock()
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Returns why the needed Redis nodes are away.
    pub(super) fn outage(&self) -> Option<String> {
        let inner = self.lock();
        let reasons: Vec<_> = inner.away.values().map(String::as_str).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Counts a message that could not be decoded.
    pub(super) fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) async fn receive(&self) -> Result<BusEvent, BusError> {
        loop {
            {
                let mut inner = self.lock();
                if let Some(event) = inner.events.pop_front() {
                    inner.messages -= usize::from(is_message(&event));
                    return Ok(event);
                }
                if inner.closed {
                    return Err(BusError::Closed);
                }
            }
            self.arrived.notified().await;
        }
    }

    pub(super) fn push(
        &self,
        connection: &ConnectionActive,
        stream_id: StreamId,
        messages: Vec<BusMessage>,
    ) {
        let mut inner = self.lock();
        if inner.closed || !connection.0.load(Ordering::Relaxed) {
            return;
        }
        inner.messages += messages.len();
        inner
            .events
            .extend(messages.into_iter().map(|message| BusEvent::Message(stream_id, message)));
        let excess = inner.messages.saturating_sub(self.capacity);
        inner.drop_oldest(excess);
        drop(inner);
        self.lost.fetch_add(excess as u64, Ordering::Relaxed);
        self.arrived.notify_one();
    }

    /// Drops the remaining messages of a stream, which are no longer needed and take room.
    pub(super) fn discard_stream(&self, stream_id: StreamId) {
        let mut inner = self.lock();
        inner.events.retain(|event| !matches!(event, BusEvent::Message(of, _) if *of == stream_id));
        inner.messages = inner.events.iter().filter(|event| is_message(event)).count();
    }

    /// Records that a needed Redis node is away. Later messages of its connection are ignored.
    pub(super) fn mark_interrupted(
        &self,
        node: usize,
        connection: Option<&ConnectionActive>,
        reason: &str,
    ) {
        let mut inner = self.lock();
        if let Some(connection) = connection {
            connection.0.store(false, Ordering::Relaxed);
        }
        let was_complete = inner.away.is_empty();
        inner.away.insert(node, reason.to_owned());
        if was_complete {
            // Interrupted, restored, interrupted is the same as interrupted.
            match inner.events.back() {
                Some(BusEvent::Restored) => drop(inner.events.pop_back()),
                _ => inner.events.push_back(BusEvent::Interrupted),
            }
            self.arrived.notify_one();
        }
    }

    /// Records that a Redis node has all subscriptions again, or is no longer needed.
    pub(super) fn mark_restored(&self, node: usize) {
        let mut inner = self.lock();
        if inner.away.remove(&node).is_some() && inner.away.is_empty() {
            inner.events.push_back(BusEvent::Restored);
            self.arrived.notify_one();
        }
    }

    /// Closes the queue. Remaining events are still received.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }
}

fn is_message(event: &BusEvent) -> bool {
    matches!(event, BusEvent::Message(..))
}

impl QueueState {
    fn drop_oldest(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let mut dropped = 0;
        let mut notices = Vec::new();
        while dropped < count {
            match self.events.pop_front() {
                Some(BusEvent::Message(..)) => dropped += 1,
                Some(notice) => notices.push(notice),
                None => break,
            }
        }
        self.messages -= dropped;
        // The notices that now come first.
        while self.events.front().is_some_and(|event| !is_message(event)) {
            notices.extend(self.events.pop_front());
        }
        // Notices alternate: the first and, of an even number, the last have the same effect as
        // all.
        let first = notices.first().cloned();
        let last = notices.last().cloned();
        if notices.len() % 2 == 0 {
            last.into_iter().for_each(|last| self.events.push_front(last));
        }
        first.into_iter().for_each(|first| self.events.push_front(first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::bus::conformance::number;

    const A: StreamId = StreamId(1);
    const B: StreamId = StreamId(2);

    fn push(queue: &ListenerQueue, stream_id: StreamId, numbers: std::ops::RangeInclusive<u64>) {
        queue.push(&ConnectionActive::default(), stream_id, numbers.map(number).collect());
    }

    async fn all(queue: &ListenerQueue) -> Vec<BusEvent> {
        queue.close();
        let mut events = Vec::new();
        while let Ok(next) = queue.receive().await {
            events.push(next);
        }
        events
    }

    #[tokio::test]
    async fn a_full_queue_keeps_the_newest_and_all_notices() {
        let queue = ListenerQueue::new(2);
        push(&queue, A, 1..=1);
        for round in 1..100 {
            queue.mark_interrupted(0, None, "away");
            queue.mark_restored(0);
            push(&queue, A, round..=round);
            assert!(queue.lock().events.len() <= 6, "round {round}");
        }
        queue.mark_interrupted(0, None, "away");
        push(&queue, A, 100..=104);
        assert_eq!(queue.lost(), 1 + 99 + 5 - 2);
        let expected = [
            BusEvent::Interrupted,
            BusEvent::Message(A, number(103)),
            BusEvent::Message(A, number(104)),
        ];
        assert_eq!(all(&queue).await, expected);
    }

    #[tokio::test]
    async fn the_last_node_restores_the_listener() {
        let queue = ListenerQueue::new(10);
        queue.mark_interrupted(0, None, "away");
        queue.mark_interrupted(2, None, "away");
        push(&queue, A, 1..=1);
        queue.mark_restored(0);
        push(&queue, A, 2..=2);
        queue.mark_restored(1);
        queue.mark_restored(2);
        queue.mark_restored(2);
        let first = BusEvent::Message(A, number(1));
        let second = BusEvent::Message(A, number(2));
        assert_eq!(all(&queue).await, [BusEvent::Interrupted, first, second, BusEvent::Restored]);
    }

    #[tokio::test]
    async fn an_unread_restoration_is_withdrawn() {
        let queue = ListenerQueue::new(10);
        for _ in 0..100 {
            queue.mark_interrupted(0, None, "away");
            queue.mark_restored(0);
        }
        assert_eq!(all(&queue).await, [BusEvent::Interrupted, BusEvent::Restored]);
    }

    #[tokio::test]
    async fn an_abandoned_connection_is_ignored() {
        let queue = ListenerQueue::new(10);
        let old = ConnectionActive::default();
        queue.push(&old, A, vec![number(1)]);
        queue.mark_interrupted(0, Some(&old), "away");
        queue.push(&old, A, vec![number(2)]);
        assert_eq!(all(&queue).await, [BusEvent::Message(A, number(1)), BusEvent::Interrupted]);
    }

    #[tokio::test]
    async fn discarding_a_stream_makes_room() {
        let queue = ListenerQueue::new(3);
        push(&queue, A, 1..=2);
        push(&queue, B, 3..=3);
        queue.discard_stream(A);
        push(&queue, B, 4..=5);
        assert_eq!(queue.lost(), 0);
        assert_eq!(all(&queue).await, [3, 4, 5].map(|n| BusEvent::Message(B, number(n))));
    }
}
