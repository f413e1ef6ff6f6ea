//! Appends, by the configured guarantee.
//!
//! Without transactions (`at_most_once`, `at_least_once`) a batch is queued where `append` is
//! called, so that call decides its place in the order. Under `at_least_once` the producer is
//! idempotent: a retry neither repeats nor reorders. Under `at_most_once` one replica has the
//! record in memory when it is acknowledged, and nothing is sent twice; `acks=0` would not report a
//! record's offset, which is the comment's number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::producer::{BaseProducer, Producer as _, PurgeConfig};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::client::{ClientSettings, unavailable};
use super::health::{Health, PROBE_TIMEOUT};
use super::in_flight::{BatchSender, DeliveryContext, LastOffsets, PRODUCER_FAILED, PendingRecord};
use super::pending::{AppendResult, PendingAppend, PendingBytes};
use super::topics::Topics;
use super::transactions::TransactionalAppender;
use crate::daemon::base::config::{EventLogConfig, Guarantee};
use crate::daemon::engines::eventlog::{LogError, NewRecord, Topic};

/// Time that the thread for delivery reports waits in one call. The wrapper counts whole
/// milliseconds and spins through the rest at the end of each wait: with the 100 ms of its own
/// thread an idle node used a hundredth of a processor. Dropping the producer waits for the end of
/// a call.
const POLL_WAIT: Duration = Duration::from_millis(500);

/// A producer that has failed is dropped after this time at the latest.
const RETIREMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest time between two replacements.
const REPLACEMENT_PAUSE: Duration = Duration::from_secs(1);

type Client = BaseProducer<DeliveryContext>;

#[derive(Clone)]
pub(super) enum Appender {
    Direct(Arc<DirectAppender>),
    Transactional(Arc<TransactionalAppender>),
}

impl std::fmt::Debug for Appender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Direct(_) => "Direct",
            Self::Transactional(_) => "Transactional",
        })
    }
}

impl Appender {
    /// Blocks under `exactly_once`, until the brokers have ended the transactions of a predecessor.
    pub(super) fn new(
        clients: &ClientSettings,
        config: &EventLogConfig,
        batch_bytes: usize,
        topics: Arc<Topics>,
        health: Arc<Health>,
    ) -> Result<Self, LogError> {
        let max_bytes = config.max_pending_bytes.as_u64();
        let settings = clients.producer(max_bytes, batch_bytes);
        if config.guarantee == Guarantee::ExactlyOnce {
            let appender =
                TransactionalAppender::new(clients, settings, topics, max_bytes, health)?;
            return Ok(Self::Transactional(Arc::new(appender)));
        }
        let direct = DirectAppender::new(settings, config, topics, health)?;
        Ok(Self::Direct(Arc::new(direct)))
    }

    pub(super) fn append(
        &self,
        topic: Topic,
        batch: Vec<NewRecord>,
    ) -> Result<oneshot::Receiver<AppendResult>, LogError> {
        match self {
            Self::Direct(direct) => direct.append(topic, batch),
            Self::Transactional(appender) => appender.append(topic, batch),
        }
    }

    /// Returns the end up to which this process has acknowledged records, if a reader of committed
    /// records may not see them yet; 0 if it sees them at once.
    pub(super) fn acknowledged_end(&self, topic: Topic, partition: u32) -> u64 {
        match self {
            Self::Direct(_) => 0,
            Self::Transactional(appender) => appender.acknowledged_end(topic, partition),
        }
    }

    /// Takes another topic of the same name into use.
    pub(super) fn adopt(&self, topic: Topic, name: &str) -> Result<(), LogError> {
        match self {
            // Makes the library look for the topic, which it may know as deleted.
            Self::Direct(direct) => direct.probe(name),
            Self::Transactional(appender) => {
                appender.forget_acknowledged(topic);
                appender.find_topic(name)
            }
        }
    }

    /// Sends a request to find out whether the cluster can be reached. Blocks.
    pub(super) fn probe(&self, topic: &str) -> Result<(), LogError> {
        match self {
            Self::Direct(direct) => direct.probe(topic),
            Self::Transactional(appender) => appender.probe(topic),
        }
    }

    /// Waits until every pending append is answered. Nothing may be appended afterwards. Blocks.
    pub(super) fn flush(&self, timeout: Duration) -> Result<(), LogError> {
        match self {
            Self::Direct(direct) => direct.flush(timeout),
            Self::Transactional(appender) => appender.close(timeout),
        }
    }
}

/// A producer and the thread that serves its delivery reports.
struct PolledProducer {
    client: Arc<Client>,
    dropped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PolledProducer {
    fn start(client: Client) -> Result<Self, LogError> {
        let client = Arc::new(client);
        let dropped = Arc::<AtomicBool>::default();
        let poll = {
            let client = client.clone();
            let dropped = dropped.clone();
            move || {
                while !dropped.load(Ordering::Acquire) {
                    client.poll(POLL_WAIT);
                }
            }
        };
        std::thread::Builder::new()
            .name("kafka-answers".to_owned())
            .spawn(poll)
            .map(|thread| Self { client, dropped, thread: Some(thread) })
            .map_err(|error| LogError::Unavailable(format!("starting a thread: {error}")))
    }
}

impl Drop for PolledProducer {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Release);
        // Answers every caller that still waits.
        self.client.purge(PurgeConfig::default().queue().inflight());
        // The library must not outlive `main`; its threads end with the last client.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sets how many brokers have a record when it is acknowledged: the leader at once, or all that are
/// in sync. Idempotence includes `acks=all` and sends again without duplicates.
pub(super) fn set_acks(client_config: &mut ClientConfig, guarantee: Guarantee) {
    if guarantee == Guarantee::AtMostOnce {
        client_config.set("acks", "1").set("retries", "0");
    } else {
        client_config.set("acks", "all").set("enable.idempotence", "true");
    }
}

/// A producer with what was handed to it.
struct DirectProducer {
    /// Dropped before the client, because the opaques of its records return to it.
    sender: Arc<BatchSender>,
    polled: PolledProducer,
}

impl DirectProducer {
    fn start(
        client_config: &ClientConfig,
        topics: Arc<Topics>,
        context: DeliveryContext,
    ) -> Result<Self, LogError> {
        let client = Client::from_config_and_context(client_config, context)
            .map_err(|error| unavailable("creating a producer", &error))?;
        let polled = PolledProducer::start(client)?;
        polled.client.client().context().serve(&polled.client);
        let sender = BatchSender::new(polled.client.clone(), topics);
        Ok(Self { sender, polled })
    }

    /// Returns the reason if it accepts nothing any more.
    fn fatal_error(&self) -> Option<String> {
        self.polled.client.client().fatal_error().map(|(_, reason)| reason)
    }

    fn flush(&self, timeout: Duration) -> Result<(), LogError> {
        let deadline = Instant::now() + timeout;
        // Each batch that completes lets the next one go.
        while !self.sender.is_idle() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = "the last appends were not acknowledged in time";
                return Err(LogError::Unavailable(text.to_owned()));
            }
            let flushed = self.polled.client.flush(left);
            flushed.map_err(|error| unavailable("flushing the last appends", &error))?;
            // The polling thread may be about to complete a batch it has taken.
            std::thread::yield_now();
        }
        Ok(())
    }
}

pub(super) struct DirectAppender {
    client_config: ClientConfig,
    topics: Arc<Topics>,
    health: Arc<Health>,
    last_offsets: Arc<LastOffsets>,
    /// Locked while a batch is handed over, so that `append` is never the last to hold a producer:
    /// its drop blocks.
    producer: Mutex<Arc<DirectProducer>>,
    replaced_at: Mutex<Option<Instant>>,
    pending_bytes: Arc<PendingBytes>,
}

impl DirectAppender {
    fn new(
        mut client_config: ClientConfig,
        config: &EventLogConfig,
        topics: Arc<Topics>,
        health: Arc<Health>,
    ) -> Result<Self, LogError> {
        set_acks(&mut client_config, config.guarantee);
        let last_offsets = Arc::<LastOffsets>::default();
        let context = DeliveryContext::new(health.clone(), topics.clone(), last_offsets.clone());
        let producer = DirectProducer::start(&client_config, topics.clone(), context)?;
        Ok(Self {
            client_config,
            topics,
            health,
            last_offsets,
            producer: Mutex::new(Arc::new(producer)),
            replaced_at: Mutex::default(),
            pending_bytes: PendingBytes::new(config.max_pending_bytes.as_u64()),
        })
    }

    fn append(
        &self,
        topic: Topic,
        records: Vec<NewRecord>,
    ) -> Result<oneshot::Receiver<AppendResult>, LogError> {
        let producer = self.producer.lock();
        if producer.fatal_error().is_some() {
            // The probe replaces it.
            self.health.suspect(PRODUCER_FAILED);
            return Err(LogError::Unavailable(PRODUCER_FAILED.to_owned()));
        }
        let reserved = self.pending_bytes.reserve(&records)?;
        let (append, result) = PendingAppend::new(topic, records.len(), reserved);
        let pending = (0..).zip(records).map(|(index, new)| PendingRecord {
            new,
            append: append.clone(),
            index,
        });
        producer.sender.enqueue(topic, pending);
        Ok(result)
    }

    /// Sends a request. A producer that has failed for good is replaced before.
    fn probe(&self, topic: &str) -> Result<(), LogError> {
        let mut producer = self.producer.lock().clone();
        if let Some(reason) = producer.fatal_error() {
            producer = self.replace(&producer, &reason)?;
        }
        let metadata = producer.polled.client.client().fetch_metadata(Some(topic), PROBE_TIMEOUT);
        metadata.map(drop).map_err(|error| unavailable("reaching the cluster", &error))
    }

    /// Puts another producer in the place of one that has failed. An idempotent one does when the
    /// brokers do not have what it numbers its records after, as when they have lost records.
    fn replace(
        &self,
        failed: &Arc<DirectProducer>,
        reason: &str,
    ) -> Result<Arc<DirectProducer>, LogError> {
        let mut replaced_at = self.replaced_at.lock();
        if replaced_at.is_some_and(|at| at.elapsed() < REPLACEMENT_PAUSE) {
            return Err(LogError::Unavailable(format!("{PRODUCER_FAILED}: {reason}")));
        }
        *replaced_at = Some(Instant::now());
        warn!(%reason, "producer failed; replacing it");
        // None of its records may be stored after those of the next one. What is left then was sent
        // before the failure, and is answered by the drop.
        if let Err(error) = failed.flush(RETIREMENT_TIMEOUT) {
            debug!(%error, "the failed producer is dropped with appends");
        }
        let topics = self.topics.clone();
        let last_offsets = self.last_offsets.clone();
        let context = DeliveryContext::new(self.health.clone(), topics.clone(), last_offsets);
        let next = Arc::new(DirectProducer::start(&self.client_config, topics, context)?);
        *self.producer.lock() = next.clone();
        Ok(next)
    }

    fn flush(&self, timeout: Duration) -> Result<(), LogError> {
        let producer = self.producer.lock().clone();
        producer.flush(timeout)
    }
}
