//! The fan-out bus: from the coordinator that orders a stream to every edge with viewers of it.
//!
//! In: [`BusMessage`]s of a stream. Out: the same messages, in order per stream, to each listener
//! that subscribed to the stream. Engines: [`in_process`]; [`redis`] (Pub/Sub) is the distributed
//! one.
//!
//! Always holds: delivery at most once. A message may be lost (a slow listener, a broken
//! connection), but the bus never repeats one and never reorders those of one stream and
//! publisher. Every batch of comments names the range of the sequence that it covers, so the
//! listener notices a loss and repairs it from the recent cache or the log.
//!
//! When full: a listener that is too slow loses messages, which are counted. Publishers never wait
//! for a listener.

#[cfg(test)]
pub(crate) mod conformance;
pub mod in_process;
mod load;
pub mod measured;
#[cfg(feature = "engines")]
pub mod redis;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::protocol::admin::BusNode;
use crate::protocol::comment::SequencedComment;
use crate::protocol::events::Removal;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, NodeId, Seq, StreamId};

/// The `seq` of a deletion without a place in the sequence of its stream: its record lies in the
/// partition that the stream had before partitions were added. No record of a stream has it.
pub const UNNUMBERED: Seq = 0;

/// A message on the bus, for one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BusMessage {
    Batch(Arc<Batch>),
    /// Published before the batch that covers it, so that nothing delays it. No batch covers one
    /// that is [`UNNUMBERED`].
    Deleted {
        seq: Seq,
        deletion: Removal,
    },
    /// The deletions of a comment were taken back. Viewers are not sent it: the listener only drops
    /// what it keeps without the comment. Nothing repairs a loss, so nothing is kept for long.
    Restored {
        comment_id: CommentId,
    },
    Throttle {
        sample_rate: SampleRate,
    },
    /// Running totals of the reactions that changed.
    Reactions {
        totals: BTreeMap<Arc<str>, u64>,
    },
    Announcement {
        message: Arc<str>,
    },
    /// The stream has ended; connections are closed.
    Ended,
}

/// Comments and deletions of one stream, in order, and the range of the sequence that they cover.
/// Ranges of one stream are adjacent: a hole between two batches is a loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub epoch: Epoch,
    pub from_seq: Seq,
    pub to_seq: Seq,
    /// The comments sampled out are exactly those that this rate does not keep, except staff.
    pub sample_rate: SampleRate,
    pub comments: Vec<SequencedComment>,
    /// Number of comments of the range that were sampled out.
    pub sampled_out: u32,
    /// Deletions whose own records lie in the range.
    pub deletions: Vec<(Seq, Removal)>,
    /// Sequence numbers of the comments of staff, in order. They are never sampled out.
    #[serde(default)]
    pub staff: Vec<Seq>,
    /// Comments of the range that only their authors are shown, in order.
    #[serde(default)]
    pub own: Vec<SequencedComment>,
    #[serde(default, skip_serializing_if = "HeldBack::is_nothing")]
    pub held_back: HeldBack,
}

/// The time for which comments were held back on purpose. That is no latency.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// The message delay of the room when the comments were read, in milliseconds; of several, the
    /// longest.
    pub delay_ms: u64,
    /// Sequence numbers of the comments that a review released, in order. They say nothing about
    /// latency.
    pub released: Vec<Seq>,
}

impl HeldBack {
    pub fn is_nothing(&self) -> bool {
        self.delay_ms == 0 && self.released.is_empty()
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    #[error("the fan-out bus does not answer: {0}")]
    Unavailable(String),
    #[error("the fan-out bus is closed")]
    Closed,
}

/// The contract.
#[async_trait]
pub trait FanoutBus: Send + Sync + std::fmt::Debug + 'static {
    /// Publishes messages, in order, to all subscribers of the stream. `Ok` does not mean delivery.
    async fn publish(&self, stream_id: StreamId, messages: Vec<BusMessage>)
    -> Result<(), BusError>;

    /// Succeeds if messages can be published now. Nobody receives anything.
    async fn probe(&self) -> Result<(), BusError> {
        Ok(())
    }

    /// Creates a listener for a node, without any subscription.
    async fn listen(
        &self,
        node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError>;

    /// Measures the load of the servers. Called once per second.
    async fn sample(&self) {}

    /// Returns the servers of the bus, as this node uses them: whether they answer now, and their
    /// load as of the last sample. Names of nodes are left out: this is about one node.
    fn servers(&self) -> Vec<BusNode> {
        Vec::new()
    }

    /// Completes if a server has stopped or begun to answer since the last call completed. One task
    /// waits for it. Cancel-safe.
    async fn servers_changed(&self) {
        std::future::pending::<()>().await;
    }
}

/// An event that a listener receives.
#[derive(Debug, Clone, PartialEq)]
pub enum BusEvent {
    /// A message of a subscribed stream.
    Message(StreamId, BusMessage),
    /// The bus is away: until [`Self::Restored`] published messages may not arrive.
    Interrupted,
    /// Everything published to the subscribed streams from now on arrives again. Messages published
    /// since [`Self::Interrupted`] may be lost; the listener reads the stream's head to find out.
    Restored,
}

/// The receiving end of a node.
#[async_trait]
pub trait BusListener: Send + Sync + std::fmt::Debug {
    /// Receives the next event. Cancel-safe.
    async fn receive(&mut self) -> Result<BusEvent, BusError>;

    /// Returns the number of messages lost so far because this listener was too slow.
    fn lost(&self) -> u64;

    /// Returns why messages may not arrive, between [`BusEvent::Interrupted`] and
    /// [`BusEvent::Restored`].
    fn outage(&self) -> Option<String> {
        None
    }
}

/// Controls the subscriptions of one listener. Cheap to share.
pub type BusSubscriptions = Arc<dyn Subscriptions>;

#[async_trait]
pub trait Subscriptions: Send + Sync + std::fmt::Debug {
    /// When this returns, everything published to the stream from now on is received.
    async fn subscribe(&self, stream_id: StreamId) -> Result<(), BusError>;

    async fn unsubscribe(&self, stream_id: StreamId) -> Result<(), BusError>;
}

pub type SharedBus = Arc<dyn FanoutBus>;
