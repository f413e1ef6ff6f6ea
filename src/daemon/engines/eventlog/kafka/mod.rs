//! The event log on Kafka.
//!
//! In: batches from any task. Out: positions, once the brokers have them; records to members of
//! consumer groups, to followers, and to readers by position.
//!
//! How it keeps the contract:
//! - **Topics** are those of the contract under `kafka.prefix`, created at start if absent
//!   ([`topics`]); one that is there keeps its settings. A record's key is its eight bytes, its
//!   partition follows from them alone ([`partitioner`]), its timestamp is the record's.
//! - **Offsets** are Kafka's plus one, because `seq` 0 means "nothing yet" ([`place`]). Marks of
//!   transactions take offsets too, so those of the records need not be consecutive.
//! - **Order** of a key is the order of the calls: a batch is handed to the producer, or takes its
//!   place in the queue of transactions, before `append` returns.
//! - **Guarantee** `at_least_once`: all in-sync replicas have an acknowledged record, retries neither
//!   repeat nor reorder. `at_most_once`: the leader has it, nothing is sent twice. `exactly_once`:
//!   appends are transactions, grouped by what waits.
//! - **Groups** are named `kafka.prefix` + group and rebalance cooperatively: what a member keeps it
//!   goes on reading, what it loses leaves its line at once ([`assignment`], [`inbox`]).
//! - **Epoch** is the identity Kafka gave the topic `comment_events` when it was created.
//!
//! When Kafka is away: what is under way waits up to `kafka.append_timeout`; as soon as no broker can
//! be reached, appends and reads are refused at once ([`health`]). Consumers and followers wait and go
//! on by themselves; their polls bring nothing meanwhile. A member that was away for longer than
//! `kafka.session_timeout` loses its partitions, is told so, and gets its share again.
//!
//! When full: appends under way are bounded by `eventlog.max_pending_bytes` ([`delivery`]), what is
//! read ahead by a few MiB a consumer ([`inbox`]), pages by number and size ([`reader`]).

mod appender;
mod assignment;
mod check;
mod client;
mod commit;
mod delivery;
mod failure;
mod groups;
mod health;
mod inbox;
mod lag;
mod leaders;
mod member;
mod partitioner;
mod place;
mod producer;
mod reader;
mod reading;
mod shipping;
mod topic_id;
mod topics;
mod transactions;
mod visible;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::{
    Bounds, ConsumerGroup, EventLog, LogConsumer, LogError, LogFollower, MAX_PAYLOAD_BYTES,
    NewRecord, Page, Position, StartAt, Topic,
};
use crate::daemon::base::config::{EventLogConfig, KafkaConfig};
use crate::protocol::admin::ConsumerLag;
use crate::protocol::{Epoch, NodeId};
use appender::Appender;
pub use check::check;
use client::Clients;
use groups::Groups;
use health::Health;
use inbox::Inbox;
use member::{Follower, Member};
use reader::{Readers, Wanted};
use topics::Topics;

/// An open log. Close it before it is dropped: what is under way when it is dropped is thrown out.
#[derive(Debug)]
pub struct KafkaLog {
    clients: Clients,
    topics: Arc<Topics>,
    epoch: Epoch,
    appender: Appender,
    readers: Readers,
    groups: Arc<Groups>,
    health: Arc<Health>,
    closed: CancellationToken,
    /// The threads of consumers and followers.
    reading: TaskTracker,
    inboxes: Mutex<Vec<Weak<Inbox>>>,
}

impl KafkaLog {
    /// Reaches the cluster, creates what topics are missing, and opens the log.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] that names the setting concerned: see [`check()`].
    pub async fn open(
        kafka: &KafkaConfig,
        config: &EventLogConfig,
        node: &NodeId,
    ) -> Result<Self, LogError> {
        let clients = Clients::new(kafka, node)?;
        let (topics, epoch) = check::prepare(&clients, kafka, config).await?;
        let (topics, health) = (Arc::new(topics), Arc::new(Health::default()));
        let appender = Appender::new(&clients, config, topics.clone(), health.clone()).await?;
        let probe = appender.clone();
        let probed = topics.name(Topic::CommentEvents).to_owned();
        health.watch(move || probe.probe(&probed))?;
        Ok(Self {
            epoch,
            appender,
            readers: Readers::new(&clients),
            groups: Groups::new(&clients, topics.clone(), config.guarantee),
            health,
            closed: CancellationToken::new(),
            reading: TaskTracker::new(),
            inboxes: Mutex::default(),
            clients,
            topics,
        })
    }

    fn check_open(&self) -> Result<(), LogError> {
        if self.closed.is_cancelled() { Err(LogError::Closed) } else { Ok(()) }
    }
}

impl KafkaLog {
    /// A line of arrivals that ends when the log is closed.
    fn inbox(&self) -> Arc<Inbox> {
        let inbox = Arc::<Inbox>::default();
        let mut inboxes = self.inboxes.lock();
        inboxes.retain(|known| known.strong_count() > 0);
        inboxes.push(Arc::downgrade(&inbox));
        inbox
    }

    fn wanted(
        &self,
        topic: Topic,
        partition: u32,
        key: Option<u64>,
        offset: u64,
        max_records: usize,
    ) -> Result<Wanted, LogError> {
        self.check_open()?;
        self.topics.check_partition(topic, partition)?;
        self.health.check()?;
        Ok(Wanted {
            topic: self.topics.name(topic).to_owned(),
            partition,
            key,
            offset,
            max_records,
            visible_to: self.appender.visible_to(topic, partition),
        })
    }

    fn end_reading(&self) {
        self.closed.cancel();
        let inboxes = self.inboxes.lock();
        for inbox in inboxes.iter().filter_map(Weak::upgrade) {
            inbox.end();
        }
    }
}

/// Runs what waits for the cluster where waiting harms nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| Err(LogError::Unavailable(format!("asking Kafka: {error}"))))
}

#[async_trait]
impl EventLog for KafkaLog {
    /// Dropping the future does not take the batch back.
    fn append(
        &self,
        topic: Topic,
        batch: Vec<NewRecord>,
    ) -> BoxFuture<'static, Result<Vec<Position>, LogError>> {
        let too_large = batch.iter().map(|new| new.payload.len()).find(|n| *n > MAX_PAYLOAD_BYTES);
        if let Some(bytes) = too_large {
            return ready(Err(LogError::TooLarge { bytes })).boxed();
        }
        let sent = self.check_open().and_then(|()| self.health.check());
        if batch.is_empty() {
            return ready(sent.map(|()| Vec::new())).boxed();
        }
        match sent.and_then(|()| self.appender.append(topic, batch)) {
            Ok(answer) => answer.map(|answer| answer.unwrap_or(Err(LogError::Closed))).boxed(),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    async fn consume(
        &self,
        topic: Topic,
        group: ConsumerGroup,
        start: StartAt,
    ) -> Result<Box<dyn LogConsumer>, LogError> {
        self.check_open()?;
        let (inbox, name) = (self.inbox(), self.topics.name(topic));
        let state = (self.appender.clone(), self.health.clone());
        let member = Member::join(
            &self.clients,
            name,
            (group.as_str(), start),
            inbox,
            state,
            &self.reading,
        )?;
        // The log may have been closed meanwhile, when nobody knew of this inbox.
        self.check_open()?;
        Ok(Box::new(member))
    }

    async fn follow(&self, topic: Topic) -> Result<Box<dyn LogFollower>, LogError> {
        self.check_open()?;
        self.health.check()?;
        let (clients, reading, inbox) = (self.clients.clone(), self.reading.clone(), self.inbox());
        let name = self.topics.name(topic).to_owned();
        let acknowledged = |partition| self.appender.visible_to(topic, partition);
        let acknowledged: Vec<u64> = (0..self.topics.partitions(topic)).map(acknowledged).collect();
        let started =
            blocking(move || Follower::start(&clients, &name, &acknowledged, inbox, &reading));
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
        let wanted = self.wanted(topic, partition, Some(key), offset, max_records)?;
        self.readers.page(wanted).await
    }

    async fn read_partition(
        &self,
        topic: Topic,
        partition: u32,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        let wanted = self.wanted(topic, partition, None, offset, max_records)?;
        self.readers.page(wanted).await
    }

    fn partition_of(&self, topic: Topic, key: u64) -> u32 {
        self.topics.partition_of(topic, key)
    }

    fn partitions(&self, topic: Topic) -> u32 {
        self.topics.partitions(topic)
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, LogError> {
        let wanted = self.wanted(topic, partition, None, 0, 0)?;
        self.readers.bounds(wanted).await
    }

    async fn committed(
        &self,
        topic: Topic,
        group: ConsumerGroup,
    ) -> Result<Vec<Position>, LogError> {
        self.check_open()?;
        self.health.check()?;
        let groups = self.groups.clone();
        blocking(move || groups.committed(topic, group.as_str())).await
    }

    async fn lag(&self) -> Result<Vec<ConsumerLag>, LogError> {
        self.check_open()?;
        self.health.check()?;
        self.groups.lag().await
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Waits for what is under way, at most `kafka.append_timeout`, and for members to leave.
    async fn close(&self) -> Result<(), LogError> {
        self.check_open()?;
        self.end_reading();
        self.readers.close();
        self.reading.close();
        let (appender, timeout) = (self.appender.clone(), self.clients.timeout);
        let flushed = blocking(move || appender.flush(timeout)).await;
        if tokio::time::timeout(timeout, self.reading.wait()).await.is_err() {
            warn!("consumers did not leave their groups in time; the groups notice by themselves");
        }
        self.health.stop();
        flushed
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.end_reading();
        self.health.stop();
    }
}
