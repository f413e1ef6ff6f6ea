//! What a reading thread has brought and nobody has taken yet.
//!
//! Bounded: [`MAX_BYTES`] of records; a thread that finds it full stops fetching. Records of a
//! partition that is lost leave the line at once, so what happens to the assignment can be told ahead
//! of all records: a partition's never come before its assignment or behind its loss. And each comes
//! once, in order, whatever the library repeats when a rebalance pauses its fetching.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::info;

use crate::daemon::engines::eventlog::{LogError, Polled, Position, Record};

const MAX_BYTES: usize = 8 << 20;
/// What a record costs besides its payload.
const RECORD_OVERHEAD_BYTES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    /// For the one who takes.
    arrived: Notify,
    /// For the thread that brings.
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    changes: VecDeque<Change>,
    records: VecDeque<Record>,
    /// What `records` cost.
    bytes: usize,
    /// The partitions, and the offset from which on records of each have not been brought yet.
    owned: BTreeMap<u32, u64>,
    failure: Option<LogError>,
    ended: bool,
}

#[derive(Debug)]
enum Change {
    Assigned(Vec<Position>),
    Revoked(Vec<u32>),
}

fn cost(record: &Record) -> usize {
    record.payload.len() + RECORD_OVERHEAD_BYTES
}

impl Inbox {
    pub(super) fn assign(&self, begin: Vec<Position>) {
        let mut state = self.lock();
        state.owned.extend(begin.iter().map(|position| (position.partition, position.offset)));
        state.changes.push_back(Change::Assigned(begin));
        drop(state);
        self.arrived.notify_one();
    }

    pub(super) fn revoke(&self, partitions: Vec<u32>) {
        let mut state = self.lock();
        let State { changes, records, bytes, owned, .. } = &mut *state;
        let lost = |partition: u32| partitions.contains(&partition);
        owned.retain(|partition, _| !lost(*partition));
        records.retain(|record| {
            let kept = !lost(record.position.partition);
            *bytes -= if kept { 0 } else { cost(record) };
            kept
        });
        changes.push_back(Change::Revoked(partitions));
        drop(state);
        self.arrived.notify_one();
        self.room.notify_one();
    }

    /// Puts a record in line; wake the taker when there are no more for now.
    pub(super) fn push(&self, record: Record) {
        let mut state = self.lock();
        let Position { partition, offset } = record.position;
        match state.owned.get_mut(&partition) {
            Some(next) if offset >= *next => {
                *next = offset + 1;
                state.bytes += cost(&record);
                state.records.push_back(record);
            }
            Some(next) => info!(partition, offset, next, "a record was brought again; left out"),
            None => {}
        }
    }

    pub(super) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// The next poll answers this, once.
    pub(super) fn fail(&self, error: LogError) {
        self.lock().failure = Some(error);
        self.arrived.notify_one();
    }

    /// Tells the thread to end, and everybody that the log is closed.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.arrived.notify_one();
        self.room.notify_one();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    pub(super) fn is_full(&self) -> bool {
        self.lock().bytes >= MAX_BYTES
    }

    /// Waits until there is room or the end is near; false if there is none in time.
    pub(super) fn wait_for_room(&self, timeout: Duration) -> bool {
        let full = |state: &mut State| state.bytes >= MAX_BYTES && !state.ended;
        !self.room.wait_while_for(&mut self.lock(), full, timeout).timed_out()
    }

    pub(super) fn owns(&self, partition: u32) -> bool {
        self.lock().owned.contains_key(&partition)
    }

    /// Waits for something to take. Cancel-safe: nothing is taken but in the last step.
    pub(super) async fn poll(
        &self,
        max_records: usize,
        wait: Duration,
    ) -> Result<Polled, LogError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(polled) = self.take(max_records)? {
                return Ok(polled);
            }
            if tokio::time::timeout_at(deadline, self.arrived.notified()).await.is_err() {
                return Ok(self.take(max_records)?.unwrap_or_default());
            }
        }
    }

    /// The next change alone, so that nobody has to ask which of two came first, or the records that
    /// no change is ahead of. With the last assignment its first records may come.
    fn take(&self, max_records: usize) -> Result<Option<Polled>, LogError> {
        let mut state = self.lock();
        if state.ended {
            return Err(LogError::Closed);
        }
        if let Some(error) = state.failure.take() {
            return Err(error);
        }
        let mut polled = Polled::default();
        match state.changes.pop_front() {
            Some(Change::Revoked(partitions)) => polled.revoked = partitions,
            Some(Change::Assigned(begin)) => polled.assigned = begin,
            None => {}
        }
        if polled.revoked.is_empty() && state.changes.is_empty() {
            let count = state.records.len().min(max_records);
            polled.records.extend(state.records.drain(..count));
            state.bytes -= polled.records.iter().map(cost).sum::<usize>();
        }
        drop(state);
        self.room.notify_one();
        Ok((polled != Polled::default()).then_some(polled))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves `State` whole.
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: u32, offset: u64) -> Record {
        let position = Position { partition, offset };
        Record { position, key: 1, timestamp_ms: 1, payload: "text".into() }
    }

    #[tokio::test]
    async fn a_record_that_is_brought_again_is_taken_once_until_its_partition_comes_anew() {
        let inbox = Inbox::default();
        inbox.assign(vec![Position { partition: 1, offset: 5 }]);
        for offset in [5, 6, 6, 5, 8, 7, 9] {
            inbox.push(record(1, offset));
        }
        inbox.push(record(2, 5));
        let polled = inbox.poll(100, Duration::ZERO).await.unwrap();
        assert_eq!(polled.records, [5, 6, 8, 9].map(|offset| record(1, offset)));

        inbox.revoke(vec![1]);
        inbox.assign(vec![Position { partition: 1, offset: 6 }]);
        inbox.push(record(1, 6));
        inbox.poll(100, Duration::ZERO).await.unwrap();
        let polled = inbox.poll(100, Duration::ZERO).await.unwrap();
        assert_eq!(polled.records, [record(1, 6)]);
    }
}
