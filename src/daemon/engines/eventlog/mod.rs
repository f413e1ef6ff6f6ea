//! The event log: where a comment becomes durable, and where every other stage reads it.
//!
//! In: batches of records with a topic and a key. Out: positions to the writer, records in order to
//! named consumers, pages by position to whoever repairs a gap. Engines: [`embedded`] (segment files
//! on the local disk), [`kafka`].
//!
//! Always holds:
//! - An append that returned `Ok` is durable (under the engine's configured guarantee) and stays so
//!   through `kill -9` and a torn last write.
//! - Records of one key keep the order in which their appends were *called*.
//! - A consumer gets every record of its partitions at least once, in order, and resumes after its
//!   last commit. Delivered twice is possible after a crash, skipped is not.
//! - Offsets of a partition grow; they need not be consecutive.
//!
//! When full: an append that would exceed the engine's bound in memory is refused at once with
//! [`LogError::Unavailable`], the others keep their order; a disk without room answers
//! [`LogError::Full`] for the records concerned, stores none of them, and recovers by itself when
//! there is room again.

#[cfg(test)]
pub(crate) mod conformance;
pub mod dead_letter;
pub mod embedded;
pub mod kafka;
pub mod pages;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::protocol::Epoch;
use crate::protocol::admin::ConsumerLag;

/// The topics, under the names they have on Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Comments and decisions about them, keyed by stream: the order viewers see.
    CommentEvents,
    /// Decisions about comments, keyed by user: what reputation is made of.
    ModerationEvents,
    /// Keyed by event type.
    AnalyticsEvents,
    /// Direct fan-out while the bus is down, keyed by stream.
    WsMessages,
    /// Records a consumer could not process, with the reason.
    DeadLetters,
}

impl Topic {
    pub const ALL: [Self; 5] = [
        Self::CommentEvents,
        Self::ModerationEvents,
        Self::AnalyticsEvents,
        Self::WsMessages,
        Self::DeadLetters,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::CommentEvents => "comment_events",
            Self::ModerationEvents => "moderation_events",
            Self::AnalyticsEvents => "analytics_events",
            Self::WsMessages => "ws-messages",
            Self::DeadLetters => "dead_letters",
        }
    }
}

/// The consumer groups of the daemon. Their names are stored with the positions they commit, so they
/// never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConsumerGroup {
    /// The broadcast stage. Edges read its committed position to learn how far streams were
    /// broadcast.
    Coordinator,
    /// The moderation stage.
    Moderator,
    /// The archive stage.
    Archiver,
    #[cfg(test)]
    Test(&'static str),
}

impl ConsumerGroup {
    /// The name on Kafka (behind `kafka.prefix`), on disk, and in what `lc lag` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Moderator => "moderator",
            Self::Archiver => "archiver",
            #[cfg(test)]
            Self::Test(name) => name,
        }
    }
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Records of one key share a partition and so an order.
    pub key: u64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// At most [`MAX_PAYLOAD_BYTES`].
    pub payload: Bytes,
}

/// A larger payload is refused with [`LogError::TooLarge`].
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub partition: u32,
    pub offset: u64,
}

/// A record as it was appended, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub position: Position,
    pub key: u64,
    pub timestamp_ms: u64,
    pub payload: Bytes,
}

/// Where a consumer group that never committed begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    Earliest,
    Latest,
}

/// What one poll brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Polled {
    /// In order within each partition; empty when nothing came in time.
    pub records: Vec<Record>,
    /// Partitions this member reads from now on, each with the offset it will read next. The
    /// embedded engine assigns all at the first poll; Kafka whenever the group rebalances.
    pub assigned: Vec<Position>,
    /// Partitions another member reads from now on: forget what was built from them.
    pub revoked: Vec<u32>,
}

/// A page read by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records of the wanted key, in order.
    pub records: Vec<Record>,
    /// Every record of the key below this offset and at or above the one asked for is in `records`.
    pub next_offset: u64,
    /// Whether `next_offset` is the end of the partition.
    pub at_end: bool,
}

/// The ends of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest offset that retention has left.
    pub earliest: u64,
    /// The offset the next record will get.
    pub end: u64,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    #[error("the disk of the event log is full: {0}")]
    Full(String),
    #[error("the event log does not answer: {0}")]
    Unavailable(String),
    #[error("a record of {bytes} bytes is larger than the {MAX_PAYLOAD_BYTES} a record may have")]
    TooLarge { bytes: usize },
    #[error("the event log is damaged: {0}")]
    Corrupt(String),
    #[error("offset {wanted} is older than the oldest kept, {earliest}")]
    Expired { wanted: u64, earliest: u64 },
    #[error("the event log is closed")]
    Closed,
}

/// The contract. See the module's text for what always holds.
#[async_trait]
pub trait EventLog: Send + Sync + std::fmt::Debug + 'static {
    /// Appends a batch. It takes its place in the order when this function is *called*, not when the
    /// future is first polled, so a caller may have several on their way. Resolves, with the
    /// positions in the order of the batch, once all of it is durable. On an error nothing of the
    /// batch counts as stored (a distributed engine may still show it: at least once).
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

    /// Follows a topic from its end on, outside any group: every follower gets every record appended
    /// after this returned, of all partitions.
    async fn follow(&self, topic: Topic) -> Result<Box<dyn LogFollower>, LogError>;

    /// Reads at most `max_records` records of `key` from `offset` on, outside any group. It may stop
    /// early, with fewer or none, to bound the work of one call: go on at `next_offset`.
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

    /// The partition of a key.
    fn partition_of(&self, topic: Topic, key: u64) -> u32;

    fn partitions(&self, topic: Topic) -> u32;

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, LogError>;

    /// Where a group would go on reading: its last commit, if it ever committed.
    async fn committed(
        &self,
        topic: Topic,
        group: ConsumerGroup,
    ) -> Result<Vec<Position>, LogError>;

    /// How far each group that ever committed is behind, as it was at most about a second ago.
    async fn lag(&self) -> Result<Vec<ConsumerLag>, LogError>;

    /// The identity of this log; another one after its data was lost or replaced.
    fn epoch(&self) -> Epoch;

    /// Makes everything appended durable and closes. Later calls answer [`LogError::Closed`].
    async fn close(&self) -> Result<(), LogError>;
}

/// One member of a consumer group.
#[async_trait]
pub trait LogConsumer: Send + std::fmt::Debug {
    /// Waits at most `max_wait` for records and returns at most `max_records`. Cancel-safe: a poll
    /// dropped before it returned has consumed nothing.
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError>;

    /// Stores that everything below each given offset of its partition is done with. It survives this
    /// process at once; a power failure may take the commits of the last second back.
    async fn commit(&mut self, next: &[Position]) -> Result<(), LogError>;

    /// Appends to `log` what this member made of what it read, and then commits. Where the engine
    /// has transactions (Kafka under `exactly_once`) both happen or neither; elsewhere a crash in
    /// between has the outputs made again. On an error the outputs do not count as stored.
    async fn append_and_commit(
        &mut self,
        log: &dyn EventLog,
        outputs: &[(Topic, Vec<NewRecord>)],
        next: &[Position],
    ) -> Result<CommitOutcome, LogError>;
}

/// How far an [`LogConsumer::append_and_commit`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    Committed,
    /// The outputs are stored, the position could not be: commit it later, do not append again.
    AppendedOnly,
}

/// [`LogConsumer::append_and_commit`] for engines without transactions.
pub async fn append_then_commit(
    member: &mut dyn LogConsumer,
    log: &dyn EventLog,
    outputs: &[(Topic, Vec<NewRecord>)],
    next: &[Position],
) -> Result<CommitOutcome, LogError> {
    for (topic, records) in outputs.iter().filter(|(_, records)| !records.is_empty()) {
        log.append(*topic, records.clone()).await?;
    }
    match member.commit(next).await {
        Ok(()) => Ok(CommitOutcome::Committed),
        Err(LogError::Full(_) | LogError::Unavailable(_)) => Ok(CommitOutcome::AppendedOnly),
        Err(error) => Err(error),
    }
}

/// Reads a topic by itself, from where it ended when this was made.
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

/// The log every stage shares.
pub type SharedLog = Arc<dyn EventLog>;
