//! The thread behind a consumer or follower: it fetches, serves the library's callbacks and hears what
//! becomes of the assignment, however slow the one is who polls. So a stage that waits for its store
//! stays a member of its group, and nothing of the library ever blocks the runtime.
//!
//! While the cluster is away the thread waits: the library connects again, joins again and fetches
//! from where it stood, and polls bring nothing meanwhile.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::oneshot;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, info, warn};

use super::assignment::Assigner;
use super::client::log_line;
use super::failure::{is_outage, unavailable};
use super::inbox::Inbox;
use super::place::position;
use crate::daemon::engines::eventlog::{LogError, Record};

/// How long the thread sleeps at most before it looks whether it should end.
const NAP: Duration = Duration::from_millis(50);
/// How often the library is made to look after its group.
const NUDGE: Duration = Duration::from_millis(100);
/// Records brought before the one who polls is woken.
const BURST: usize = 1000;
/// A line that is full for this long belongs to somebody who does not take: fetching stops.
const STALL: Duration = Duration::from_secs(1);

pub(super) type ReadingConsumer = BaseConsumer<Reading>;

/// What the library calls back.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) inbox: Arc<Inbox>,
    /// `None`: partitions are chosen by hand, nobody takes them away.
    assigner: Option<Assigner>,
    commit: Mutex<Option<Commit>>,
}

/// A commit under way.
#[derive(Debug)]
struct Commit {
    offsets: TopicPartitionList,
    confirmed: oneshot::Sender<Result<(), Code>>,
}

impl Reading {
    pub(super) fn new(inbox: Arc<Inbox>, assigner: Option<Assigner>) -> Self {
        Self { inbox, assigner, commit: Mutex::new(None) }
    }

    /// Expects the broker's word on these offsets; what was expected before is forgotten.
    pub(super) fn expect_commit(
        &self,
        offsets: TopicPartitionList,
    ) -> oneshot::Receiver<Result<(), Code>> {
        let (confirmed, confirmation) = oneshot::channel();
        let commit = Commit { offsets, confirmed };
        *self.commit.lock() = Some(commit);
        confirmation
    }
}

impl ClientContext for Reading {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "kafka");
    }
}

impl ConsumerContext for Reading {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let Some(assigner) = &self.assigner else { return };
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            assigner.assign(consumer, &self.inbox, partitions);
        } else {
            assigner.revoke(consumer, &self.inbox, partitions);
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
            // Whoever waited in vain has gone on.
            let _ = commit.confirmed.send(error.map_or(Ok(()), |error| Err(code(error))));
        }
    }
}

fn same_offsets(one: &TopicPartitionList, other: &TopicPartitionList) -> bool {
    one.count() == other.count() && one.to_topic_map() == other.to_topic_map()
}

/// Starts the thread. It ends when the inbox has; then the member leaves its group in good order.
pub(super) fn start(
    name: &str,
    consumer: ReadingConsumer,
    running: TaskTrackerToken,
) -> Result<Weak<ReadingConsumer>, LogError> {
    let consumer = Arc::new(consumer);
    let weak = Arc::downgrade(&consumer);
    let name = name.to_owned();
    std::thread::Builder::new()
        .name("kafka-reading".to_owned())
        .spawn(move || {
            read(&name, &consumer);
            leave(consumer);
            debug!(name, "left");
            drop(running);
        })
        .map(|_| weak)
        .map_err(|error| LogError::Unavailable(format!("starting a thread: {error}")))
}

/// Closing blocks until the group knows, so it happens here and nowhere else.
fn leave(mut consumer: Arc<ReadingConsumer>) {
    while let Err(shared) = Arc::try_unwrap(consumer) {
        // Somebody is handing a commit over.
        consumer = shared;
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn read(name: &str, consumer: &ReadingConsumer) {
    let inbox = &consumer.context().inbox;
    let mut nudged = Instant::now();
    while !inbox.has_ended() {
        if inbox.is_full() && !inbox.wait_for_room(STALL) {
            stall(name, consumer);
        }
        bring(name, consumer, NAP);
        if nudged.elapsed() >= NUDGE {
            // The library looks after its group when something wakes it, else once a second. Asking
            // it anything does, and a rebalance takes a fraction of a second instead of several.
            let _ = consumer.assignment();
            nudged = Instant::now();
        }
    }
}

/// Keeps the membership alive without fetching until somebody takes again.
fn stall(name: &str, consumer: &ReadingConsumer) {
    let inbox = &consumer.context().inbox;
    info!(name, "nobody takes what was read; fetching pauses");
    let mut paused = TopicPartitionList::new();
    while inbox.is_full() && !inbox.has_ended() {
        // Again each time: a rebalance may have brought partitions that are not paused.
        if let Ok(assignment) = consumer.assignment()
            && assignment != paused
        {
            if let Err(error) = consumer.pause(&assignment) {
                warn!(name, %error, "fetching cannot be paused");
            }
            paused = assignment;
        }
        bring(name, consumer, NAP);
    }
    if let Err(error) = consumer.resume(&paused) {
        // Of a partition that was taken away meanwhile, at worst.
        debug!(name, %error, "fetching resumes");
    }
}

/// Waits for something and brings what is there.
fn bring(name: &str, consumer: &ReadingConsumer, wait: Duration) {
    let inbox = &consumer.context().inbox;
    let mut next = consumer.poll(wait);
    let mut brought = 0;
    while let Some(event) = next {
        match event {
            Ok(message) => inbox.push(to_record(&message)),
            Err(error) => report(name, inbox, &error),
        }
        brought += 1;
        if brought >= BURST {
            break;
        }
        next = consumer.poll(Duration::ZERO);
    }
    if brought > 0 {
        inbox.wake();
    }
}

/// What the library mends by itself is waited for; the rest is for the one who polls.
fn report(name: &str, inbox: &Inbox, error: &KafkaError) {
    let passing = matches!(
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
                | Code::AutoOffsetReset
        )
    );
    if passing || is_outage(error) {
        debug!(name, %error, "kafka");
        return;
    }
    warn!(name, %error, "reading from Kafka fails");
    inbox.fail(unavailable(&format!("reading {name}"), error));
}

pub(super) fn to_record(message: &BorrowedMessage<'_>) -> Record {
    let key = message.key().and_then(|key| <[u8; 8]>::try_from(key).ok());
    Record {
        position: position(message.partition(), message.offset()),
        // What others wrote without a key of ours is still a record with a place.
        key: key.map_or(0, u64::from_be_bytes),
        timestamp_ms: message.timestamp().to_millis().map_or(0, |ms| ms.max(0) as u64),
        payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    }
}
