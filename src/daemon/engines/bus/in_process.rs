//! The bus of a single process: a bounded queue per listener.
//!
//! A full queue drops its oldest message, not the newest: the message after a loss is always
//! delivered, so the listener notices the hole in the sequence at once and repairs it. Batches are
//! shared, not copied, so all queues together hold each batch once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ahash::AHashMap;
use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::load::{BusLoad, ListenedShard, Publication};
use super::{
    BusError, BusEvent, BusListener, BusMessage, BusSubscriptions, FanoutBus, Subscriptions,
};
use crate::protocol::admin::BusNode;
use crate::protocol::{NodeId, StreamId};

/// The embedded engine. Dropping it closes its listeners after they have read their queues.
#[derive(Debug)]
pub struct InProcessBus {
    capacity: usize,
    table: Arc<SubscriberTable>,
    load: BusLoad,
}

/// The place of the address of a server.
const ADDRESS: &str = "embedded";
/// The bus of a process is not divided.
const SHARD: u32 = 0;

impl InProcessBus {
    /// Each listener may be `capacity` messages behind (at least 1).
    pub fn new(capacity: usize) -> Self {
        let load = BusLoad::new([ADDRESS.into()], SHARD + 1);
        Self { capacity: capacity.max(1), table: Arc::default(), load }
    }
}

impl Drop for InProcessBus {
    fn drop(&mut self) {
        self.table.close();
    }
}

#[async_trait]
impl FanoutBus for InProcessBus {
    async fn publish(
        &self,
        stream_id: StreamId,
        messages: Vec<BusMessage>,
    ) -> Result<(), BusError> {
        let began = Instant::now();
        // Locked while the messages are queued, so that the calls of two publishers do not
        // interleave and a subscription takes effect between two calls.
        let subscribers = self.table.read();
        let queues = subscribers.get(&stream_id).map(Vec::as_slice).unwrap_or_default();
        if let Some((last, others)) = queues.split_last() {
            others.iter().for_each(|queue| queue.push(stream_id, messages.clone()));
            last.push(stream_id, messages);
        }
        let listeners = [(SHARD, queues.len() as u64)];
        drop(subscribers);
        // The messages are shared, not copied.
        self.load.record(&Publication {
            server: 0,
            duration: began.elapsed(),
            bytes: 0,
            listeners: &listeners,
        });
        Ok(())
    }

    async fn listen(
        &self,
        _node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError> {
        let queue = Arc::new(MessageQueue::new(self.capacity));
        self.table.lock_queues().push(Arc::downgrade(&queue));
        let subscriptions = Arc::new(InProcessSubscriptions {
            table: self.table.clone(),
            queue: Arc::downgrade(&queue),
        });
        let listener = InProcessListener { table: self.table.clone(), queue };
        Ok((subscriptions, Box::new(listener)))
    }

    async fn sample(&self) {
        let subscriptions = self.table.read().values().map(|queues| queues.len() as u64).sum();
        self.load.sample(|_| Some(ListenedShard { shard: SHARD, subscriptions }));
    }

    fn servers(&self) -> Vec<BusNode> {
        self.load.servers()
    }

    async fn servers_changed(&self) {
        self.load.changed().await;
    }
}

/// The subscribers of each stream.
#[derive(Debug, Default)]
struct SubscriberTable {
    subscribers: RwLock<AHashMap<StreamId, Vec<Arc<MessageQueue>>>>,
    /// All queues, subscribed or not, so that closing reaches them.
    queues: Mutex<Vec<Weak<MessageQueue>>>,
    closed: AtomicBool,
}

impl SubscriberTable {
    fn read(&self) -> parking_lot::RwLockReadGuard<'_, AHashMap<StreamId, Vec<Arc<MessageQueue>>>> {
        self.subscribers.read()
    }

    fn write(
        &self,
    ) -> parking_lot::RwLockWriteGuard<'_, AHashMap<StreamId, Vec<Arc<MessageQueue>>>> {
        self.subscribers.write()
    }

    fn lock_queues(&self) -> MutexGuard<'_, Vec<Weak<MessageQueue>>> {
        let mut queues = self.queues.lock();
        queues.retain(|queue| queue.strong_count() > 0);
        queues
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.write().clear();
        for queue in self.lock_queues().iter().filter_map(Weak::upgrade) {
            queue.arrived.notify_one();
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn remove_queue(&self, queue: &Arc<MessageQueue>) {
        self.write().retain(|_, all| {
            all.retain(|other| !Arc::ptr_eq(other, queue));
            !all.is_empty()
        });
    }
}

/// The unread messages of one listener. Bounded by `capacity`; an overflow drops the oldest.
#[derive(Debug)]
struct MessageQueue {
    capacity: usize,
    messages: Mutex<VecDeque<(StreamId, BusMessage)>>,
    /// A single listener waits for it, so one permit is enough.
    arrived: Notify,
    lost: AtomicU64,
}

impl MessageQueue {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            messages: Mutex::default(),
            arrived: Notify::new(),
            lost: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(StreamId, BusMessage)>> {
        self.messages.lock()
    }

    fn push(&self, stream_id: StreamId, messages: Vec<BusMessage>) {
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
    table: Arc<SubscriberTable>,
    queue: Arc<MessageQueue>,
}

impl Drop for InProcessListener {
    fn drop(&mut self) {
        self.table.remove_queue(&self.queue);
    }
}

#[async_trait]
impl BusListener for InProcessListener {
    async fn receive(&mut self) -> Result<BusEvent, BusError> {
        loop {
            // Read before the queue: messages queued before closing are still delivered.
            let closed = self.table.is_closed();
            if let Some((stream_id, message)) = self.queue.lock().pop_front() {
                return Ok(BusEvent::Message(stream_id, message));
            }
            if closed {
                return Err(BusError::Closed);
            }
            self.queue.arrived.notified().await;
        }
    }

    fn lost(&self) -> u64 {
        self.queue.lost.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct InProcessSubscriptions {
    table: Arc<SubscriberTable>,
    queue: Weak<MessageQueue>,
}

#[async_trait]
impl Subscriptions for InProcessSubscriptions {
    async fn subscribe(&self, stream_id: StreamId) -> Result<(), BusError> {
        let mut subscribers = self.table.write();
        let queue = self.queue.upgrade().filter(|_| !self.table.is_closed());
        let queue = queue.ok_or(BusError::Closed)?;
        let all = subscribers.entry(stream_id).or_default();
        if !all.iter().any(|other| Arc::ptr_eq(other, &queue)) {
            all.push(queue);
        }
        Ok(())
    }

    async fn unsubscribe(&self, stream_id: StreamId) -> Result<(), BusError> {
        let Some(queue) = self.queue.upgrade() else { return Ok(()) };
        let mut subscribers = self.table.write();
        if let Some(all) = subscribers.get_mut(&stream_id) {
            all.retain(|other| !Arc::ptr_eq(other, &queue));
            if all.is_empty() {
                subscribers.remove(&stream_id);
            }
        }
        // The remaining messages of the stream are no longer needed and take room.
        queue.lock().retain(|(other, _)| *other != stream_id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::bus::conformance::{self, BusUnderTest};
    use crate::protocol::throttle::SampleRate;

    const CAPACITY: usize = 64;

    async fn open() -> (BusUnderTest, ()) {
        (BusUnderTest { bus: Arc::new(InProcessBus::new(CAPACITY)), capacity: CAPACITY }, ())
    }

    conformance::bus_suite!(open());

    #[tokio::test]
    async fn a_full_queue_keeps_the_newest() {
        let bus = InProcessBus::new(2);
        let (subscriptions, mut listener) = bus.listen(&NodeId::new("a")).await.unwrap();
        subscriptions.subscribe(StreamId(1)).await.unwrap();
        bus.publish(StreamId(1), (1..=5).map(conformance::number).collect()).await.unwrap();
        assert_eq!(
            listener.receive().await.unwrap(),
            BusEvent::Message(StreamId(1), conformance::number(4))
        );
        assert_eq!(
            listener.receive().await.unwrap(),
            BusEvent::Message(StreamId(1), conformance::number(5))
        );
        assert_eq!(listener.lost(), 3);
    }

    #[tokio::test]
    async fn a_dropped_listener_is_removed() {
        let bus = InProcessBus::new(2);
        let (subscriptions, listener) = bus.listen(&NodeId::new("a")).await.unwrap();
        subscriptions.subscribe(StreamId(1)).await.unwrap();
        drop(listener);
        assert!(bus.table.read().is_empty());
        assert!(matches!(subscriptions.subscribe(StreamId(1)).await, Err(BusError::Closed)));
        let message = BusMessage::Throttle { sample_rate: SampleRate::from_share(0.5).unwrap() };
        bus.publish(StreamId(1), vec![message]).await.unwrap();
    }

    #[tokio::test]
    async fn a_dropped_bus_closes_listeners_after_their_queues() {
        let bus = InProcessBus::new(8);
        let (subscriptions, mut listener) = bus.listen(&NodeId::new("a")).await.unwrap();
        subscriptions.subscribe(StreamId(1)).await.unwrap();
        bus.publish(StreamId(1), vec![conformance::number(1)]).await.unwrap();
        let reader = tokio::spawn(async move {
            let first = listener.receive().await;
            (first.unwrap(), listener.receive().await.map(|_| ()))
        });
        tokio::task::yield_now().await;
        drop(bus);
        let (first, end) = reader.await.unwrap();
        assert_eq!(first, BusEvent::Message(StreamId(1), conformance::number(1)));
        assert!(matches!(end, Err(BusError::Closed)));
    }
}
