//! The event log and the fan-out bus in memory.

use std::sync::Mutex;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Journal, STARTED_MS, Switch};
use crate::daemon::bus::{BusError, BusListener, BusMessage, BusSubscriptions, FanoutBus};
use crate::daemon::eventlog::{
    Bounds, EventLog, LogConsumer, LogError, NewRecord, Page, Position, Record, StartAt, Topic,
};
use crate::protocol::admin::ConsumerLag;
use crate::protocol::events::Event;
use crate::protocol::{Epoch, NodeId, StreamId};

const PARTITIONS: u32 = 2;

/// Two partitions a topic; the offsets of both count together, so neither's are consecutive.
#[derive(Debug, Default)]
pub(crate) struct FakeLog {
    records: Mutex<Vec<(Topic, Record)>>,
    pub(crate) full: Switch,
}

impl FakeLog {
    pub(crate) fn records(&self) -> Vec<(Topic, Record)> {
        self.records.lock().unwrap().clone()
    }

    /// The events of a topic, in order.
    pub(crate) fn events(&self, topic: Topic) -> Vec<Event> {
        let records = self.records();
        let of_topic = records.iter().filter(|(of, _)| *of == topic);
        of_topic.map(|(_, record)| Event::decode(&record.payload).unwrap()).collect()
    }

    pub(crate) fn put(&self, stream_id: StreamId, event: &Event) {
        let payload = event.encode().into();
        let record = NewRecord { key: stream_id.0, timestamp_ms: STARTED_MS, payload };
        self.push(Topic::CommentEvents, vec![record]);
    }

    fn push(&self, topic: Topic, batch: Vec<NewRecord>) -> Vec<Position> {
        let mut records = self.records.lock().unwrap();
        let mut positions = Vec::new();
        for NewRecord { key, timestamp_ms, payload } in batch {
            let partition = self.partition_of(topic, key);
            let position = Position { partition, offset: records.len() as u64 };
            records.push((topic, Record { position, key, timestamp_ms, payload }));
            positions.push(position);
        }
        positions
    }

    fn pick(
        &self,
        offset: u64,
        max_records: usize,
        wanted: impl Fn(Topic, &Record) -> bool,
    ) -> Page {
        let all = self.records.lock().unwrap();
        let mut records = Vec::new();
        let mut next_offset = offset;
        for (topic, record) in all.iter().skip(offset as usize) {
            if records.len() == max_records {
                break;
            }
            next_offset = record.position.offset + 1;
            if wanted(*topic, record) {
                records.push(record.clone());
            }
        }
        Page { records, next_offset, at_end: next_offset == all.len() as u64 }
    }
}

#[async_trait]
impl EventLog for FakeLog {
    fn append(
        &self,
        topic: Topic,
        batch: Vec<NewRecord>,
    ) -> BoxFuture<'static, Result<Vec<Position>, LogError>> {
        let appended = match self.full.is_on() {
            true => Err(LogError::Full("switched off".to_owned())),
            false => Ok(self.push(topic, batch)),
        };
        async move { appended }.boxed()
    }

    async fn consume(
        &self,
        _topic: Topic,
        _group: &str,
        _start: StartAt,
    ) -> Result<Box<dyn LogConsumer>, LogError> {
        Err(LogError::Unavailable("nobody consumes here".to_owned()))
    }

    async fn read(
        &self,
        topic: Topic,
        key: u64,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        Ok(self.pick(offset, max_records, |of, record| of == topic && record.key == key))
    }

    async fn read_partition(
        &self,
        topic: Topic,
        partition: u32,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        Ok(self.pick(offset, max_records, |of, record| {
            of == topic && record.position.partition == partition
        }))
    }

    fn partition_of(&self, _topic: Topic, key: u64) -> u32 {
        (key % u64::from(PARTITIONS)) as u32
    }

    fn partitions(&self, _topic: Topic) -> u32 {
        PARTITIONS
    }

    async fn bounds(&self, _topic: Topic, _partition: u32) -> Result<Bounds, LogError> {
        Ok(Bounds { earliest: 0, end: self.records.lock().unwrap().len() as u64 })
    }

    async fn committed(&self, _topic: Topic, _group: &str) -> Result<Vec<Position>, LogError> {
        Ok(Vec::new())
    }

    async fn lag(&self) -> Result<Vec<ConsumerLag>, LogError> {
        let topic = Topic::CommentEvents.name().to_owned();
        let group = "archiver".to_owned();
        Ok(vec![ConsumerLag { group, topic, partition: 0, position: 3, end: 5, lag: 2 }])
    }

    fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    async fn close(&self) -> Result<(), LogError> {
        Ok(())
    }
}

/// Notes what is published.
#[derive(Debug)]
pub(crate) struct FakeBus {
    journal: Journal,
}

impl FakeBus {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal }
    }
}

#[async_trait]
impl FanoutBus for FakeBus {
    async fn publish(
        &self,
        stream_id: StreamId,
        messages: Vec<BusMessage>,
    ) -> Result<(), BusError> {
        for message in messages {
            self.journal.note(format!("bus {stream_id}: {message:?}"));
        }
        Ok(())
    }

    async fn listen(
        &self,
        _node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError> {
        Err(BusError::Unavailable("nobody listens here".to_owned()))
    }
}
