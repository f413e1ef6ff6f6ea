//! The event log on the local disk.
//!
//! In: batches from any task. Out: positions, once a group commit has made them durable; records to
//! named consumers and to readers by position. One directory a topic, one partition a topic, segment
//! files of checksummed records, one writer thread a topic that syncs once for all that waits.
//!
//! ```text
//! LOCK                                     one process at a time
//! meta                                     epoch and topics                      (identity)
//! comment_events/00000000000000000001.log  records from offset 1 on     (segment, record)
//! comment_events/archive.position          what a group has committed         (positions)
//! ```
//!
//! Always holds:
//! - Offsets are dense and begin at 1, so that 0 can mean "nothing yet". (Only where a disk has lost
//!   records a group had already read does a gap remain, because offsets are never given twice.)
//! - Readers see nothing that is not durable. A commit that failed leaves nothing behind.
//! - A flaw in the data is an error that names the file and the byte; only an unfinished last write
//!   is cut off, with a warning.
//!
//! When full: see [`queue`] for memory (refused at once), [`writer`] for the disk ([`LogError::Full`]
//! until there is room) and [`retention`] for what goes when it is old.

mod chunk;
mod consumer;
mod disk;
mod follower;
mod groups;
mod identity;
mod index;
mod positions;
mod queue;
mod record;
mod recovery;
mod retention;
mod scanner;
mod segment;
mod table;
mod topic;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    Bounds, ConsumerGroup, EventLog, LogConsumer, LogError, LogFollower, MAX_PAYLOAD_BYTES,
    NewRecord, Page, Position, StartAt, Topic,
};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::EventLogConfig;
use crate::protocol::Epoch;
use crate::protocol::admin::ConsumerLag;
use consumer::EmbeddedConsumer;
use disk::{LocalDisk, write_failure};
use follower::EmbeddedFollower;
use identity::{Identity, Lock};
use topic::{Platform, Recovered, TopicLog};

/// The one partition of each topic.
const PARTITION: u32 = 0;
const FIRST_OFFSET: u64 = 1;

/// An open log. Dropping it does what [`EventLog::close`] does, and blocks meanwhile.
#[derive(Debug)]
pub struct EmbeddedLog {
    /// In the order of [`Topic::ALL`].
    topics: Vec<Arc<TopicLog>>,
    epoch: Epoch,
    closed: CancellationToken,
    lock: Mutex<Option<Lock>>,
}

impl EmbeddedLog {
    /// Opens the log in a directory, or makes one there. Reads through each topic's last segment and
    /// cuts off a write that a crash left unfinished. Blocks on the disk.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if another process has it open or it cannot be read,
    /// [`LogError::Corrupt`] if records that were durable are damaged.
    pub fn open(
        directory: &Path,
        config: &EventLogConfig,
        clock: SharedClock,
    ) -> Result<Self, LogError> {
        Self::open_on(&Platform { disk: Arc::new(LocalDisk), clock }, directory, config)
    }

    fn open_on(
        platform: &Platform,
        directory: &Path,
        config: &EventLogConfig,
    ) -> Result<Self, LogError> {
        std::fs::create_dir_all(directory).map_err(|e| write_failure("creating", directory, &e))?;
        let lock = Lock::acquire(directory)?;
        let known = Identity::load(directory)?;
        let recovered = Topic::ALL
            .into_iter()
            .map(|topic| Recovered::open(directory, topic, platform))
            .collect::<Result<Vec<_>, _>>()?;
        let epoch = identify(directory, known, &recovered)?;
        let closed = CancellationToken::new();
        let start = |topic: Recovered| {
            let log = topic.start(config, platform.clone(), closed.clone())?;
            Ok(Arc::new(log))
        };
        let mut topics = Vec::new();
        for topic in recovered {
            match start(topic) {
                Ok(topic) => topics.push(topic),
                Err(error) => {
                    finish_writing(&topics);
                    return Err(error);
                }
            }
        }
        Ok(Self { topics, epoch, closed, lock: Mutex::new(Some(lock)) })
    }

    /// Has each topic remove what is past its retention, soon and on the topic's own thread. Also
    /// happens whenever a segment is full; calling it now and then (a minute or an hour) makes age
    /// count where little is written.
    pub fn enforce_retention(&self) {
        for topic in &self.topics {
            topic.queue.request_retention();
        }
    }

    fn topic(&self, topic: Topic) -> Result<Arc<TopicLog>, LogError> {
        if self.closed.is_cancelled() {
            return Err(LogError::Closed);
        }
        let found = self.topics.iter().find(|log| log.topic == topic);
        found.cloned().ok_or_else(|| LogError::Unavailable(format!("no topic {}", topic.name())))
    }

    async fn read_page(
        &self,
        topic: Topic,
        key: Option<u64>,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        let log = self.topic(topic)?;
        // Always on the blocking pool: a page may come from anywhere in the log.
        blocking(move || log.read_page(key, offset, max_records)).await
    }

    fn unlock(&self) {
        self.lock.lock().take();
    }
}

/// Writes what waits and ends the writers. Blocks on the disk.
fn finish_writing(topics: &[Arc<TopicLog>]) {
    // They work side by side, so that closing takes as long as the slowest.
    for topic in topics {
        topic.queue.close(LogError::Closed);
    }
    for topic in topics {
        topic.finish();
    }
}

/// The log's epoch: as it is written down, or a new one if this log is new or has lost a topic.
fn identify(
    directory: &Path,
    known: Option<Identity>,
    topics: &[Recovered],
) -> Result<Epoch, LogError> {
    let names: Vec<String> = Topic::ALL.iter().map(|topic| topic.name().to_owned()).collect();
    let identity = match known {
        None if topics.iter().all(Recovered::is_empty) => Identity::random(names),
        None => {
            return Err(LogError::Corrupt(format!(
                "{} holds records, but the file `meta` that says which log they are is gone: put \
                 it back, or move the directory away to begin a new log",
                directory.display()
            )));
        }
        Some(known) => {
            let lost =
                topics.iter().map(Recovered::name).zip(topics).find(|(name, topic)| {
                    topic.was_missing && known.topics.iter().any(|t| t == name)
                });
            match lost {
                Some((topic, _)) => {
                    warn!(topic, "a topic's files are gone; the log gets a new epoch");
                    Identity::random(names)
                }
                None if known.topics == names => return Ok(known.epoch),
                None => Identity { epoch: known.epoch, topics: names },
            }
        }
    };
    identity.store(directory)?;
    Ok(identity.epoch)
}

fn check_partition(partition: u32) -> Result<(), LogError> {
    if partition == PARTITION {
        return Ok(());
    }
    Err(LogError::Unavailable(format!(
        "no partition {partition}: a topic of the embedded log has partition {PARTITION} alone"
    )))
}

/// Runs what waits for the disk where waiting harms nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| Err(LogError::Unavailable(format!("reading the log: {error}"))))
}

#[async_trait]
impl EventLog for EmbeddedLog {
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
        let queued = self.topic(topic).and_then(|log| {
            if batch.is_empty() { Ok(None) } else { log.queue.push(batch).map(Some) }
        });
        match queued {
            Ok(Some(answer)) => {
                let stopped = move |_| Err(topic::stopped(topic.name()));
                answer.map(move |answer| answer.unwrap_or_else(stopped)).boxed()
            }
            Ok(None) => ready(Ok(Vec::new())).boxed(),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    async fn consume(
        &self,
        topic: Topic,
        group: ConsumerGroup,
        start: StartAt,
    ) -> Result<Box<dyn LogConsumer>, LogError> {
        Ok(Box::new(EmbeddedConsumer::join(self.topic(topic)?, group.as_str(), start)?))
    }

    async fn follow(&self, topic: Topic) -> Result<Box<dyn LogFollower>, LogError> {
        Ok(Box::new(EmbeddedFollower::start(self.topic(topic)?)?))
    }

    async fn read(
        &self,
        topic: Topic,
        key: u64,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        self.read_page(topic, Some(key), offset, max_records).await
    }

    async fn read_partition(
        &self,
        topic: Topic,
        partition: u32,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        check_partition(partition)?;
        self.read_page(topic, None, offset, max_records).await
    }

    fn partition_of(&self, _topic: Topic, _key: u64) -> u32 {
        PARTITION
    }

    fn partitions(&self, _topic: Topic) -> u32 {
        1
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, LogError> {
        check_partition(partition)?;
        Ok(self.topic(topic)?.table.bounds())
    }

    async fn committed(
        &self,
        topic: Topic,
        group: ConsumerGroup,
    ) -> Result<Vec<Position>, LogError> {
        let committed = self.topic(topic)?.groups.committed(group.as_str());
        let position = |offset| Position { partition: PARTITION, offset };
        Ok(committed.map(position).into_iter().collect())
    }

    async fn lag(&self) -> Result<Vec<ConsumerLag>, LogError> {
        let mut lags = Vec::new();
        for topic in Topic::ALL {
            let log = self.topic(topic)?;
            let end = log.table.end();
            for (group, position) in log.groups.all_committed() {
                let topic = topic.name().to_owned();
                let lag = end.saturating_sub(position);
                lags.push(ConsumerLag { group, topic, partition: PARTITION, position, end, lag });
            }
        }
        Ok(lags)
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    async fn close(&self) -> Result<(), LogError> {
        if self.closed.is_cancelled() {
            return Err(LogError::Closed);
        }
        self.closed.cancel();
        let topics = self.topics.clone();
        blocking(move || {
            finish_writing(&topics);
            Ok(())
        })
        .await?;
        self.unlock();
        Ok(())
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.closed.cancel();
        finish_writing(&self.topics);
        self.unlock();
    }
}
