//! Comments in Cassandra or ScyllaDB: the engine for many machines.
//!
//! It fulfils the contract, with the tables of [`schema`]:
//!
//! - A comment is in `comments`, in the partition of its stream and of the ten seconds in which it
//!   was created ([`bucket`]). `stream_periods` and `stream_buckets` list the existing partitions,
//!   so that nothing reads empty ones. `bucket_streams` lists the streams of a bucket, so that a
//!   comment can be found by its id.
//! - The order of pages, which is that of the log, is in `stream_order` ([`order`]). Comments that
//!   a version without this table stored come after all others, in the order of their times.
//! - The order of the replies to a comment, which is the same, is in `comment_replies`.
//! - A deletion writes its own columns in the comment's row, and a row of `tombstones`, which is
//!   ordered by time. No insert writes those columns, so either may come first, or be repeated. Two
//!   more columns hold the places in the log of the last deletion and of the last restoration; the
//!   time of their writes is the place itself.
//! - Nothing is read before it is written and no lightweight transaction is used. Writing again, in
//!   any order, results in the same rows, because the time of a write is computed from its contents
//!   ([`lifetime`]).
//! - [`super::CommentStore::write`] is not one transaction per batch: if it fails, some rows may be
//!   stored, and writing the batch again completes it. The positions are written last, each with
//!   its offset as the time of the write: the clocks of the servers decide nothing.
//! - Rows that this process has written may be lost, with the keyspace or by hand. When a position
//!   shows that, everything that this process remembers as written is forgotten. A keyspace that is
//!   gone is created again, as it is at start.
//! - `store.retention` is a `TTL`. Pages omit older comments at once; comments written under a
//!   longer retention stay on disk for that time.
//!
//! Writes wait for `LOCAL_QUORUM`, reads for `LOCAL_ONE`.
//!
//! When the server is away: every request gives up after `cassandra.timeout`, and the first failed
//! request fails the call. The driver reconnects by itself, first at once and later every ten
//! seconds.
//!
//! Bounds: [`write::IN_FLIGHT`] requests per write; one page of rows per bucket and at most
//! [`waves::LARGEST_WAVE`] places at a time per read; the memory of [`index`].

mod bucket;
mod check;
mod connect;
mod index;
mod lifetime;
mod lookup;
mod order;
mod page;
mod place;
mod positions;
mod schema;
mod settings;
mod statements;
#[cfg(test)]
mod tests;
mod tombstones;
mod waves;
mod write;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use scylla::client::session::Session;
use scylla::response::query_result::QueryRowsResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;

use self::index::Listed;
use self::lifetime::Lifetime;
use self::positions::KnownLogs;
use self::statements::Statements;
use super::{
    ArchiveBatch, CommentKey, CommentStore, MAX_COUNTED_REPLIES, StorePositions, StoredComment,
    Tombstone,
};
use crate::daemon::base::clock::{Clock as _, SystemClock};
use crate::daemon::base::config::CassandraConfig;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::eventlog::Position;
use crate::protocol::{CommentId, Epoch, SequencedComment, StreamId, UserId};

/// The engine. Clones share the connections, which end with the last clone.
#[derive(Clone)]
pub struct CassandraComments {
    inner: Arc<Inner>,
}

struct Inner {
    session: Session,
    statements: Statements,
    lifetime: Lifetime,
    config: CassandraConfig,
    listed: Listed,
    logs: KnownLogs,
    /// When comments without a place were last stored, if ever.
    unplaced_until_ms: Mutex<Option<u64>>,
    about: String,
}

impl CassandraComments {
    /// Connects, and creates the keyspace and the tables if they are absent. A comment is kept for
    /// `retention` after its creation; zero keeps it forever.
    ///
    /// Errors name the setting that is wrong: `cassandra.nodes` when none answers within
    /// `cassandra.timeout`, `cassandra.username`, `cassandra.tls_ca`, `cassandra.datacenter`,
    /// `cassandra.keyspace`, `store.retention`.
    pub async fn open(config: &CassandraConfig, retention: Duration) -> Result<Self, StoreError> {
        let lifetime = Lifetime::new(retention)?;
        let session = connect::connect(config).await?;
        schema::bring_up_to_date(&session, config, lifetime).await?;
        // The driver has no timeout for preparing.
        let preparing = Statements::prepare(&session, &config.keyspace);
        let statements =
            tokio::time::timeout(config.timeout, preparing).await.map_err(|_| {
                unavailable(format!(
                    "`cassandra.nodes` did not prepare statements within `cassandra.timeout` ({})",
                    humantime::format_duration(config.timeout)
                ))
            })??;
        let unplaced_until_ms = schema::unplaced_until_ms(&session, &config.keyspace).await?;
        let about = connect::about(&session, config);
        let listed = Listed::default();
        let logs = KnownLogs::default();
        let unplaced_until_ms = Mutex::new(unplaced_until_ms);
        let config = config.clone();
        let inner =
            Inner { session, statements, lifetime, config, listed, logs, unplaced_until_ms, about };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl CassandraComments {
    /// Tries the store without creating its keyspace or tables. Returns a sentence that describes
    /// the cluster.
    pub async fn check(config: &CassandraConfig) -> Result<String, StoreError> {
        check::check(config).await
    }
}

impl std::fmt::Debug for CassandraComments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CassandraComments").field("about", &self.inner.about).finish()
    }
}

#[async_trait]
impl CommentStore for CassandraComments {
    async fn write(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        self.inner.write(batch).await
    }

    async fn positions(
        &self,
        epoch: Epoch,
        known: &BTreeMap<u32, CommentKey>,
    ) -> Result<StorePositions, StoreError> {
        self.inner.positions(epoch, known).await
    }

    async fn other_positions(&self, epoch: Epoch) -> Result<Vec<(Epoch, Position)>, StoreError> {
        self.inner.other_positions(epoch).await
    }

    async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        self.inner.page(None, stream_id, before, limit).await
    }

    async fn page_for(
        &self,
        reader: UserId,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        self.inner.page(Some(reader), stream_id, before, limit).await
    }

    async fn replies(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        self.inner.replies(reader, parent, before, limit).await
    }

    async fn reply_count(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
    ) -> Result<usize, StoreError> {
        let counted = self.inner.replies(reader, parent, None, MAX_COUNTED_REPLIES).await?;
        Ok(counted.len())
    }

    async fn first_since(
        &self,
        stream_id: StreamId,
        since_ms: u64,
    ) -> Result<Option<CommentId>, StoreError> {
        self.inner.first_since(stream_id, since_ms).await
    }

    async fn hidden_authors(&self, stream_id: StreamId) -> Result<Vec<UserId>, StoreError> {
        self.inner.hidden_authors(stream_id).await
    }

    async fn get(&self, comment_id: CommentId) -> Result<Option<StoredComment>, StoreError> {
        self.inner.find(comment_id).await
    }

    async fn tombstones_since(
        &self,
        since_ms: u64,
        limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError> {
        self.inner.tombstones_since(since_ms, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let ping = &self.inner.statements.ping;
        let written = self.inner.session.execute_unpaged(ping, (schema::VERSION,)).await;
        written.map(drop).map_err(unavailable)
    }
}

impl Inner {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms()
    }

    /// Reads one page of rows, and the state for the next page.
    async fn read(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        page_rows: i32,
        from: PagingState,
    ) -> Result<(QueryRowsResult, Option<PagingState>), StoreError> {
        let mut statement = statement.clone();
        statement.set_page_size(page_rows);
        let read = self.session.execute_single_page(&statement, values, from).await;
        let (result, more) = read.map_err(unavailable)?;
        let more = match more {
            PagingStateResponse::HasMorePages { state } => Some(state),
            PagingStateResponse::NoMorePages => None,
        };
        Ok((result.into_rows_result().map_err(corrupt)?, more))
    }
}

/// Converts a number for a `BIGINT` column. Larger numbers do not occur; they are capped.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn natural(integer: i64) -> Result<u64, StoreError> {
    u64::try_from(integer).map_err(|_| corrupt(format!("a negative number, {integer}")))
}

fn unavailable(error: impl Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn corrupt(error: impl Display) -> StoreError {
    StoreError::Corrupt(error.to_string())
}
