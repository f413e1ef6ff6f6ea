//! The bus of one process: a bounded mailbox for each listener.
//!
//! When a mailbox is full the oldest message in it goes, not the newest: what comes after a loss is
//! always delivered, so the listener sees the hole in the sequence at once and repairs it. Batches
//! are shared, not copied, so a mailbox costs what its messages point to once for all listeners.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ahash::AHashMap;
use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::Notify;

use super::{
    BusError, BusEvent, BusListener, BusMessage, BusSubscriptions, FanoutBus, Subscriptions,
};
use crate::protocol::{NodeId, StreamId};

/// The embedded engine. Dropping it closes its listeners, once they have read what they were sent.
#[derive(Debug)]
pub struct InProcessBus {
    capacity: usize,
    switchboard: Arc<Switchboard>,
}

impl InProcessBus {
    /// Each listener may be `capacity` messages behind (at least 1).
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), switchboard: Arc::default() }
    }
}

impl Drop for InProcessBus {
    fn drop(&mut self) {
        self.switchboard.close();
    }
}

#[async_trait]
impl FanoutBus for InProcessBus {
    async fn publish(
        &self,
        stream_id: StreamId,
        messages: Vec<BusMessage>,
    ) -> Result<(), BusError> {
        // Held while the messages are put down, so that two publishers of a stream do not mingle
        // and a subscription takes effect between two calls.
        let subscribers = self.switchboard.read();
        if let Some((last, others)) = subscribers.get(&stream_id).and_then(|all| all.split_last()) {
            others.iter().for_each(|mailbox| mailbox.put(stream_id, messages.clone()));
            last.put(stream_id, messages);
        }
        Ok(())
    }

    async fn listen(
        &self,
        _node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError> {
        let mailbox = Arc::new(Mailbox::new(self.capacity));
        self.switchboard.lock_mailboxes().push(Arc::downgrade(&mailbox));
        let subscriptions = Arc::new(InProcessSubscriptions {
            switchboard: self.switchboard.clone(),
            mailbox: Arc::downgrade(&mailbox),
        });
        let listener = InProcessListener { switchboard: self.switchboard.clone(), mailbox };
        Ok((subscriptions, Box::new(listener)))
    }
}

/// Who listens to what.
#[derive(Debug, Default)]
struct Switchboard {
    subscribers: RwLock<AHashMap<StreamId, Vec<Arc<Mailbox>>>>,
    /// All there are, subscribed or not, so that closing reaches them.
    mailboxes: Mutex<Vec<Weak<Mailbox>>>,
    closed: AtomicBool,
}

impl Switchboard {
    fn read(&self) -> parking_lot::RwLockReadGuard<'_, AHashMap<StreamId, Vec<Arc<Mailbox>>>> {
        self.subscribers.read()
    }

    fn write(&self) -> parking_lot::RwLockWriteGuard<'_, AHashMap<StreamId, Vec<Arc<Mailbox>>>> {
        self.subscribers.write()
    }

    fn lock_mailboxes(&self) -> MutexGuard<'_, Vec<Weak<Mailbox>>> {
        let mut mailboxes = self.mailboxes.lock();
        mailboxes.retain(|mailbox| mailbox.strong_count() > 0);
        mailboxes
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.write().clear();
        for mailbox in self.lock_mailboxes().iter().filter_map(Weak::upgrade) {
            mailbox.arrived.notify_one();
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn forget(&self, mailbox: &Arc<Mailbox>) {
        self.write().retain(|_, all| {
            all.retain(|other| !Arc::ptr_eq(other, mailbox));
            !all.is_empty()
        });
    }
}

/// What one listener has yet to read. Bounded by `capacity` messages; overflow drops the oldest.
#[derive(Debug)]
struct Mailbox {
    capacity: usize,
    messages: Mutex<VecDeque<(StreamId, BusMessage)>>,
    /// One listener waits for it, so a permit of one is enough.
    arrived: Notify,
    lost: AtomicU64,
}

impl Mailbox {
    fn new(capacity: usize) -> Self {
        let (messages, arrived, lost) = Default::default();
        Self { capacity, messages, arrived, lost }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(StreamId, BusMessage)>> {
        self.messages.lock()
    }

    fn put(&self, stream_id: StreamId, messages: Vec<BusMessage>) {
        let mut waiting = self.lock();
        waiting.extend(messages.into_iter().map(|message| (stream_id, message)));
        let excess = waiting.len().saturating_sub(self.capacity);
        waiting.drain(..excess);
        drop(waiting);
        self.lost.fetch_add(excess as u64, Ordering::Relaxed);
        self.arrived.notify_one();
    }
}

#[derive(Debug)]
struct InProcessListener {
    switchboard: Arc<Switchboard>,
    mailbox: Arc<Mailbox>,
}

impl Drop for InProcessListener {
    fn drop(&mut self) {
        self.switchboard.forget(&self.mailbox);
    }
}

#[async_trait]
impl BusListener for InProcessListener {
    async fn receive(&mut self) -> Result<BusEvent, BusError> {
        loop {
            // Asked before the mailbox is: what was put down before closing is still delivered.
            let closed = self.switchboard.is_closed();
            if let Some((stream_id, message)) = self.mailbox.lock().pop_front() {
                return Ok(BusEvent::Message(stream_id, message));
            }
            if closed {
                return Err(BusError::Closed);
            }
            self.mailbox.arrived.notified().await;
        }
    }

    fn lost(&self) -> u64 {
        self.mailbox.lost.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct InProcessSubscriptions {
    switchboard: Arc<Switchboard>,
    mailbox: Weak<Mailbox>,
}

#[async_trait]
impl Subscriptions for InProcessSubscriptions {
    async fn subscribe(&self, stream_id: StreamId) -> Result<(), BusError> {
        let mut subscribers = self.switchboard.write();
        let mailbox = self.mailbox.upgrade().filter(|_| !self.switchboard.is_closed());
        let mailbox = mailbox.ok_or(BusError::Closed)?;
        let all = subscribers.entry(stream_id).or_default();
        if !all.iter().any(|other| Arc::ptr_eq(other, &mailbox)) {
            all.push(mailbox);
        }
        Ok(())
    }

    async fn unsubscribe(&self, stream_id: StreamId) -> Result<(), BusError> {
        let Some(mailbox) = self.mailbox.upgrade() else { return Ok(()) };
        let mut subscribers = self.switchboard.write();
        if let Some(all) = subscribers.get_mut(&stream_id) {
            all.retain(|other| !Arc::ptr_eq(other, &mailbox));
            if all.is_empty() {
                subscribers.remove(&stream_id);
            }
        }
        // What is left of the stream is of no use to anybody, and takes room.
        mailbox.lock().retain(|(other, _)| *other != stream_id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::bus::conformance;
    use crate::protocol::throttle::SampleRate;

    const CAPACITY: usize = 64;

    #[tokio::test]
    async fn it_keeps_the_contract() {
        conformance::suite(CAPACITY, async || Arc::new(InProcessBus::new(CAPACITY)) as _).await;
    }

    fn viewers(viewers: u64) -> BusMessage {
        BusMessage::Presence { viewers }
    }

    #[tokio::test]
    async fn a_full_mailbox_keeps_the_newest() {
        let bus = InProcessBus::new(2);
        let (subscriptions, mut listener) = bus.listen(&NodeId::new("a")).await.unwrap();
        subscriptions.subscribe(StreamId(1)).await.unwrap();
        bus.publish(StreamId(1), (1..=5).map(viewers).collect()).await.unwrap();
        assert_eq!(listener.receive().await.unwrap(), BusEvent::Message(StreamId(1), viewers(4)));
        assert_eq!(listener.receive().await.unwrap(), BusEvent::Message(StreamId(1), viewers(5)));
        assert_eq!(listener.lost(), 3);
    }

    #[tokio::test]
    async fn a_dropped_listener_is_forgotten() {
        let bus = InProcessBus::new(2);
        let (subscriptions, listener) = bus.listen(&NodeId::new("a")).await.unwrap();
        subscriptions.subscribe(StreamId(1)).await.unwrap();
        drop(listener);
        assert!(bus.switchboard.read().is_empty());
        assert!(matches!(subscriptions.subscribe(StreamId(1)).await, Err(BusError::Closed)));
        let message = BusMessage::Throttle { sample_rate: SampleRate::from_share(0.5).unwrap() };
        bus.publish(StreamId(1), vec![message]).await.unwrap();
    }

    #[tokio::test]
    async fn dropping_the_bus_closes_its_listeners_after_what_they_were_sent() {
        let bus = InProcessBus::new(8);
        let (subscriptions, mut listener) = bus.listen(&NodeId::new("a")).await.unwrap();
        subscriptions.subscribe(StreamId(1)).await.unwrap();
        bus.publish(StreamId(1), vec![viewers(1)]).await.unwrap();
        let reader = tokio::spawn(async move {
            let first = listener.receive().await;
            (first.unwrap(), listener.receive().await.map(|_| ()))
        });
        tokio::task::yield_now().await;
        drop(bus);
        let (first, end) = reader.await.unwrap();
        assert_eq!(first, BusEvent::Message(StreamId(1), viewers(1)));
        assert!(matches!(end, Err(BusError::Closed)));
    }
}
