//! The thread behind a consumer or follower. It fetches records and serves the library's callbacks,
//! however slowly the stage polls. So a stage that waits for its store stays in its group, and no
//! call into the library blocks the runtime.
//!
//! During an outage the thread waits. The library connects, joins and fetches again from where it
//! stopped, and polls return nothing meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, info, warn};

use super::client::{is_outage, log_line, unavailable};
use super::offsets::log_position;
use super::prefetch::PrefetchQueue;
use super::resume::ConsumerSource;
use crate::daemon::engines::eventlog::{LogError, Position, Record, StartAt};

/// The thread waits for records for at most this long before it checks whether it should end.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// Interval at which the library is made to serve its group.
const GROUP_WAKE_INTERVAL: Duration = Duration::from_millis(100);
/// Records queued before the poll is woken.
const FETCH_RECORDS: usize = 1000;
/// Fetching pauses when the queue was full for this long.
const FULL_TIMEOUT: Duration = Duration::from_secs(1);
const OFFSET_RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Pause between two attempts to continue after a position was lost.
const RECOVERY_PAUSE: Duration = Duration::from_millis(300);

pub(super) type ThreadConsumer = BaseConsumer<ConsumerCallbacks>;

/// The callbacks of the library.
#[derive(Debug)]
pub(super) struct ConsumerCallbacks {
    queue: Arc<PrefetchQueue>,
    source: ConsumerSource,
    /// The start of a group without a commit. `None` outside a group, where partitions are assigned
    /// by hand and never revoked.
    start: Option<StartAt>,
    commit: Mutex<Option<PendingCommit>>,
    /// True if the next offset of a partition does not exist.
    lost_position: AtomicBool,
}

#[derive(Debug)]
struct PendingCommit {
    offsets: TopicPartitionList,
    confirmed: oneshot::Sender<Result<(), Code>>,
}

impl ConsumerCallbacks {
    pub(super) fn new(
        queue: Arc<PrefetchQueue>,
        source: ConsumerSource,
        start: Option<StartAt>,
    ) -> Self {
        Self {
            queue,
            source,
            start,
            commit: Mutex::new(None),
            lost_position: AtomicBool::new(false),
        }
    }

    /// Returns the outcome of the commit of these offsets, which the caller starts next. An earlier
    /// commit is no longer waited for.
    pub(super) fn expect_commit(
        &self,
        offsets: TopicPartitionList,
    ) -> oneshot::Receiver<Result<(), Code>> {
        let (confirmed, confirmation) = oneshot::channel();
        *self.commit.lock() = Some(PendingCommit { offsets, confirmed });
        confirmation
    }
}

impl ClientContext for ConsumerCallbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "kafka");
    }
}

impl ConsumerContext for ConsumerCallbacks {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let Some(start) = self.start else { return };
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assign(consumer, partitions, start);
        } else {
            self.revoke(consumer, partitions);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let mut expected = self.commit.lock();
        if !expected.as_ref().is_some_and(|commit| same_offsets(&commit.offsets, offsets)) {
            return;
        }
        let of_partitions = || offsets.elements().iter().find_map(|of| of.error().err());
        let error = result.err().or_else(of_partitions);
        let code = |error: KafkaError| error.rdkafka_error_code().unwrap_or(Code::Fail);
        if let Some(commit) = expected.take() {
            // The caller may have stopped waiting.
            let _ = commit.confirmed.send(error.map_or(Ok(()), |error| Err(code(error))));
        }
    }
}

fn same_offsets(one: &TopicPartitionList, other: &TopicPartitionList) -> bool {
    one.count() == other.count() && one.to_topic_map() == other.to_topic_map()
}

/// Answers to rebalances. Nothing of another topic under the same name is assigned. A partition
/// begins at the group's commit, or without one where the consumer starts. The offset is found
/// before the partition is assigned, so the poll reports the offset that is read first.
impl ConsumerCallbacks {
    /// Assigns partitions. Waits until their offsets are known.
    fn assign<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        partitions: &TopicPartitionList,
        start: StartAt,
    ) {
        let Self { queue, source, .. } = self;
        let numbers: Vec<i32> = partitions.elements().iter().map(|p| p.partition()).collect();
        let mut begin = TopicPartitionList::new();
        while !numbers.is_empty() && !queue.is_closed() {
            if !source.is_same_topic(consumer) {
                // Its records have other numbers. The log is opened again, which closes the queue.
                std::thread::sleep(OFFSET_RETRY_PAUSE);
                continue;
            }
            match source.first_offsets(consumer, &numbers, start) {
                Ok(found) => {
                    begin = found;
                    break;
                }
                Err(error) => {
                    warn!(group = source.group, %error, "offsets of assigned partitions unknown; retrying");
                    std::thread::sleep(OFFSET_RETRY_PAUSE);
                }
            }
        }
        // Queued before any of their records can be.
        let positions = positions(&begin);
        if !positions.is_empty() {
            info!(group = source.group, topic = source.topic, partitions = ?numbers, "assigned");
            queue.assign(positions);
        }
        if let Err(error) = consumer.incremental_assign(&begin) {
            warn!(group = source.group, %error, "assignment failed");
        }
    }

    fn revoke<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        partitions: &TopicPartitionList,
    ) {
        let Self { queue, source, .. } = self;
        let numbers: Vec<u32> =
            partitions.elements().iter().map(|p| p.partition() as u32).collect();
        if !numbers.is_empty() {
            let lost = consumer.assignment_lost();
            info!(group = source.group, partitions = ?numbers, lost, "revoked");
            // Revoked before another member can read them.
            queue.revoke(numbers);
        }
        if let Err(error) = consumer.incremental_unassign(partitions) {
            warn!(group = source.group, %error, "revocation failed");
        }
    }
}

fn positions(list: &TopicPartitionList) -> Vec<Position> {
    let offset = |raw: Offset| raw.to_raw().unwrap_or_default();
    list.elements().iter().map(|p| log_position(p.partition(), offset(p.offset()))).collect()
}

/// Polls before a change of the assignment. A poll also ends at an event that is no record: the
/// answer to a commit, of which few can be waiting, because each is awaited before the next.
const SERVED_BEFORE_CHANGES: usize = 8;

/// Starts the thread. It ends when the queue is closed; then the consumer leaves its group.
pub(super) fn start(
    name: &str,
    consumer: ThreadConsumer,
    running: TaskTrackerToken,
) -> Result<Weak<ThreadConsumer>, LogError> {
    let consumer = Arc::new(consumer);
    let weak = Arc::downgrade(&consumer);
    let name = name.to_owned();
    std::thread::Builder::new()
        .name("kafka-reading".to_owned())
        .spawn(move || {
            run(&name, &consumer);
            leave(consumer);
            debug!(name, "consumer thread ended");
            drop(running);
        })
        .map(|_| weak)
        .map_err(|error| LogError::Unavailable(format!("starting a thread: {error}")))
}

/// Drops the consumer. That blocks until the group has been left, so it happens on this thread
/// only.
fn leave(mut consumer: Arc<ThreadConsumer>) {
    while let Err(shared) = Arc::try_unwrap(consumer) {
        // A commit is being started.
        consumer = shared;
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn run(name: &str, consumer: &ThreadConsumer) {
    let queue = &consumer.context().queue;
    let mut woken_at = Instant::now();
    let mut recovered_at = None;
    while !queue.is_closed() {
        if queue.is_full() && !queue.wait_for_room(FULL_TIMEOUT) {
            pause_while_full(name, consumer);
        }
        fetch(name, consumer, POLL_WAIT);
        if woken_at.elapsed() >= GROUP_WAKE_INTERVAL {
            // The library serves its group when any call wakes it, else once a second. With this
            // call a rebalance takes a fraction of a second instead of several.
            let _ = consumer.assignment();
            woken_at = Instant::now();
        }
        follow_replacement(name, consumer);
        let is_due = recovered_at.is_none_or(|at: Instant| at.elapsed() >= RECOVERY_PAUSE);
        if is_due && consumer.context().lost_position.load(Ordering::Relaxed) {
            recover_position(name, consumer);
            recovered_at = Some(Instant::now());
        }
    }
}

/// Continues on another topic of the same name that was taken into use. A group never does: the
/// topic that it reads is the log itself, which is opened again.
fn follow_replacement(name: &str, consumer: &ThreadConsumer) {
    let ConsumerCallbacks { queue, source, start, .. } = &**consumer.context();
    if start.is_none()
        && let Err(error) = source.follow_replacement(consumer, queue)
    {
        warn!(name, %error, "cannot follow the topic that was created again yet");
    }
}

/// Continues to read after the next offset of a partition was gone.
fn recover_position(name: &str, consumer: &ThreadConsumer) {
    let lost_position = &consumer.context().lost_position;
    // Set again by an error that comes meanwhile.
    lost_position.store(false, Ordering::Relaxed);
    match try_recover(name, consumer) {
        Ok(true) => {}
        Ok(false) => lost_position.store(true, Ordering::Relaxed),
        Err(error) => {
            warn!(name, %error, "cannot continue after a lost position yet");
            lost_position.store(true, Ordering::Relaxed);
        }
    }
}

/// Returns whether the consumer reads again.
fn try_recover(name: &str, consumer: &ThreadConsumer) -> KafkaResult<bool> {
    let ConsumerCallbacks { queue, source, .. } = &**consumer.context();
    let Some(found) = source.find_continuations(consumer, queue)? else { return Ok(false) };
    // A rebalance may have begun while the brokers answered. Its callback runs first: the library
    // would take another change of the assignment for the answer to it.
    for _ in 0..SERVED_BEFORE_CHANGES {
        fetch(name, consumer, Duration::ZERO);
    }
    source.resume(consumer, queue, found)?;
    Ok(true)
}

/// Stays in the group without fetching while the queue is full.
fn pause_while_full(name: &str, consumer: &ThreadConsumer) {
    let queue = &consumer.context().queue;
    info!(name, "records are not consumed; fetching paused");
    let mut paused = TopicPartitionList::new();
    while queue.is_full() && !queue.is_closed() {
        // Checked each time: a rebalance may have added partitions that are not paused.
        if let Ok(assignment) = consumer.assignment()
            && assignment != paused
        {
            if let Err(error) = consumer.pause(&assignment) {
                warn!(name, %error, "cannot pause fetching");
            }
            paused = assignment;
        }
        fetch(name, consumer, POLL_WAIT);
    }
    if let Err(error) = consumer.resume(&paused) {
        // At worst a partition was revoked meanwhile.
        debug!(name, %error, "cannot resume fetching of every partition");
    }
}

/// Waits for records and queues those that have arrived.
fn fetch(name: &str, consumer: &ThreadConsumer, wait: Duration) {
    let queue = &consumer.context().queue;
    let mut next = consumer.poll(wait);
    let mut events = 0;
    while let Some(event) = next {
        match event {
            Ok(message) => queue.push(to_record(&message)),
            Err(error) if is_lost_position(&error) => {
                consumer.context().lost_position.store(true, Ordering::Relaxed);
            }
            Err(error) => report_error(name, queue, &error),
        }
        events += 1;
        if events >= FETCH_RECORDS {
            break;
        }
        next = consumer.poll(Duration::ZERO);
    }
    if events > 0 {
        queue.wake();
    }
}

/// Returns whether the library stopped reading a partition because its next offset does not exist.
fn is_lost_position(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::AutoOffsetReset | Code::LogTruncation))
}

/// Passes an error to the poll, unless the library recovers from it by itself.
fn report_error(name: &str, queue: &PrefetchQueue, error: &KafkaError) {
    let is_transient = matches!(
        error.rdkafka_error_code(),
        None | Some(
            Code::PartitionEOF
                | Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
                | Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::RebalanceInProgress
                | Code::IllegalGeneration
                | Code::UnknownMemberId
                // The topic is missing or another one, which `health` finds out.
                | Code::UnknownTopicOrPartition
                | Code::UnknownTopicId
                | Code::UnknownTopic
                | Code::UnknownPartition
        )
    );
    if is_transient || is_outage(error) {
        debug!(name, %error, "kafka");
        return;
    }
    warn!(name, %error, "reading from Kafka failed");
    queue.fail(unavailable(&format!("reading {name}"), error));
}

pub(super) fn to_record(message: &BorrowedMessage<'_>) -> Record {
    let key = message.key().and_then(|key| <[u8; 8]>::try_from(key).ok());
    Record {
        position: log_position(message.partition(), message.offset()),
        // A record that another producer wrote with another kind of key still has a position.
        key: key.map_or(0, u64::from_be_bytes),
        timestamp_ms: message.timestamp().to_millis().map_or(0, |ms| ms.max(0) as u64),
        payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    }
}
