//! A member of a consumer group, and a follower outside any group.
//!
//! A commit succeeds once the broker has confirmed it. Positions of partitions that are no longer
//! assigned to the member are left out: their new member commits them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::appender::Appender;
use super::client::{ClientSettings, unavailable};
use super::consumer_thread::{self, ConsumerCallbacks, ThreadConsumer};
use super::health::Health;
use super::native;
use super::offsets::{kafka_offset, log_position, partition_ends};
use super::prefetch::PrefetchQueue;
use super::resume::{ConsumerSource, mark_commits};
use super::transactions::{ConsumerOffsets, TransactionalAppender};
use crate::daemon::engines::eventlog::{
    CommitOutcome, ConsumerGroup, EventLog, LogConsumer, LogError, LogFollower, NewRecord, Polled,
    Position, Record, StartAt, Topic, append_then_commit,
};

/// Pause between two attempts to commit while the group rebalances.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct GroupConsumer {
    queue: Arc<PrefetchQueue>,
    /// Owned by the thread.
    consumer: WeakConsumer,
    topic: String,
    topic_id: Option<u128>,
    appender: Appender,
    health: Arc<Health>,
    timeout: Duration,
}

/// A member to join: its group, its topic, and the parts of the log it uses.
pub(super) struct JoinRequest<'a> {
    pub(super) clients: &'a ClientSettings,
    pub(super) source: ConsumerSource,
    pub(super) group: ConsumerGroup,
    pub(super) start: StartAt,
    pub(super) queue: Arc<PrefetchQueue>,
    pub(super) appender: Appender,
    pub(super) health: Arc<Health>,
    pub(super) threads: &'a TaskTracker,
}

struct WeakConsumer(Weak<ThreadConsumer>);

impl std::fmt::Debug for WeakConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakConsumer")
    }
}

impl GroupConsumer {
    pub(super) fn join(request: JoinRequest<'_>) -> Result<Self, LogError> {
        let JoinRequest { clients, source, start, queue, appender, health, threads, .. } = request;
        let group = request.group.as_str();
        let topic = source.topic.clone();
        let topic_id = source.topic_id();
        let callbacks = ConsumerCallbacks::new(queue.clone(), source, Some(start));
        let failed = |error| unavailable(&format!("joining group {group}"), &error);
        let consumer =
            ThreadConsumer::from_config_and_context(&clients.group_consumer(group), callbacks)
                .map_err(failed)?;
        consumer.subscribe(&[&topic]).map_err(failed)?;
        let name = format!("{topic} as {group}");
        let consumer = WeakConsumer(consumer_thread::start(&name, consumer, threads.token())?);
        let timeout = clients.timeout;
        Ok(Self { queue, consumer, topic, topic_id, appender, health, timeout })
    }

    /// Returns the positions of the partitions that are assigned to this member.
    fn owned_offsets(&self, next: &[Position]) -> Result<TopicPartitionList, LogError> {
        let mut list = TopicPartitionList::new();
        for position in next.iter().filter(|position| self.queue.owns(position.partition)) {
            let offset = Offset::Offset(kafka_offset(position.offset));
            list.add_partition_offset(&self.topic, position.partition as i32, offset)
                .map_err(|error| unavailable("committing", &error))?;
        }
        mark_commits(&list, self.topic_id);
        Ok(list)
    }

    /// Stores the outputs and the positions in one transaction; false if one of them is empty.
    async fn commit_transaction(
        &self,
        appender: &TransactionalAppender,
        outputs: &[(Topic, Vec<NewRecord>)],
        next: &[Position],
    ) -> Result<bool, LogError> {
        let list = self.owned_offsets(next)?;
        if list.count() == 0 || outputs.iter().all(|(_, records)| records.is_empty()) {
            return Ok(false);
        }
        for (topic, _) in outputs.iter().filter(|(_, records)| !records.is_empty()) {
            self.health.check_appends(*topic)?;
        }
        let results = {
            let consumer = self.consumer.0.upgrade().ok_or(LogError::Closed)?;
            let group = consumer.group_metadata().ok_or(LogError::Closed)?;
            appender.append_and_commit(outputs.to_vec(), ConsumerOffsets { list, group })?
        };
        for result in results {
            result.await.unwrap_or(Err(LogError::Closed))?;
        }
        Ok(true)
    }
}

#[async_trait]
impl LogConsumer for GroupConsumer {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        self.queue.poll(max_records, max_wait).await
    }

    async fn commit(&mut self, next: &[Position]) -> Result<(), LogError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let offsets = self.owned_offsets(next)?;
            if self.queue.is_closed() {
                return Err(LogError::Closed);
            }
            if offsets.count() == 0 {
                return Ok(());
            }
            self.health.check()?;
            let confirmation = {
                let consumer = self.consumer.0.upgrade().ok_or(LogError::Closed)?;
                let confirmation = consumer.context().expect_commit(offsets.clone());
                let started = native::start_commit(&consumer, &offsets);
                started.map_err(|error| unavailable("committing a position", &error))?;
                confirmation
            };
            let code = match timeout_at(deadline, confirmation).await {
                Ok(Ok(Ok(()))) => return Ok(()),
                Ok(Ok(Err(code))) => code,
                Ok(Err(_)) => return Err(LogError::Closed),
                Err(_) => Code::OperationTimedOut,
            };
            debug!(?code, topic = self.topic, "commit failed");
            if Instant::now() + RETRY_PAUSE >= deadline {
                let error = rdkafka::error::KafkaError::ConsumerCommit(code);
                return Err(unavailable("committing a position", &error));
            }
            // The group may be rebalancing: the partitions that this member keeps are committed
            // again.
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn append_and_commit(
        &mut self,
        log: &dyn EventLog,
        outputs: &mut Vec<(Topic, Vec<NewRecord>)>,
        next: &[Position],
    ) -> Result<CommitOutcome, LogError> {
        if let Appender::Transactional(appender) = self.appender.clone()
            && self.commit_transaction(&appender, outputs, next).await?
        {
            outputs.clear();
            return Ok(CommitOutcome::Committed);
        }
        append_then_commit(self, log, outputs, next).await
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Reads all partitions from their ends on. It is in no group and stores no positions.
#[derive(Debug)]
pub(super) struct TopicFollower {
    queue: Arc<PrefetchQueue>,
}

impl TopicFollower {
    /// Starts at the ends of the partitions. `acknowledged_ends` are the ends, by partition, of the
    /// records acknowledged here, which readers may not see yet. Blocks until the ends are known.
    pub(super) fn start(
        clients: &ClientSettings,
        source: ConsumerSource,
        acknowledged_ends: &[u64],
        queue: Arc<PrefetchQueue>,
        threads: &TaskTracker,
    ) -> Result<Self, LogError> {
        let topic = &*source.topic.clone();
        let failed = |error| unavailable(&format!("following topic {topic}"), &error);
        let callbacks = ConsumerCallbacks::new(queue.clone(), source, None);
        // The library requires a group name; this client joins nothing and commits nothing.
        let config = clients.consumer("follower");
        let consumer =
            ThreadConsumer::from_config_and_context(&config, callbacks).map_err(failed)?;
        let partitions = (0..acknowledged_ends.len() as i32).map(|partition| (topic, partition));
        let mut ends =
            partition_ends(&consumer, partitions, Offset::End, clients.timeout).map_err(failed)?;
        for (end, acknowledged) in ends.values_mut().zip(acknowledged_ends) {
            *end = (*end).max(kafka_offset(*acknowledged));
        }
        let mut list = TopicPartitionList::new();
        for (&(_, partition), &offset) in &ends {
            let offset = Offset::Offset(offset);
            list.add_partition_offset(topic, partition, offset).map_err(failed)?;
        }
        let begin = ends.iter().map(|(&(_, partition), &offset)| log_position(partition, offset));
        queue.assign(begin.collect());
        consumer.assign(&list).map_err(failed)?;
        consumer_thread::start(&format!("{topic} from its end"), consumer, threads.token())?;
        Ok(Self { queue })
    }
}

#[async_trait]
impl LogFollower for TopicFollower {
    async fn next(
        &mut self,
        max_records: usize,
        max_wait: Duration,
    ) -> Result<Vec<Record>, LogError> {
        let deadline = Instant::now() + max_wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let polled = self.queue.poll(max_records, left).await?;
            // Skips the assignment, which is the first thing in the queue.
            if polled.assigned.is_empty() || !polled.records.is_empty() {
                return Ok(polled.records);
            }
        }
    }
}

impl Drop for TopicFollower {
    fn drop(&mut self) {
        self.queue.close();
    }
}
