//! The recent cache: the last comments and deletions of hot streams, by their place in the order.
//!
//! In: every batch, from the coordinator, before the bus carries it. Out: what a viewer that comes
//! back has missed. Engines: [`memory`]; [`redis`] is the distributed one.
//!
//! Always holds: the events kept of a stream are contiguous: if [`RecentCache::after`] answers, it
//! has left nothing out. Deleted comments are never handed out, whether the deletion came before or
//! after the question was first asked. A cache that may have lost burials answers nothing about
//! comments until they are read back: see [`RecentCache::is_complete`].
//!
//! When full: whole streams or their oldest events are forgotten; the answer is then `None` and the
//! caller reads the log.

pub mod burials;
#[cfg(test)]
pub(crate) mod conformance;
pub mod guarded;
pub mod memory;
pub mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::daemon::engines::StoreError;
use crate::protocol::comment::{Deletion, SequencedComment};
use crate::protocol::{CommentId, Seq, StreamId};

/// One thing that happened on a stream, at its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecentEvent {
    Comment(SequencedComment),
    Deleted { seq: Seq, deletion: Deletion },
}

impl RecentEvent {
    pub fn seq(&self) -> Seq {
        match self {
            Self::Comment(comment) => comment.seq,
            Self::Deleted { seq, .. } => *seq,
        }
    }
}

/// What happened on a stream in a range of its sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentPage {
    /// In order, without comments deleted since.
    pub events: Vec<RecentEvent>,
    /// Everything up to and including this place is in `events`.
    pub covered_to: Seq,
}

/// The contract.
#[async_trait]
pub trait RecentCache: Send + Sync + std::fmt::Debug + 'static {
    /// Adds all that happened in `from_seq..=to_seq`, sampled out or not. A range that does not join
    /// the last one makes the cache forget what it had of the stream; one that lies below it is
    /// ignored; of one that overlaps it, as a coordinator that takes over may bring, only what is
    /// new is taken.
    async fn append(
        &self,
        stream_id: StreamId,
        from_seq: Seq,
        to_seq: Seq,
        events: Vec<RecentEvent>,
    ) -> Result<(), StoreError>;

    /// At most `limit` events after `seq`; `None` if the cache does not reach back that far or does
    /// not know the stream.
    async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        limit: usize,
    ) -> Result<Option<RecentPage>, StoreError>;

    /// The end of what was appended for the stream, if it is known.
    async fn head(&self, stream_id: StreamId) -> Result<Option<Seq>, StoreError>;

    /// Remembers, for as long as anybody might still be handed the comment, that it is deleted.
    async fn bury(&self, stream_id: StreamId, comment_id: CommentId) -> Result<(), StoreError>;

    /// Which of these comments are known to be deleted.
    async fn buried(
        &self,
        stream_id: StreamId,
        comment_ids: &[CommentId],
    ) -> Result<Vec<bool>, StoreError>;

    /// Whether everything buried since the cache was last marked complete is still known, wherever
    /// it is kept. While it is not, [`Self::after`] and [`Self::buried`] answer
    /// [`StoreError::Incomplete`] for the streams concerned. Whoever is told `false` reads back all
    /// deletions, buries them, and then calls [`Self::mark_complete`].
    async fn is_complete(&self) -> Result<bool, StoreError>;

    /// Says that everything deleted before this caller was last told `false` by
    /// [`Self::is_complete`] is buried now. An error if the cache lost, or did not take, a burial
    /// since then: it is still incomplete, and reading back begins anew.
    async fn mark_complete(&self) -> Result<(), StoreError>;

    /// Says that burials are missing: incomplete until the next [`Self::mark_complete`].
    async fn mark_incomplete(&self) -> Result<(), StoreError>;
}

pub type SharedRecentCache = Arc<dyn RecentCache>;
