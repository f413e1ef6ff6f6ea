//! The event log on the local disk.
//!
//! In: batches from any task. Out: positions, once a group commit has made the records durable;
//! records to consumer groups and to readers by position. Each topic has one directory of segment
//! files with checksummed records, one partition, and one writer thread that syncs once for all
//! waiting batches.
//!
//! ```text
//! LOCK                                     one process at a time
//! meta                                     epoch and topics                      (identity)
//! comment_events/00000000000000000001.log  records from offset 1 on     (segment, record)
//! comment_events/archiver.position         committed offset of a group        (positions)
//! ```
//!
//! Always holds:
//! - Offsets are dense and begin at 1, so that 0 can mean "nothing yet". (A gap remains only where
//!   a disk lost records that a group had already read, because an offset is never assigned twice.)
//! - Readers see only durable records. A failed commit leaves nothing behind.
//! - A record is acknowledged only while its file is the one at its path. When a file of the log is
//!   removed or replaced, appends are refused and a problem names the file ([`file_watch`]).
//! - Damaged data is an error that names the file and the byte. Only an unfinished last write is
//!   cut off, with a warning. [`repair()`] keeps what is not damaged.
//!
//! When full: see [`queue`] for memory (refused at once), [`writer`] for the disk
//! ([`LogError::Full`] until there is room) and [`retention`] for old records.

mod check;
mod chunk;
mod consumer;
mod disk;
mod file_id;
mod file_watch;
mod follower;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod groups;
mod identity;
mod index;
mod lag;
mod positions;
mod queue;
mod record;
mod recovery;
mod repair;
mod retention;
mod scanner;
mod segment;
mod table;
mod topic;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    AppendSize, Bounds, ConsumerGroup, EarlierEpoch, EventLog, LagHistory, LogConsumer, LogError,
    LogFollower, LogIdentity, LogTelemetry, NewRecord, Page, Position, StartAt, Topic, check_sizes,
    run_blocking,
};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::EventLogConfig;
use crate::daemon::base::status::EVENT_LOG;
use crate::protocol::Epoch;
use crate::protocol::admin::ConsumerLag;
use consumer::EmbeddedConsumer;
use disk::{Disk, LocalDisk, Platform, write_failure};
use file_watch::FileWatch;
use follower::EmbeddedFollower;
use identity::{DirectoryLock, Identity, without_identity};
pub use repair::{Damage, Findings, Missing, MissingPart, repair};
use topic::{RecoveredTopic, TopicLog};

/// The only partition of each topic.
const PARTITION: u32 = 0;
const FIRST_OFFSET: u64 = 1;

/// An open log. Dropping it does the same as [`EventLog::close`], and blocks.
#[derive(Debug)]
pub struct EmbeddedLog {
    /// In the order of [`Topic::ALL`].
    topics: Vec<Arc<TopicLog>>,
    identity: Identity,
    closed: CancellationToken,
    /// Taken when the log is closed.
    watch: Mutex<Option<FileWatch>>,
    lock: Mutex<Option<DirectoryLock>>,
    trial: DiskTrial,
    clock: SharedClock,
    lags: LagHistory,
    telemetry: LogTelemetry,
}

/// Trial writes, one at a time: a disk that does not answer must not take a thread per trial.
#[derive(Debug)]
struct DiskTrial {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// The last trial. Its outcome is `None` while it runs.
    last: Mutex<Option<TrialOutcome>>,
}

type TrialOutcome = watch::Receiver<Option<Result<(), LogError>>>;

impl DiskTrial {
    /// Fails if the disk takes no writes. Waits for the running trial if there is one, also if its
    /// caller has given up, so that a slow write is not taken for a failed one. The caller bounds
    /// the wait.
    async fn run(&self) -> Result<(), LogError> {
        let mut outcome = self.join_or_begin();
        let ended = outcome.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        ended.unwrap_or_else(|| {
            let text = format!("the trial write to {} was given up", self.directory.display());
            Err(LogError::Unavailable(text))
        })
    }

    fn join_or_begin(&self) -> TrialOutcome {
        let mut last = self.last.lock();
        // A trial that panicked has closed its channel.
        let is_running =
            |trial: &&TrialOutcome| trial.borrow().is_none() && trial.has_changed().is_ok();
        if let Some(running) = last.as_ref().filter(is_running) {
            return running.clone();
        }
        let (ended, outcome) = watch::channel(None);
        let disk = self.disk.clone();
        let directory = self.directory.clone();
        tokio::task::spawn_blocking(move || {
            let written = disk.try_write(&directory);
            let written = written.map_err(|e| write_failure("writing to", &directory, &e));
            ended.send_replace(Some(written));
        });
        *last = Some(outcome.clone());
        outcome
    }
}

impl EmbeddedLog {
    /// Opens the log in a directory, or creates one there. Reads each topic's last segment and cuts
    /// off a write that a crash left unfinished. Blocks on the disk.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] if another process has it open or if it cannot be read,
    /// [`LogError::Corrupt`] if durable records are damaged.
    pub fn open(
        directory: &Path,
        config: &EventLogConfig,
        clock: SharedClock,
        telemetry: LogTelemetry,
    ) -> Result<Self, LogError> {
        Self::open_on(&Platform { disk: Arc::new(LocalDisk), clock, telemetry }, directory, config)
    }

    /// Checks that a log could be opened in the directory: its identity is intact, and this user
    /// may use the files that a start opens and create others. Locks and changes nothing. Blocks on
    /// the disk.
    pub fn check(directory: &Path) -> Result<String, LogError> {
        check::check(directory)
    }

    /// Whether the log in a directory has records of comments, as far as its files show. False if
    /// they cannot be read. Blocks on the disk.
    pub fn has_records(directory: &Path) -> bool {
        check::has_records(&directory.join(Topic::CommentEvents.name())).unwrap_or(false)
    }

    fn open_on(
        platform: &Platform,
        directory: &Path,
        config: &EventLogConfig,
    ) -> Result<Self, LogError> {
        std::fs::create_dir_all(directory).map_err(|e| write_failure("creating", directory, &e))?;
        let lock = DirectoryLock::acquire(directory)?;
        let known = Identity::load(directory)?;
        let mut recovered = Topic::ALL
            .into_iter()
            .map(|topic| RecoveredTopic::open(directory, topic, platform))
            .collect::<Result<Vec<_>, _>>()?;
        let create_segments = |topics: &mut [RecoveredTopic]| {
            topics.iter_mut().try_for_each(|topic| topic.create_segment(&*platform.disk))
        };
        if known.is_none() {
            // With an identity they would have to be there.
            create_segments(&mut recovered)?;
        }
        let identity = identify(directory, known, &recovered, &platform.telemetry)?;
        create_segments(&mut recovered)?;
        let closed = CancellationToken::new();
        let start = |topic: RecoveredTopic| {
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
        let watch = match FileWatch::start(topics.clone(), platform.telemetry.clone()) {
            Ok(watch) => Mutex::new(Some(watch)),
            Err(error) => {
                finish_writing(&topics);
                return Err(error);
            }
        };
        let trial = DiskTrial {
            disk: platform.disk.clone(),
            directory: directory.to_owned(),
            last: Mutex::default(),
        };
        let telemetry = platform.telemetry.clone();
        let queues = topics.iter().map(|log| Arc::downgrade(&log.queue)).collect();
        telemetry.read_pending_with(queue::fullest_of(queues));
        let lock = Mutex::new(Some(lock));
        let clock = platform.clock.clone();
        let lags = LagHistory::default();
        Ok(Self { topics, identity, closed, watch, lock, trial, clock, lags, telemetry })
    }

    /// Makes each topic remove records past their retention, soon and on the topic's own thread.
    /// This also happens whenever a segment is full. Call it regularly (every minute or hour), so
    /// that old records are removed from topics with few writes.
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
        // Always on the blocking pool, because a page may be anywhere in the log.
        run_blocking(move || log.read_page(key, offset, max_records)).await
    }

    fn unlock(&self) {
        self.watch.lock().take();
        self.lock.lock().take();
    }
}

/// Writes all waiting batches and ends the writers. Blocks on the disk.
fn finish_writing(topics: &[Arc<TopicLog>]) {
    // The writers finish in parallel, so closing takes as long as the slowest.
    for topic in topics {
        topic.queue.close(LogError::Closed);
    }
    for topic in topics {
        topic.finish();
    }
}

/// Returns the stored epoch, or stores a new one if the log is new or has lost a topic.
fn identify(
    directory: &Path,
    known: Option<Identity>,
    topics: &[RecoveredTopic],
    telemetry: &LogTelemetry,
) -> Result<Identity, LogError> {
    let names: Vec<String> = Topic::ALL.iter().map(|topic| topic.name().to_owned()).collect();
    let identity = match known {
        None if topics.iter().all(RecoveredTopic::is_empty) => Identity::random(names),
        None => return Err(without_identity(directory)),
        Some(known) => {
            let lost =
                topics.iter().map(RecoveredTopic::name).zip(topics).find(|(name, topic)| {
                    topic.was_missing && known.topics.iter().any(|t| t == name)
                });
            match lost {
                Some((topic, _)) => {
                    warn!(topic, "files of a topic are missing; the log gets a new epoch");
                    let name = Topic::CommentEvents.name();
                    let comments = topics.iter().find(|topic| topic.name() == name);
                    let end = comments.map_or(FIRST_OFFSET, RecoveredTopic::end);
                    let identity = known.after_loss(names, end);
                    let text = format!(
                        "the files of {topic} in {} were missing when lcd started: the log begins again \
                         with a new epoch, and comments that were not archived are lost unless the \
                         files are restored from a copy while lcd is stopped",
                        directory.display()
                    );
                    telemetry.report_replaced(EVENT_LOG, Some(identity.epoch), &text);
                    // Once the identity is stored, a later start cannot tell what was missing.
                    if !telemetry.problems().write_losses() {
                        return Err(LogError::Unavailable(format!(
                            "{text}. This start ends because the loss cannot be written to \
                             losses.json (see the log for the reason)"
                        )));
                    }
                    identity
                }
                None if known.topics == names => return Ok(known),
                None => Identity { topics: names, ..known },
            }
        }
    };
    identity.store(directory)?;
    Ok(identity)
}

fn check_partition(partition: u32) -> Result<(), LogError> {
    if partition == PARTITION {
        return Ok(());
    }
    Err(LogError::Unavailable(format!(
        "no partition {partition}: a topic of the embedded log has only partition {PARTITION}"
    )))
}

#[async_trait]
impl EventLog for EmbeddedLog {
    /// Dropping the future does not cancel the append.
    fn append(
        &self,
        topic: Topic,
        batch: Vec<NewRecord>,
    ) -> BoxFuture<'static, Result<Vec<Position>, LogError>> {
        if let Err(error) = check_sizes(&batch) {
            return ready(Err(error)).boxed();
        }
        let size = AppendSize::of(&batch);
        let queued = self.topic(topic).and_then(|log| {
            log.check_files()?;
            if batch.is_empty() { Ok(None) } else { log.queue.push(batch).map(Some) }
        });
        match queued {
            Ok(Some(answer)) => {
                let stopped = move |_| Err(topic::stopped(topic.name()));
                let append = answer.map(move |answer| answer.unwrap_or_else(stopped));
                self.telemetry.measure(size, append)
            }
            Ok(None) => ready(Ok(Vec::new())).boxed(),
            Err(error) => self.telemetry.measure(size, ready(Err(error))),
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

    /// Succeeds if no file is missing and the disk takes a write.
    async fn ping(&self) -> Result<(), LogError> {
        for topic in Topic::ALL {
            self.topic(topic)?.check_files()?;
        }
        self.trial.run().await
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
        let topics = Topic::ALL.into_iter().map(|topic| self.topic(topic));
        let topics = topics.collect::<Result<Vec<_>, _>>()?;
        let now_ms = self.clock.now_ms();
        let node = self.telemetry.node();
        let of_topic = move |log: &Arc<TopicLog>| lag::of_topic(log, now_ms, node.as_ref());
        let found = run_blocking(move || Ok(topics.iter().flat_map(of_topic).collect()));
        let mut lags: Vec<_> = found.await?;
        self.lags.observe(&mut lags);
        Ok(lags)
    }

    fn epoch(&self) -> Epoch {
        self.identity.epoch
    }

    fn earlier_epochs(&self) -> Vec<EarlierEpoch> {
        self.identity.earlier.clone()
    }

    fn identity(&self) -> LogIdentity {
        LogIdentity {
            engine: "embedded",
            topic: Topic::CommentEvents.name().to_owned(),
            topic_id: None,
            partitions: 1,
            epoch: self.identity.epoch,
        }
    }

    async fn close(&self) -> Result<(), LogError> {
        if self.closed.is_cancelled() {
            return Err(LogError::Closed);
        }
        self.closed.cancel();
        let topics = self.topics.clone();
        run_blocking(move || {
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
