//! What became of the comments that a run sent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::ledger::{AckedComment, Ledger, LedgerHandle, Micros, histogram};
use super::sender::{Ack, SubmissionLog};
use crate::protocol::ErrorCode;

/// Counts by a stable word.
pub(crate) type ByKind = BTreeMap<&'static str, u64>;

/// Counts what senders tell, and enters acks into the ledger.
#[derive(Debug)]
pub(crate) struct Submissions {
    ledger: Arc<LedgerHandle>,
    published: AtomicU64,
    /// Handed to a sender that the server had sent away for good.
    unsent: AtomicU64,
    outcomes: Mutex<Outcomes>,
}

/// What the senders were told.
#[derive(Debug, Clone)]
pub(crate) struct Outcomes {
    pub acked: u64,
    pub last_ack: Micros,
    /// From the intended send time to the ack.
    pub ack: Histogram<u64>,
    pub rejected: ByKind,
    /// Why senders' connections ended.
    pub interrupted: ByKind,
}

impl Submissions {
    pub(crate) fn new(ledger: Arc<LedgerHandle>) -> Self {
        let outcomes = Outcomes {
            acked: 0,
            last_ack: 0,
            ack: histogram(),
            rejected: ByKind::new(),
            interrupted: ByKind::new(),
        };
        Self {
            ledger,
            published: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            outcomes: Mutex::new(outcomes),
        }
    }

    /// For a run that nobody watches.
    pub(crate) fn without_viewers() -> Self {
        Self::new(Arc::new(LedgerHandle::new(Ledger::new(0, 0..0), Instant::now())))
    }

    pub(crate) fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    pub(crate) fn unsent(&self) -> u64 {
        self.unsent.load(Relaxed)
    }

    /// A comment had no sender to go to.
    pub(crate) fn left_unsent(&self) {
        self.unsent.fetch_add(1, Relaxed);
    }

    /// Acked and rejected so far.
    pub(crate) fn answered(&self) -> (u64, u64) {
        let outcomes = self.lock();
        (outcomes.acked, outcomes.rejected.values().sum())
    }

    pub(crate) fn outcomes(&self) -> Outcomes {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Outcomes> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SubmissionLog for Submissions {
    fn published(&self) {
        self.published.fetch_add(1, Relaxed);
    }

    fn acked(&self, ack: Ack) {
        let intended_at = self.ledger.micros(ack.intended);
        let at = self.ledger.micros(ack.at);
        {
            let mut outcomes = self.lock();
            outcomes.acked += 1;
            outcomes.last_ack = outcomes.last_ack.max(at);
            outcomes.ack.saturating_record(at.saturating_sub(intended_at));
        }
        let comment = AckedComment { seq: ack.seq, comment_id: ack.comment_id, intended_at };
        self.ledger.lock().acked(comment);
    }

    fn rejected(&self, code: ErrorCode) {
        *self.lock().rejected.entry(code.as_str()).or_default() += 1;
    }

    fn interrupted(&self, kind: &'static str) {
        *self.lock().interrupted.entry(kind).or_default() += 1;
    }
}
