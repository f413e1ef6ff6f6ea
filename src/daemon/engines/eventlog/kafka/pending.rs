//! An append that has not been answered yet. It is answered once each of its records is delivered.
//!
//! Bounded: `eventlog.max_pending_bytes` limits the bytes of all pending appends. An append that
//! would exceed it is refused at once. An append counts until it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::daemon::engines::eventlog::{LogError, NewRecord, Position, Topic};

/// Memory that a record takes besides its payload.
const RECORD_OVERHEAD_BYTES: u64 = 128;

pub(super) type AppendResult = Result<Vec<Position>, LogError>;

/// The bound on pending appends.
#[derive(Debug)]
pub(super) struct PendingBytes {
    max_bytes: u64,
    used_bytes: AtomicU64,
}

impl PendingBytes {
    pub(super) fn new(max_bytes: u64) -> Arc<Self> {
        Arc::new(Self { max_bytes, used_bytes: AtomicU64::new(0) })
    }

    /// Reserves the bytes of a batch. A batch is accepted at any size if nothing else is pending.
    pub(super) fn reserve(
        self: &Arc<Self>,
        batch: &[NewRecord],
    ) -> Result<ReservedBytes, LogError> {
        let bytes = |new: &NewRecord| new.payload.len() as u64 + RECORD_OVERHEAD_BYTES;
        let bytes = batch.iter().map(bytes).sum::<u64>();
        let before = self.used_bytes.fetch_add(bytes, Ordering::AcqRel);
        let reserved = ReservedBytes { pending: self.clone(), bytes };
        if before > 0 && before + bytes > self.max_bytes {
            return Err(LogError::Unavailable(format!(
                "{before} bytes already wait for Kafka, and at most {} may \
                 (eventlog.max_pending_bytes)",
                self.max_bytes
            )));
        }
        Ok(reserved)
    }
}

/// Bytes that are given back when this is dropped.
#[derive(Debug)]
pub(super) struct ReservedBytes {
    pending: Arc<PendingBytes>,
    bytes: u64,
}

impl Drop for ReservedBytes {
    fn drop(&mut self) {
        self.pending.used_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// One append, shared by its records.
#[derive(Debug)]
pub(super) struct PendingAppend {
    pub(super) topic: Topic,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    positions: Vec<Position>,
    /// Records without an outcome, and the hold if there is one.
    outstanding: usize,
    error: Option<LogError>,
    /// Taken by the answer.
    caller: Option<(oneshot::Sender<AppendResult>, ReservedBytes)>,
}

impl PendingAppend {
    pub(super) fn new(
        topic: Topic,
        records: usize,
        reserved: ReservedBytes,
    ) -> (Arc<Self>, oneshot::Receiver<AppendResult>) {
        Self::with_outstanding(topic, records, records, reserved)
    }

    /// Creates an append that is also held: it is answered once its records are delivered and
    /// [`Self::release_hold`] was called.
    pub(super) fn held(
        topic: Topic,
        records: usize,
        reserved: ReservedBytes,
    ) -> (Arc<Self>, oneshot::Receiver<AppendResult>) {
        Self::with_outstanding(topic, records, records + 1, reserved)
    }

    fn with_outstanding(
        topic: Topic,
        records: usize,
        outstanding: usize,
        reserved: ReservedBytes,
    ) -> (Arc<Self>, oneshot::Receiver<AppendResult>) {
        let (sender, receiver) = oneshot::channel();
        let state = State {
            positions: vec![Position { partition: 0, offset: 0 }; records],
            outstanding,
            error: None,
            caller: Some((sender, reserved)),
        };
        (Arc::new(Self { topic, state: Mutex::new(state) }), receiver)
    }

    /// Records the outcome of the record at `index`.
    pub(super) fn complete_record(&self, index: u32, outcome: Result<Position, LogError>) {
        let mut state = self.state.lock();
        match outcome {
            Ok(position) => state.positions[index as usize] = position,
            Err(error) => drop(state.error.get_or_insert(error)),
        }
        state.complete_one();
    }

    /// Returns the positions of the records delivered so far.
    pub(super) fn positions(&self) -> Vec<Position> {
        self.state.lock().positions.clone()
    }

    pub(super) fn release_hold(&self) {
        self.state.lock().complete_one();
    }

    /// Answers with an error now; later outcomes of its records change nothing.
    pub(super) fn fail(&self, error: LogError) {
        let mut state = self.state.lock();
        let error = match state.error.take() {
            // A purged record is the consequence of a failure, not its reason.
            None | Some(LogError::Closed) => error,
            Some(reason) => reason,
        };
        state.answer(Err(error));
    }
}

impl State {
    fn complete_one(&mut self) {
        self.outstanding -= 1;
        if self.outstanding == 0 {
            let positions = std::mem::take(&mut self.positions);
            let result = self.error.take().map_or(Ok(positions), Err);
            self.answer(result);
        }
    }

    fn answer(&mut self, result: AppendResult) {
        if let Some((sender, reserved)) = self.caller.take() {
            drop(reserved);
            // The caller may have stopped waiting.
            drop(sender.send(result));
        }
    }
}
