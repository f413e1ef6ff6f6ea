//! Hands records to the library, one in-flight batch per partition at a time, and receives their
//! delivery reports.
//!
//! An idempotent producer sends no more of a partition while five of its messages are in flight (it
//! counts messages, not requests). Records that wait for that inside the library keep its thread
//! spinning from the end of the linger on (`rd_kafka_msgq_allow_wakeup_at` wakes it at once, again
//! and again): two edges at 5 000 comments/s on two cores left the broker no time to answer, for
//! seconds. So records wait here instead. While more than [`MAX_IN_FLIGHT_RECORDS`] records of a
//! partition are with the library, new ones wait for the next batch, which makes one request.
//! Batches therefore grow with the rate.
//!
//! Always holds: the records of a partition are handed over in the order of
//! [`BatchSender::enqueue`].
//!
//! Bounded: by [`super::pending::PendingBytes`]. When a batch is not acknowledged in time, the
//! records that wait behind it fail with it instead of waiting for another timeout.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use ahash::AHashMap;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::client::{append_error, is_outage, log_line};
use super::health::Health;
use super::offsets::log_position;
use super::pending::PendingAppend;
use super::topics::{Topics, key_bytes};
use crate::daemon::engines::eventlog::{LogError, NewRecord, Topic};

/// A partition with more records than this in flight gets no further batch. One less than the
/// messages that the library allows in flight (`RD_KAFKA_IDEMP_MAX_INFLIGHT`).
const MAX_IN_FLIGHT_RECORDS: usize = 4;
/// Bounds of a batch, so that it makes one request: below the library's `batch.size` (1 MB) and
/// `batch.num.messages` (10 000).
const BATCH_BYTES: usize = 512 << 10;
const BATCH_RECORDS: usize = 5000;

/// The reason that appends are given while a producer that has failed for good is replaced.
pub(super) const PRODUCER_FAILED: &str = "the Kafka producer failed and is replaced";

/// A record and the append it belongs to.
#[derive(Debug)]
pub(super) struct PendingRecord {
    pub(super) new: NewRecord,
    pub(super) append: Arc<PendingAppend>,
    /// Its index in the append.
    pub(super) index: u32,
}

impl PendingRecord {
    fn fail(self, error: &LogError) {
        self.append.complete_record(self.index, Err(error.clone()));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct TopicPartition {
    topic: Topic,
    partition: u32,
}

/// The value that the library returns with a record's delivery report.
#[derive(Debug)]
pub(super) struct DeliveryOpaque {
    pub(super) append: Arc<PendingAppend>,
    pub(super) index: u32,
    /// The batch it was handed over with; `None` in a transaction.
    pub(super) batch: Option<Arc<InFlightBatch>>,
}

impl DeliveryOpaque {
    fn complete(&self, result: &DeliveryResult<'_>, context: &DeliveryContext) {
        let outcome = match result {
            Ok(message) => Ok(log_position(message.partition(), message.offset())),
            Err((error, message)) => Err(match error.rdkafka_error_code() {
                // Purged, because the producer has failed or the log was dropped. (The records that
                // a failed transaction purges have been answered already.)
                Some(RDKafkaErrorCode::PurgeInflight | RDKafkaErrorCode::PurgeQueue) => {
                    if context.has_failed() {
                        LogError::Unavailable(PRODUCER_FAILED.to_owned())
                    } else {
                        LogError::Closed
                    }
                }
                _ => {
                    let topic = context.topics.name(self.append.topic);
                    append_error(topic, message.payload_len(), error)
                }
            }),
        };
        self.append.complete_record(self.index, outcome);
    }

    /// Fails a record that the library itself did not accept.
    pub(super) fn reject(&self, topic: &str, new: &NewRecord, error: &KafkaError) {
        let error = append_error(topic, new.payload.len(), error);
        self.append.complete_record(self.index, Err(error));
    }
}

/// The last offset of each partition of the log that was reported, to any producer.
#[derive(Debug, Default)]
pub(super) struct LastOffsets(Mutex<AHashMap<i32, i64>>);

impl LastOffsets {
    /// Records an offset. Returns whether the partition had given it, or a later one, before.
    fn goes_back(&self, partition: i32, offset: i64) -> bool {
        let mut partitions = self.0.lock();
        let last = partitions.entry(partition).or_insert(-1);
        let goes_back = offset <= *last;
        *last = offset.max(*last);
        goes_back
    }
}

/// Receives delivery reports and lost connections.
#[derive(Debug)]
pub(super) struct DeliveryContext {
    health: Arc<Health>,
    topics: Arc<Topics>,
    last_offsets: Arc<LastOffsets>,
    /// The producer that this serves, if it is replaced once it has failed for good.
    producer: OnceLock<Weak<BaseProducer<Self>>>,
}

impl DeliveryContext {
    pub(super) fn new(
        health: Arc<Health>,
        topics: Arc<Topics>,
        last_offsets: Arc<LastOffsets>,
    ) -> Self {
        Self { health, topics, last_offsets, producer: OnceLock::new() }
    }

    /// Names the producer, so that records which the library drops after its failure are not
    /// answered as those of a closed log.
    pub(super) fn serve(&self, producer: &Arc<BaseProducer<Self>>) {
        // It serves one producer only.
        let _ = self.producer.set(Arc::downgrade(producer));
    }

    fn has_failed(&self) -> bool {
        let producer = self.producer.get().and_then(Weak::upgrade);
        producer.is_some_and(|producer| producer.client().fatal_error().is_some())
    }

    /// Returns why a stored comment must not be acknowledged: another topic may have it, under a
    /// number that belongs to an earlier comment. Its sender tries again, and every reader keeps
    /// the first of the two.
    fn refusal(&self, topic: Topic, message: &BorrowedMessage<'_>) -> Option<LogError> {
        if topic != Topic::CommentEvents || message.offset() < 0 {
            return None;
        }
        let goes_back = self.last_offsets.goes_back(message.partition(), message.offset());
        if goes_back {
            self.health.suspect("a topic gave a number that it has given before");
        }
        let known = self.health.check_topic(topic).err();
        let text = || format!("topic {} was created again", self.topics.name(topic));
        known.or_else(|| goes_back.then(|| LogError::Unavailable(text())))
    }
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.health.suspect(reason),
            Some(RDKafkaErrorCode::Fatal) => self.health.suspect(PRODUCER_FAILED),
            _ => {}
        }
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Box<DeliveryOpaque>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Box<DeliveryOpaque>) {
        let topic = opaque.append.topic;
        if let Ok(message) = result
            && let Some(error) = self.refusal(topic, message)
        {
            opaque.append.complete_record(opaque.index, Err(error));
            return;
        }
        if let Err((error, _)) = result
            && is_outage(error)
        {
            self.health.suspect("the brokers did not acknowledge within `kafka.append_timeout`");
            if let Some(batch) = &opaque.batch {
                batch.fail(append_error(self.topics.name(topic), 0, error));
            }
        } else if let Err((error, _)) = result
            && error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
        {
            self.health.suspect("a topic refused the size of a batch");
        }
        opaque.complete(result, self);
    }
}

pub(super) fn producer_record<'a>(
    topic: &'a str,
    partition: u32,
    key: &'a [u8; 8],
    new: &'a NewRecord,
    opaque: Box<DeliveryOpaque>,
) -> BaseRecord<'a, [u8; 8], [u8], Box<DeliveryOpaque>> {
    BaseRecord::with_opaque_to(topic, opaque)
        .partition(partition as i32)
        .key(key)
        .payload(&new.payload[..])
        // Kafka reads 0 as "now", so the epoch itself becomes one millisecond after it.
        .timestamp(i64::try_from(new.timestamp_ms.max(1)).unwrap_or(i64::MAX))
}

pub(super) struct BatchSender {
    client: Arc<BaseProducer<DeliveryContext>>,
    topics: Arc<Topics>,
    queues: Mutex<AHashMap<TopicPartition, PartitionQueue>>,
}

#[derive(Debug, Default)]
struct PartitionQueue {
    /// Number of records with the library.
    in_flight: usize,
    waiting: VecDeque<PendingRecord>,
}

/// Records of one partition that were handed over together. It is dropped with the last of their
/// opaques, which is when all of them have been reported on.
pub(super) struct InFlightBatch {
    sender: Weak<BatchSender>,
    partition: TopicPartition,
    records: usize,
    failure: Mutex<Option<LogError>>,
}

impl std::fmt::Debug for InFlightBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InFlightBatch").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl InFlightBatch {
    /// Records that the brokers did not acknowledge one of its records.
    fn fail(&self, error: LogError) {
        *self.failure.lock() = Some(error);
    }
}

impl Drop for InFlightBatch {
    fn drop(&mut self) {
        let Some(sender) = self.sender.upgrade() else { return };
        let failure = self.failure.get_mut().take();
        sender.complete_batch(self.partition, self.records, failure);
    }
}

impl BatchSender {
    pub(super) fn new(
        client: Arc<BaseProducer<DeliveryContext>>,
        topics: Arc<Topics>,
    ) -> Arc<Self> {
        Arc::new(Self { client, topics, queues: Mutex::default() })
    }

    /// Adds records to the queues of their partitions and hands over the batches that may go.
    pub(super) fn enqueue(
        self: &Arc<Self>,
        topic: Topic,
        records: impl Iterator<Item = PendingRecord>,
    ) {
        let mut queues = self.queues.lock();
        let mut changed = Vec::new();
        for record in records {
            let partition = self.topics.partition_of(topic, record.new.key);
            let partition = TopicPartition { topic, partition };
            queues.entry(partition).or_default().waiting.push_back(record);
            if !changed.contains(&partition) {
                changed.push(partition);
            }
        }
        let sent: Vec<_> = changed
            .into_iter()
            .filter_map(|partition| self.send_next_batch(&mut queues, partition))
            .collect();
        drop(queues);
        // A batch that the library rejected completes here, which takes the lock.
        drop(sent);
    }

    /// Returns whether nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        let queues = self.queues.lock();
        queues.values().all(|queue| queue.in_flight == 0 && queue.waiting.is_empty())
    }

    fn complete_batch(
        self: &Arc<Self>,
        partition: TopicPartition,
        records: usize,
        failure: Option<LogError>,
    ) {
        let mut queues = self.queues.lock();
        let queue = queues.entry(partition).or_default();
        queue.in_flight -= records;
        let failed =
            if failure.is_some() { std::mem::take(&mut queue.waiting) } else { VecDeque::new() };
        let sent = self.send_next_batch(&mut queues, partition);
        drop(queues);
        drop(sent);
        let Some(error) = failure else { return };
        for record in failed {
            record.fail(&error);
        }
    }

    /// Hands over the next batch of a partition, if it may go. Drop the result without the lock.
    fn send_next_batch(
        self: &Arc<Self>,
        queues: &mut AHashMap<TopicPartition, PartitionQueue>,
        partition: TopicPartition,
    ) -> Option<Arc<InFlightBatch>> {
        let records = queues.entry(partition).or_default().next_batch()?;
        let batch = Arc::new(InFlightBatch {
            sender: Arc::downgrade(self),
            partition,
            records: records.len(),
            failure: Mutex::default(),
        });
        for record in records {
            self.send(record, &batch);
        }
        Some(batch)
    }

    fn send(&self, record: PendingRecord, batch: &Arc<InFlightBatch>) {
        let PendingRecord { new, append, index } = record;
        let TopicPartition { topic, partition } = batch.partition;
        let key = key_bytes(new.key);
        let opaque = Box::new(DeliveryOpaque { append, index, batch: Some(batch.clone()) });
        let topic = self.topics.name(topic);
        let record = producer_record(topic, partition, &key, &new, opaque);
        if let Err((error, record)) = self.client.send(record) {
            record.delivery_opaque.reject(topic, &new, &error);
        }
    }
}

impl PartitionQueue {
    /// Takes the next batch; `None` while too many records are in flight, or if none waits.
    fn next_batch(&mut self) -> Option<Vec<PendingRecord>> {
        if self.in_flight > MAX_IN_FLIGHT_RECORDS || self.waiting.is_empty() {
            return None;
        }
        let mut records = 0;
        let mut bytes = 0;
        for record in self.waiting.iter().take(BATCH_RECORDS) {
            bytes += record.new.payload.len();
            if records > 0 && bytes > BATCH_BYTES {
                break;
            }
            records += 1;
        }
        self.in_flight += records;
        Some(self.waiting.drain(..records).collect())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::daemon::engines::eventlog::kafka::pending::PendingBytes;

    fn pending_record(index: u32, bytes: usize) -> PendingRecord {
        let new = NewRecord { key: 1, timestamp_ms: 1, payload: Bytes::from(vec![0; bytes]) };
        let reserved = PendingBytes::new(1 << 30).reserve(std::slice::from_ref(&new)).unwrap();
        let (append, _) = PendingAppend::new(Topic::CommentEvents, 1, reserved);
        PendingRecord { new, append, index }
    }

    fn push(queue: &mut PartitionQueue, indices: std::ops::Range<u32>, bytes: usize) {
        queue.waiting.extend(indices.map(|index| pending_record(index, bytes)));
    }

    fn next(queue: &mut PartitionQueue) -> Option<Vec<u32>> {
        Some(queue.next_batch()?.iter().map(|record| record.index).collect())
    }

    #[test]
    fn records_wait_while_five_are_in_flight() {
        let mut queue = PartitionQueue::default();
        for index in 0..5 {
            push(&mut queue, index..index + 1, 10);
            assert_eq!(next(&mut queue), Some(vec![index]));
        }
        push(&mut queue, 5..9, 10);
        assert_eq!(next(&mut queue), None, "five are in flight");
        queue.in_flight -= 1;
        push(&mut queue, 9..12, 10);
        assert_eq!(next(&mut queue), Some((5..12).collect()), "in order, with later ones");
        queue.in_flight -= 4;
        push(&mut queue, 12..13, 10);
        assert_eq!(next(&mut queue), None);
        queue.in_flight -= 7;
        assert_eq!(next(&mut queue), Some(vec![12]));
        queue.in_flight -= 1;
        assert_eq!((queue.in_flight, next(&mut queue)), (0, None));
    }

    #[test]
    fn batch_makes_one_request() {
        let mut queue = PartitionQueue::default();
        push(&mut queue, 0..4, BATCH_BYTES / 2);
        push(&mut queue, 4..5, 2 * BATCH_BYTES);
        for expected in [vec![0, 1], vec![2, 3], vec![4]] {
            assert_eq!(next(&mut queue), Some(expected), "a large record goes alone");
            queue.in_flight = 0;
        }
        push(&mut queue, 0..BATCH_RECORDS as u32 + 1, 1);
        assert_eq!(next(&mut queue).unwrap().len(), BATCH_RECORDS);
        queue.in_flight = 0;
        assert_eq!(next(&mut queue), Some(vec![BATCH_RECORDS as u32]));
    }
}
