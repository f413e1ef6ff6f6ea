//! Members of groups and followers of the log in memory.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::{InMemoryLog, position};
use crate::daemon::engines::eventlog::{
    CommitOutcome, ConsumerGroup, EventLog, LogConsumer, LogError, LogFollower, NewRecord, Polled,
    Position, Record, Topic, append_then_commit,
};

/// A consumer of a group that never commits.
#[derive(Debug)]
pub(super) struct InMemoryFollower(pub(super) Box<dyn LogConsumer>);

#[async_trait]
impl LogFollower for InMemoryFollower {
    async fn next(
        &mut self,
        max_records: usize,
        max_wait: Duration,
    ) -> Result<Vec<Record>, LogError> {
        Ok(self.0.poll(max_records, max_wait).await?.records)
    }
}

/// A member that reads every partition.
#[derive(Debug)]
pub(super) struct InMemoryConsumer {
    log: InMemoryLog,
    changed: watch::Receiver<()>,
    topic: Topic,
    group: ConsumerGroup,
    /// By partition.
    next: Vec<u64>,
    assigned: bool,
}

impl InMemoryConsumer {
    /// Reads each partition from its offset in `next`.
    pub(super) fn new(
        log: InMemoryLog,
        topic: Topic,
        group: ConsumerGroup,
        next: Vec<u64>,
    ) -> Self {
        let changed = log.changed.subscribe();
        Self { log, changed, topic, group, next, assigned: false }
    }

    fn unread(&self, max_records: usize) -> Result<Vec<Record>, LogError> {
        let from = self.next.iter().copied().min().unwrap_or(0);
        let next = |partition: u32| self.next[partition as usize];
        let is_unread = |record: &Record| record.position.offset >= next(record.position.partition);
        Ok(self.log.page(self.topic, from, max_records, is_unread)?.records)
    }

    fn assign(&mut self) -> Vec<Position> {
        if std::mem::replace(&mut self.assigned, true) {
            return Vec::new();
        }
        (0..).zip(&self.next).map(|(partition, offset)| position(partition, *offset)).collect()
    }
}

#[async_trait]
impl LogConsumer for InMemoryConsumer {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        let deadline = Instant::now() + max_wait;
        let records = loop {
            self.changed.mark_unchanged();
            let records = self.unread(max_records)?;
            if !records.is_empty() || timeout_at(deadline, self.changed.changed()).await.is_err() {
                break records;
            }
        };
        // Nothing is consumed before this, so a dropped poll has no effect.
        let assigned = self.assign();
        for Position { partition, offset } in records.iter().map(|record| record.position) {
            self.next[partition as usize] = offset + 1;
        }
        Ok(Polled { records, assigned, revoked: Vec::new() })
    }

    async fn commit(&mut self, next: &[Position]) -> Result<(), LogError> {
        let mut state = self.log.open()?;
        if let Some(failure) = &state.commit_failure {
            return Err(failure.clone());
        }
        let committed = &mut state.topics.entry(self.topic).or_default().committed;
        for Position { partition, offset } in next {
            committed.insert((self.group.as_str(), *partition), *offset);
        }
        drop(state);
        self.log.changed.send_replace(());
        Ok(())
    }

    async fn append_and_commit(
        &mut self,
        log: &dyn EventLog,
        outputs: &mut Vec<(Topic, Vec<NewRecord>)>,
        next: &[Position],
    ) -> Result<CommitOutcome, LogError> {
        append_then_commit(self, log, outputs, next).await
    }
}
