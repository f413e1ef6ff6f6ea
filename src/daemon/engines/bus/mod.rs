//! The fan-out bus: from the coordinator that orders a stream to every edge whose viewers watch it.
//!
//! In: [`BusMessage`]s for a stream. Out: the same messages, in order per stream, to each listener
//! that subscribed to the stream. Engines: [`in_process`]; Redis Pub/Sub is the distributed one.
//!
//! Always holds: at most once. A message may be lost (a slow listener, a broken connection), never
//! repeated by the bus and never reordered within a stream and a publisher. Every batch of comments
//! says which range of the sequence it covers, so the listener sees a loss and repairs it from the
//! recent cache or the log.
//!
//! When full: a listener that does not keep up loses messages, counted; publishers never wait for a
//! listener.

#[cfg(test)]
pub(crate) mod conformance;
pub mod in_process;
#[cfg(feature = "engines")]
pub mod redis;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::protocol::comment::{Deletion, SequencedComment};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{Epoch, NodeId, Seq, StreamId};

/// What travels on the bus, for one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BusMessage {
    Batch(Arc<Batch>),
    /// Ahead of the batch that covers it, so that nothing delays it.
    Deleted {
        seq: Seq,
        deletion: Deletion,
    },
    Throttle {
        sample_rate: SampleRate,
    },
    /// Running totals of the reactions that changed.
    Reactions {
        totals: BTreeMap<Arc<str>, u64>,
    },
    /// Viewers of the stream on all nodes.
    Presence {
        viewers: u64,
    },
    Announcement {
        message: Arc<str>,
    },
    /// The event is over; connections are closed.
    Ended,
}

/// Comments and deletions of one stream, in order, and the range of the sequence they stand for.
/// Ranges of one stream join: a hole between two batches is a loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub epoch: Epoch,
    pub from_seq: Seq,
    pub to_seq: Seq,
    /// What was sampled out is exactly what this rate does not keep, staff aside.
    pub sample_rate: SampleRate,
    pub comments: Vec<SequencedComment>,
    /// Comments of the range that the rate left out.
    pub sampled_out: u32,
    /// Deletions whose own records lie in the range.
    pub deletions: Vec<(Seq, Deletion)>,
    /// Places of comments by staff, in order: no rate leaves them out.
    #[serde(default)]
    pub staff: Vec<Seq>,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    #[error("the fan-out bus does not answer: {0}")]
    Unavailable(String),
    #[error("the fan-out bus is closed")]
    Closed,
}

/// The contract. See the module's text for what always holds.
#[async_trait]
pub trait FanoutBus: Send + Sync + std::fmt::Debug + 'static {
    /// Publishes messages, in order, to all who listen to the stream. `Ok` promises no delivery.
    async fn publish(&self, stream_id: StreamId, messages: Vec<BusMessage>)
    -> Result<(), BusError>;

    /// A listener for a node. It is subscribed to nothing at first.
    async fn listen(
        &self,
        node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError>;
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq)]
pub enum BusEvent {
    /// A message of a subscribed stream.
    Message(StreamId, BusMessage),
    /// The bus is out of reach: until [`Self::Restored`] nothing is heard of what is published.
    Interrupted,
    /// Everything published to the subscribed streams from now on is heard again. What was published
    /// since [`Self::Interrupted`] is lost; whoever needs it looks where the order has come to.
    Restored,
}

/// The receiving end of a node.
#[async_trait]
pub trait BusListener: Send + Sync + std::fmt::Debug {
    /// What comes next. Cancel-safe.
    async fn receive(&mut self) -> Result<BusEvent, BusError>;

    /// Messages lost because this listener did not keep up, since it was made.
    fn lost(&self) -> u64;
}

/// Chooses the streams of one listener; cheap to share.
pub type BusSubscriptions = Arc<dyn Subscriptions>;

#[async_trait]
pub trait Subscriptions: Send + Sync + std::fmt::Debug {
    /// Once this returns, everything published to the stream from now on is received.
    async fn subscribe(&self, stream_id: StreamId) -> Result<(), BusError>;

    async fn unsubscribe(&self, stream_id: StreamId) -> Result<(), BusError>;
}

pub type SharedBus = Arc<dyn FanoutBus>;
