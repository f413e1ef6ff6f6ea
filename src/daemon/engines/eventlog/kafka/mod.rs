//! The event log on Kafka.
//!
//! In: batches from any task. Out: positions, once the brokers have the records; records to
//! consumer groups, to followers, and to readers by position.
//!
//! Always holds:
//! - **Topics** are those of the contract under `kafka.prefix`. Missing ones are created at start;
//!   an existing one keeps its settings. A record's key is written as eight bytes, which alone
//!   decide its partition ([`topics`]); its timestamp is the record's.
//! - **Offsets** are Kafka's plus one, because `seq` 0 means "nothing yet" ([`offsets`]).
//!   Transaction markers take offsets too, so the offsets of records need not be consecutive.
//! - **Order** of a key is the order of the calls: a batch enters its queue before `append`
//!   returns.
//! - **Guarantee** `at_least_once`: all in-sync replicas have an acknowledged record, and retries
//!   neither repeat nor reorder. `at_most_once`: the leader has it, and nothing is sent twice.
//!   `exactly_once`: appends are transactions, grouped by what waits.
//! - **Groups** are named `kafka.prefix` + group and rebalance cooperatively: a member continues to
//!   read the partitions it keeps, and the records of those it loses leave its queue at once
//!   ([`consumer_thread`], [`prefetch`]).
//! - **Epoch** is made of the id that Kafka gave the topic `comment_events` when it was created,
//!   and of its number of partitions ([`native`]). Both are compared once per second. When one of
//!   them changes, appends and reads are refused until the log has been opened again with the new
//!   epoch ([`topic_watch`]). Another topic that is created again is only told and taken into use;
//!   while it is missing, only appends to it are refused.
//! - **Positions** of groups carry the id of their topic. A position of another topic is not used.
//!   A consumer whose position is outside its partition reports the records it skips
//!   ([`resume`]); no client resets an offset by itself.
//! - **Creation**: no client lets a broker create a topic. Only opening the log creates topics, and
//!   [`topic_watch`] those that are missing later.
//!
//! While Kafka is unreachable: pending appends wait up to `kafka.append_timeout`. New appends and
//! reads are refused at once ([`health`]). Consumers and followers wait and recover by themselves;
//! their polls return nothing meanwhile. A member that was disconnected for longer than
//! `kafka.session_timeout` loses its partitions, reports them as revoked, and is assigned its share
//! again.
//!
//! When full: `eventlog.max_pending_bytes` bounds the pending appends ([`pending`]), a few MiB the
//! prefetched records of a consumer ([`prefetch`]), and number and size a page ([`reader`]).

mod acknowledged;
mod appender;
mod assignment;
mod check;
mod client;
mod consumer;
mod consumer_thread;
mod groups;
mod health;
mod in_flight;
mod leaders;
mod limits;
mod native;
mod offsets;
mod owners;
mod pending;
mod prefetch;
mod reader;
mod resume;
mod settings;
mod topic_watch;
mod topics;
mod transactions;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::{
    AppendSize, Bounds, ConsumerGroup, EarlierEpoch, EventLog, LogConsumer, LogError, LogFollower,
    LogIdentity, LogTelemetry, NewRecord, Page, Position, StartAt, Topic, check_sizes,
    run_blocking,
};
use crate::daemon::base::config::{EventLogConfig, KafkaConfig};
use crate::protocol::admin::ConsumerLag;
use crate::protocol::{Epoch, NodeId};
use appender::Appender;
use check::Prepared;
pub use check::check;
use client::ClientSettings;
use consumer::{GroupConsumer, JoinRequest, TopicFollower};
use groups::GroupOffsets;
use health::Health;
use leaders::LeaderCheck;
use prefetch::PrefetchQueue;
use reader::{PageRequest, ReaderPool};
use resume::ConsumerSource;
pub use settings::KafkaSettingsReader;
use topic_watch::{TopicWatch, WatchState};
use topics::Topics;

/// An open log. Close it before dropping it: dropping fails the pending appends.
#[derive(Debug)]
pub struct KafkaLog {
    clients: ClientSettings,
    topics: Arc<Topics>,
    epoch: Epoch,
    earlier: Vec<EarlierEpoch>,
    appender: Appender,
    readers: ReaderPool,
    leaders: LeaderCheck,
    groups: Arc<GroupOffsets>,
    health: Arc<Health>,
    closed: CancellationToken,
    /// The threads of consumers and followers.
    consumer_threads: TaskTracker,
    prefetch_queues: Mutex<Vec<Weak<PrefetchQueue>>>,
    telemetry: LogTelemetry,
}

impl KafkaLog {
    /// Connects to the cluster, creates missing topics, and opens the log. Consumers report the
    /// records that they skip to `telemetry`.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] that names the setting concerned: see [`check()`].
    pub async fn open(
        kafka: &KafkaConfig,
        config: &EventLogConfig,
        node: &NodeId,
        telemetry: LogTelemetry,
    ) -> Result<Self, LogError> {
        let clients = ClientSettings::new(kafka, node)?;
        let Prepared { topics, epoch, earlier, limits, client } =
            check::prepare(&clients, kafka, config).await?;
        let topics = Arc::new(topics);
        let batch_bytes = limits.batch_bytes();
        let health = Arc::<Health>::default();
        if limits.check().is_err() {
            health.suspect("a topic accepts no records");
        }
        let appender = {
            let clients = clients.clone();
            let config = config.clone();
            let topics = topics.clone();
            let health = health.clone();
            let appender = move || Appender::new(&clients, &config, batch_bytes, topics, health);
            run_blocking(appender).await?
        };
        health.watch(TopicWatch {
            clients: clients.clone(),
            kafka: kafka.clone(),
            config: config.clone(),
            topics: topics.clone(),
            batch_bytes,
            client,
            appender: appender.clone(),
            telemetry: telemetry.clone(),
            runtime: Handle::current(),
            state: WatchState::default(),
        })?;
        Ok(Self {
            epoch,
            earlier,
            appender,
            readers: ReaderPool::new(&clients),
            leaders: LeaderCheck::new(&clients, topics.name(Topic::CommentEvents)),
            groups: GroupOffsets::new(&clients, topics.clone(), config.guarantee),
            health,
            closed: CancellationToken::new(),
            consumer_threads: TaskTracker::new(),
            prefetch_queues: Mutex::default(),
            clients,
            topics,
            telemetry,
        })
    }

    fn check_open(&self) -> Result<(), LogError> {
        if self.closed.is_cancelled() { Err(LogError::Closed) } else { Ok(()) }
    }

    /// Creates a queue that is closed with the log.
    fn prefetch_queue(&self) -> Arc<PrefetchQueue> {
        let queue = Arc::<PrefetchQueue>::default();
        let mut queues = self.prefetch_queues.lock();
        queues.retain(|known| known.strong_count() > 0);
        queues.push(Arc::downgrade(&queue));
        queue
    }

    /// Returns what the thread of a consumer must know of its topic.
    fn source(&self, topic: Topic, group: &str) -> ConsumerSource {
        ConsumerSource {
            group: group.to_owned(),
            topic: self.topics.name(topic).to_owned(),
            identity: Mutex::new(self.topics.identity(topic)),
            of: topic,
            topics: self.topics.clone(),
            health: self.health.clone(),
            telemetry: self.telemetry.clone(),
        }
    }

    fn page_request(
        &self,
        topic: Topic,
        partition: u32,
        key: Option<u64>,
        offset: u64,
        max_records: usize,
    ) -> Result<PageRequest, LogError> {
        self.check_open()?;
        self.topics.check_partition(topic, partition)?;
        self.health.check()?;
        Ok(PageRequest {
            topic: self.topics.name(topic).to_owned(),
            partition,
            key,
            offset,
            max_records,
            acknowledged_end: self.appender.acknowledged_end(topic, partition),
        })
    }

    fn close_consumers(&self) {
        self.closed.cancel();
        let queues = self.prefetch_queues.lock();
        for queue in queues.iter().filter_map(Weak::upgrade) {
            queue.close();
        }
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    /// Dropping the future does not cancel the append.
    fn append(
        &self,
        topic: Topic,
        batch: Vec<NewRecord>,
    ) -> BoxFuture<'static, Result<Vec<Position>, LogError>> {
        if let Err(error) = check_sizes(&batch) {
            return ready(Err(error)).boxed();
        }
        let usable = self.check_open().and_then(|()| self.health.check_appends(topic));
        if batch.is_empty() {
            return ready(usable.map(|()| Vec::new())).boxed();
        }
        let size = AppendSize::of(&batch);
        let append = match usable.and_then(|()| self.appender.append(topic, batch)) {
            Ok(result) => {
                result.map(|result| result.unwrap_or(Err(LogError::Closed))).left_future()
            }
            Err(error) => ready(Err(error)).right_future(),
        };
        self.telemetry.measure(size, append)
    }

    async fn consume(
        &self,
        topic: Topic,
        group: ConsumerGroup,
        start: StartAt,
    ) -> Result<Box<dyn LogConsumer>, LogError> {
        self.check_open()?;
        let consumer = GroupConsumer::join(JoinRequest {
            clients: &self.clients,
            source: self.source(topic, group.as_str()),
            group,
            start,
            queue: self.prefetch_queue(),
            appender: self.appender.clone(),
            health: self.health.clone(),
            threads: &self.consumer_threads,
        })?;
        // The log may have been closed before this queue was registered.
        self.check_open()?;
        Ok(Box::new(consumer))
    }

    async fn follow(&self, topic: Topic) -> Result<Box<dyn LogFollower>, LogError> {
        self.check_open()?;
        self.health.check()?;
        let clients = self.clients.clone();
        let threads = self.consumer_threads.clone();
        let queue = self.prefetch_queue();
        let source = self.source(topic, "follower");
        let end = |partition| self.appender.acknowledged_end(topic, partition);
        let ends: Vec<u64> = (0..self.topics.partitions(topic)).map(end).collect();
        let started =
            run_blocking(move || TopicFollower::start(&clients, source, &ends, queue, &threads));
        let follower = started.await?;
        self.check_open()?;
        Ok(Box::new(follower))
    }

    async fn read(
        &self,
        topic: Topic,
        key: u64,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        let partition = self.topics.partition_of(topic, key);
        let request = self.page_request(topic, partition, Some(key), offset, max_records)?;
        self.readers.page(request).await
    }

    async fn read_partition(
        &self,
        topic: Topic,
        partition: u32,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        let request = self.page_request(topic, partition, None, offset, max_records)?;
        self.readers.page(request).await
    }

    fn partition_of(&self, topic: Topic, key: u64) -> u32 {
        self.topics.partition_of(topic, key)
    }

    fn partitions(&self, topic: Topic) -> u32 {
        self.topics.partitions(topic)
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, LogError> {
        let request = self.page_request(topic, partition, None, 0, 0)?;
        self.readers.bounds(request).await
    }

    /// Asks no server: the health check asks for every partition.
    async fn ping(&self) -> Result<(), LogError> {
        self.check_open()?;
        self.health.check_appends(Topic::CommentEvents)
    }

    async fn unreachable_partitions(&self) -> Result<Vec<u32>, LogError> {
        self.check_open()?;
        self.health.check()?;
        self.leaders.unreachable_partitions().await
    }

    async fn committed(
        &self,
        topic: Topic,
        group: ConsumerGroup,
    ) -> Result<Vec<Position>, LogError> {
        self.check_open()?;
        self.health.check()?;
        let groups = self.groups.clone();
        run_blocking(move || groups.committed(topic, group.as_str())).await
    }

    async fn lag(&self) -> Result<Vec<ConsumerLag>, LogError> {
        self.check_open()?;
        self.health.check()?;
        self.groups.lag().await
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn earlier_epochs(&self) -> Vec<EarlierEpoch> {
        self.earlier.clone()
    }

    fn identity(&self) -> LogIdentity {
        let topic = Topic::CommentEvents;
        LogIdentity {
            engine: "kafka",
            topic: self.topics.name(topic).to_owned(),
            topic_id: self.topics.id(topic).map(|id| format!("{id:032x}")),
            partitions: self.topics.partitions(topic),
            epoch: self.epoch,
        }
    }

    fn replaced(&self) -> BoxFuture<'static, ()> {
        self.health.replaced().cancelled_owned().boxed()
    }

    /// Waits for pending appends, at most `kafka.append_timeout`, and for consumers to leave their
    /// groups.
    async fn close(&self) -> Result<(), LogError> {
        self.check_open()?;
        self.close_consumers();
        self.readers.close();
        self.leaders.close();
        self.groups.close();
        self.consumer_threads.close();
        let appender = self.appender.clone();
        let timeout = self.clients.timeout;
        let flushed = run_blocking(move || appender.flush(timeout)).await;
        if tokio::time::timeout(timeout, self.consumer_threads.wait()).await.is_err() {
            warn!("consumers did not leave their groups in time; their sessions will expire");
        }
        self.health.stop();
        flushed
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.close_consumers();
        self.health.stop();
    }
}
