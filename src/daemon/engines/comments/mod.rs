//! The comment store: every accepted comment, kept forever or as long as retention says.
//!
//! In: batches from the archiver. Out: pages of a stream, newest first. Engines: [`sqlite`] for one
//! machine; [`postgres`] and [`cassandra`] (also ScyllaDB) for many nodes.
//!
//! Always holds: inserting a comment again changes nothing; marking a comment as deleted or as
//! restored works before and after it is inserted, and again. Of all these marks, the one that
//! comes last in the log counts, in whatever order they are written. A deleted comment keeps its
//! text, which [`CommentStore::get`] returns to moderators. Pages are ordered by the log's
//! sequence, newest first. They never show a deleted comment, and one that is hidden from others
//! only to its author. Comments of an older log, one of another epoch, come after all of a newer
//! one. Times are only shown, so a wrong clock changes no order. The store knows how far it has
//! stored each partition of the log, whatever a consumer group says: see
//! [`CommentStore::positions`]. Comments older than [`retention`] are removed in the background,
//! never after their tombstones; one that is written again may be ignored.
//!
//! When full: [`crate::daemon::engines::StoreError::Unavailable`]; nothing of the batch counts as
//! stored.

#[cfg(feature = "engines")]
pub mod cassandra;
#[cfg(test)]
pub(crate) mod conformance;
#[cfg(any(test, fuzzing))]
pub(crate) mod in_memory;
mod marks;
pub mod measured;
#[cfg(feature = "engines")]
pub mod postgres;
pub mod retention;
mod rows;
pub mod sqlite;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::eventlog::Position;
use crate::protocol::comment::Comment;
use crate::protocol::events::HiddenFrom;
use crate::protocol::{CommentId, Epoch, Seq, SequencedComment, StreamId, UserId};

/// Ids that [`CommentStore::first_since`] looks at.
const SINCE_COMMENTS: usize = 64;

/// Returns the first id that a comment of a time could have.
fn first_id_at(unix_ms: u64) -> CommentId {
    CommentId::from_unix_ticks(unix_ms.saturating_mul(10_000), 0, [0; 6])
}

/// A comment to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedComment {
    pub comment: Arc<Comment>,
    pub seq: Seq,
    /// Shown to its author only.
    pub shadow: bool,
}

/// Marks a comment as deleted: it must not be shown any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    pub reason: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub deleted_at: u64,
    pub hidden_from: HiddenFrom,
}

/// A deletion to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedDeletion {
    pub tombstone: Tombstone,
    /// The place of the deletion in the log, not of the comment.
    pub seq: Seq,
    /// The author of the comment.
    pub author: UserId,
}

/// Marks a comment as restored: deletions before this place in the log count no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedRestoration {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    pub seq: Seq,
}

/// One write of the archiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveBatch {
    /// The log that everything in the batch was read from.
    pub epoch: Epoch,
    pub comments: Vec<ArchivedComment>,
    pub deletions: Vec<ArchivedDeletion>,
    pub restorations: Vec<ArchivedRestoration>,
    /// Stored together with the rows, or after them.
    pub archived: Vec<Archived>,
}

impl ArchiveBatch {
    /// Returns a batch without contents.
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            comments: Vec::new(),
            deletions: Vec::new(),
            restorations: Vec::new(),
            archived: Vec::new(),
        }
    }

    /// Returns the authors of comments that the batch hides from others, each once per stream, in
    /// the order of their keys.
    fn hidden_authors(&self) -> BTreeSet<(StreamId, UserId)> {
        let shadowed = self.comments.iter().filter(|row| row.shadow);
        let shadowed = shadowed.map(|row| (row.comment.stream_id, row.comment.user_id));
        let is_hidden = |row: &&ArchivedDeletion| row.tombstone.hidden_from == HiddenFrom::Others;
        let hidden = self.deletions.iter().filter(is_hidden);
        shadowed.chain(hidden.map(|row| (row.tombstone.stream_id, row.author))).collect()
    }
}

/// The store's position in a partition of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archived {
    /// Everything before this is stored.
    pub next: Position,
    /// The newest comment of the partition in this batch. While the store has a position but not
    /// this comment, somebody has deleted rows.
    pub newest: Option<CommentKey>,
    /// True if the store begins again at `next`, because it lost what was before its position.
    pub rewound: bool,
}

/// A comment in the comment tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommentKey {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
}

/// The store's own positions in one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorePositions {
    /// At most one per partition. A partition whose rows are gone has none.
    pub next: Vec<Position>,
    /// True if the store has comments of a version that stored no positions.
    pub has_unplaced: bool,
}

/// One comment as stored, deleted or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredComment {
    pub comment: SequencedComment,
    pub stream_id: StreamId,
    /// Deleted, or hidden from others after it was shown.
    pub deleted: bool,
    /// If it is deleted: for others only, so that its author goes on to see it.
    pub only_hidden: bool,
    /// Hidden from others from the beginning.
    pub shadow: bool,
}

/// The number at which [`CommentStore::reply_count`] stops.
pub const MAX_COUNTED_REPLIES: usize = 1000;

/// The contract.
#[async_trait]
pub trait CommentStore: Send + Sync + std::fmt::Debug + 'static {
    /// Stores a batch in one transaction, or the positions last.
    async fn write(&self, batch: &ArchiveBatch) -> Result<(), StoreError>;

    /// Returns how far the store has the log of this epoch. `known` are comments that the store had
    /// before, at most one per partition of the log: a partition whose comment is gone has no
    /// position, even if newer comments were stored since.
    async fn positions(
        &self,
        epoch: Epoch,
        known: &BTreeMap<u32, CommentKey>,
    ) -> Result<StorePositions, StoreError>;

    /// Returns how far the store has the logs of all other epochs: their positions whose newest
    /// comment is still there.
    async fn other_positions(&self, epoch: Epoch) -> Result<Vec<(Epoch, Position)>, StoreError>;

    /// Returns at most `limit` (1 to 1000) comments of a stream that come before `before` in the
    /// log, or the newest ones, newest first. An unknown `before` stands for the newest comment
    /// with an older id.
    async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError>;

    /// Returns a page like [`Self::page`] for a reader, who is also shown the reader's own comments
    /// that are hidden from others.
    async fn page_for(
        &self,
        reader: UserId,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError>;

    /// Returns at most `limit` (1 to 1000) replies to a comment that come before `before` in the
    /// log, or the newest ones, newest first: those that are on the pages of a reader or, without
    /// one, on those for everybody. An unknown `before` stands as in [`Self::page`]. The parent is
    /// not looked up: it may be deleted, or have never existed.
    async fn replies(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError>;

    /// Returns the number of all replies that [`Self::replies`] shows a reader page by page. It
    /// stops at [`MAX_COUNTED_REPLIES`]: there may be more then.
    async fn reply_count(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
    ) -> Result<usize, StoreError>;

    /// Returns the comment before which a page ends that shows a stream as it was just before a
    /// time, in milliseconds since the Unix epoch: of the next 64 comments with ids at or after
    /// it, the one that comes first in the log. `None` if the stream has no such comment. Several
    /// are looked at because one that was held for review has an old id at a later place.
    async fn first_since(
        &self,
        stream_id: StreamId,
        since_ms: u64,
    ) -> Result<Option<CommentId>, StoreError>;

    /// Returns the authors of comments of a stream that are, or once were, hidden from others. For
    /// all other readers, [`Self::page`] returns what [`Self::page_for`] does.
    async fn hidden_authors(&self, stream_id: StreamId) -> Result<Vec<UserId>, StoreError>;

    /// Returns one comment by id, deleted ones included. Meant for a person's single request: an
    /// engine may look in every stream.
    async fn get(&self, comment_id: CommentId) -> Result<Option<StoredComment>, StoreError>;

    /// Returns at most `limit` tombstones of deleted comments, made at or after `since_ms`, oldest
    /// first. Of several deletions of a comment, one is listed. The recent cache needs them at
    /// start.
    async fn tombstones_since(
        &self,
        since_ms: u64,
        limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError>;

    /// Succeeds if the store would accept a write. The breaker's health check.
    async fn ping(&self) -> Result<(), StoreError>;
}

pub type SharedCommentStore = Arc<dyn CommentStore>;
