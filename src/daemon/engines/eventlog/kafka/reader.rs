//! Pages by position and bounds of partitions, read by a pool of consumers outside any group.
//!
//! Bounded: [`READERS`] pages are read at the same time, further ones wait. A page scans at most
//! [`SCAN_RECORDS`] records and [`SCAN_BYTES`]. A reader stops fetching once it has its page.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Semaphore;

use super::client::{ClientSettings, LogOnlyContext, unavailable};
use super::consumer_thread::to_record;
use super::offsets::{kafka_offset, log_offset, watermarks};
use crate::daemon::engines::eventlog::{Bounds, LogError, Page, Record, run_blocking};

const READERS: usize = 4;
const SCAN_RECORDS: usize = 8192;
const SCAN_BYTES: usize = 4 << 20;
/// Size of one fetch of a reader: a page or two, not the rest of the partition.
const FETCH_BYTES: usize = 64 << 10;
/// Longest wait of one poll; a page takes a fraction of it.
const POLL_WAIT: Duration = Duration::from_millis(100);

type Client = BaseConsumer<LogOnlyContext>;

#[derive(Debug, Clone)]
pub(super) struct PageRequest {
    pub(super) topic: String,
    pub(super) partition: u32,
    /// `None` for records of every key.
    pub(super) key: Option<u64>,
    pub(super) offset: u64,
    pub(super) max_records: usize,
    /// The reader waits until it sees every record below this offset.
    pub(super) acknowledged_end: u64,
}

#[derive(Clone)]
pub(super) struct ReaderPool {
    clients: ClientSettings,
    permits: Arc<Semaphore>,
    /// Clients not in use; no more than there are permits.
    idle: Arc<Mutex<Vec<Client>>>,
}

impl std::fmt::Debug for ReaderPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReaderPool").finish_non_exhaustive()
    }
}

impl ReaderPool {
    pub(super) fn new(clients: &ClientSettings) -> Self {
        let permits = Arc::new(Semaphore::new(READERS));
        Self { clients: clients.clone(), permits, idle: Arc::default() }
    }

    pub(super) async fn page(&self, request: PageRequest) -> Result<Page, LogError> {
        let timeout = self.clients.timeout;
        self.with_client(move |client| read_page(client, &request, timeout)).await
    }

    pub(super) async fn bounds(&self, request: PageRequest) -> Result<Bounds, LogError> {
        let timeout = self.clients.timeout;
        self.with_client(move |client| bounds(client, &request, timeout)).await
    }

    /// Runs blocking work with a client of the pool. A client whose work failed is not used again.
    async fn with_client<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Client) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let permit = self.permits.clone().acquire_owned();
        let permit = tokio::time::timeout(self.clients.timeout, permit).await;
        let permit = permit
            .map_err(|_| LogError::Unavailable("all readers of the log are busy".to_owned()))?
            .map_err(|_| LogError::Closed)?;
        let pool = self.clone();
        run_blocking(move || {
            let client = pool.take_client()?;
            let outcome = work(&client);
            if outcome.is_ok() {
                pool.idle.lock().push(client);
            }
            drop(permit);
            outcome
        })
        .await
    }

    /// Refuses further work.
    pub(super) fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }

    fn take_client(&self) -> Result<Client, LogError> {
        if let Some(client) = self.idle.lock().pop() {
            return Ok(client);
        }
        let mut config = self.clients.consumer("reader");
        config.set("enable.partition.eof", "true");
        config.set("fetch.message.max.bytes", FETCH_BYTES.to_string());
        config.set("queued.min.messages", "1");
        // A page of several fetches starts the next one at once.
        config.set("fetch.queue.backoff.ms", "1");
        // The broker holds a fetch at the end of a partition for this long, which an empty page
        // takes.
        config.set("fetch.wait.max.ms", "2");
        Client::from_config_and_context(&config, LogOnlyContext)
            .map_err(|error| unavailable("creating a reader", &error))
    }
}

/// Returns the bounds of a partition. Waits until they include the acknowledged records: a
/// transaction becomes visible a moment after it was acknowledged.
fn bounds(client: &Client, request: &PageRequest, timeout: Duration) -> Result<Bounds, LogError> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let (low, high) = watermarks(client, &request.topic, request.partition as i32, left)
            .map_err(|error| {
                unavailable(&format!("finding the ends of {}", request.topic), &error)
            })?;
        let bounds = Bounds { earliest: log_offset(low), end: log_offset(high) };
        if bounds.end >= request.acknowledged_end || Instant::now() >= deadline {
            return Ok(bounds);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn read_page(client: &Client, request: &PageRequest, timeout: Duration) -> Result<Page, LogError> {
    let deadline = Instant::now() + timeout;
    let bounds = bounds(client, request, timeout)?;
    // No record has offset 0; it means the first record.
    let from = request.offset.max(1);
    if from < bounds.earliest {
        return Err(LogError::Expired { wanted: request.offset, earliest: bounds.earliest });
    }
    if from >= bounds.end {
        return Ok(Page { records: Vec::new(), next_offset: bounds.end, at_end: true });
    }
    if request.max_records == 0 {
        return Ok(Page { records: Vec::new(), next_offset: from, at_end: false });
    }
    let failed = |error| unavailable(&format!("reading topic {}", request.topic), &error);
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset(
            &request.topic,
            request.partition as i32,
            Offset::Offset(kafka_offset(from)),
        )
        .map_err(failed)?;
    client.assign(&assignment).map_err(failed)?;
    let page = scan(client, request, from..bounds.end, deadline);
    client.unassign().map_err(failed)?;
    page
}

/// Collects records until the page is full, the end is reached, or the bound of the scan is.
fn scan(
    client: &Client,
    request: &PageRequest,
    offsets: Range<u64>,
    deadline: Instant,
) -> Result<Page, LogError> {
    let mut records: Vec<Record> = Vec::new();
    let end = offsets.end;
    let mut next_offset = offsets.start;
    let mut scanned_records = 0;
    let mut scanned_bytes = 0;
    while next_offset < end
        && records.len() < request.max_records
        && scanned_records < SCAN_RECORDS
        && scanned_bytes < SCAN_BYTES
    {
        match client.poll(POLL_WAIT) {
            Some(Ok(message)) => {
                let offset = log_offset(message.offset());
                let is_of_partition = message.topic() == request.topic
                    && message.partition() == request.partition as i32;
                if !is_of_partition || offset < next_offset {
                    continue;
                }
                next_offset = offset + 1;
                scanned_records += 1;
                scanned_bytes += message.payload_len();
                let record = to_record(&message);
                if request.key.is_none_or(|key| key == record.key) {
                    records.push(record);
                }
            }
            // Removed since the bounds were read.
            Some(Err(error)) if error.rdkafka_error_code() == Some(Code::AutoOffsetReset) => {
                let earliest =
                    bounds(client, request, deadline.saturating_duration_since(Instant::now()))?
                        .earliest;
                return Err(LogError::Expired { wanted: next_offset, earliest });
            }
            // Only transaction markers are left before the end.
            Some(Err(KafkaError::PartitionEOF(_))) => next_offset = next_offset.max(end),
            Some(Err(error)) if Instant::now() >= deadline => {
                return Err(unavailable(&format!("reading topic {}", request.topic), &error));
            }
            None if Instant::now() >= deadline => {
                let text = format!("reading topic {} timed out", request.topic);
                return Err(LogError::Unavailable(text));
            }
            Some(Err(_)) | None => {}
        }
    }
    Ok(Page { records, next_offset, at_end: next_offset >= end })
}
