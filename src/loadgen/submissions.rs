//! What became of the comments that a run sent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::clock::RunClock;
use super::ledger::{AckedComment, Micros, histogram};
use super::sender::{Ack, SubmissionLog};
use crate::protocol::ErrorCode;

/// Counts by a stable word.
pub(crate) type ByKind = BTreeMap<Cow<'static, str>, u64>;

/// Counts what senders tell, and keeps acks until the crowds are told of them.
#[derive(Debug)]
pub(crate) struct Submissions {
    clock: RunClock,
    watched: bool,
    /// Acks nobody has taken yet. Grows with the comments of the run at worst, as the ledgers do.
    untold: Mutex<Vec<AckedComment>>,
    acked: Notify,
    reactions: AtomicU64,
    reactions_refused: AtomicU64,
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
    pub(crate) fn new(clock: RunClock) -> Self {
        let outcomes = Outcomes {
            acked: 0,
            last_ack: 0,
            ack: histogram(),
            rejected: ByKind::new(),
            interrupted: ByKind::new(),
        };
        Self {
            clock,
            watched: true,
            untold: Mutex::default(),
            acked: Notify::new(),
            reactions: AtomicU64::new(0),
            reactions_refused: AtomicU64::new(0),
            published: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            outcomes: Mutex::new(outcomes),
        }
    }

    /// For a run that nobody watches.
    pub(crate) fn without_viewers(clock: RunClock) -> Self {
        Self { watched: false, ..Self::new(clock) }
    }

    /// Acks since the last call.
    pub(crate) fn take_acks(&self) -> Vec<AckedComment> {
        std::mem::take(&mut self.untold.lock())
    }

    /// Returns when there may be acks to take.
    pub(crate) async fn wait_for_acks(&self) {
        self.acked.notified().await;
    }

    /// Reactions sent, and refused.
    pub(crate) fn reactions(&self) -> (u64, u64) {
        (self.reactions.load(Relaxed), self.reactions_refused.load(Relaxed))
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

    fn lock(&self) -> parking_lot::MutexGuard<'_, Outcomes> {
        self.outcomes.lock()
    }
}

impl SubmissionLog for Submissions {
    fn published(&self) {
        self.published.fetch_add(1, Relaxed);
    }

    fn acked(&self, ack: Ack) {
        let intended_at = self.clock.micros(ack.intended);
        let at = self.clock.micros(ack.at);
        {
            let mut outcomes = self.lock();
            outcomes.acked += 1;
            outcomes.last_ack = outcomes.last_ack.max(at);
            outcomes.ack.saturating_record(at.saturating_sub(intended_at));
        }
        let comment = AckedComment { seq: ack.seq, comment_id: ack.comment_id, intended_at };
        if self.watched {
            self.untold.lock().push(comment);
            self.acked.notify_one();
        }
    }

    fn reacted(&self) {
        self.reactions.fetch_add(1, Relaxed);
    }

    fn reaction_refused(&self) {
        self.reactions_refused.fetch_add(1, Relaxed);
    }

    fn rejected(&self, code: ErrorCode) {
        *self.lock().rejected.entry(code.as_str().into()).or_default() += 1;
    }

    fn interrupted(&self, kind: &'static str) {
        *self.lock().interrupted.entry(kind.into()).or_default() += 1;
    }
}
