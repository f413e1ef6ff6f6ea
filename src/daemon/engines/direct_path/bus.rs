//! The bus with the direct path behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashMap;
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};
use tracing::warn;

use super::DirectPath;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::bus::{
    BusError, BusEvent, BusListener, BusMessage, BusSubscriptions, FanoutBus, SharedBus,
};
use crate::protocol::{NodeId, StreamId};

/// How long a stream whose messages the bus did not take goes the direct way before the bus is tried
/// again. Short, because the bus answers at once while it knows that it is down.
const DETOUR: Duration = Duration::from_secs(1);

/// Publishes on the bus, and what the bus does not take, directly; listens to both.
#[derive(Debug)]
pub struct FallbackBus {
    bus: SharedBus,
    direct: Arc<DirectPath>,
    /// Shows operators whether any stream goes the direct way.
    breaker: Arc<Breaker>,
    /// Streams on a detour and until when. With several servers behind the bus some streams may be
    /// cut off while others are not.
    detours: Mutex<AHashMap<StreamId, Instant>>,
}

impl FallbackBus {
    pub fn new(bus: SharedBus, direct: Arc<DirectPath>, breaker: Arc<Breaker>) -> Self {
        Self { bus, direct, breaker, detours: Mutex::default() }
    }

    fn is_on_detour(&self, stream_id: StreamId) -> bool {
        self.detours.lock().get(&stream_id).is_some_and(|until| Instant::now() < *until)
    }

    fn begin_detour(&self, stream_id: StreamId, error: &BusError) {
        let before = self.detours.lock().insert(stream_id, Instant::now() + DETOUR);
        if before.is_none() {
            warn!(%stream_id, %error, "the bus does not take messages; they go through the log");
        }
        self.breaker.open(error);
    }

    /// The bus has taken messages of the stream. Once no stream is on a detour, all is well.
    fn end_detour(&self, stream_id: StreamId) {
        let mut detours = self.detours.lock();
        detours.remove(&stream_id);
        // A stream that fell silent on its detour says nothing about the bus.
        let now = Instant::now();
        detours.retain(|_, until| now < *until + DETOUR * 10);
        if detours.is_empty() {
            self.breaker.succeeded();
        }
    }
}

#[async_trait]
impl FanoutBus for FallbackBus {
    async fn publish(
        &self,
        stream_id: StreamId,
        messages: Vec<BusMessage>,
    ) -> Result<(), BusError> {
        if messages.is_empty() {
            return Ok(());
        }
        if !self.is_on_detour(stream_id) {
            match self.bus.publish(stream_id, messages.clone()).await {
                Ok(()) => {
                    self.end_detour(stream_id);
                    return Ok(());
                }
                Err(BusError::Closed) => return Err(BusError::Closed),
                Err(error) => self.begin_detour(stream_id, &error),
            }
        }
        let published = self.direct.publish(stream_id, messages).await;
        published.map_err(|error| BusError::Unavailable(format!("nor does the log: {error}")))
    }

    async fn listen(
        &self,
        node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError> {
        let (subscriptions, bus) = self.bus.listen(node).await?;
        let (direct, lost) = self.direct.listen();
        let breaker = self.breaker.clone();
        Ok((subscriptions, Box::new(FallbackListener { bus, direct, lost, breaker })))
    }
}

#[derive(Debug)]
struct FallbackListener {
    bus: Box<dyn BusListener>,
    direct: mpsc::Receiver<(StreamId, BusMessage)>,
    lost: Arc<AtomicU64>,
    breaker: Arc<Breaker>,
}

#[async_trait]
impl BusListener for FallbackListener {
    async fn receive(&mut self) -> Result<BusEvent, BusError> {
        tokio::select! {
            heard = self.bus.receive() => {
                // Who only listens learns here what publishing would have told.
                match &heard {
                    Ok(BusEvent::Interrupted) => self.breaker.open(&"nothing is heard of the bus"),
                    Ok(BusEvent::Restored) => self.breaker.succeeded(),
                    Ok(BusEvent::Message(..)) | Err(_) => {}
                }
                heard
            }
            Some((stream_id, message)) = self.direct.recv() => {
                Ok(BusEvent::Message(stream_id, message))
            }
        }
    }

    fn lost(&self) -> u64 {
        self.bus.lost() + self.lost.load(Ordering::Relaxed)
    }
}
