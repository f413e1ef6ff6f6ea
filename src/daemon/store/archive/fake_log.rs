//! An event log in memory for the archiver's tests: positions per group, commits that can be made to
//! fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::daemon::eventlog::{
    Bounds, EventLog, LogConsumer, LogError, NewRecord, Page, Polled, Position, Record, StartAt,
    Topic,
};
use crate::protocol::Epoch;
use crate::protocol::admin::ConsumerLag;

/// One partition a topic.
#[derive(Debug, Clone)]
pub(super) struct FakeLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    records: Mutex<Vec<(Topic, Record)>>,
    /// Grows with every append.
    appended: watch::Sender<u64>,
    /// The committed offset of the only group.
    committed: watch::Sender<u64>,
    refuse_commits: AtomicBool,
}

impl FakeLog {
    pub(super) fn new() -> Self {
        let inner = Inner {
            records: Mutex::default(),
            appended: watch::channel(0).0,
            committed: watch::channel(0).0,
            refuse_commits: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn refuse_commits(&self, refuse: bool) {
        self.inner.refuse_commits.store(refuse, Ordering::SeqCst);
    }

    pub(super) fn committed_now(&self) -> u64 {
        *self.inner.committed.borrow()
    }

    /// Waits until the group has committed `offset`.
    pub(super) async fn committed_to(&self, offset: u64) {
        let mut committed = self.inner.committed.subscribe();
        committed.wait_for(|now| *now >= offset).await.unwrap();
    }

    pub(super) fn records(&self, topic: Topic) -> Vec<Record> {
        let records = self.inner.records.lock().unwrap();
        records.iter().filter(|(of, _)| *of == topic).map(|(_, record)| record.clone()).collect()
    }

    fn push(&self, topic: Topic, new: NewRecord) -> Position {
        let mut records = self.inner.records.lock().unwrap();
        let offset = records.iter().filter(|(of, _)| *of == topic).count() as u64;
        let position = Position { partition: 0, offset };
        let NewRecord { key, timestamp_ms, payload } = new;
        records.push((topic, Record { position, key, timestamp_ms, payload }));
        position
    }
}

fn not_here<T>() -> Result<T, LogError> {
    Err(LogError::Unavailable("the archiver needs no such call".to_owned()))
}

#[async_trait]
impl EventLog for FakeLog {
    fn append(
        &self,
        topic: Topic,
        batch: Vec<NewRecord>,
    ) -> BoxFuture<'static, Result<Vec<Position>, LogError>> {
        let positions = batch.into_iter().map(|new| self.push(topic, new)).collect();
        self.inner.appended.send_modify(|appends| *appends += 1);
        Box::pin(async move { Ok(positions) })
    }

    async fn consume(
        &self,
        topic: Topic,
        _group: &str,
        _start: StartAt,
    ) -> Result<Box<dyn LogConsumer>, LogError> {
        let appended = self.inner.appended.subscribe();
        Ok(Box::new(FakeConsumer {
            log: self.clone(),
            topic,
            next: self.committed_now(),
            appended,
        }))
    }

    async fn read(&self, _: Topic, _: u64, _: u64, _: usize) -> Result<Page, LogError> {
        not_here()
    }

    async fn read_partition(&self, _: Topic, _: u32, _: u64, _: usize) -> Result<Page, LogError> {
        not_here()
    }

    fn partition_of(&self, _: Topic, _: u64) -> u32 {
        0
    }

    fn partitions(&self, _: Topic) -> u32 {
        1
    }

    async fn bounds(&self, _: Topic, _: u32) -> Result<Bounds, LogError> {
        not_here()
    }

    async fn committed(&self, _: Topic, _: &str) -> Result<Vec<Position>, LogError> {
        Ok(vec![Position { partition: 0, offset: self.committed_now() }])
    }

    async fn lag(&self) -> Result<Vec<ConsumerLag>, LogError> {
        not_here()
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
    log: FakeLog,
    topic: Topic,
    next: u64,
    appended: watch::Receiver<u64>,
}

#[async_trait]
impl LogConsumer for FakeConsumer {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        self.appended.mark_unchanged();
        let mut records = self.log.records(self.topic).split_off(self.next as usize);
        if records.is_empty() {
            let _ = tokio::time::timeout(max_wait, self.appended.changed()).await;
            records = self.log.records(self.topic).split_off(self.next as usize);
        }
        records.truncate(max_records);
        self.next += records.len() as u64;
        Ok(Polled { records, ..Polled::default() })
    }

    async fn commit(&mut self, next: &[Position]) -> Result<(), LogError> {
        if self.log.inner.refuse_commits.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable("refused by the test".to_owned()));
        }
        for position in next {
            self.log.inner.committed.send_replace(position.offset);
        }
        Ok(())
    }
}
