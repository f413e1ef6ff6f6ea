//! The one double of the fan-out bus: the in-process engine behind switches.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Barrier, Notify, broadcast};

use crate::daemon::engines::bus::in_process::InProcessBus;
use crate::daemon::engines::bus::{
    BusError, BusEvent, BusListener, BusMessage, BusSubscriptions, FanoutBus,
};
use crate::protocol::admin::BusNode;
use crate::protocol::{NodeId, StreamId};

/// Messages that each listener may be behind.
const CAPACITY: usize = 64;

type PublishObserver = Box<dyn Fn(StreamId, &BusMessage) + Send + Sync>;

/// Carries messages like [`InProcessBus`] and records them. A test can take it down, so that
/// nothing is published, or hold publishers until several of them meet.
pub(crate) struct TestBus {
    bus: InProcessBus,
    down: AtomicBool,
    published: Mutex<Vec<(StreamId, BusMessage)>>,
    observer: Option<PublishObserver>,
    barrier: Option<Barrier>,
    outages: broadcast::Sender<BusEvent>,
    servers: Mutex<Vec<BusNode>>,
    changed: Notify,
}

impl Default for TestBus {
    fn default() -> Self {
        Self {
            bus: InProcessBus::new(CAPACITY),
            down: AtomicBool::new(false),
            published: Mutex::default(),
            observer: None,
            barrier: None,
            outages: broadcast::Sender::new(CAPACITY),
            servers: Mutex::default(),
            changed: Notify::new(),
        }
    }
}

impl fmt::Debug for TestBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestBus").field("published", &self.published).finish_non_exhaustive()
    }
}

impl TestBus {
    /// Calls `observer` with each message, in the order of publication.
    pub(crate) fn observed(
        observer: impl Fn(StreamId, &BusMessage) + Send + Sync + 'static,
    ) -> Self {
        Self { observer: Some(Box::new(observer)), ..Self::default() }
    }

    /// Every call to publish waits until `publishers` of them wait together.
    pub(crate) fn with_barrier(publishers: usize) -> Self {
        Self { barrier: Some(Barrier::new(publishers)), ..Self::default() }
    }

    /// While down, publishing fails and reaches no listener.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Makes every listener report the start (`Interrupted`) or the end (`Restored`) of an outage.
    pub(crate) fn report_outage(&self, outage: BusEvent) {
        self.outages.send(outage).expect("a listener");
    }

    /// Sets the servers that the bus has, and tells of a change.
    pub(crate) fn set_servers(&self, servers: Vec<BusNode>) {
        *self.servers.lock() = servers;
        self.changed.notify_one();
    }

    /// Returns the messages published since the last call.
    pub(crate) fn take_published(&self) -> Vec<(StreamId, BusMessage)> {
        std::mem::take(&mut *self.published.lock())
    }
}

#[async_trait]
impl FanoutBus for TestBus {
    async fn publish(
        &self,
        stream_id: StreamId,
        messages: Vec<BusMessage>,
    ) -> Result<(), BusError> {
        if let Some(barrier) = &self.barrier {
            barrier.wait().await;
        }
        if self.down.load(Ordering::SeqCst) {
            return Err(BusError::Unavailable("switched off by the test".to_owned()));
        }
        for message in &messages {
            if let Some(observer) = &self.observer {
                observer(stream_id, message);
            }
            self.published.lock().push((stream_id, message.clone()));
        }
        self.bus.publish(stream_id, messages).await
    }

    async fn listen(
        &self,
        node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError> {
        let (subscriptions, bus) = self.bus.listen(node).await?;
        let outages = self.outages.subscribe();
        Ok((subscriptions, Box::new(TestListener { bus, outages })))
    }

    fn servers(&self) -> Vec<BusNode> {
        self.servers.lock().clone()
    }

    async fn servers_changed(&self) {
        self.changed.notified().await;
    }
}

#[derive(Debug)]
struct TestListener {
    bus: Box<dyn BusListener>,
    outages: broadcast::Receiver<BusEvent>,
}

#[async_trait]
impl BusListener for TestListener {
    async fn receive(&mut self) -> Result<BusEvent, BusError> {
        tokio::select! {
            event = self.bus.receive() => event,
            Ok(outage) = self.outages.recv() => Ok(outage),
        }
    }

    fn lost(&self) -> u64 {
        self.bus.lost()
    }
}
