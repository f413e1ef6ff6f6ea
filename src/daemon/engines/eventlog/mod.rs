//! The event log: where a comment becomes durable, and where every other stage reads it.
//!
//! In: batches of records with a topic and a key. Out: positions to the caller, records in order to
//! consumer groups, pages by position to callers that fill a gap. Engines: [`embedded`] (segment
//! files on the local disk), [`kafka`].
//!
//! Always holds:
//! - An append that returned `Ok` is durable (under the configured guarantee) and survives
//!   `kill -9` and a torn last write.
//! - Records of one key keep the order in which their appends were *called*.
//! - A consumer gets every record of its partitions at least once, in order, and resumes after its
//!   last commit. After a crash a record may be delivered twice. A record that is gone before a
//!   group reads it is told in `lc status` ([`LogTelemetry`]); none is skipped silently.
//! - Offsets of a partition grow; they need not be consecutive.
//!
//! When full: an append that would exceed the engine's bound on memory is refused at once with
//! [`LogError::Unavailable`]; the others keep their order. A full disk fails the affected appends
//! with [`LogError::Full`] and stores none of their records. It recovers by itself when there is
//! space again.

#[cfg(test)]
pub(crate) mod conformance;
pub mod dead_letter;
pub mod embedded;
mod identity;
#[cfg(feature = "engines")]
pub mod kafka;
#[cfg_attr(not(feature = "engines"), allow(dead_code, reason = "only Kafka estimates ages"))]
mod lag_history;
pub mod pages;
pub mod repeats;
mod telemetry;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::daemon::base::supervise::early_end;
use crate::daemon::base::telemetry::StageMeter;
use crate::protocol::Epoch;
use crate::protocol::admin::ConsumerLag;
pub use identity::{EarlierEpoch, LogIdentity};
pub(crate) use lag_history::LagHistory;
pub use telemetry::LogTelemetry;
pub(crate) use telemetry::{AppendSize, SkipReason, SkippedRecords, replaced_subject};

/// The topics, under the names they have on Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Comments and decisions about them, keyed by stream: the order viewers see.
    CommentEvents,
    /// Decisions about comments, keyed by user, from which reputation is computed.
    ModerationEvents,
    /// Messages of the direct path while the bus is down, keyed by stream.
    WsMessages,
    /// Records that a consumer could not process, with the reason.
    DeadLetters,
}

impl Topic {
    pub const ALL: [Self; 4] =
        [Self::CommentEvents, Self::ModerationEvents, Self::WsMessages, Self::DeadLetters];

    pub fn name(self) -> &'static str {
        match self {
            Self::CommentEvents => "comment_events",
            Self::ModerationEvents => "moderation_events",
            Self::WsMessages => "ws-messages",
            Self::DeadLetters => "dead_letters",
        }
    }
}

/// The consumer groups of the daemon. Their names are stored with the positions they commit, so
/// they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConsumerGroup {
    /// The broadcast stage. Edges read its committed position to learn how far streams were
    /// broadcast.
    Coordinator,
    /// The moderation stage.
    Moderator,
    /// The archive stage.
    Archiver,
    #[cfg(any(test, fuzzing))]
    Test(&'static str),
}

impl ConsumerGroup {
    /// The name on Kafka (behind `kafka.prefix`), on disk, and in what `lc lag` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Moderator => "moderator",
            Self::Archiver => "archiver",
            #[cfg(any(test, fuzzing))]
            Self::Test(name) => name,
        }
    }
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Records of one key share a partition and are kept in order.
    pub key: u64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// At most [`MAX_PAYLOAD_BYTES`].
    pub payload: Bytes,
}

/// A larger payload is refused with [`LogError::TooLarge`].
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// The place of a record in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub partition: u32,
    pub offset: u64,
}

/// A record as it was appended, with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub position: Position,
    pub key: u64,
    pub timestamp_ms: u64,
    pub payload: Bytes,
}

/// The offset at which a consumer group that never committed begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    Earliest,
    Latest,
}

/// The result of one poll.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Polled {
    /// In order within each partition; empty if none arrived in time.
    pub records: Vec<Record>,
    /// Partitions assigned to this member, each with the offset it reads next. The embedded engine
    /// assigns all at the first poll, Kafka whenever the group rebalances.
    pub assigned: Vec<Position>,
    /// Partitions that another member reads now. State built from them must be dropped.
    pub revoked: Vec<u32>,
}

impl Polled {
    /// Records in the meter of a stage which partitions it reads.
    pub fn record_assignment(&self, meter: &StageMeter) {
        meter.follow_assignment(self.assigned.iter().map(|at| at.partition), &self.revoked);
    }
}

/// A page read by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records of the requested key, in order.
    pub records: Vec<Record>,
    /// Every record of the key from the requested offset up to this one is in `records`.
    pub next_offset: u64,
    /// True if `next_offset` is the end of the partition.
    pub at_end: bool,
}

/// The ends of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest offset that retention has kept.
    pub earliest: u64,
    /// The offset the next record will get.
    pub end: u64,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    #[error("the disk of the event log is full: {0}")]
    Full(String),
    #[error("the event log is unavailable: {0}")]
    Unavailable(String),
    #[error("a record of {bytes} bytes exceeds the limit of {MAX_PAYLOAD_BYTES} bytes")]
    TooLarge { bytes: usize },
    #[error("the event log is damaged: {0}")]
    Corrupt(String),
    #[error("offset {wanted} is older than {earliest}, the oldest kept")]
    Expired { wanted: u64, earliest: u64 },
    #[error("the event log is closed")]
    Closed,
}

/// The contract. See the module's text for what always holds.
#[async_trait]
pub trait EventLog: Send + Sync + std::fmt::Debug + 'static {
    /// Appends a batch. Its place in the order is decided when this function is *called*, not when
    /// the future is first polled, so a caller may have several appends in flight. Resolves to the
    /// positions, in the order of the batch, once all records are durable. After an error no record
    /// of the batch counts as stored, although a distributed engine may still deliver it (at least
    /// once).
    fn append(
        &self,
        topic: Topic,
        batch: Vec<NewRecord>,
    ) -> BoxFuture<'static, Result<Vec<Position>, LogError>>;

    /// Joins a consumer group.
    async fn consume(
        &self,
        topic: Topic,
        group: ConsumerGroup,
        start: StartAt,
    ) -> Result<Box<dyn LogConsumer>, LogError>;

    /// Follows all partitions of a topic from their ends, outside any group. Every follower gets
    /// every record appended after this returned.
    async fn follow(&self, topic: Topic) -> Result<Box<dyn LogFollower>, LogError>;

    /// Reads at most `max_records` records of `key` from `offset` on, outside any group. It may
    /// return fewer or none, to bound the work of one call; continue at `next_offset`.
    async fn read(
        &self,
        topic: Topic,
        key: u64,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError>;

    /// Like [`Self::read`] for all keys of one partition.
    async fn read_partition(
        &self,
        topic: Topic,
        partition: u32,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError>;

    /// Returns the partition of a key.
    fn partition_of(&self, topic: Topic, key: u64) -> u32;

    fn partitions(&self, topic: Topic) -> u32;

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, LogError>;

    /// Succeeds if the log would accept an append, as far as can be known without one. The health
    /// check of its breaker.
    async fn ping(&self) -> Result<(), LogError> {
        self.bounds(Topic::CommentEvents, 0).await.map(drop)
    }

    /// Asks for every partition of the comments. Returns those whose server does not answer soon.
    ///
    /// # Errors
    /// If none answers.
    async fn unreachable_partitions(&self) -> Result<Vec<u32>, LogError> {
        self.bounds(Topic::CommentEvents, 0).await.map(|_| Vec::new())
    }

    /// Returns the positions at which a group continues: its last commit, if it has committed.
    async fn committed(
        &self,
        topic: Topic,
        group: ConsumerGroup,
    ) -> Result<Vec<Position>, LogError>;

    /// Returns the lag of each group that has committed, at most about a second old, without the
    /// streams.
    async fn lag(&self) -> Result<Vec<ConsumerLag>, LogError>;

    /// Returns the epoch of this log. It changes when the data is lost or replaced, and when keys
    /// move to other partitions.
    fn epoch(&self) -> Epoch;

    /// Returns the earlier epochs whose offsets of comment events go on in this one.
    fn earlier_epochs(&self) -> Vec<EarlierEpoch> {
        Vec::new()
    }

    /// Returns what nodes that share this log must agree on.
    fn identity(&self) -> LogIdentity;

    /// Resolves once the data behind this log has been replaced. Appends and reads are refused from
    /// then on: the log must be opened again, and then has a new epoch.
    fn replaced(&self) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }

    /// Makes all appends durable and closes the log. Later calls return [`LogError::Closed`].
    async fn close(&self) -> Result<(), LogError>;
}

/// One member of a consumer group.
#[async_trait]
pub trait LogConsumer: Send + std::fmt::Debug {
    /// Waits at most `max_wait` for records and returns at most `max_records`. Cancel-safe: a poll
    /// dropped before it returned has consumed nothing.
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError>;

    /// Stores that every record below the given offsets has been processed. The commit survives
    /// this process; a power failure may undo the commits of the last second.
    async fn commit(&mut self, next: &[Position]) -> Result<(), LogError>;

    /// Appends outputs to `log` and then commits. With transactions (Kafka under `exactly_once`)
    /// both happen or neither. Otherwise a crash in between makes the member process the records
    /// again. Outputs that are stored leave `outputs`, so the caller can try again with the rest
    /// after an error.
    async fn append_and_commit(
        &mut self,
        log: &dyn EventLog,
        outputs: &mut Vec<(Topic, Vec<NewRecord>)>,
        next: &[Position],
    ) -> Result<CommitOutcome, LogError>;
}

/// The outcome of [`LogConsumer::append_and_commit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    Committed,
    /// The outputs are stored but the position is not. Commit it later; do not append again.
    AppendedOnly,
}

/// Fails if a record of the batch is too large.
pub(crate) fn check_sizes(batch: &[NewRecord]) -> Result<(), LogError> {
    let mut sizes = batch.iter().map(|new| new.payload.len());
    match sizes.find(|bytes| *bytes > MAX_PAYLOAD_BYTES) {
        Some(bytes) => Err(LogError::TooLarge { bytes }),
        None => Ok(()),
    }
}

/// Runs blocking work of an engine off the runtime's own threads.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| {
        Err(LogError::Unavailable(format!("blocking work {}", early_end(&error))))
    })
}

/// Implements [`LogConsumer::append_and_commit`] for engines without transactions.
pub async fn append_then_commit(
    member: &mut dyn LogConsumer,
    log: &dyn EventLog,
    outputs: &mut Vec<(Topic, Vec<NewRecord>)>,
    next: &[Position],
) -> Result<CommitOutcome, LogError> {
    outputs.retain(|(_, records)| !records.is_empty());
    while let Some((topic, records)) = outputs.first() {
        log.append(*topic, records.clone()).await?;
        outputs.remove(0);
    }
    match member.commit(next).await {
        Ok(()) => Ok(CommitOutcome::Committed),
        Err(LogError::Full(_) | LogError::Unavailable(_)) => Ok(CommitOutcome::AppendedOnly),
        Err(error) => Err(error),
    }
}

/// Reads a topic outside any group, from its end at the time of its creation.
#[async_trait]
pub trait LogFollower: Send + std::fmt::Debug {
    /// Waits at most `max_wait` for records and returns at most `max_records`, in order within each
    /// partition. Cancel-safe like [`LogConsumer::poll`].
    async fn next(
        &mut self,
        max_records: usize,
        max_wait: Duration,
    ) -> Result<Vec<Record>, LogError>;
}

/// The log that all stages share.
pub type SharedLog = Arc<dyn EventLog>;
