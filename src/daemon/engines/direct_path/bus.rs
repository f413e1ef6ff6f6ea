//! A fan-out bus that falls back to the direct path.

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

/// Time for which a stream uses the direct path after the bus failed. Then the bus is tried again.
/// Short, because the bus fails at once while it knows that it is down.
const FALLBACK_PERIOD: Duration = Duration::from_secs(1);

/// Publishes on the bus, and on the direct path when the bus fails. Listens to both.
#[derive(Debug)]
pub struct FallbackBus {
    bus: SharedBus,
    direct: Arc<DirectPath>,
    /// Shows operators whether any stream uses the direct path.
    breaker: Arc<Breaker>,
    /// Streams that use the direct path, and until when. With several servers behind the bus, some
    /// streams may be cut off while others are not.
    fallbacks: Mutex<AHashMap<StreamId, Instant>>,
}

impl FallbackBus {
    pub fn new(bus: SharedBus, direct: Arc<DirectPath>, breaker: Arc<Breaker>) -> Self {
        Self { bus, direct, breaker, fallbacks: Mutex::default() }
    }

    fn is_in_fallback(&self, stream_id: StreamId) -> bool {
        self.fallbacks.lock().get(&stream_id).is_some_and(|until| Instant::now() < *until)
    }

    fn begin_fallback(&self, stream_id: StreamId, error: &BusError) {
        let before = self.fallbacks.lock().insert(stream_id, Instant::now() + FALLBACK_PERIOD);
        if before.is_none() {
            warn!(%stream_id, %error, "bus unavailable; messages go through the log");
        }
        self.breaker.open(error);
    }

    /// Records that the bus accepted messages of the stream. Closes the breaker once no stream uses
    /// the direct path.
    fn end_fallback(&self, stream_id: StreamId) {
        let mut fallbacks = self.fallbacks.lock();
        fallbacks.remove(&stream_id);
        // A stream that fell silent during its fallback says nothing about the bus.
        let now = Instant::now();
        fallbacks.retain(|_, until| now < *until + FALLBACK_PERIOD * 10);
        if fallbacks.is_empty() {
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
        if !self.is_in_fallback(stream_id) {
            match self.bus.publish(stream_id, messages.clone()).await {
                Ok(()) => {
                    self.end_fallback(stream_id);
                    return Ok(());
                }
                Err(BusError::Closed) => return Err(BusError::Closed),
                Err(error) => self.begin_fallback(stream_id, &error),
            }
        }
        let published = self.direct.publish(stream_id, messages).await;
        published.map_err(|error| BusError::Unavailable(format!("event log: {error}")))
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
                // A node that only listens learns here that the bus is down.
                match &heard {
                    Ok(BusEvent::Interrupted) => self.breaker.open(&"no messages from the bus"),
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
