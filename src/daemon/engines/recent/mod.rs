//! The recent cache: the last comments and deletions of hot streams, by sequence number.
//!
//! In: every batch of the broadcast stage, before the bus carries it. Out: the events that a
//! returning viewer missed. Engines: [`memory`]; [`redis`] is the distributed one.
//!
//! Always holds: the events kept of a stream are contiguous, so an answer of
//! [`RecentCache::after`] leaves nothing out. A deleted comment is never handed out, whether it
//! was deleted before or after the first request for it. A comment that was restored is handed out
//! at its place, and the deletions before are not. A comment that is hidden from all but its author
//! is handed out as [`RecentEvent::Own`]; the caller shows it to nobody else. A cache that may have
//! lost tombstones refuses every request that depends on them until they are restored: see
//! [`RecentCache::is_complete`].
//!
//! When full: whole streams or their oldest events are dropped. The answer is then `None`, and the
//! caller reads the log.

#[cfg(test)]
pub(crate) mod conformance;
pub mod guarded;
pub mod measured;
pub mod memory;
mod pending_tombstones;
#[cfg(feature = "engines")]
pub mod redis;

use std::sync::Arc;

use ahash::AHashMap;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::daemon::engines::StoreError;
use crate::protocol::comment::SequencedComment;
use crate::protocol::events::Removal;
use crate::protocol::{CommentId, Epoch, Seq, StreamId};

/// An event of a stream, with its sequence number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecentEvent {
    Comment(SequencedComment),
    Deleted {
        seq: Seq,
        deletion: Removal,
    },
    /// A comment that only its author is shown.
    Own(SequencedComment),
}

impl RecentEvent {
    pub fn seq(&self) -> Seq {
        match self {
            Self::Comment(comment) | Self::Own(comment) => comment.seq,
            Self::Deleted { seq, .. } => *seq,
        }
    }

    /// Returns the comment, if it is one.
    pub fn comment(&self) -> Option<&SequencedComment> {
        match self {
            Self::Comment(comment) | Self::Own(comment) => Some(comment),
            Self::Deleted { .. } => None,
        }
    }
}

/// The events of a stream in a range of its sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentPage {
    /// In order, without comments deleted since. Those hidden since from others than their authors
    /// are [`RecentEvent::Own`].
    pub events: Vec<RecentEvent>,
    /// Every event up to and including this sequence number is in `events`.
    pub covered_to: Seq,
}

/// The places of a stream's newest comments in the epoch of the log before the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierPlaces {
    pub epoch: Epoch,
    pub places: AHashMap<CommentId, Seq>,
}

/// Comments of the earlier epoch that [`RecentCache::earlier`] returns, at most. Those that may be
/// appended again are its last ones.
pub const MAX_EARLIER: usize = 10_000;

/// The state of a deletion, as far as a cache knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionState {
    /// No tombstone of it is known.
    NotDeleted,
    Deleted,
    /// It is hidden from all but its author.
    HiddenFromOthers,
    /// It was deleted, and restored since.
    Restored,
}

/// The contract.
#[async_trait]
pub trait RecentCache: Send + Sync + std::fmt::Debug + 'static {
    /// Adds all events in `from_seq..=to_seq`, sampled out or not.
    ///
    /// A range that leaves a hole behind the last one replaces everything kept of the stream. A
    /// range that is already covered is ignored. Of a range that overlaps, which a coordinator that
    /// takes over may bring, only the new part is added.
    async fn append(
        &self,
        stream_id: StreamId,
        from_seq: Seq,
        to_seq: Seq,
        events: Vec<RecentEvent>,
    ) -> Result<(), StoreError>;

    /// Returns at most `limit` events after `seq`, or `None` if the cache does not know the stream
    /// or does not reach back that far.
    async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        limit: usize,
    ) -> Result<Option<RecentPage>, StoreError>;

    /// Returns the end of the last range appended to the stream, if it is known.
    async fn head(&self, stream_id: StreamId) -> Result<Option<Seq>, StoreError>;

    /// Returns the places that the comments appended last had in an earlier epoch of the log, whose
    /// numbers mean other comments now. `None` if no earlier epoch of the stream is known: none
    /// was, it is too long ago, or the cache ends with the log that filled it.
    async fn earlier(&self, stream_id: StreamId) -> Result<Option<EarlierPlaces>, StoreError>;

    /// Records that the comment is deleted, for as long as it could still be handed out. `seq` is
    /// the place of the deletion in the log, or any place at which the comment was known to be
    /// deleted; 0 comes before all places. Ignored if the comment was restored at a later place.
    async fn add_tombstone(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError>;

    /// Like [`Self::add_tombstone`], for a comment that its author goes on to see. Changes nothing
    /// while the comment is deleted for everybody.
    async fn hide_from_others(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError>;

    /// Records that the comment was restored at a place in the log: deletions before it count no
    /// longer, those among the events included. Ignored if a comment that was restored before was
    /// deleted at a later place.
    async fn restore_comment(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError>;

    /// Returns the state of each of these comments.
    async fn deletion_states(
        &self,
        stream_id: StreamId,
        comment_ids: &[CommentId],
    ) -> Result<Vec<DeletionState>, StoreError>;

    /// Returns whether every tombstone added since the last [`Self::mark_complete`] is still known,
    /// on every server that keeps some.
    ///
    /// While one is missing, [`Self::after`] and [`Self::deletion_states`] return
    /// [`StoreError::Incomplete`] for the streams concerned. A caller that receives `false` adds
    /// the tombstones of all deletions and then calls [`Self::mark_complete`].
    async fn is_complete(&self) -> Result<bool, StoreError>;

    /// Declares that every deletion made before this caller last received `false` from
    /// [`Self::is_complete`] has its tombstone.
    ///
    /// # Errors
    /// `Incomplete` if the cache lost or refused a tombstone since then: the caller must restore
    /// all of them again.
    async fn mark_complete(&self) -> Result<(), StoreError>;

    /// Declares that tombstones are missing: incomplete until the next [`Self::mark_complete`].
    async fn mark_incomplete(&self) -> Result<(), StoreError>;
}

pub type SharedRecentCache = Arc<dyn RecentCache>;
