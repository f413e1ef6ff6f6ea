//! An event log in memory, for tests of the stages: one partition a topic, nothing durable, and
//! failures on demand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{
    Bounds, EventLog, LogConsumer, LogError, NewRecord, Page, Polled, Position, Record, StartAt,
    Topic,
};
use crate::protocol::Epoch;
use crate::protocol::admin::ConsumerLag;

/// The log. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct InMemoryLog {
    inner: Arc<Mutex<Inner>>,
    grown: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    topics: HashMap<Topic, Vec<Record>>,
    committed: HashMap<(Topic, String), u64>,
    failure: Option<LogError>,
}

impl InMemoryLog {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::default(), grown: watch::Sender::new(()) }
    }

    /// From now on every append answers this, or works again.
    pub(crate) fn fail_with(&self, failure: Option<LogError>) {
        self.lock().failure = failure;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn append_now(&self, topic: Topic, batch: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let mut inner = self.lock();
        if let Some(failure) = &inner.failure {
            return Err(failure.clone());
        }
        let records = inner.topics.entry(topic).or_default();
        let mut positions = Vec::new();
        for new in batch {
            let position = Position { partition: 0, offset: records.len() as u64 + 1 };
            let NewRecord { key, timestamp_ms, payload } = new;
            records.push(Record { position, key, timestamp_ms, payload });
            positions.push(position);
        }
        drop(inner);
        self.grown.send_replace(());
        Ok(positions)
    }

    fn end(&self, topic: Topic) -> u64 {
        self.lock().topics.get(&topic).map_or(0, Vec::len) as u64 + 1
    }

    fn page(&self, topic: Topic, key: Option<u64>, offset: u64, max_records: usize) -> Page {
        let inner = self.lock();
        let all = inner.topics.get(&topic).map_or(&[][..], Vec::as_slice);
        let end = all.len() as u64 + 1;
        let from = (offset.max(1) - 1).min(all.len() as u64) as usize;
        let wanted = |record: &&Record| key.is_none_or(|key| record.key == key);
        let records: Vec<_> =
            all[from..].iter().filter(wanted).take(max_records).cloned().collect();
        let full = records.len() == max_records;
        let last = records.last().map(|record| record.position.offset + 1);
        let next_offset = if full { last.unwrap_or(end) } else { end.max(offset) };
        Page { records, next_offset, at_end: next_offset >= end }
    }
}

#[async_trait]
impl EventLog for InMemoryLog {
    fn append(
        &self,
        topic: Topic,
        batch: Vec<NewRecord>,
    ) -> BoxFuture<'static, Result<Vec<Position>, LogError>> {
        Box::pin(std::future::ready(self.append_now(topic, batch)))
    }

    async fn consume(
        &self,
        topic: Topic,
        group: &str,
        start: StartAt,
    ) -> Result<Box<dyn LogConsumer>, LogError> {
        let end = self.end(topic);
        let begin = if start == StartAt::Earliest { 1 } else { end };
        let key = (topic, group.to_owned());
        let next = self.lock().committed.get(&key).copied().unwrap_or(begin);
        let grown = self.grown.subscribe();
        Ok(Box::new(InMemoryConsumer { log: self.clone(), grown, key, next, assigned: false }))
    }

    async fn read(
        &self,
        topic: Topic,
        key: u64,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        Ok(self.page(topic, Some(key), offset, max_records))
    }

    async fn read_partition(
        &self,
        topic: Topic,
        _partition: u32,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        Ok(self.page(topic, None, offset, max_records))
    }

    fn partition_of(&self, _topic: Topic, _key: u64) -> u32 {
        0
    }

    fn partitions(&self, _topic: Topic) -> u32 {
        1
    }

    async fn bounds(&self, topic: Topic, _partition: u32) -> Result<Bounds, LogError> {
        Ok(Bounds { earliest: 1, end: self.end(topic) })
    }

    async fn committed(&self, topic: Topic, group: &str) -> Result<Vec<Position>, LogError> {
        let committed = self.lock().committed.get(&(topic, group.to_owned())).copied();
        Ok(committed.map(|offset| Position { partition: 0, offset }).into_iter().collect())
    }

    async fn lag(&self) -> Result<Vec<ConsumerLag>, LogError> {
        let groups: Vec<_> = self.lock().committed.clone().into_iter().collect();
        let lag = |((topic, group), position): ((Topic, String), u64)| {
            let end = self.end(topic);
            let (topic, lag) = (topic.name().to_owned(), end - position);
            ConsumerLag { group, topic, partition: 0, position, end, lag }
        };
        Ok(groups.into_iter().map(lag).collect())
    }

    fn epoch(&self) -> Epoch {
        Epoch(7)
    }

    async fn close(&self) -> Result<(), LogError> {
        self.fail_with(Some(LogError::Closed));
        Ok(())
    }
}

#[derive(Debug)]
struct InMemoryConsumer {
    log: InMemoryLog,
    grown: watch::Receiver<()>,
    key: (Topic, String),
    next: u64,
    assigned: bool,
}

#[async_trait]
impl LogConsumer for InMemoryConsumer {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        let mut polled = Polled::default();
        if !self.assigned {
            self.assigned = true;
            polled.assigned.push(Position { partition: 0, offset: self.next });
        }
        self.grown.mark_unchanged();
        let mut page = self.log.page(self.key.0, None, self.next, max_records);
        if page.records.is_empty() {
            // Its error is the end of the wait, and the log outlives its consumers.
            let _ = tokio::time::timeout(max_wait, self.grown.changed()).await;
            page = self.log.page(self.key.0, None, self.next, max_records);
        }
        self.next = page.next_offset.max(self.next);
        polled.records = page.records;
        Ok(polled)
    }

    async fn commit(&mut self, next: &[Position]) -> Result<(), LogError> {
        if let Some(position) = next.first() {
            self.log.lock().committed.insert(self.key.clone(), position.offset);
        }
        Ok(())
    }
}
