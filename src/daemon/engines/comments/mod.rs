//! The comment store: every accepted comment, kept forever or as long as retention says.
//!
//! In: batches from the archiver. Out: pages of a stream, newest first. Engines: [`sqlite`] for one
//! machine; [`postgres`] and [`cassandra`] (also ScyllaDB) for many nodes.
//!
//! Always holds: inserting a comment again changes nothing; marking a comment as deleted works
//! before and after it is inserted, and again. Pages are ordered by comment id (creation time),
//! newest first, and never show a deleted or a shadow-banned comment. Comments older than
//! [`retention`] are removed in the background, never after their tombstones; one that is written
//! again may be ignored.
//!
//! When full: [`crate::daemon::engines::StoreError::Unavailable`]; nothing of the batch counts as
//! stored.

#[cfg(feature = "engines")]
pub mod cassandra;
#[cfg(test)]
pub(crate) mod conformance;
#[cfg(any(test, fuzzing))]
pub(crate) mod in_memory;
#[cfg(feature = "engines")]
pub mod postgres;
pub mod retention;
mod rows;
pub mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;

use crate::daemon::engines::StoreError;
use crate::protocol::comment::Comment;
use crate::protocol::{CommentId, Seq, SequencedComment, StreamId};

/// A comment to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedComment {
    pub comment: Arc<Comment>,
    pub seq: Seq,
    /// Kept, but shown on no page.
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
}

/// One comment as stored, deleted or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredComment {
    pub comment: SequencedComment,
    pub stream_id: StreamId,
    pub deleted: bool,
    pub shadow: bool,
}

/// The contract.
#[async_trait]
pub trait CommentStore: Send + Sync + std::fmt::Debug + 'static {
    /// Stores comments and tombstones in one transaction (or batch).
    async fn write(
        &self,
        comments: &[ArchivedComment],
        tombstones: &[Tombstone],
    ) -> Result<(), StoreError>;

    /// Returns at most `limit` (1 to 1000) comments of a stream that are older than `before`, or
    /// the newest ones, newest first. `before` need not exist.
    async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError>;

    /// Returns one comment by id, deleted ones included. Meant for a person's single request: an
    /// engine may look in every stream.
    async fn get(&self, comment_id: CommentId) -> Result<Option<StoredComment>, StoreError>;

    /// Returns at most `limit` tombstones made at or after `since_ms`, oldest first. The recent
    /// cache needs them at start.
    async fn tombstones_since(
        &self,
        since_ms: u64,
        limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError>;

    /// Returns the number of comments kept of a stream, deleted and shadow-banned ones included.
    async fn count(&self, stream_id: StreamId) -> Result<u64, StoreError>;

    /// Succeeds if the store answers. The breaker's health check.
    async fn ping(&self) -> Result<(), StoreError>;
}

pub type SharedCommentStore = Arc<dyn CommentStore>;
