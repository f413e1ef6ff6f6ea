//! An event log in memory for tests of the stages. It keeps every promise of the contract except
//! durability, and fails on demand.

mod consumer;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::daemon::base::clock::{Clock as _, SystemClock};
use crate::daemon::engines::eventlog::{
    Bounds, ConsumerGroup, EventLog, LagHistory, LogConsumer, LogError, LogFollower, LogIdentity,
    NewRecord, Page, Position, Record, StartAt, Topic, check_sizes,
};
use crate::protocol::Epoch;
use crate::protocol::admin::ConsumerLag;
use crate::protocol::events::Event;
use consumer::{InMemoryConsumer, InMemoryFollower};

/// The log. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct InMemoryLog {
    shape: Shape,
    state: Arc<Mutex<State>>,
    /// Notified of every append and commit, and of closing.
    changed: watch::Sender<()>,
    lags: Arc<LagHistory>,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    partitions: u32,
    first_offset: u64,
    epoch: Epoch,
}

#[derive(Debug, Clone, Default)]
struct State {
    topics: HashMap<Topic, Contents>,
    append_failure: Option<LogError>,
    refused_topic: Option<Topic>,
    unreachable: Vec<u32>,
    commit_failure: Option<LogError>,
    bounds_delay: Duration,
    /// A partition whose end is never told.
    endless: Option<u32>,
    /// Appends are stored and never answered.
    silent: bool,
    /// Appends are stored and answered with an error.
    loses_answers: bool,
    closed: bool,
}

/// One topic. Its partitions share one sequence of offsets, so the offsets of a partition are
/// consecutive only if it is the only one.
#[derive(Debug, Clone, Default)]
struct Contents {
    records: Vec<Record>,
    /// Number of records of each append.
    appends: Vec<usize>,
    /// By group and partition.
    committed: BTreeMap<(&'static str, u32), u64>,
}

impl InMemoryLog {
    /// Creates a log with one partition per topic and first offset 1.
    pub(crate) fn new() -> Self {
        Self::shaped(1, 1)
    }

    pub(crate) fn shaped(partitions: u32, first_offset: u64) -> Self {
        static EPOCHS: AtomicU32 = AtomicU32::new(7);
        let epoch = Epoch(EPOCHS.fetch_add(1, Ordering::Relaxed));
        let shape = Shape { partitions, first_offset, epoch };
        Self { shape, state: Arc::default(), changed: watch::Sender::new(()), lags: Arc::default() }
    }

    /// Makes every append fail with this error; `None` ends the failure.
    pub(crate) fn fail_appends_with(&self, failure: Option<LogError>) {
        self.lock().append_failure = failure;
    }

    /// Makes appends to one topic fail; `None` ends the failure.
    pub(crate) fn refuse_topic(&self, topic: Option<Topic>) {
        self.lock().refused_topic = topic;
    }

    /// Sets the partitions whose server does not answer.
    pub(crate) fn set_unreachable(&self, partitions: &[u32]) {
        self.lock().unreachable = partitions.to_vec();
    }

    /// Makes every commit fail with this error; `None` ends the failure.
    pub(crate) fn fail_commits_with(&self, failure: Option<LogError>) {
        self.lock().commit_failure = failure;
    }

    /// Makes the log take so long to answer where a partition ends.
    pub(crate) fn delay_bounds(&self, delay: Duration) {
        self.lock().bounds_delay = delay;
    }

    /// From now on the log does not tell where this partition ends.
    pub(crate) fn hide_end_of(&self, partition: u32) {
        self.lock().endless = Some(partition);
    }

    /// From now on appends are stored and never answered.
    pub(crate) fn fall_silent(&self) {
        self.lock().silent = true;
    }

    /// Makes appends fail although they are stored, or succeed again.
    pub(crate) fn lose_answers(&self, lost: bool) {
        self.lock().loses_answers = lost;
    }

    /// Makes appends and commits fail, or succeed again.
    pub(crate) fn set_down(&self, down: bool) {
        let failure = down.then(|| LogError::Unavailable("switched off".to_owned()));
        self.fail_appends_with(failure.clone());
        self.fail_commits_with(failure);
    }

    /// Adds a record even while the log is down.
    pub(crate) fn put(&self, topic: Topic, key: u64, timestamp_ms: u64, payload: Vec<u8>) {
        let new = NewRecord { key, timestamp_ms, payload: payload.into() };
        self.push(&mut self.lock(), topic, vec![new]);
    }

    /// Sets the committed offset of a group in the first partition.
    pub(crate) fn set_committed(&self, topic: Topic, group: ConsumerGroup, offset: u64) {
        self.set_committed_at(topic, group, Position { partition: 0, offset });
    }

    /// Sets the position of a group in one partition.
    pub(crate) fn set_committed_at(&self, topic: Topic, group: ConsumerGroup, next: Position) {
        let key = (group.as_str(), next.partition);
        self.lock().topics.entry(topic).or_default().committed.insert(key, next.offset);
    }

    pub(crate) fn records(&self, topic: Topic) -> Vec<Record> {
        self.contents(topic).records
    }

    /// Returns the events of a topic with their keys, without records that are not events.
    pub(crate) fn events(&self, topic: Topic) -> Vec<(u64, Event)> {
        let event = |record: Record| Some((record.key, Event::decode(&record.payload).ok()?));
        self.records(topic).into_iter().filter_map(event).collect()
    }

    /// Returns the number of records of each append to a topic.
    pub(crate) fn appends(&self, topic: Topic) -> Vec<usize> {
        self.contents(topic).appends
    }

    /// Returns the committed offset of a group in the first partition.
    pub(crate) fn committed_offset(&self, topic: Topic, group: ConsumerGroup) -> Option<u64> {
        self.contents(topic).committed.get(&(group.as_str(), 0)).copied()
    }

    /// Waits until a group has committed `offset`, in the first partition.
    pub(crate) async fn wait_for_commit(&self, topic: Topic, group: ConsumerGroup, offset: u64) {
        let mut changed = self.changed.subscribe();
        let reached = |_: &()| self.committed_offset(topic, group).is_some_and(|now| now >= offset);
        // The sender is this log's own.
        changed.wait_for(reached).await.unwrap();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn contents(&self, topic: Topic) -> Contents {
        self.lock().topics.get(&topic).cloned().unwrap_or_default()
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.lock();
        if state.closed { Err(LogError::Closed) } else { Ok(state) }
    }

    fn append_now(&self, topic: Topic, batch: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let mut state = self.open()?;
        if let Some(failure) = &state.append_failure {
            return Err(failure.clone());
        }
        if state.refused_topic == Some(topic) {
            let text = format!("topic {} is missing", topic.name());
            return Err(LogError::Unavailable(text));
        }
        check_sizes(&batch)?;
        state.topics.entry(topic).or_default().appends.push(batch.len());
        Ok(self.push(&mut state, topic, batch))
    }

    fn push(&self, state: &mut State, topic: Topic, batch: Vec<NewRecord>) -> Vec<Position> {
        let records = &mut state.topics.entry(topic).or_default().records;
        let mut positions = Vec::with_capacity(batch.len());
        for NewRecord { key, timestamp_ms, payload } in batch {
            let partition = self.partition_of(topic, key);
            let offset = self.shape.first_offset + records.len() as u64;
            let position = Position { partition, offset };
            records.push(Record { position, key, timestamp_ms, payload });
            positions.push(position);
        }
        self.changed.send_replace(());
        positions
    }

    fn bounds_in(&self, state: &State, topic: Topic) -> Bounds {
        let earliest = self.shape.first_offset;
        let count = state.topics.get(&topic).map_or(0, |contents| contents.records.len());
        Bounds { earliest, end: earliest + count as u64 }
    }

    /// Returns the records of a topic from an offset on that match `wanted`.
    fn page(
        &self,
        topic: Topic,
        offset: u64,
        max_records: usize,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<Page, LogError> {
        let state = self.open()?;
        let Bounds { earliest, end } = self.bounds_in(&state, topic);
        if offset.max(1) < earliest {
            return Err(LogError::Expired { wanted: offset, earliest });
        }
        let all = state.topics.get(&topic).map_or(&[][..], |contents| &contents.records);
        let skipped = (offset.clamp(earliest, end) - earliest) as usize;
        let found = all[skipped..].iter().filter(|record| wanted(record));
        let records: Vec<_> = found.take(max_records).cloned().collect();
        let next_offset = match records.last() {
            Some(last) if records.len() == max_records => last.position.offset + 1,
            _ => end.max(offset),
        };
        Ok(Page { records, next_offset, at_end: next_offset >= end })
    }
}

#[async_trait]
impl EventLog for InMemoryLog {
    fn append(
        &self,
        topic: Topic,
        batch: Vec<NewRecord>,
    ) -> BoxFuture<'static, Result<Vec<Position>, LogError>> {
        let mut appended = self.append_now(topic, batch);
        if self.lock().silent {
            return Box::pin(std::future::pending());
        }
        if self.lock().loses_answers {
            let lost = LogError::Unavailable("the answer was lost".to_owned());
            appended = appended.and(Err(lost));
        }
        Box::pin(std::future::ready(appended))
    }

    async fn consume(
        &self,
        topic: Topic,
        group: ConsumerGroup,
        start: StartAt,
    ) -> Result<Box<dyn LogConsumer>, LogError> {
        let state = self.open()?;
        let bounds = self.bounds_in(&state, topic);
        let begin = if start == StartAt::Earliest { bounds.earliest } else { bounds.end };
        let committed = state.topics.get(&topic).map(|contents| &contents.committed);
        let next = |partition| {
            let key = (group.as_str(), partition);
            committed.and_then(|committed| committed.get(&key)).copied().unwrap_or(begin)
        };
        let next = (0..self.shape.partitions).map(next).collect();
        Ok(Box::new(InMemoryConsumer::new(self.clone(), topic, group, next)))
    }

    async fn follow(&self, topic: Topic) -> Result<Box<dyn LogFollower>, LogError> {
        let group = ConsumerGroup::Test("follower");
        Ok(Box::new(InMemoryFollower(self.consume(topic, group, StartAt::Latest).await?)))
    }

    async fn read(
        &self,
        topic: Topic,
        key: u64,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        self.page(topic, offset, max_records, |record| record.key == key)
    }

    async fn read_partition(
        &self,
        topic: Topic,
        partition: u32,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        self.page(topic, offset, max_records, |record| record.position.partition == partition)
    }

    fn partition_of(&self, _topic: Topic, key: u64) -> u32 {
        (key % u64::from(self.shape.partitions)) as u32
    }

    fn partitions(&self, _topic: Topic) -> u32 {
        self.shape.partitions
    }

    async fn bounds(&self, topic: Topic, partition: u32) -> Result<Bounds, LogError> {
        if self.lock().endless == Some(partition) {
            std::future::pending::<()>().await;
        }
        let delay = self.lock().bounds_delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let state = self.open()?;
        Ok(self.bounds_in(&state, topic))
    }

    async fn unreachable_partitions(&self) -> Result<Vec<u32>, LogError> {
        Ok(self.open()?.unreachable.clone())
    }

    async fn committed(
        &self,
        topic: Topic,
        group: ConsumerGroup,
    ) -> Result<Vec<Position>, LogError> {
        let state = self.open()?;
        let committed = state.topics.get(&topic).into_iter().flat_map(|c| &c.committed);
        let of_group = committed.filter(|((of, _), _)| *of == group.as_str());
        Ok(of_group.map(|((_, partition), offset)| position(*partition, *offset)).collect())
    }

    async fn lag(&self) -> Result<Vec<ConsumerLag>, LogError> {
        let state = self.open()?;
        let now_ms = SystemClock.now_ms();
        let mut lags = Vec::new();
        for topic in Topic::ALL {
            let end = self.bounds_in(&state, topic).end;
            let Some(contents) = state.topics.get(&topic) else { continue };
            for ((group, partition), &position) in &contents.committed {
                let group = (*group).to_owned();
                let topic = topic.name().to_owned();
                let lag = end - position;
                let is_unread = |record: &&Record| {
                    let at = record.position;
                    at.partition == *partition && at.offset >= position
                };
                let oldest = contents.records.iter().find(is_unread);
                let age_ms = |record: &Record| now_ms.saturating_sub(record.timestamp_ms);
                lags.push(ConsumerLag {
                    group,
                    topic,
                    partition: *partition,
                    position,
                    end,
                    lag,
                    oldest_ms: Some(oldest.map_or(0, age_ms)),
                    ..ConsumerLag::default()
                });
            }
        }
        self.lags.observe(&mut lags);
        Ok(lags)
    }

    fn identity(&self) -> LogIdentity {
        LogIdentity {
            engine: "memory",
            topic: Topic::CommentEvents.name().to_owned(),
            topic_id: None,
            partitions: self.shape.partitions,
            epoch: self.shape.epoch,
        }
    }

    fn epoch(&self) -> Epoch {
        self.shape.epoch
    }

    async fn close(&self) -> Result<(), LogError> {
        self.open()?.closed = true;
        self.changed.send_replace(());
        Ok(())
    }
}

fn position(partition: u32, offset: u64) -> Position {
    Position { partition, offset }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::eventlog::SharedLog;
    use crate::daemon::engines::eventlog::conformance::{Harness, eventlog_suite};

    impl InMemoryLog {
        /// Returns another log with the same contents, as after a restart.
        fn reopened(&self) -> Self {
            let State { topics, .. } = self.lock().clone();
            let state = State { topics, ..State::default() };
            let changed = watch::Sender::new(());
            let state = Arc::new(Mutex::new(state));
            Self { shape: self.shape, state, changed, lags: Arc::default() }
        }
    }

    struct InMemoryHarness(InMemoryLog);

    impl Harness for InMemoryHarness {
        async fn start_another(&self) -> Self {
            let Shape { partitions, first_offset, .. } = self.0.shape;
            Self(InMemoryLog::shaped(partitions, first_offset))
        }

        fn log(&self) -> SharedLog {
            Arc::new(self.0.clone())
        }

        async fn restart(&mut self) {
            self.0.close().await.unwrap();
            self.0 = self.0.reopened();
        }
    }

    async fn shaped(partitions: u32, first_offset: u64) -> (InMemoryHarness, ()) {
        (InMemoryHarness(InMemoryLog::shaped(partitions, first_offset)), ())
    }

    mod one_partition {
        use super::*;

        eventlog_suite!(shaped(1, 1));
    }

    mod three_partitions {
        use super::*;

        eventlog_suite!(shaped(3, 0));
    }
}
