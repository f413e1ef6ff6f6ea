//! The queue of a topic's writer.
//!
//! In: batches, from any thread, without waiting. Out: as many as fit one commit, in the order of
//! the calls. Always holds: an accepted batch is answered, whatever happens to the writer.
//!
//! When full: a batch that would exceed the bound on pending bytes is refused at once with
//! [`LogError::Unavailable`]. It does not wait, because the call decides its place in the order, so
//! it would take memory while it waited. A batch larger than the bound is accepted when the queue
//! is empty.

use std::collections::VecDeque;
use std::sync::Weak;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::record;
use crate::daemon::base::telemetry::QueueReading;
use crate::daemon::engines::eventlog::{LogError, NewRecord, Position};

pub(super) type AppendResult = Result<Vec<Position>, LogError>;

/// Returns a reader of the fullest of these queues, because the bound holds for each. It does not
/// keep them.
pub(super) fn fullest_of(
    queues: Vec<Weak<WriterQueue>>,
) -> impl Fn() -> Option<QueueReading> + Send {
    move || {
        let readings = queues.iter().filter_map(Weak::upgrade).map(|queue| queue.reading());
        readings.max_by_key(|reading| reading.queue)
    }
}

/// A batch that waits for the disk.
#[derive(Debug)]
pub(super) struct PendingBatch {
    pub records: Vec<NewRecord>,
    /// Size of the records in a segment.
    pub bytes: u64,
    pub answer: oneshot::Sender<AppendResult>,
}

/// The next work of the writer.
#[derive(Debug, Default)]
pub(super) struct WriterWork {
    pub batches: Vec<PendingBatch>,
    pub enforce_retention: bool,
}

#[derive(Debug)]
pub(super) struct WriterQueue {
    state: Mutex<State>,
    wake: Condvar,
    max_pending_bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<PendingBatch>,
    /// Bytes of the queued batches and of those that the writer is committing.
    pending_bytes: u64,
    enforce_retention: bool,
    /// The error that later batches get.
    closed: Option<LogError>,
}

impl WriterQueue {
    pub(super) fn new(max_pending_bytes: u64) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), max_pending_bytes }
    }

    /// Adds a batch. Its place in the order is fixed when this returns.
    pub(super) fn push(
        &self,
        records: Vec<NewRecord>,
    ) -> Result<oneshot::Receiver<AppendResult>, LogError> {
        let bytes = records.iter().map(record::encoded_bytes).sum();
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if let Some(reason) = &state.closed {
            return Err(reason.clone());
        }
        if state.pending_bytes > 0 && state.pending_bytes + bytes > self.max_pending_bytes {
            return Err(LogError::Unavailable(format!(
                "{} bytes already wait for the disk, and at most {} may (eventlog.max_pending_bytes)",
                state.pending_bytes, self.max_pending_bytes
            )));
        }
        state.pending_bytes += bytes;
        state.batches.push_back(PendingBatch { records, bytes, answer });
        drop(state);
        self.wake.notify_one();
        Ok(receiver)
    }

    /// Returns the bytes that wait, and the most that may.
    fn reading(&self) -> QueueReading {
        let queue = self.state.lock().pending_bytes;
        QueueReading { queue, queue_max: self.max_pending_bytes }
    }

    pub(super) fn request_retention(&self) {
        self.state.lock().enforce_retention = true;
        self.wake.notify_one();
    }

    /// Waits for work: batches of at most `max_bytes` together, but at least one. `None` once the
    /// queue is closed and empty. Only the writer's thread calls it.
    pub(super) fn take(&self, max_bytes: u64) -> Option<WriterWork> {
        let mut state = self.state.lock();
        while state.batches.is_empty() && !state.enforce_retention {
            if state.closed.is_some() {
                return None;
            }
            self.wake.wait(&mut state);
        }
        let mut work = WriterWork {
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

    /// Gives back the bytes of answered batches.
    pub(super) fn release(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.pending_bytes = state.pending_bytes.saturating_sub(bytes);
    }

    /// Refuses further batches. Batches in the queue are still written.
    pub(super) fn close(&self, reason: LogError) {
        self.state.lock().closed.get_or_insert(reason);
        self.wake.notify_one();
    }

    /// Closes the queue and answers its batches with an error.
    pub(super) fn abandon(&self, reason: &LogError) {
        self.close(reason.clone());
        let batches = std::mem::take(&mut self.state.lock().batches);
        for batch in batches {
            // The caller may have stopped waiting.
            let _ = batch.answer.send(Err(reason.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use bytes::Bytes;

    fn batch(key: u64, payload_bytes: usize) -> Vec<NewRecord> {
        let payload = Bytes::from(vec![0; payload_bytes]);
        vec![NewRecord { key, timestamp_ms: 0, payload }]
    }

    fn keys(work: &WriterWork) -> Vec<u64> {
        work.batches.iter().map(|batch| batch.records[0].key).collect()
    }

    #[test]
    fn batches_are_taken_in_order() {
        let queue = WriterQueue::new(1 << 20);
        let _waiting: Vec<_> = (0..5).map(|key| queue.push(batch(key, 64)).unwrap()).collect();
        assert_eq!(keys(&queue.take(250).unwrap()), [0, 1]);
        assert_eq!(keys(&queue.take(1).unwrap()), [2]);
        assert_eq!(keys(&queue.take(u64::MAX).unwrap()), [3, 4]);
    }

    #[test]
    fn full_queue_refuses_until_bytes_are_released() {
        let queue = WriterQueue::new(1000);
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
    fn batch_larger_than_the_bound_is_accepted_alone() {
        let queue = WriterQueue::new(100);
        let _large = queue.push(batch(1, 5000)).unwrap();
        assert!(queue.push(batch(2, 1)).is_err());
    }

    #[test]
    fn the_fullest_queue_is_read_with_its_bound() {
        let queues = [1000, 1000].map(|max| Arc::new(WriterQueue::new(max)));
        let read = fullest_of(queues.iter().map(Arc::downgrade).collect());
        assert_eq!(read(), Some(QueueReading { queue: 0, queue_max: 1000 }));
        let _small = queues[0].push(batch(1, 100)).unwrap();
        let _large = queues[1].push(batch(2, 600)).unwrap();
        let fullest = read().unwrap();
        assert!(fullest.queue >= 600 && fullest.queue < 1000, "not their sum: {fullest:?}");
        drop(queues);
        assert_eq!(read(), None);
    }

    #[test]
    fn closed_queue_is_emptied_and_ends() {
        let queue = WriterQueue::new(1000);
        let _waiting = queue.push(batch(1, 5)).unwrap();
        queue.close(LogError::Closed);
        assert!(matches!(queue.push(batch(2, 5)), Err(LogError::Closed)));
        assert_eq!(keys(&queue.take(1).unwrap()), [1]);
        assert!(queue.take(1).is_none());
    }

    #[test]
    fn abandoned_queue_answers_every_batch() {
        let queue = WriterQueue::new(1000);
        let mut waiting = queue.push(batch(1, 5)).unwrap();
        queue.abandon(&LogError::Unavailable("gone".into()));
        assert!(matches!(waiting.try_recv(), Ok(Err(LogError::Unavailable(_)))));
    }
}
