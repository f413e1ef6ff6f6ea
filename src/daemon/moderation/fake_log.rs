//! An event log in memory, one partition a topic, for tests of what reads and appends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::Notify;

use crate::daemon::eventlog::{
    Bounds, EventLog, LogConsumer, LogError, NewRecord, Page, Polled, Position, Record, StartAt,
    Topic,
};
use crate::protocol::Epoch;
use crate::protocol::admin::ConsumerLag;
use crate::protocol::events::{CommentModerated, Event};

/// The fake. While it is down, appends and commits fail.
#[derive(Debug, Default, Clone)]
pub(super) struct FakeLog {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    down: AtomicBool,
    appended: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    topics: HashMap<Topic, Vec<Record>>,
    committed: HashMap<String, u64>,
    /// How many records each append to `comment_events` brought.
    batches: Vec<usize>,
}

impl FakeLog {
    pub(super) fn set_down(&self, down: bool) {
        self.inner.down.store(down, Ordering::SeqCst);
    }

    pub(super) fn put(&self, topic: Topic, key: u64, payload: Vec<u8>) {
        let record = NewRecord { key, timestamp_ms: 0, payload: payload.into() };
        self.inner.store(topic, vec![record]);
    }

    pub(super) fn records(&self, topic: Topic) -> Vec<Record> {
        self.inner.lock().topics.get(&topic).cloned().unwrap_or_default()
    }

    /// The decisions in a topic, with their keys.
    pub(super) fn moderated(&self, topic: Topic) -> Vec<(u64, CommentModerated)> {
        let records = self.records(topic).into_iter();
        let decision = |record: Record| match Event::decode(&record.payload) {
            Ok(Event::CommentModerated(event)) => Some((record.key, event)),
            _ => None,
        };
        records.filter_map(decision).collect()
    }

    /// The next offset of a group in `comment_events`.
    pub(super) fn position(&self, group: &str) -> Option<u64> {
        self.inner.lock().committed.get(group).copied()
    }

    pub(super) fn batches(&self) -> Vec<usize> {
        self.inner.lock().batches.clone()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn check(&self) -> Result<(), LogError> {
        match self.down.load(Ordering::SeqCst) {
            true => Err(LogError::Unavailable("it is down for the test".into())),
            false => Ok(()),
        }
    }

    fn store(&self, topic: Topic, batch: Vec<NewRecord>) -> Vec<Position> {
        let mut state = self.lock();
        let records = state.topics.entry(topic).or_default();
        let mut positions = Vec::new();
        for NewRecord { key, timestamp_ms, payload } in batch {
            let position = Position { partition: 0, offset: records.len() as u64 };
            records.push(Record { position, key, timestamp_ms, payload });
            positions.push(position);
        }
        self.appended.notify_waiters();
        positions
    }
}

#[async_trait]
impl EventLog for FakeLog {
    fn append(
        &self,
        topic: Topic,
        batch: Vec<NewRecord>,
    ) -> BoxFuture<'static, Result<Vec<Position>, LogError>> {
        if topic == Topic::CommentEvents && self.inner.check().is_ok() {
            self.inner.lock().batches.push(batch.len());
        }
        ready(self.inner.check().map(|()| self.inner.store(topic, batch))).boxed()
    }

    async fn consume(
        &self,
        topic: Topic,
        group: &str,
        start: StartAt,
    ) -> Result<Box<dyn LogConsumer>, LogError> {
        assert_eq!(start, StartAt::Earliest);
        let next = self.position(group).unwrap_or(0);
        Ok(Box::new(FakeConsumer { inner: self.inner.clone(), topic, group: group.into(), next }))
    }

    async fn read(&self, _: Topic, _: u64, _: u64, _: usize) -> Result<Page, LogError> {
        Err(LogError::Closed)
    }

    async fn read_partition(&self, _: Topic, _: u32, _: u64, _: usize) -> Result<Page, LogError> {
        Err(LogError::Closed)
    }

    fn partition_of(&self, _: Topic, _: u64) -> u32 {
        0
    }

    fn partitions(&self, _: Topic) -> u32 {
        1
    }

    async fn bounds(&self, _: Topic, _: u32) -> Result<Bounds, LogError> {
        Err(LogError::Closed)
    }

    async fn committed(&self, _: Topic, _: &str) -> Result<Vec<Position>, LogError> {
        Err(LogError::Closed)
    }

    async fn lag(&self) -> Result<Vec<ConsumerLag>, LogError> {
        Ok(Vec::new())
    }

    fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    async fn close(&self) -> Result<(), LogError> {
        Ok(())
    }
}

#[derive(Debug)]
struct FakeConsumer {
    inner: Arc<Inner>,
    topic: Topic,
    group: String,
    next: u64,
}

#[async_trait]
impl LogConsumer for FakeConsumer {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        let deadline = tokio::time::Instant::now() + max_wait;
        loop {
            let inner = self.inner.clone();
            let appended = inner.appended.notified();
            let records: Vec<Record> = {
                let state = self.inner.lock();
                let all = state.topics.get(&self.topic).map(Vec::as_slice).unwrap_or_default();
                all.iter().skip(self.next as usize).take(max_records).cloned().collect()
            };
            if !records.is_empty() {
                self.next += records.len() as u64;
                return Ok(Polled { records, ..Polled::default() });
            }
            if tokio::time::timeout_at(deadline, appended).await.is_err() {
                return Ok(Polled::default());
            }
        }
    }

    async fn commit(&mut self, next: &[Position]) -> Result<(), LogError> {
        self.inner.check()?;
        let mut state = self.inner.lock();
        for position in next {
            state.committed.insert(self.group.clone(), position.offset);
        }
        Ok(())
    }
}
