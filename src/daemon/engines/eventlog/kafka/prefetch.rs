//! The queue between a consumer thread and the poll.
//!
//! Always holds: a poll returns the records of a partition only between its assignment and its
//! revocation, because a revoked partition's records leave the queue at once. Each record is
//! returned once and in order, even if the library fetches it again after a rebalance paused its
//! fetching.
//!
//! Bounded: [`MAX_BYTES`] of records. The thread stops fetching while the queue is full.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::info;

use crate::daemon::engines::eventlog::{LogError, Polled, Position, Record};

const MAX_BYTES: usize = 8 << 20;
/// Memory that a record takes besides its payload.
const RECORD_OVERHEAD_BYTES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct PrefetchQueue {
    state: Mutex<State>,
    /// Wakes the poll.
    arrived: Notify,
    /// Wakes the thread.
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    changes: VecDeque<AssignmentChange>,
    records: VecDeque<Record>,
    /// Memory that `records` take.
    bytes: usize,
    /// The assigned partitions, each with the lowest offset that has not been queued.
    owned: BTreeMap<u32, u64>,
    failure: Option<LogError>,
    closed: bool,
}

#[derive(Debug)]
enum AssignmentChange {
    Assigned(Vec<Position>),
    Revoked(Vec<u32>),
}

fn memory_bytes(record: &Record) -> usize {
    record.payload.len() + RECORD_OVERHEAD_BYTES
}

impl PrefetchQueue {
    /// Adds partitions, each with the offset to read first.
    pub(super) fn assign(&self, begin: Vec<Position>) {
        let mut state = self.state.lock();
        state.owned.extend(begin.iter().map(|position| (position.partition, position.offset)));
        state.changes.push_back(AssignmentChange::Assigned(begin));
        drop(state);
        self.arrived.notify_one();
    }

    /// Removes partitions and their records.
    pub(super) fn revoke(&self, partitions: Vec<u32>) {
        let mut state = self.state.lock();
        let State { changes, records, bytes, owned, .. } = &mut *state;
        let is_revoked = |partition: u32| partitions.contains(&partition);
        owned.retain(|partition, _| !is_revoked(*partition));
        records.retain(|record| {
            let kept = !is_revoked(record.position.partition);
            *bytes -= if kept { 0 } else { memory_bytes(record) };
            kept
        });
        changes.push_back(AssignmentChange::Revoked(partitions));
        drop(state);
        self.arrived.notify_one();
        self.room.notify_one();
    }

    /// Queues a record. Call [`Self::wake`] after the last one.
    pub(super) fn push(&self, record: Record) {
        let mut state = self.state.lock();
        let Position { partition, offset } = record.position;
        match state.owned.get_mut(&partition) {
            Some(next) if offset >= *next => {
                *next = offset + 1;
                state.bytes += memory_bytes(&record);
                state.records.push_back(record);
            }
            Some(next) => info!(partition, offset, next, "record fetched again; skipped"),
            None => {}
        }
    }

    /// Wakes the poll.
    pub(super) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Makes the next poll return this error.
    pub(super) fn fail(&self, error: LogError) {
        self.state.lock().failure = Some(error);
        self.arrived.notify_one();
    }

    /// Ends the thread. Every further poll returns [`LogError::Closed`].
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_one();
        self.room.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    pub(super) fn is_full(&self) -> bool {
        self.state.lock().bytes >= MAX_BYTES
    }

    /// Waits until there is room or the queue is closed; false on a timeout.
    pub(super) fn wait_for_room(&self, timeout: Duration) -> bool {
        let full = |state: &mut State| state.bytes >= MAX_BYTES && !state.closed;
        !self.room.wait_while_for(&mut self.state.lock(), full, timeout).timed_out()
    }

    /// Returns the assigned partitions, each with the lowest offset that has not been queued.
    pub(super) fn owned(&self) -> BTreeMap<u32, u64> {
        self.state.lock().owned.clone()
    }

    /// Continues a partition at another offset.
    pub(super) fn move_to(&self, partition: u32, offset: u64) {
        if let Some(next) = self.state.lock().owned.get_mut(&partition) {
            *next = offset;
        }
    }

    /// Returns whether a partition is assigned.
    pub(super) fn owns(&self, partition: u32) -> bool {
        self.state.lock().owned.contains_key(&partition)
    }

    /// Waits for records or a change of the assignment. Cancel-safe: nothing is taken before the
    /// last step.
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

    /// Takes the next change of the assignment, so that their order is kept, or else records. The
    /// last assignment may come with its first records.
    fn take(&self, max_records: usize) -> Result<Option<Polled>, LogError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(LogError::Closed);
        }
        if let Some(error) = state.failure.take() {
            return Err(error);
        }
        let mut polled = Polled::default();
        match state.changes.pop_front() {
            Some(AssignmentChange::Revoked(partitions)) => polled.revoked = partitions,
            Some(AssignmentChange::Assigned(begin)) => polled.assigned = begin,
            None => {}
        }
        if polled.revoked.is_empty() && state.changes.is_empty() {
            let count = state.records.len().min(max_records);
            polled.records.extend(state.records.drain(..count));
            state.bytes -= polled.records.iter().map(memory_bytes).sum::<usize>();
        }
        drop(state);
        self.room.notify_one();
        Ok((polled != Polled::default()).then_some(polled))
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
    async fn record_fetched_again_is_returned_once() {
        let queue = PrefetchQueue::default();
        queue.assign(vec![Position { partition: 1, offset: 5 }]);
        for offset in [5, 6, 6, 5, 8, 7, 9] {
            queue.push(record(1, offset));
        }
        queue.push(record(2, 5));
        let polled = queue.poll(100, Duration::ZERO).await.unwrap();
        assert_eq!(polled.records, [5, 6, 8, 9].map(|offset| record(1, offset)));

        queue.revoke(vec![1]);
        queue.assign(vec![Position { partition: 1, offset: 6 }]);
        queue.push(record(1, 6));
        queue.poll(100, Duration::ZERO).await.unwrap();
        let polled = queue.poll(100, Duration::ZERO).await.unwrap();
        assert_eq!(polled.records, [record(1, 6)]);
    }
}
