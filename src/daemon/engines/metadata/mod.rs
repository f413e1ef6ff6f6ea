//! The metadata store: streams, users, sanctions, the review queue, the audit log.
//!
//! In: changes by operators, the API and moderation. Out: the same data, by id or in lists.
//! Engines: [`sqlite`] for one machine, [`postgres`] for many nodes.
//!
//! Always holds: each method is one transaction; whatever returned `Ok` is durable. A change by an
//! operator and its audit entry are stored together or not at all.
//!
//! When full: [`crate::daemon::engines::StoreError::Unavailable`], and nothing changed.

#[cfg(test)]
pub(crate) mod conformance;
#[cfg(any(test, fuzzing))]
pub(crate) mod in_memory;
#[cfg(feature = "engines")]
pub mod postgres;
mod rows;
pub mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;

use crate::daemon::engines::StoreError;
use crate::protocol::admin::{AuditEntry, ReviewItem, Sanction, SanctionKind};
use crate::protocol::events::Decision;
use crate::protocol::stream::{NewStream, Stream, StreamPatch};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, StreamId, UserId};

/// An entry for the audit log, before it has a number.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAudit {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    pub actor: String,
    pub action: &'static str,
    /// The changed object, such as `user 42`; see [`Self::of_stream`] for streams.
    pub target: String,
    pub detail: serde_json::Value,
}

impl NewAudit {
    /// Returns the same entry, about this stream.
    pub fn of_stream(mut self, stream_id: StreamId) -> Self {
        self.target = format!("stream {stream_id}");
        self
    }
}

/// A user as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    pub user_id: UserId,
    pub name: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub seen_at: u64,
}

/// The most users that [`MetadataStore::users_named`] returns: enough to see that a name is not
/// unique.
pub const MAX_USERS_NAMED: usize = 100;

/// The contract.
#[async_trait]
pub trait MetadataStore: Send + Sync + std::fmt::Debug + 'static {
    // streams
    /// Creates a stream at the audit entry's time and returns the entry's number. Without a
    /// requested id the stream gets the one above the highest in use. [`StoreError::Exists`] if the
    /// requested id is taken. The entry is stored [about the stream](NewAudit::of_stream), because
    /// only the store knows an id it assigned.
    async fn create_stream(
        &self,
        new: NewStream,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError>;
    /// Changes the fields that the patch names, at the audit entry's time, and returns the entry's
    /// number. [`StoreError::NotFound`] for an unknown stream.
    async fn update_stream(
        &self,
        stream_id: StreamId,
        patch: StreamPatch,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError>;
    async fn stream(&self, stream_id: StreamId) -> Result<Option<Stream>, StoreError>;
    /// Returns all streams, ordered by id.
    async fn streams(&self) -> Result<Vec<Stream>, StoreError>;
    /// Returns the rates that operators fixed, ordered by stream.
    async fn throttle_overrides(&self) -> Result<Vec<(StreamId, SampleRate)>, StoreError>;
    /// Fixes the rate of a stream; `None` lets the throttle decide again. [`StoreError::NotFound`]
    /// for an unknown stream.
    async fn set_throttle_override(
        &self,
        stream_id: StreamId,
        rate: Option<SampleRate>,
        audit: NewAudit,
    ) -> Result<u64, StoreError>;

    // users
    /// Records the names of users. The newest name of a user wins.
    async fn remember_users(&self, users: &[UserRecord]) -> Result<(), StoreError>;
    async fn user(&self, user_id: UserId) -> Result<Option<UserRecord>, StoreError>;
    /// Returns the users of exactly that name, the last seen first, at most [`MAX_USERS_NAMED`].
    /// Names are not unique.
    async fn users_named(&self, name: &str) -> Result<Vec<UserRecord>, StoreError>;

    // sanctions
    /// Puts a sanction in force, replacing one of the same kind, and returns the audit entry's
    /// number.
    async fn sanction(&self, sanction: Sanction, audit: NewAudit) -> Result<u64, StoreError>;
    /// Lifts sanctions of a user; [`StoreError::NotFound`] if none was in force at the audit
    /// entry's time.
    async fn lift(
        &self,
        user_id: UserId,
        kinds: &[SanctionKind],
        audit: NewAudit,
    ) -> Result<u64, StoreError>;
    /// Returns the sanctions in force at `now_ms`, newest first.
    async fn sanctions(&self, now_ms: u64) -> Result<Vec<Sanction>, StoreError>;

    // moderation
    /// Queues a comment for review. Queueing it again changes nothing.
    async fn queue_review(&self, item: ReviewItem) -> Result<(), StoreError>;
    /// Returns undecided items, oldest first.
    async fn review_queue(&self, limit: usize) -> Result<Vec<ReviewItem>, StoreError>;
    async fn review_count(&self) -> Result<u64, StoreError>;
    /// Records the decision and removes the item from the queue. [`StoreError::NotFound`] if it is
    /// not queued.
    async fn decide_review(
        &self,
        comment_id: CommentId,
        decision: Decision,
        audit: NewAudit,
    ) -> Result<(u64, ReviewItem), StoreError>;
    /// Returns an item to the queue because its decision could not be carried out.
    /// [`StoreError::NotFound`] unless it is decided.
    async fn reopen_review(
        &self,
        comment_id: CommentId,
        audit: NewAudit,
    ) -> Result<u64, StoreError>;

    // audit
    /// Records an action that changes nothing else in the store, and returns the entry's number.
    async fn audit(&self, audit: NewAudit) -> Result<u64, StoreError>;
    /// Returns entries, newest first.
    async fn audit_log(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError>;

    /// Succeeds if the store answers. The breaker's health check.
    async fn ping(&self) -> Result<(), StoreError>;
}

pub type SharedMetadataStore = Arc<dyn MetadataStore>;
