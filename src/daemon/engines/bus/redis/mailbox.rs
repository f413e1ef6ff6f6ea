//! What one listener has yet to hear.
//!
//! Messages are bounded by the capacity, the oldest go first, counted. What is said of the
//! connections themselves is never dropped, only shortened: at most two notices stand between two
//! messages.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::daemon::engines::bus::{BusError, BusEvent, BusMessage};
use crate::protocol::StreamId;

#[derive(Debug)]
pub(super) struct Mailbox {
    capacity: usize,
    inner: Mutex<Inner>,
    /// One listener waits for it, so a permit of one is enough.
    arrived: Notify,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<BusEvent>,
    /// How many in the queue are messages.
    messages: usize,
    /// The Redis nodes that are needed and out of reach.
    away: BTreeSet<usize>,
    closed: bool,
}

/// Whether a connection still counts: what an abandoned one had yet to say is not heard after the
/// one that took its place. Changed and asked with the mailbox locked.
#[derive(Debug)]
pub(super) struct Current(AtomicBool);

impl Default for Current {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Mailbox {
    pub(super) fn new(capacity: usize) -> Self {
        let (inner, arrived, lost) = Default::default();
        Self { capacity, inner, arrived, lost }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every critical section leaves the queue and its count in step.
        self.inner.lock()
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Something arrived that nobody can read.
    pub(super) fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) async fn receive(&self) -> Result<BusEvent, BusError> {
        loop {
            {
                let mut inner = self.lock();
                if let Some(heard) = inner.queue.pop_front() {
                    inner.messages -= usize::from(is_message(&heard));
                    return Ok(heard);
                }
                if inner.closed {
                    return Err(BusError::Closed);
                }
            }
            self.arrived.notified().await;
        }
    }

    pub(super) fn put(&self, current: &Current, stream_id: StreamId, messages: Vec<BusMessage>) {
        let mut inner = self.lock();
        if inner.closed || !current.0.load(Ordering::Relaxed) {
            return;
        }
        inner.messages += messages.len();
        inner
            .queue
            .extend(messages.into_iter().map(|message| BusEvent::Message(stream_id, message)));
        let excess = inner.messages.saturating_sub(self.capacity);
        inner.drop_oldest(excess);
        drop(inner);
        self.lost.fetch_add(excess as u64, Ordering::Relaxed);
        self.arrived.notify_one();
    }

    /// What is left of a stream is of no use to anybody, and takes room.
    pub(super) fn forget(&self, stream_id: StreamId) {
        let mut inner = self.lock();
        inner.queue.retain(|heard| !matches!(heard, BusEvent::Message(of, _) if *of == stream_id));
        inner.messages = inner.queue.iter().filter(|heard| is_message(heard)).count();
    }

    /// A Redis node that is needed is out of reach; nothing more comes from its connection.
    pub(super) fn interrupted(&self, node: usize, current: Option<&Current>) {
        let mut inner = self.lock();
        if let Some(current) = current {
            current.0.store(false, Ordering::Relaxed);
        }
        let was_whole = inner.away.is_empty();
        inner.away.insert(node);
        if was_whole {
            // Interrupted, restored, interrupted is no more than interrupted.
            match inner.queue.back() {
                Some(BusEvent::Restored) => drop(inner.queue.pop_back()),
                _ => inner.queue.push_back(BusEvent::Interrupted),
            }
            self.arrived.notify_one();
        }
    }

    /// A Redis node is subscribed to in full, or not needed any more.
    pub(super) fn restored(&self, node: usize) {
        let mut inner = self.lock();
        if inner.away.remove(&node) && inner.away.is_empty() {
            inner.queue.push_back(BusEvent::Restored);
            self.arrived.notify_one();
        }
    }

    /// Nothing more comes; what is there is still heard.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }
}

fn is_message(heard: &BusEvent) -> bool {
    matches!(heard, BusEvent::Message(..))
}

impl Inner {
    fn drop_oldest(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let mut dropped = 0;
        let mut notices = Vec::new();
        while dropped < count {
            match self.queue.pop_front() {
                Some(BusEvent::Message(..)) => dropped += 1,
                Some(notice) => notices.push(notice),
                None => break,
            }
        }
        self.messages -= dropped;
        // Further notices that now follow directly.
        while self.queue.front().is_some_and(|heard| !is_message(heard)) {
            notices.extend(self.queue.pop_front());
        }
        // They alternate: the first and, of an even number, the last say what all of them say.
        let (first, last) = (notices.first().cloned(), notices.last().cloned());
        if notices.len() % 2 == 0 {
            last.into_iter().for_each(|last| self.queue.push_front(last));
        }
        first.into_iter().for_each(|first| self.queue.push_front(first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StreamId = StreamId(1);
    const B: StreamId = StreamId(2);

    fn number(viewers: u64) -> BusMessage {
        BusMessage::Presence { viewers }
    }

    fn put(mailbox: &Mailbox, stream_id: StreamId, numbers: std::ops::RangeInclusive<u64>) {
        mailbox.put(&Current::default(), stream_id, numbers.map(number).collect());
    }

    async fn all(mailbox: &Mailbox) -> Vec<BusEvent> {
        mailbox.close();
        let mut heard = Vec::new();
        while let Ok(next) = mailbox.receive().await {
            heard.push(next);
        }
        heard
    }

    #[tokio::test]
    async fn a_full_mailbox_keeps_the_newest_and_every_change_of_state() {
        let mailbox = Mailbox::new(2);
        put(&mailbox, A, 1..=1);
        for round in 1..100 {
            mailbox.interrupted(0, None);
            mailbox.restored(0);
            put(&mailbox, A, round..=round);
            assert!(mailbox.lock().queue.len() <= 6, "round {round}");
        }
        mailbox.interrupted(0, None);
        put(&mailbox, A, 100..=104);
        assert_eq!(mailbox.lost(), 1 + 99 + 5 - 2);
        let expected = [
            BusEvent::Interrupted,
            BusEvent::Message(A, number(103)),
            BusEvent::Message(A, number(104)),
        ];
        assert_eq!(all(&mailbox).await, expected);
    }

    #[tokio::test]
    async fn it_is_interrupted_by_the_first_node_and_restored_by_the_last() {
        let mailbox = Mailbox::new(10);
        mailbox.interrupted(0, None);
        mailbox.interrupted(2, None);
        put(&mailbox, A, 1..=1);
        mailbox.restored(0);
        put(&mailbox, A, 2..=2);
        mailbox.restored(1);
        mailbox.restored(2);
        mailbox.restored(2);
        let (first, second) = (BusEvent::Message(A, number(1)), BusEvent::Message(A, number(2)));
        assert_eq!(all(&mailbox).await, [BusEvent::Interrupted, first, second, BusEvent::Restored]);
    }

    #[tokio::test]
    async fn a_restoration_that_nobody_heard_of_is_taken_back() {
        let mailbox = Mailbox::new(10);
        for _ in 0..100 {
            mailbox.interrupted(0, None);
            mailbox.restored(0);
        }
        assert_eq!(all(&mailbox).await, [BusEvent::Interrupted, BusEvent::Restored]);
    }

    #[tokio::test]
    async fn an_abandoned_connection_is_not_heard() {
        let mailbox = Mailbox::new(10);
        let old = Current::default();
        mailbox.put(&old, A, vec![number(1)]);
        mailbox.interrupted(0, Some(&old));
        mailbox.put(&old, A, vec![number(2)]);
        assert_eq!(all(&mailbox).await, [BusEvent::Message(A, number(1)), BusEvent::Interrupted]);
    }

    #[tokio::test]
    async fn forgetting_a_stream_makes_room() {
        let mailbox = Mailbox::new(3);
        put(&mailbox, A, 1..=2);
        put(&mailbox, B, 3..=3);
        mailbox.forget(A);
        put(&mailbox, B, 4..=5);
        assert_eq!(mailbox.lost(), 0);
        assert_eq!(all(&mailbox).await, [3, 4, 5].map(|n| BusEvent::Message(B, number(n))));
    }
}
