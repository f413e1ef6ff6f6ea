//! Appends without transactions: `at_most_once` and `at_least_once`.
//!
//! A batch is handed to the library where `append` is called, so its place in the order is taken
//! there. Under `at_least_once` the producer is idempotent: a retry neither repeats nor reorders.
//! Under `at_most_once` one replica has the record in memory when it is acknowledged, and nothing is
//! sent twice; `acks=0` would not say where a record stands, and its place is a comment's number.
//!
//! What is handed to the library at a time, and what waits meanwhile, is [`super::shipping`]'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};
use tokio::sync::oneshot;

use super::client::Clients;
use super::delivery::{Answer, Batch, Budget, Deliveries, Ticket};
use super::failure::{refused, unavailable};
use super::health::Health;
use super::shipping::{Parcel, Shipper};
use super::topics::{MAX_RECORD_BYTES, Topics};
use crate::daemon::base::config::Guarantee;
use crate::daemon::engines::eventlog::{LogError, NewRecord, Topic};

/// How long a record waits for others to go with, in milliseconds. Measured with two edges at 1 000
/// comments/s on two cores: 5 costs an acknowledgement 2 ms more than 2 does, 0 costs the broker half
/// as much work again.
const LINGER_MS: u32 = 2;

/// How long the thread that takes answers waits in one call. The binding counts whole milliseconds and spins
/// through what is left below one at the end of each wait: with the 100 ms of its own thread an idle
/// node used a hundredth of a processor for it. A drop waits for the end of a call.
const POLL: Duration = Duration::from_millis(500);

type Client = BaseProducer<Deliveries>;

/// A producer with a thread that takes its answers.
struct Polled {
    client: Arc<Client>,
    dropped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Polled {
    fn start(client: Client) -> Result<Self, LogError> {
        let (client, dropped) = (Arc::new(client), Arc::<AtomicBool>::default());
        let take_answers = {
            let (client, dropped) = (client.clone(), dropped.clone());
            move || {
                while !dropped.load(Ordering::Acquire) {
                    client.poll(POLL);
                }
            }
        };
        std::thread::Builder::new()
            .name("kafka-answers".to_owned())
            .spawn(take_answers)
            .map(|thread| Self { client, dropped, thread: Some(thread) })
            .map_err(|error| LogError::Unavailable(format!("starting a thread: {error}")))
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Release);
        // Whoever still waits for an answer learns now that there will be none.
        self.client.purge(PurgeConfig::default().queue().inflight());
        // The library must not outlive the process's end of main; its threads end with the last client.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The settings that every producer of this node shares.
pub(super) fn producer_config(clients: &Clients, max_pending_bytes: u64) -> ClientConfig {
    let mut config = clients.plain();
    config.set("linger.ms", LINGER_MS.to_string());
    config.set("compression.type", "snappy");
    config.set("message.timeout.ms", clients.timeout.as_millis().to_string());
    config.set("message.max.bytes", MAX_RECORD_BYTES.to_string());
    // The budget is the bound; the library's own must never be the first to refuse.
    config.set("queue.buffering.max.messages", "0");
    let kib = (max_pending_bytes / 1024).saturating_mul(2).saturating_add(64 * 1024);
    config.set("queue.buffering.max.kbytes", kib.min(i32::MAX as u64).to_string());
    config
}

pub(super) struct DirectAppender {
    /// Before the client: its tickets come back here.
    shipper: Arc<Shipper>,
    polled: Polled,
    topics: Arc<Topics>,
    budget: Arc<Budget>,
}

impl DirectAppender {
    pub(super) fn new(
        clients: &Clients,
        guarantee: Guarantee,
        topics: Arc<Topics>,
        max_pending_bytes: u64,
        health: Arc<Health>,
    ) -> Result<Self, LogError> {
        let mut config = producer_config(clients, max_pending_bytes);
        if guarantee == Guarantee::AtMostOnce {
            config.set("acks", "1").set("retries", "0");
        } else {
            config.set("enable.idempotence", "true");
        }
        let client = Client::from_config_and_context(&config, Deliveries { health })
            .map_err(|error| unavailable("setting up a producer", &error))?;
        let polled = Polled::start(client)?;
        let shipper = Shipper::new(polled.client.clone(), topics.clone());
        Ok(Self { shipper, polled, topics, budget: Budget::new(max_pending_bytes) })
    }

    pub(super) fn append(
        &self,
        topic: Topic,
        records: Vec<NewRecord>,
    ) -> Result<oneshot::Receiver<Answer>, LogError> {
        let reserved = self.budget.reserve(&records)?;
        let name = self.topics.name(topic);
        let (batch, answer) = Batch::new(name, records.len(), reserved);
        let parcels =
            (0..).zip(records).map(|(index, new)| Parcel { new, batch: batch.clone(), index });
        self.shipper.add(topic, parcels);
        Ok(answer)
    }

    pub(super) fn metadata(
        &self,
        topic: Option<&str>,
        timeout: Duration,
    ) -> Result<Metadata, LogError> {
        let metadata = self.polled.client.client().fetch_metadata(topic, timeout);
        metadata.map_err(|error| unavailable("asking the cluster", &error))
    }

    /// Waits until everything under way is answered. Blocks.
    pub(super) fn flush(&self, timeout: Duration) -> Result<(), LogError> {
        let deadline = Instant::now() + timeout;
        // What arrives lets go what waited for it.
        while !self.shipper.is_idle() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LogError::Unavailable("the last appends are under way".to_owned()));
            }
            let flushed = self.polled.client.flush(left);
            flushed.map_err(|error| unavailable("flushing the last appends", &error))?;
            // The other thread may be about to settle what it took.
            std::thread::yield_now();
        }
        Ok(())
    }
}

pub(super) fn to_record<'a>(
    topic: &'a str,
    partition: u32,
    key: &'a [u8; 8],
    new: &'a NewRecord,
    ticket: Box<Ticket>,
) -> BaseRecord<'a, [u8; 8], [u8], Box<Ticket>> {
    BaseRecord::with_opaque_to(topic, ticket)
        .partition(partition as i32)
        .key(key)
        .payload(&new.payload[..])
        // Kafka takes 0 for "now"; a millisecond after the epoch is as good a lie about it.
        .timestamp(i64::try_from(new.timestamp_ms.max(1)).unwrap_or(i64::MAX))
}

/// Settles a record that the library itself did not take.
pub(super) fn refuse(ticket: &Ticket, new: &NewRecord, topic: &str, error: &KafkaError) {
    ticket.batch.settle(ticket.index, Err(refused(topic, new.payload.len(), error)));
}
