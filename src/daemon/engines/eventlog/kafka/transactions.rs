//! Appends as transactions: `exactly_once`.
//!
//! One thread commits one transaction at a time, of all that waits: group commit. An append is
//! answered when its transaction is committed; readers, who see committed records alone, see it a
//! moment later, or never. A record the brokers refuse takes the appends of its transaction with it:
//! they are told that nothing was stored and may try again. A consumer's position may be part of a transaction, which then is its
//! alone, so that what is wrong with a group harms nobody else's append.
//!
//! Several producers take turns ([`LANES`]): after a commit the brokers are busy with its marks for a
//! few milliseconds, in which the same producer may not begin the next.
//!
//! The transactional names are the node's: a process that starts anew ends what its predecessor left
//! open, and a predecessor that still lives is fenced off. One that died without a successor holds
//! readers of its partitions up until the brokers give it up (`kafka.append_timeout` and up to 20 s).
//!
//! Bounded: by the budget of appends; what waited longer than `kafka.append_timeout` is refused.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, Producer as _, PurgeConfig};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::client::Clients;
use super::delivery::{Answer, Batch, Budget, Deliveries, Ticket};
use super::failure::unavailable;
use super::health::{Health, PROBE_TIMEOUT};
use super::partitioner::key_bytes;
use super::producer::{producer_config, refuse, to_record};
use super::topics::Topics;
use super::visible::Visible;
use crate::daemon::engines::eventlog::{LogError, NewRecord, Topic};

/// What one transaction takes in, unless a single append is larger.
const MAX_TRANSACTION_BYTES: usize = 4 << 20;
/// How long the idle thread goes without hearing what the library has to say.
const NAP: Duration = Duration::from_millis(100);
/// Producers that take turns. There is still one transaction at a time, so the order stays.
const LANES: usize = 4;
/// Least time the brokers give an open transaction.
const LEAST_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

type Client = BaseProducer<Deliveries>;

/// Where a consumer goes on, as part of a transaction.
pub(super) struct Offsets {
    pub(super) list: TopicPartitionList,
    pub(super) member: ConsumerGroupMetadata,
}

/// Appends that succeed or fail together.
struct Work {
    parts: Vec<Part>,
    offsets: Option<Offsets>,
    deadline: Instant,
}

struct Part {
    topic: Topic,
    records: Vec<NewRecord>,
    batch: Arc<Batch>,
}

impl Work {
    fn bytes(&self) -> usize {
        self.parts.iter().flat_map(|part| &part.records).map(|new| new.payload.len()).sum()
    }

    fn fail(&self, error: &LogError) {
        for part in &self.parts {
            part.batch.abandon(error.clone());
        }
    }
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Work>,
    /// Whether the thread is at work on something it took.
    busy: bool,
    closed: bool,
}

pub(super) struct TransactionalAppender {
    topics: Arc<Topics>,
    budget: Arc<Budget>,
    visible: Arc<Visible>,
    shared: Arc<Shared>,
    timeout: Duration,
}

/// What callers and the thread share.
struct Shared {
    line: Mutex<Line>,
    changed: Condvar,
    /// Of each lane, its producer.
    clients: Mutex<[Option<Arc<Client>>; LANES]>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Line> {
        // Every change leaves `Line` whole.
        self.line.lock()
    }

    fn clients(&self) -> MutexGuard<'_, [Option<Arc<Client>>; LANES]> {
        self.clients.lock()
    }
}

impl TransactionalAppender {
    /// Blocks until the brokers have ended what a predecessor left open.
    pub(super) fn new(
        clients: &Clients,
        topics: Arc<Topics>,
        max_pending_bytes: u64,
        health: Arc<Health>,
    ) -> Result<Self, LogError> {
        let mut config = producer_config(clients, max_pending_bytes);
        let open_for = (clients.timeout + Duration::from_secs(1)).max(LEAST_TRANSACTION_TIMEOUT);
        config.set("transaction.timeout.ms", open_for.as_millis().to_string());
        let (line, changed, clients_of_lanes) = Default::default();
        let shared = Arc::new(Shared { line, changed, clients: clients_of_lanes });
        let visible = Arc::new(Visible::new(&topics));
        let mut writer = Writer {
            config,
            health,
            topics: topics.clone(),
            visible: visible.clone(),
            shared: shared.clone(),
            timeout: clients.timeout,
            name: clients.transactional_id(),
            lane: 0,
            ready: [false; LANES],
        };
        // Each, because a predecessor may have left any open.
        for lane in 0..LANES {
            writer.lane = lane;
            writer.client(Instant::now() + clients.timeout)?;
        }
        std::thread::Builder::new()
            .name("kafka-transactions".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| LogError::Unavailable(format!("starting a thread: {error}")))?;
        let budget = Budget::new(max_pending_bytes);
        Ok(Self { topics, budget, visible, shared, timeout: clients.timeout })
    }

    pub(super) fn append(
        &self,
        topic: Topic,
        records: Vec<NewRecord>,
    ) -> Result<oneshot::Receiver<Answer>, LogError> {
        let (part, answer) = self.part(topic, records)?;
        self.push(vec![part], None)?;
        Ok(answer)
    }

    /// Appends and moves a consumer's position, both or neither. There must be something to append.
    pub(super) fn append_and_commit(
        &self,
        outputs: Vec<(Topic, Vec<NewRecord>)>,
        offsets: Offsets,
    ) -> Result<Vec<oneshot::Receiver<Answer>>, LogError> {
        let (mut parts, mut answers) = (Vec::new(), Vec::new());
        for (topic, records) in outputs.into_iter().filter(|(_, records)| !records.is_empty()) {
            let (part, answer) = self.part(topic, records)?;
            parts.push(part);
            answers.push(answer);
        }
        self.push(parts, Some(offsets))?;
        Ok(answers)
    }

    fn part(
        &self,
        topic: Topic,
        records: Vec<NewRecord>,
    ) -> Result<(Part, oneshot::Receiver<Answer>), LogError> {
        let reserved = self.budget.reserve(&records)?;
        let name = self.topics.name(topic);
        let (batch, answer) = Batch::held(name, records.len(), reserved);
        Ok((Part { topic, records, batch }, answer))
    }

    fn push(&self, parts: Vec<Part>, offsets: Option<Offsets>) -> Result<(), LogError> {
        let work = Work { parts, offsets, deadline: Instant::now() + self.timeout };
        let mut line = self.shared.lock();
        if line.closed {
            return Err(LogError::Closed);
        }
        line.waiting.push_back(work);
        drop(line);
        self.shared.changed.notify_all();
        Ok(())
    }

    pub(super) fn visible(&self) -> &Visible {
        &self.visible
    }

    pub(super) fn probe(&self, topic: &str) -> Result<(), LogError> {
        let Some(client) = self.shared.clients().iter().flatten().next().cloned() else {
            return Ok(());
        };
        let asked = client.client().fetch_metadata(Some(topic), PROBE_TIMEOUT);
        asked.map(drop).map_err(|error| unavailable("asking the cluster", &error))
    }

    /// Lets nothing more in and waits until what is in is answered. Blocks.
    pub(super) fn close(&self, timeout: Duration) -> Result<(), LogError> {
        let mut line = self.shared.lock();
        line.closed = true;
        self.shared.changed.notify_all();
        let working = |line: &mut Line| line.busy || !line.waiting.is_empty();
        if self.shared.changed.wait_while_for(&mut line, working, timeout).timed_out() {
            return Err(LogError::Unavailable("the last appends were not committed".to_owned()));
        }
        Ok(())
    }
}

impl Drop for TransactionalAppender {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

/// The thread.
struct Writer {
    config: ClientConfig,
    health: Arc<Health>,
    topics: Arc<Topics>,
    visible: Arc<Visible>,
    shared: Arc<Shared>,
    timeout: Duration,
    /// Of this node's transactions; each lane adds its number.
    name: String,
    /// Whose turn it is.
    lane: usize,
    /// Of each lane, whether its producer may begin transactions.
    ready: [bool; LANES],
}

impl Writer {
    fn run(mut self) {
        while let Some(works) = self.take() {
            let now = Instant::now();
            let (late, due): (Vec<_>, Vec<_>) =
                works.into_iter().partition(|work| work.deadline <= now);
            let text = "it waited longer than `kafka.append_timeout` for its transaction";
            late.iter().for_each(|work| work.fail(&LogError::Unavailable(text.to_owned())));
            if !due.is_empty() {
                self.commit(&due);
            }
            self.shared.lock().busy = false;
            self.shared.changed.notify_all();
        }
        self.shared.clients().fill(None);
    }

    /// Waits for what makes the next transaction; `None` when closed and empty.
    fn take(&self) -> Option<Vec<Work>> {
        let mut line = self.shared.lock();
        while line.waiting.is_empty() {
            if line.closed {
                return None;
            }
            if self.shared.changed.wait_for(&mut line, NAP).timed_out() {
                drop(line);
                let clients = self.shared.clients().clone();
                clients.iter().flatten().for_each(|client| client.poll(Duration::ZERO));
                line = self.shared.lock();
            }
        }
        line.busy = true;
        let (mut works, mut bytes) = (Vec::new(), 0);
        while let Some(next) = line.waiting.front() {
            bytes += next.bytes();
            let alone = next.offsets.is_some();
            if !works.is_empty() && (alone || bytes > MAX_TRANSACTION_BYTES) {
                break;
            }
            works.extend(line.waiting.pop_front());
            if alone {
                break;
            }
        }
        Some(works)
    }

    fn commit(&mut self, works: &[Work]) {
        let deadline = Instant::now() + self.timeout;
        self.lane = (self.lane + 1) % LANES;
        let outcome = self.client(deadline).and_then(|client| {
            self.transact(&client, works, deadline).map_err(|error| {
                debug!(%error, "a transaction failed");
                self.abort(&client, &error);
                unavailable("committing a transaction", &error)
            })
        });
        for work in works {
            match &outcome {
                Ok(()) => {
                    for part in &work.parts {
                        self.visible.note(part.topic, &part.batch.positions());
                        part.batch.finish();
                    }
                }
                Err(error) => work.fail(error),
            }
        }
    }

    fn transact(&self, client: &Client, works: &[Work], deadline: Instant) -> KafkaResult<()> {
        client.begin_transaction()?;
        for part in works.iter().flat_map(|work| &work.parts) {
            self.send(client, part)?;
        }
        for offsets in works.iter().filter_map(|work| work.offsets.as_ref()) {
            let send =
                |left| client.send_offsets_to_transaction(&offsets.list, &offsets.member, left);
            retry(deadline, send)?;
        }
        settle(client, deadline);
        retry(deadline, |left| client.commit_transaction(left))
    }

    fn send(&self, client: &Client, part: &Part) -> KafkaResult<()> {
        let topic = self.topics.name(part.topic);
        for (index, new) in (0..).zip(&part.records) {
            let partition = self.topics.partition_of(part.topic, new.key);
            let ticket = Box::new(Ticket { batch: part.batch.clone(), index, shipment: None });
            let key = key_bytes(new.key);
            let sent = client.send(to_record(topic, partition, &key, new, ticket));
            if let Err((error, record)) = sent {
                refuse(&record.delivery_opaque, new, topic, &error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes a failed transaction back. If that fails too, a new producer ends it in its place.
    fn abort(&mut self, client: &Client, error: &KafkaError) {
        if super::failure::is_outage(error) {
            self.health.suspect("a transaction was not committed within `kafka.append_timeout`");
        }
        let fatal = matches!(error, KafkaError::Transaction(error) if error.is_fatal());
        if fatal {
            warn!(%error, "the producer of transactions is replaced");
        }
        if !fatal {
            client.purge(PurgeConfig::default().queue().inflight());
            settle(client, Instant::now() + self.timeout);
        }
        if fatal || client.abort_transaction(self.timeout).is_err() {
            self.forget_client();
        }
    }

    fn forget_client(&mut self) {
        self.ready[self.lane] = false;
        let client = self.shared.clients()[self.lane].take();
        drop(client);
    }

    /// A producer that may begin a transaction.
    fn client(&mut self, deadline: Instant) -> Result<Arc<Client>, LogError> {
        let failed = |error: &KafkaError| unavailable("preparing transactions", error);
        let known = self.shared.clients()[self.lane].clone();
        let client = match known {
            Some(client) => client,
            None => {
                let name = format!("{}-{}", self.name, self.lane);
                self.config.set("transactional.id", name);
                let context = Deliveries { health: self.health.clone() };
                let client = Client::from_config_and_context(&self.config, context);
                let client = Arc::new(client.map_err(|error| failed(&error))?);
                self.shared.clients()[self.lane] = Some(client.clone());
                client
            }
        };
        if !self.ready[self.lane] {
            if let Err(error) = retry(deadline, |left| client.init_transactions(left)) {
                if matches!(&error, KafkaError::Transaction(error) if error.is_fatal()) {
                    self.forget_client();
                }
                return Err(failed(&error));
            }
            self.ready[self.lane] = true;
        }
        Ok(client)
    }
}

/// Waits until every record sent has been reported on. (The library's own way of waiting has the
/// grain of a tenth of a second.)
fn settle(client: &Client, deadline: Instant) {
    while client.in_flight_count() > 0 && Instant::now() < deadline {
        client.poll(Duration::from_millis(1));
    }
}

/// Does it again while the library says that this is right and there is time.
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
