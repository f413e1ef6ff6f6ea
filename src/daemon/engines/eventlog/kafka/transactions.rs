//! Appends as transactions: `exactly_once`.
//!
//! One thread commits one transaction at a time, with all appends that wait: group commit. An
//! append is answered when its transaction is committed. Readers of committed records see it a
//! moment later, or never. A record that the brokers refuse fails every append of its transaction;
//! nothing of them was stored, so the callers may try again. An append to a topic that is known to
//! be missing or replaced enters no transaction. A transaction may commit a consumer's offsets; it
//! then holds nothing else, so that an error of the group fails no other append.
//!
//! Several producers take turns ([`PRODUCERS`]): after a commit the brokers write its markers for a
//! few milliseconds, during which the same producer may not begin the next transaction.
//!
//! The transactional ids belong to the node. A process that starts again ends the transactions that
//! its predecessor left open, and fences off a predecessor that still runs. A process that died
//! without a successor blocks readers of its partitions until the brokers abort its transaction
//! (`kafka.append_timeout` and up to 20 s).
//!
//! Bounded: by [`super::pending::PendingBytes`]. An append that waited longer than
//! `kafka.append_timeout` is refused.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, Producer as _, PurgeConfig};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::acknowledged::AcknowledgedEnds;
use super::client::{ClientSettings, is_outage, unavailable};
use super::health::{Health, PROBE_TIMEOUT};
use super::in_flight::{DeliveryContext, DeliveryOpaque, LastOffsets, producer_record};
use super::pending::{AppendResult, PendingAppend, PendingBytes};
use super::topics::{Topics, key_bytes};
use crate::daemon::engines::eventlog::{LogError, NewRecord, Topic};

/// Bound of one transaction, unless a single append is larger.
const MAX_TRANSACTION_BYTES: usize = 4 << 20;
/// Interval in which the idle thread serves the callbacks of the library.
const IDLE_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Producers that take turns. There is only one transaction at a time, so order is kept.
const PRODUCERS: usize = 4;
/// Lower bound of the time after which the brokers abort an open transaction.
const MIN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

type Client = BaseProducer<DeliveryContext>;

/// Offsets that a transaction commits for a consumer.
pub(super) struct ConsumerOffsets {
    pub(super) list: TopicPartitionList,
    pub(super) group: ConsumerGroupMetadata,
}

/// Appends, usually one, that succeed or fail together.
struct QueuedWork {
    appends: Vec<QueuedAppend>,
    offsets: Option<ConsumerOffsets>,
    deadline: Instant,
}

struct QueuedAppend {
    topic: Topic,
    records: Vec<NewRecord>,
    pending: Arc<PendingAppend>,
}

impl QueuedWork {
    fn bytes(&self) -> usize {
        self.appends.iter().flat_map(|append| &append.records).map(|new| new.payload.len()).sum()
    }

    fn fail(&self, error: &LogError) {
        for append in &self.appends {
            append.pending.fail(error.clone());
        }
    }
}

#[derive(Default)]
struct WorkQueue {
    waiting: VecDeque<QueuedWork>,
    /// True if the thread commits a transaction.
    busy: bool,
    closed: bool,
}

pub(super) struct TransactionalAppender {
    pending_bytes: Arc<PendingBytes>,
    acknowledged: Arc<AcknowledgedEnds>,
    shared: Arc<Shared>,
    timeout: Duration,
}

/// State that callers and the thread share.
struct Shared {
    queue: Mutex<WorkQueue>,
    changed: Condvar,
    producers: Mutex<[Option<Arc<Client>>; PRODUCERS]>,
}

impl TransactionalAppender {
    /// Blocks until the brokers have ended the transactions that a predecessor left open.
    pub(super) fn new(
        clients: &ClientSettings,
        mut config: ClientConfig,
        topics: Arc<Topics>,
        max_pending_bytes: u64,
        health: Arc<Health>,
    ) -> Result<Self, LogError> {
        let open_for = (clients.timeout + Duration::from_secs(1)).max(MIN_TRANSACTION_TIMEOUT);
        config.set("transaction.timeout.ms", open_for.as_millis().to_string());
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            producers: Mutex::default(),
        });
        let acknowledged = Arc::new(AcknowledgedEnds::new());
        let mut thread = TransactionThread {
            config,
            health,
            topics,
            acknowledged: acknowledged.clone(),
            last_offsets: Arc::default(),
            shared: shared.clone(),
            timeout: clients.timeout,
            transactional_id: clients.transactional_id(),
            current: 0,
            ready: [false; PRODUCERS],
        };
        // A predecessor may have left a transaction of any producer open.
        for producer in 0..PRODUCERS {
            thread.current = producer;
            thread.ready_client(Instant::now() + clients.timeout)?;
        }
        std::thread::Builder::new()
            .name("kafka-transactions".to_owned())
            .spawn(move || thread.run())
            .map_err(|error| LogError::Unavailable(format!("starting a thread: {error}")))?;
        let pending_bytes = PendingBytes::new(max_pending_bytes);
        Ok(Self { pending_bytes, acknowledged, shared, timeout: clients.timeout })
    }

    pub(super) fn append(
        &self,
        topic: Topic,
        records: Vec<NewRecord>,
    ) -> Result<oneshot::Receiver<AppendResult>, LogError> {
        let (append, result) = self.prepare(topic, records)?;
        self.push(vec![append], None)?;
        Ok(result)
    }

    /// Appends and commits a consumer's offsets, both or neither. `outputs` must hold a record.
    pub(super) fn append_and_commit(
        &self,
        outputs: Vec<(Topic, Vec<NewRecord>)>,
        offsets: ConsumerOffsets,
    ) -> Result<Vec<oneshot::Receiver<AppendResult>>, LogError> {
        let mut appends = Vec::new();
        let mut results = Vec::new();
        for (topic, records) in outputs.into_iter().filter(|(_, records)| !records.is_empty()) {
            let (append, result) = self.prepare(topic, records)?;
            appends.push(append);
            results.push(result);
        }
        self.push(appends, Some(offsets))?;
        Ok(results)
    }

    fn prepare(
        &self,
        topic: Topic,
        records: Vec<NewRecord>,
    ) -> Result<(QueuedAppend, oneshot::Receiver<AppendResult>), LogError> {
        let reserved = self.pending_bytes.reserve(&records)?;
        let (pending, result) = PendingAppend::held(topic, records.len(), reserved);
        Ok((QueuedAppend { topic, records, pending }, result))
    }

    fn push(
        &self,
        appends: Vec<QueuedAppend>,
        offsets: Option<ConsumerOffsets>,
    ) -> Result<(), LogError> {
        let work = QueuedWork { appends, offsets, deadline: Instant::now() + self.timeout };
        let mut queue = self.shared.queue.lock();
        if queue.closed {
            return Err(LogError::Closed);
        }
        queue.waiting.push_back(work);
        drop(queue);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Returns the offset behind the last record that was acknowledged here.
    pub(super) fn acknowledged_end(&self, topic: Topic, partition: u32) -> u64 {
        self.acknowledged.end(topic, partition)
    }

    /// Forgets what was acknowledged in a topic that was created again.
    pub(super) fn forget_acknowledged(&self, topic: Topic) {
        self.acknowledged.forget(topic);
    }

    /// Makes every producer look for a topic, which it may know as deleted. Blocks.
    pub(super) fn find_topic(&self, topic: &str) -> Result<(), LogError> {
        let producers = self.shared.producers.lock().clone();
        for client in producers.iter().flatten() {
            let metadata = client.client().fetch_metadata(Some(topic), PROBE_TIMEOUT);
            metadata.map_err(|error| unavailable(&format!("finding topic {topic}"), &error))?;
        }
        Ok(())
    }

    pub(super) fn probe(&self, topic: &str) -> Result<(), LogError> {
        let Some(client) = self.shared.producers.lock().iter().flatten().next().cloned() else {
            return Ok(());
        };
        let metadata = client.client().fetch_metadata(Some(topic), PROBE_TIMEOUT);
        metadata.map(drop).map_err(|error| unavailable("reaching the cluster", &error))
    }

    /// Refuses further appends and waits until those in the queue are answered. Blocks.
    pub(super) fn close(&self, timeout: Duration) -> Result<(), LogError> {
        let mut queue = self.shared.queue.lock();
        queue.closed = true;
        self.shared.changed.notify_all();
        let working = |queue: &mut WorkQueue| queue.busy || !queue.waiting.is_empty();
        if self.shared.changed.wait_while_for(&mut queue, working, timeout).timed_out() {
            return Err(LogError::Unavailable("the last appends were not committed".to_owned()));
        }
        Ok(())
    }
}

impl Drop for TransactionalAppender {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

/// The thread that commits transactions.
struct TransactionThread {
    config: ClientConfig,
    health: Arc<Health>,
    topics: Arc<Topics>,
    acknowledged: Arc<AcknowledgedEnds>,
    last_offsets: Arc<LastOffsets>,
    shared: Arc<Shared>,
    timeout: Duration,
    /// Each producer adds its index.
    transactional_id: String,
    /// Index of the producer whose turn it is.
    current: usize,
    /// True if each producer may begin a transaction.
    ready: [bool; PRODUCERS],
}

impl TransactionThread {
    fn run(mut self) {
        while let Some(works) = self.take() {
            let mut current = Vec::new();
            for work in works {
                match self.check(&work) {
                    Ok(()) => current.push(work),
                    Err(error) => work.fail(&error),
                }
            }
            if !current.is_empty() {
                self.commit(&current);
            }
            self.shared.queue.lock().busy = false;
            self.shared.changed.notify_all();
        }
        self.shared.producers.lock().fill(None);
    }

    /// Fails if an append has waited too long, or if its topic cannot be used by now.
    fn check(&self, work: &QueuedWork) -> Result<(), LogError> {
        if work.deadline <= Instant::now() {
            let text = "the append waited longer than `kafka.append_timeout` for its transaction";
            return Err(LogError::Unavailable(text.to_owned()));
        }
        self.check_topics(work)
    }

    fn check_topics(&self, work: &QueuedWork) -> Result<(), LogError> {
        work.appends.iter().try_for_each(|append| self.health.check_topic(append.topic))
    }

    /// Waits for the appends of the next transaction; `None` once closed and empty.
    fn take(&self) -> Option<Vec<QueuedWork>> {
        let mut queue = self.shared.queue.lock();
        while queue.waiting.is_empty() {
            if queue.closed {
                return None;
            }
            if self.shared.changed.wait_for(&mut queue, IDLE_POLL_INTERVAL).timed_out() {
                drop(queue);
                let producers = self.shared.producers.lock().clone();
                producers.iter().flatten().for_each(|client| client.poll(Duration::ZERO));
                queue = self.shared.queue.lock();
            }
        }
        queue.busy = true;
        let mut works = Vec::new();
        let mut bytes = 0;
        while let Some(next) = queue.waiting.front() {
            bytes += next.bytes();
            let is_exclusive = next.offsets.is_some();
            if !works.is_empty() && (is_exclusive || bytes > MAX_TRANSACTION_BYTES) {
                break;
            }
            works.extend(queue.waiting.pop_front());
            if is_exclusive {
                break;
            }
        }
        Some(works)
    }

    fn commit(&mut self, works: &[QueuedWork]) {
        let deadline = Instant::now() + self.timeout;
        self.current = (self.current + 1) % PRODUCERS;
        let outcome = self.ready_client(deadline).and_then(|client| {
            self.transact(&client, works, deadline).map_err(|error| {
                debug!(%error, "transaction failed");
                self.abort(&client, &error);
                let refused = works.iter().find_map(|work| self.check_topics(work).err());
                refused.unwrap_or_else(|| unavailable("committing a transaction", &error))
            })
        });
        for work in works {
            match &outcome {
                Ok(()) => {
                    for append in &work.appends {
                        self.acknowledged.advance(append.topic, &append.pending.positions());
                        append.pending.release_hold();
                    }
                }
                Err(error) => work.fail(error),
            }
        }
    }

    fn transact(
        &self,
        client: &Client,
        works: &[QueuedWork],
        deadline: Instant,
    ) -> KafkaResult<()> {
        client.begin_transaction()?;
        for append in works.iter().flat_map(|work| &work.appends) {
            self.send(client, append)?;
        }
        for offsets in works.iter().filter_map(|work| work.offsets.as_ref()) {
            let send =
                |left| client.send_offsets_to_transaction(&offsets.list, &offsets.group, left);
            retry(deadline, send)?;
        }
        // The library sends to a topic that was deleted until the deadline.
        let can_all_be_used = || works.iter().all(|work| self.check_topics(work).is_ok());
        while !wait_for_deliveries(client, deadline.min(Instant::now() + IDLE_POLL_INTERVAL)) {
            if !can_all_be_used() {
                return Err(KafkaError::MessageProduction(Code::UnknownTopicOrPartition));
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        retry(deadline, |left| client.commit_transaction(left))
    }

    fn send(&self, client: &Client, append: &QueuedAppend) -> KafkaResult<()> {
        let topic = self.topics.name(append.topic);
        for (index, new) in (0..).zip(&append.records) {
            let partition = self.topics.partition_of(append.topic, new.key);
            let append = append.pending.clone();
            let opaque = Box::new(DeliveryOpaque { append, index, batch: None });
            let key = key_bytes(new.key);
            let sent = client.send(producer_record(topic, partition, &key, new, opaque));
            if let Err((error, record)) = sent {
                record.delivery_opaque.reject(topic, new, &error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Aborts a failed transaction. If that fails too, a new producer with the same id ends it.
    fn abort(&mut self, client: &Client, error: &KafkaError) {
        if is_outage(error) {
            self.health.suspect("a transaction was not committed within `kafka.append_timeout`");
        }
        let fatal = matches!(error, KafkaError::Transaction(error) if error.is_fatal());
        if fatal {
            warn!(%error, "transactional producer failed; replacing it");
        }
        if !fatal {
            client.purge(PurgeConfig::default().queue().inflight());
            wait_for_deliveries(client, Instant::now() + self.timeout);
        }
        if fatal || client.abort_transaction(self.timeout).is_err() {
            self.drop_producer();
        }
    }

    fn drop_producer(&mut self) {
        self.ready[self.current] = false;
        let producer = self.shared.producers.lock()[self.current].take();
        drop(producer);
    }

    /// Returns the current producer, ready to begin a transaction.
    fn ready_client(&mut self, deadline: Instant) -> Result<Arc<Client>, LogError> {
        let failed = |error: &KafkaError| unavailable("preparing transactions", error);
        let known = self.shared.producers.lock()[self.current].clone();
        let client = match known {
            Some(client) => client,
            None => {
                let id = format!("{}-{}", self.transactional_id, self.current);
                self.config.set("transactional.id", id);
                let context = DeliveryContext::new(
                    self.health.clone(),
                    self.topics.clone(),
                    self.last_offsets.clone(),
                );
                let client = Client::from_config_and_context(&self.config, context);
                let client = Arc::new(client.map_err(|error| failed(&error))?);
                self.shared.producers.lock()[self.current] = Some(client.clone());
                client
            }
        };
        if !self.ready[self.current] {
            if let Err(error) = retry(deadline, |left| client.init_transactions(left)) {
                if matches!(&error, KafkaError::Transaction(error) if error.is_fatal()) {
                    self.drop_producer();
                }
                return Err(failed(&error));
            }
            self.ready[self.current] = true;
        }
        Ok(client)
    }
}

/// Waits until every record sent has its delivery report; false if the deadline came first. The
/// library's own flush waits in steps of a tenth of a second.
fn wait_for_deliveries(client: &Client, deadline: Instant) -> bool {
    while client.in_flight_count() > 0 {
        if Instant::now() >= deadline {
            return false;
        }
        client.poll(Duration::from_millis(1));
    }
    true
}

/// Repeats a call while the library reports a retriable error and the deadline has not passed.
fn retry(deadline: Instant, mut call: impl FnMut(Duration) -> KafkaResult<()>) -> KafkaResult<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match call(left) {
            Err(KafkaError::Transaction(error))
                if error.is_retriable() && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            outcome => return outcome,
        }
    }
}
