//! Pages by position, and the ends of partitions: a few consumers outside any group.
//!
//! Bounded: [`READERS`] pages are read at once, the rest wait their turn; one page is at most
//! [`SCAN_RECORDS`] records and [`SCAN_BYTES`] looked at. A reader that has its page stops fetching.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::Semaphore;

use super::client::{Clients, log_line};
use super::failure::unavailable;
use super::leaders::watermarks;
use super::place::{kafka_offset, log_offset};
use super::reading::to_record;
use crate::daemon::engines::eventlog::{Bounds, LogError, Page, Record};

const READERS: usize = 4;
const SCAN_RECORDS: usize = 8192;
const SCAN_BYTES: usize = 4 << 20;
/// What one fetch of a reader brings: a page or two, not all that is there.
const FETCH_BYTES: usize = 64 << 10;
/// How long one wait of a poll is; a page is over in a fraction of it.
const POLL_WAIT: Duration = Duration::from_millis(100);

type Client = BaseConsumer<Quiet>;

/// Hears nothing: what goes wrong is what a call answers.
#[derive(Debug)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
    }
}

impl ConsumerContext for Quiet {}

/// What is wanted of a partition.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) topic: String,
    pub(super) partition: u32,
    /// `None`: every key.
    pub(super) key: Option<u64>,
    pub(super) offset: u64,
    pub(super) max_records: usize,
    /// The reader must see everything below this; it waits until it does.
    pub(super) visible_to: u64,
}

#[derive(Clone)]
pub(super) struct Readers {
    clients: Clients,
    permits: Arc<Semaphore>,
    /// Those that nobody uses; no more than there are permits.
    idle: Arc<Mutex<Vec<Client>>>,
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}

impl Readers {
    pub(super) fn new(clients: &Clients) -> Self {
        let permits = Arc::new(Semaphore::new(READERS));
        Self { clients: clients.clone(), permits, idle: Arc::default() }
    }

    pub(super) async fn page(&self, wanted: Wanted) -> Result<Page, LogError> {
        let timeout = self.clients.timeout;
        self.with(move |client| read_page(client, &wanted, timeout)).await
    }

    pub(super) async fn bounds(&self, wanted: Wanted) -> Result<Bounds, LogError> {
        let timeout = self.clients.timeout;
        self.with(move |client| bounds(client, &wanted, timeout)).await
    }

    /// Runs blocking work with a client. One that failed is not used again.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Client) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let permit = self.permits.clone().acquire_owned();
        let permit = tokio::time::timeout(self.clients.timeout, permit).await;
        let permit = permit
            .map_err(|_| LogError::Unavailable("all readers of the log are busy".to_owned()))?
            .map_err(|_| LogError::Closed)?;
        let readers = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let client = readers.client()?;
            let outcome = work(&client);
            if outcome.is_ok() {
                readers.lock().push(client);
            }
            drop(permit);
            outcome
        });
        reading
            .await
            .unwrap_or_else(|error| Err(LogError::Unavailable(format!("reading the log: {error}"))))
    }

    /// Refuses from now on.
    pub(super) fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.lock());
        drop(idle);
    }

    fn client(&self) -> Result<Client, LogError> {
        if let Some(client) = self.lock().pop() {
            return Ok(client);
        }
        let mut config = self.clients.consumer("reader");
        config.set("enable.partition.eof", "true");
        config.set("fetch.message.max.bytes", FETCH_BYTES.to_string());
        config.set("queued.min.messages", "1");
        // A page of several fetches goes on at once when one is used up.
        config.set("fetch.queue.backoff.ms", "1");
        // How long the broker holds a fetch at the end of a partition: as long as an empty page takes.
        config.set("fetch.wait.max.ms", "2");
        Client::from_config_and_context(&config, Quiet)
            .map_err(|error| unavailable("setting up a reader", &error))
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Vec<Client>> {
        self.idle.lock()
    }
}

/// The ends of a partition, once they hold what must be visible: a transaction that was acknowledged
/// shows a moment later.
fn bounds(client: &Client, wanted: &Wanted, timeout: Duration) -> Result<Bounds, LogError> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let (low, high) = watermarks(client, &wanted.topic, wanted.partition as i32, left)
            .map_err(|error| unavailable(&format!("the ends of {}", wanted.topic), &error))?;
        let bounds = Bounds { earliest: log_offset(low), end: log_offset(high) };
        if bounds.end >= wanted.visible_to || Instant::now() >= deadline {
            return Ok(bounds);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn read_page(client: &Client, wanted: &Wanted, timeout: Duration) -> Result<Page, LogError> {
    let deadline = Instant::now() + timeout;
    let bounds = bounds(client, wanted, timeout)?;
    // There is no place 0; asking for it is asking for the first.
    let from = wanted.offset.max(1);
    if from < bounds.earliest {
        return Err(LogError::Expired { wanted: wanted.offset, earliest: bounds.earliest });
    }
    if from >= bounds.end {
        return Ok(Page { records: Vec::new(), next_offset: bounds.end, at_end: true });
    }
    if wanted.max_records == 0 {
        return Ok(Page { records: Vec::new(), next_offset: from, at_end: false });
    }
    let failed = |error| unavailable(&format!("reading topic {}", wanted.topic), &error);
    let mut place = TopicPartitionList::new();
    place
        .add_partition_offset(
            &wanted.topic,
            wanted.partition as i32,
            Offset::Offset(kafka_offset(from)),
        )
        .map_err(failed)?;
    client.assign(&place).map_err(failed)?;
    let page = scan(client, wanted, from, bounds.end, deadline);
    client.unassign().map_err(failed)?;
    page
}

/// Collects until the page is full, the end is reached, or enough was looked at.
fn scan(
    client: &Client,
    wanted: &Wanted,
    from: u64,
    end: u64,
    deadline: Instant,
) -> Result<Page, LogError> {
    let mut records: Vec<Record> = Vec::new();
    let (mut next_offset, mut scanned, mut bytes) = (from, 0, 0);
    while next_offset < end
        && records.len() < wanted.max_records
        && scanned < SCAN_RECORDS
        && bytes < SCAN_BYTES
    {
        match client.poll(POLL_WAIT) {
            Some(Ok(message)) => {
                let here = log_offset(message.offset());
                let of_partition = message.topic() == wanted.topic
                    && message.partition() == wanted.partition as i32;
                if !of_partition || here < next_offset {
                    continue;
                }
                (next_offset, scanned, bytes) =
                    (here + 1, scanned + 1, bytes + message.payload_len());
                let record = to_record(&message);
                if wanted.key.is_none_or(|key| key == record.key) {
                    records.push(record);
                }
            }
            // Nothing but marks of transactions is left before the end.
            Some(Err(KafkaError::PartitionEOF(_))) => next_offset = next_offset.max(end),
            Some(Err(error)) if Instant::now() >= deadline => {
                return Err(unavailable(&format!("reading topic {}", wanted.topic), &error));
            }
            None if Instant::now() >= deadline => {
                let text = format!("no page of topic {} in time", wanted.topic);
                return Err(LogError::Unavailable(text));
            }
            Some(Err(_)) | None => {}
        }
    }
    Ok(Page { records, next_offset, at_end: next_offset >= end })
}
