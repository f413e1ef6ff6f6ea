//! Batches on their way to a topic's writer.
//!
//! In: batches, from any thread, without waiting. Out: as many as one commit takes, in the order in
//! which they came. Always holds: a batch that was taken in is answered, whatever happens to the
//! writer.
//!
//! When full: a batch that would bring the bytes in memory above the bound is refused at once with
//! [`LogError::Unavailable`]. It does not wait, because its place in the order is that of the call:
//! one that waited to be let in would have to be kept in memory just the same. A batch larger than
//! the bound is taken when nothing else is there.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::record;
use crate::daemon::engines::eventlog::{LogError, NewRecord, Position};

pub(super) type Answer = Result<Vec<Position>, LogError>;

/// A batch that waits for the disk.
#[derive(Debug)]
pub(super) struct Pending {
    pub records: Vec<NewRecord>,
    /// What the records take in a segment.
    pub bytes: u64,
    pub answer: oneshot::Sender<Answer>,
}

/// What the writer is to do next.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub batches: Vec<Pending>,
    pub enforce_retention: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    max_pending_bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Pending>,
    /// Of the queued batches and of those the writer is busy with.
    pending_bytes: u64,
    enforce_retention: bool,
    /// What later batches are answered.
    closed: Option<LogError>,
}

impl Queue {
    pub(super) fn new(max_pending_bytes: u64) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), max_pending_bytes }
    }

    /// Takes a batch in. Its place in the order is taken when this returns.
    pub(super) fn push(
        &self,
        records: Vec<NewRecord>,
    ) -> Result<oneshot::Receiver<Answer>, LogError> {
        let bytes = records.iter().map(record::encoded_bytes).sum();
        let (answer, receiver) = oneshot::channel();
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Err(reason.clone());
        }
        if state.pending_bytes > 0 && state.pending_bytes + bytes > self.max_pending_bytes {
            return Err(LogError::Unavailable(format!(
                "{} bytes wait for the disk already, and at most {} may (eventlog.max_pending_bytes)",
                state.pending_bytes, self.max_pending_bytes
            )));
        }
        state.pending_bytes += bytes;
        state.batches.push_back(Pending { records, bytes, answer });
        drop(state);
        self.wake.notify_one();
        Ok(receiver)
    }

    pub(super) fn request_retention(&self) {
        self.lock().enforce_retention = true;
        self.wake.notify_one();
    }

    /// Waits for work: batches of at most `max_bytes` together, but at least one. `None`: the queue
    /// is closed and empty. For the writer's thread alone.
    pub(super) fn take(&self, max_bytes: u64) -> Option<Work> {
        let mut state = self.lock();
        while state.batches.is_empty() && !state.enforce_retention {
            if state.closed.is_some() {
                return None;
            }
            self.wake.wait(&mut state);
        }
        let mut work = Work {
            batches: Vec::new(),
            enforce_retention: std::mem::take(&mut state.enforce_retention),
        };
        let mut taken_bytes = 0;
        while let Some(next) = state.batches.front() {
            taken_bytes += next.bytes;
            if !work.batches.is_empty() && taken_bytes > max_bytes {
                break;
            }
            work.batches.extend(state.batches.pop_front());
        }
        Some(work)
    }

    /// Batches of so many bytes have left memory.
    pub(super) fn release(&self, bytes: u64) {
        let mut state = self.lock();
        state.pending_bytes = state.pending_bytes.saturating_sub(bytes);
    }

    /// Lets nothing more in; what is in is still taken.
    pub(super) fn close(&self, reason: LogError) {
        self.lock().closed.get_or_insert(reason);
        self.wake.notify_one();
    }

    /// Closes and answers everything that nobody will take any more.
    pub(super) fn abandon(&self, reason: &LogError) {
        self.close(reason.clone());
        let batches = std::mem::take(&mut self.lock().batches);
        for batch in batches {
            // Whoever appended may have stopped waiting.
            let _ = batch.answer.send(Err(reason.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No critical section can panic between two changes that belong together.
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn batch(key: u64, payload_bytes: usize) -> Vec<NewRecord> {
        let payload = Bytes::from(vec![0; payload_bytes]);
        vec![NewRecord { key, timestamp_ms: 0, payload }]
    }

    fn keys(work: &Work) -> Vec<u64> {
        work.batches.iter().map(|batch| batch.records[0].key).collect()
    }

    #[test]
    fn batches_leave_in_the_order_they_came_as_many_as_a_commit_takes() {
        let queue = Queue::new(1 << 20);
        let _waiting: Vec<_> = (0..5).map(|key| queue.push(batch(key, 64)).unwrap()).collect();
        assert_eq!(keys(&queue.take(250).unwrap()), [0, 1]);
        assert_eq!(keys(&queue.take(1).unwrap()), [2]);
        assert_eq!(keys(&queue.take(u64::MAX).unwrap()), [3, 4]);
    }

    #[test]
    fn a_full_queue_refuses_at_once_until_bytes_are_released() {
        let queue = Queue::new(1000);
        let _first = queue.push(batch(1, 500)).unwrap();
        let error = queue.push(batch(2, 500)).unwrap_err();
        assert!(
            matches!(&error, LogError::Unavailable(text) if text.contains("max_pending_bytes"))
        );
        let work = queue.take(u64::MAX).unwrap();
        assert!(queue.push(batch(2, 500)).is_err(), "taken is not yet released");
        queue.release(work.batches[0].bytes);
        let _second = queue.push(batch(2, 500)).unwrap();
    }

    #[test]
    fn a_batch_larger_than_the_bound_is_taken_alone() {
        let queue = Queue::new(100);
        let _large = queue.push(batch(1, 5000)).unwrap();
        assert!(queue.push(batch(2, 1)).is_err());
    }

    #[test]
    fn a_closed_queue_is_emptied_and_then_ends() {
        let queue = Queue::new(1000);
        let _waiting = queue.push(batch(1, 5)).unwrap();
        queue.close(LogError::Closed);
        assert!(matches!(queue.push(batch(2, 5)), Err(LogError::Closed)));
        assert_eq!(keys(&queue.take(1).unwrap()), [1]);
        assert!(queue.take(1).is_none());
    }

    #[test]
    fn an_abandoned_queue_answers_everyone() {
        let queue = Queue::new(1000);
        let mut waiting = queue.push(batch(1, 5)).unwrap();
        queue.abandon(&LogError::Unavailable("gone".into()));
        assert!(matches!(waiting.try_recv(), Ok(Err(LogError::Unavailable(_)))));
    }
}
