//! An append on its way: it is answered once each of its records has been.
//!
//! Bounded: the bytes of all appends under way, by `eventlog.max_pending_bytes`; one that would
//! exceed it is refused at once. An append counts until it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;
use tokio::sync::oneshot;

use super::client::log_line;
use super::failure::{is_outage, refused};
use super::health::Health;
use super::place::position;
use super::shipping::Shipment;
use crate::daemon::engines::eventlog::{LogError, NewRecord, Position};

/// What a record costs in memory besides its payload.
const RECORD_OVERHEAD_BYTES: u64 = 128;

pub(super) type Answer = Result<Vec<Position>, LogError>;

/// The bound on what is under way.
#[derive(Debug)]
pub(super) struct Budget {
    max_bytes: u64,
    used_bytes: AtomicU64,
}

impl Budget {
    pub(super) fn new(max_bytes: u64) -> Arc<Self> {
        Arc::new(Self { max_bytes, used_bytes: AtomicU64::new(0) })
    }

    /// Takes the room a batch needs; one batch is let in however large it is.
    pub(super) fn reserve(self: &Arc<Self>, batch: &[NewRecord]) -> Result<Reserved, LogError> {
        let bytes = |new: &NewRecord| new.payload.len() as u64 + RECORD_OVERHEAD_BYTES;
        let bytes = batch.iter().map(bytes).sum::<u64>();
        let before = self.used_bytes.fetch_add(bytes, Ordering::AcqRel);
        let reserved = Reserved { budget: self.clone(), bytes };
        if before > 0 && before + bytes > self.max_bytes {
            return Err(LogError::Unavailable(format!(
                "{before} bytes wait for Kafka already, and at most {} may \
                 (eventlog.max_pending_bytes)",
                self.max_bytes
            )));
        }
        Ok(reserved)
    }
}

/// Room that is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// One append.
#[derive(Debug)]
pub(super) struct Batch {
    topic: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    positions: Vec<Position>,
    unsettled: usize,
    error: Option<LogError>,
    /// Taken when the last record is settled.
    done: Option<(oneshot::Sender<Answer>, Reserved)>,
}

impl Batch {
    pub(super) fn new(
        topic: &str,
        records: usize,
        reserved: Reserved,
    ) -> (Arc<Self>, oneshot::Receiver<Answer>) {
        Self::with_holds(topic, records, 0, reserved)
    }

    /// A batch that is answered when its records are and [`Self::finish`] was called.
    pub(super) fn held(
        topic: &str,
        records: usize,
        reserved: Reserved,
    ) -> (Arc<Self>, oneshot::Receiver<Answer>) {
        Self::with_holds(topic, records, 1, reserved)
    }

    fn with_holds(
        topic: &str,
        records: usize,
        holds: usize,
        reserved: Reserved,
    ) -> (Arc<Self>, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let state = State {
            positions: vec![Position { partition: 0, offset: 0 }; records],
            unsettled: records + holds,
            error: None,
            done: Some((sender, reserved)),
        };
        (Arc::new(Self { topic: topic.to_owned(), state: Mutex::new(state) }), receiver)
    }

    /// Notes what became of the record at `index`.
    pub(super) fn settle(&self, index: u32, outcome: Result<Position, LogError>) {
        let mut state = self.lock();
        match outcome {
            Ok(position) => state.positions[index as usize] = position,
            Err(error) => drop(state.error.get_or_insert(error)),
        }
        state.release();
    }

    /// Where the records settled so far stand.
    pub(super) fn positions(&self) -> Vec<Position> {
        self.lock().positions.clone()
    }

    /// Gives up the hold of a held batch.
    pub(super) fn finish(&self) {
        self.lock().release();
    }

    /// Answers now, whatever comes later.
    pub(super) fn abandon(&self, error: LogError) {
        let mut state = self.lock();
        let error = match state.error.take() {
            // Being thrown out is the consequence, not the reason.
            None | Some(LogError::Closed) => error,
            Some(reason) => reason,
        };
        state.answer(Err(error));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves `State` whole.
        self.state.lock()
    }
}

impl State {
    fn release(&mut self) {
        self.unsettled -= 1;
        if self.unsettled == 0 {
            let positions = std::mem::take(&mut self.positions);
            let answer = self.error.take().map_or(Ok(positions), Err);
            self.answer(answer);
        }
    }

    fn answer(&mut self, answer: Answer) {
        if let Some((sender, reserved)) = self.done.take() {
            drop(reserved);
            // A writer that went away needs no answer.
            drop(sender.send(answer));
        }
    }
}

/// What comes back with a record's delivery report.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) batch: Arc<Batch>,
    pub(super) index: u32,
    /// Outside transactions: what it is handed to the library with.
    pub(super) shipment: Option<Arc<Shipment>>,
}

impl Ticket {
    /// The report on a record.
    fn settle(&self, result: &DeliveryResult<'_>) {
        let outcome = match result {
            Ok(message) => Ok(position(message.partition(), message.offset())),
            Err((error, message)) => {
                let error = match error.rdkafka_error_code() {
                    // Thrown out by us: the log was dropped. (What a failed transaction throws out
                    // has been answered.)
                    Some(RDKafkaErrorCode::PurgeInflight | RDKafkaErrorCode::PurgeQueue) => {
                        LogError::Closed
                    }
                    _ => refused(&self.batch.topic, message.payload_len(), error),
                };
                Err(error)
            }
        };
        self.batch.settle(self.index, outcome);
    }
}

/// Hears of deliveries and of lost connections.
#[derive(Debug, Clone)]
pub(super) struct Deliveries {
    pub(super) health: Arc<Health>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.health.suspect(reason);
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        if let Err((error, _)) = result
            && is_outage(error)
        {
            self.health.suspect("the brokers did not acknowledge within `kafka.append_timeout`");
            if let Some(shipment) = &ticket.shipment {
                shipment.fail(refused(&ticket.batch.topic, 0, error));
            }
        }
        ticket.settle(result);
    }
}
