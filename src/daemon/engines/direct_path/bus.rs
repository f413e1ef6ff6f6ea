//! A fan-out bus that falls back to the direct path.
//!
//! In: messages of streams, from publishers. Out: the same messages, from the bus or the direct
//! path. Always holds: a publisher waits for the direct path only if the bus did not accept its
//! messages, so that the outage of one node delays no other node.
//!
//! When full: messages that only nodes cut off from the bus need are dropped and counted; those
//! nodes read the log ([`super::sender`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashMap;
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, Interval};
use tracing::warn;

use super::{CUT_OFF_INTERVAL, DirectPath};
use crate::daemon::base::supervise::breaker::{Breaker, BreakerHalf};
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::bus::{
    BusError, BusEvent, BusListener, BusMessage, BusSubscriptions, FanoutBus, SharedBus,
};
use crate::protocol::admin::BusNode;
use crate::protocol::{NodeId, StreamId};

/// Time for which a stream uses the direct path after the bus failed. Then the bus is tried again.
/// Short, because the bus fails at once while it knows that it is down.
const FALLBACK_PERIOD: Duration = Duration::from_secs(1);

/// The messages of one stream say little about those of another, which may use another server.
const SILENT_FALLBACK: Duration = FALLBACK_PERIOD.saturating_mul(10);

/// Publishes on the bus, and on the direct path when the bus fails. Listens to both.
#[derive(Debug)]
pub struct FallbackBus {
    bus: SharedBus,
    direct: Arc<DirectPath>,
    /// The half of the breaker that shows operators whether any stream uses the direct path.
    publishing: BreakerHalf,
    /// The half of the breaker for the listeners of this node.
    listening: BreakerHalf,
    /// Streams that use the direct path, and until when. With several servers behind the bus, some
    /// streams may be cut off while others are not.
    fallbacks: Mutex<AHashMap<StreamId, Instant>>,
}

impl FallbackBus {
    pub fn new(bus: SharedBus, direct: Arc<DirectPath>, breaker: &Arc<Breaker>) -> Self {
        Self {
            bus,
            direct,
            publishing: breaker.half("publish"),
            listening: breaker.half("listen"),
            fallbacks: Mutex::default(),
        }
    }

    fn is_in_fallback(&self, stream_id: StreamId) -> bool {
        self.fallbacks.lock().get(&stream_id).is_some_and(|until| Instant::now() < *until)
    }

    fn begin_fallback(&self, stream_id: StreamId, error: &BusError) {
        let before = self.fallbacks.lock().insert(stream_id, Instant::now() + FALLBACK_PERIOD);
        if before.is_none() {
            warn!(%stream_id, %error, "bus unavailable; messages go through the log");
        }
        self.publishing.failed(error);
    }

    /// Records that the bus accepted messages of the stream.
    fn end_fallback(&self, stream_id: StreamId) {
        self.fallbacks.lock().remove(&stream_id);
        self.record_success(SILENT_FALLBACK);
    }

    /// Closes the publishing half once no stream uses the direct path. A stream that has been
    /// silent for some time since its fallback ended says nothing about the bus.
    fn record_success(&self, silent_for: Duration) {
        let mut fallbacks = self.fallbacks.lock();
        let now = Instant::now();
        fallbacks.retain(|_, until| now < *until + silent_for);
        if fallbacks.is_empty() {
            self.publishing.succeeded();
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
                    self.direct.send_to_cut_off(stream_id, messages);
                    return Ok(());
                }
                Err(BusError::Closed) => return Err(BusError::Closed),
                Err(error) => self.begin_fallback(stream_id, &error),
            }
        }
        let published = self.direct.publish(stream_id, messages).await;
        published.map_err(|error| BusError::Unavailable(format!("event log: {error}")))
    }

    async fn probe(&self) -> Result<(), BusError> {
        let probed = self.bus.probe().await;
        match &probed {
            // A probe asks all servers. A stream that still fails has tried again meanwhile.
            Ok(()) => self.record_success(FALLBACK_PERIOD),
            Err(error) => self.publishing.failed(error),
        }
        probed
    }

    async fn listen(
        &self,
        node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError> {
        let (subscriptions, bus) = self.bus.listen(node).await?;
        let (messages, lost) = self.direct.listen();
        let listener = FallbackListener {
            bus,
            direct: self.direct.clone(),
            messages,
            lost,
            half: self.listening.clone(),
            is_cut_off: false,
            announcing: ticker_from_now(CUT_OFF_INTERVAL),
            announcements: RecentAnnouncements::default(),
        };
        Ok((subscriptions, Box::new(listener)))
    }

    async fn sample(&self) {
        self.bus.sample().await;
    }

    fn servers(&self) -> Vec<BusNode> {
        self.bus.servers()
    }

    async fn servers_changed(&self) {
        self.bus.servers_changed().await;
    }
}

#[derive(Debug)]
struct FallbackListener {
    bus: Box<dyn BusListener>,
    direct: Arc<DirectPath>,
    messages: mpsc::Receiver<(StreamId, BusMessage)>,
    lost: Arc<AtomicU64>,
    half: BreakerHalf,
    /// The bus does not bring everything. The publishers are told until it does.
    is_cut_off: bool,
    announcing: Interval,
    announcements: RecentAnnouncements,
}

impl FallbackListener {
    fn begin_cut_off(&mut self) {
        self.is_cut_off = true;
        self.record_outage();
        // The first tick is now.
        self.announcing.reset_immediately();
    }

    fn end_cut_off(&mut self) {
        self.is_cut_off = false;
        self.half.succeeded();
    }

    fn record_outage(&self) {
        let reason = self.bus.outage().unwrap_or_else(|| "no messages from the bus".to_owned());
        self.half.failed(&reason);
    }
}

#[async_trait]
impl BusListener for FallbackListener {
    async fn receive(&mut self) -> Result<BusEvent, BusError> {
        loop {
            let (path, event) = tokio::select! {
                heard = self.bus.receive() => (Path::Bus, heard?),
                Some((stream_id, message)) = self.messages.recv() => {
                    (Path::Direct, BusEvent::Message(stream_id, message))
                }
                _ = self.announcing.tick(), if self.is_cut_off => {
                    self.record_outage();
                    self.direct.announce_cut_off();
                    continue;
                }
            };
            match &event {
                BusEvent::Interrupted => self.begin_cut_off(),
                BusEvent::Restored => self.end_cut_off(),
                BusEvent::Message(stream_id, BusMessage::Announcement { message })
                    if self.announcements.is_repeat(path, *stream_id, message) =>
                {
                    continue;
                }
                BusEvent::Message(..) => {}
            }
            return Ok(event);
        }
    }

    fn lost(&self) -> u64 {
        self.bus.lost() + self.lost.load(Ordering::Relaxed)
    }

    fn outage(&self) -> Option<String> {
        self.bus.outage()
    }
}

/// The way on which a message arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Bus,
    Direct,
}

/// Time within which an announcement arrives on both paths, if it does.
const BOTH_PATHS_WITHIN: Duration = Duration::from_secs(5);
const MAX_ANNOUNCEMENTS: usize = 256;

/// Announcements that arrived on one path only so far. All other messages may be received twice.
#[derive(Debug, Default)]
struct RecentAnnouncements(VecDeque<ReceivedAnnouncement>);

#[derive(Debug)]
struct ReceivedAnnouncement {
    path: Path,
    stream_id: StreamId,
    message: Arc<str>,
    at: Instant,
}

impl RecentAnnouncements {
    /// Returns whether the announcement arrived on the other path before.
    fn is_repeat(&mut self, path: Path, stream_id: StreamId, message: &Arc<str>) -> bool {
        self.0.retain(|known| known.at.elapsed() < BOTH_PATHS_WITHIN);
        let same = |known: &ReceivedAnnouncement| {
            known.path != path && known.stream_id == stream_id && known.message == *message
        };
        if let Some(index) = self.0.iter().position(same) {
            self.0.remove(index);
            return true;
        }
        if self.0.len() == MAX_ANNOUNCEMENTS {
            self.0.pop_front();
        }
        let message = message.clone();
        self.0.push_back(ReceivedAnnouncement { path, stream_id, message, at: Instant::now() });
        false
    }
}
