//! The comment store: every accepted comment, for good (or as long as retention says).
//!
//! In: batches from the archiver. Out: newest-first pages of a stream. Engines: [`sqlite`] for one
//! machine; [`postgres`] and Cassandra/ScyllaDB for many nodes.
//!
//! Always holds: inserting a comment again changes nothing; marking a comment deleted works before
//! and after it is inserted, and again. Pages are ordered by comment id (creation time), newest
//! first, and never show a deleted or a shadow-banned comment. What is older than [`retention`] goes
//! by itself, its tombstone never before it; written again, it need not come back.
//!
//! When full: [`crate::daemon::engines::StoreError::Unavailable`]; nothing of the batch counts as stored.

pub mod cassandra;
#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
pub(crate) mod in_memory;
pub mod postgres;
pub mod retention;
pub mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;

use crate::daemon::engines::StoreError;
use crate::protocol::comment::Comment;
use crate::protocol::{CommentId, Seq, SequencedComment, StreamId};

/// A comment on its way into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedComment {
    pub comment: Arc<Comment>,
    pub seq: Seq,
    /// Kept, and shown on no page.
    pub shadow: bool,
}

/// A comment that must not be shown any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    pub reason: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub deleted_at: u64,
}

/// What the store knows of one comment, deleted or not.
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

    /// At most `limit` (1 to 1000) comments of a stream older than `before`, or the newest, newest
    /// first. `before` need not exist.
    async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError>;

    /// One comment by id, deleted ones included. For a person's single request: an engine may look in
    /// every stream.
    async fn get(&self, comment_id: CommentId) -> Result<Option<StoredComment>, StoreError>;

    /// Tombstones made at or after `since_ms`, oldest first, at most `limit`: what the recent cache
    /// must know at start.
    async fn tombstones_since(
        &self,
        since_ms: u64,
        limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError>;

    /// Comments kept of a stream, deleted and shadow-banned ones included.
    async fn count(&self, stream_id: StreamId) -> Result<u64, StoreError>;

    /// Whether it answers: the breaker's health check.
    async fn ping(&self) -> Result<(), StoreError>;
}

pub type SharedCommentStore = Arc<dyn CommentStore>;
