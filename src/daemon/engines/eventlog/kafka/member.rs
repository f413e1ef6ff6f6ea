//! A member of a consumer group, and a follower outside any.
//!
//! Commits are confirmed by the broker before they count. Positions of partitions that this member no
//! longer has are left out: whoever has them now commits them.

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
use super::assignment::Assigner;
use super::client::Clients;
use super::commit;
use super::failure::unavailable;
use super::health::Health;
use super::inbox::Inbox;
use super::leaders::ends;
use super::place::{kafka_offset, position};
use super::reading::{self, Reading, ReadingConsumer};
use super::transactions::{Offsets, TransactionalAppender};
use crate::daemon::engines::eventlog::{
    CommitOutcome, EventLog, LogConsumer, LogError, LogFollower, NewRecord, Polled, Position,
    Record, StartAt, Topic, append_then_commit,
};

/// Between two tries of a commit while the group rebalances.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Member {
    inbox: Arc<Inbox>,
    /// The thread owns it.
    consumer: Consumer,
    topic: String,
    appender: Appender,
    health: Arc<Health>,
    timeout: Duration,
}

struct Consumer(Weak<ReadingConsumer>);

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Consumer")
    }
}

impl Member {
    pub(super) fn join(
        clients: &Clients,
        topic: &str,
        (group, start): (&str, StartAt),
        inbox: Arc<Inbox>,
        (appender, health): (Appender, Arc<Health>),
        running: &TaskTracker,
    ) -> Result<Self, LogError> {
        let (group_name, topic) = (clients.name(group), topic.to_owned());
        let assigner = Assigner { group: group_name, topic: topic.clone(), start };
        let context = Reading::new(inbox.clone(), Some(assigner));
        let failed = |error| unavailable(&format!("joining group {group}"), &error);
        let consumer = ReadingConsumer::from_config_and_context(&clients.member(group), context)
            .map_err(failed)?;
        consumer.subscribe(&[&topic]).map_err(failed)?;
        let name = format!("{topic} as {group}");
        let consumer = Consumer(reading::start(&name, consumer, running.token())?);
        Ok(Self { inbox, consumer, topic, appender, health, timeout: clients.timeout })
    }

    /// What of these positions is this member's to commit.
    fn owned(&self, next: &[Position]) -> Result<TopicPartitionList, LogError> {
        let mut list = TopicPartitionList::new();
        for position in next.iter().filter(|position| self.inbox.owns(position.partition)) {
            let offset = Offset::Offset(kafka_offset(position.offset));
            list.add_partition_offset(&self.topic, position.partition as i32, offset)
                .map_err(|error| unavailable("committing", &error))?;
        }
        Ok(list)
    }

    /// The outputs and the position in one transaction; false if there was nothing to make one of.
    async fn transact(
        &self,
        appender: &TransactionalAppender,
        outputs: &[(Topic, Vec<NewRecord>)],
        next: &[Position],
    ) -> Result<bool, LogError> {
        let list = self.owned(next)?;
        if list.count() == 0 || outputs.iter().all(|(_, records)| records.is_empty()) {
            return Ok(false);
        }
        let answers = {
            let consumer = self.consumer.0.upgrade().ok_or(LogError::Closed)?;
            let member = consumer.group_metadata().ok_or(LogError::Closed)?;
            appender.append_and_commit(outputs.to_vec(), Offsets { list, member })?
        };
        for answer in answers {
            answer.await.unwrap_or(Err(LogError::Closed))?;
        }
        Ok(true)
    }
}

#[async_trait]
impl LogConsumer for Member {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        self.inbox.poll(max_records, max_wait).await
    }

    async fn commit(&mut self, next: &[Position]) -> Result<(), LogError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let offsets = self.owned(next)?;
            if self.inbox.has_ended() {
                return Err(LogError::Closed);
            }
            if offsets.count() == 0 {
                return Ok(());
            }
            self.health.check()?;
            let confirmation = {
                let consumer = self.consumer.0.upgrade().ok_or(LogError::Closed)?;
                let confirmation = consumer.context().expect_commit(offsets.clone());
                let sent = commit::send(&consumer, &offsets);
                sent.map_err(|error| unavailable("committing a position", &error))?;
                confirmation
            };
            let code = match timeout_at(deadline, confirmation).await {
                Ok(Ok(Ok(()))) => return Ok(()),
                Ok(Ok(Err(code))) => code,
                Ok(Err(_)) => return Err(LogError::Closed),
                Err(_) => Code::OperationTimedOut,
            };
            debug!(?code, topic = self.topic, "a position was not committed");
            if Instant::now() + RETRY_PAUSE >= deadline {
                let error = rdkafka::error::KafkaError::ConsumerCommit(code);
                return Err(unavailable("committing a position", &error));
            }
            // The group may be changing hands: what is still this member's is committed again.
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn append_and_commit(
        &mut self,
        log: &dyn EventLog,
        outputs: &[(Topic, Vec<NewRecord>)],
        next: &[Position],
    ) -> Result<CommitOutcome, LogError> {
        if let Appender::Transactional(appender) = self.appender.clone()
            && self.transact(&appender, outputs, next).await?
        {
            return Ok(CommitOutcome::Committed);
        }
        append_then_commit(self, log, outputs, next).await
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.inbox.end();
    }
}

/// Reads all partitions from their end on. Positions are its own and are stored nowhere.
#[derive(Debug)]
pub(super) struct Follower {
    inbox: Arc<Inbox>,
}

impl Follower {
    /// Blocks until the cluster has said where the partitions end. `acknowledged` are the offsets, by
    /// partition, below which everything was appended before, whether readers see it yet or not.
    pub(super) fn start(
        clients: &Clients,
        topic: &str,
        acknowledged: &[u64],
        inbox: Arc<Inbox>,
        running: &TaskTracker,
    ) -> Result<Self, LogError> {
        let failed = |error| unavailable(&format!("following topic {topic}"), &error);
        let context = Reading::new(inbox.clone(), None);
        // Named, because the library wants a name; it joins nothing and commits nothing.
        let config = clients.consumer("follower");
        let consumer =
            ReadingConsumer::from_config_and_context(&config, context).map_err(failed)?;
        let partitions = (0..acknowledged.len() as i32).map(|partition| (topic, partition));
        let mut end = ends(&consumer, partitions, Offset::End, clients.timeout).map_err(failed)?;
        for (end, acknowledged) in end.values_mut().zip(acknowledged) {
            *end = (*end).max(kafka_offset(*acknowledged));
        }
        let mut list = TopicPartitionList::new();
        for (&(_, partition), &offset) in &end {
            let offset = Offset::Offset(offset);
            list.add_partition_offset(topic, partition, offset).map_err(failed)?;
        }
        inbox.assign(
            end.iter().map(|(&(_, partition), &offset)| position(partition, offset)).collect(),
        );
        consumer.assign(&list).map_err(failed)?;
        reading::start(&format!("{topic} from its end"), consumer, running.token())?;
        Ok(Self { inbox })
    }
}

#[async_trait]
impl LogFollower for Follower {
    async fn next(
        &mut self,
        max_records: usize,
        max_wait: Duration,
    ) -> Result<Vec<Record>, LogError> {
        let deadline = Instant::now() + max_wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let polled = self.inbox.poll(max_records, left).await?;
            // The first thing in line is the assignment, which is nobody's business here.
            if polled.assigned.is_empty() || !polled.records.is_empty() {
                return Ok(polled.records);
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.inbox.end();
    }
}
