//! The fates of the comments and reactions that a run sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::clock::{Micros, RunClock};
use super::counts::{CountsByKind, count};
use super::histogram::latency_histogram;
use super::ledger::AckedComment;
use crate::protocol::{CommentId, ErrorCode, Seq};

/// Told the answer to each comment.
pub(crate) trait AckListener: std::fmt::Debug + Send + Sync {
    /// The comment of this number is durable.
    fn acked(&self, number: u64, comment_id: CommentId);
    /// The comment of this number is not accepted.
    fn rejected(&self, number: u64);
}

/// The server's ack of a comment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SubmissionAck {
    /// The comment's number in the run.
    pub number: u64,
    pub comment_id: CommentId,
    pub seq: Seq,
    /// When the comment was due.
    pub intended: Instant,
    pub at: Instant,
}

/// Counts what senders report, and keeps acks until they are forwarded to the viewer pools.
#[derive(Debug)]
pub(crate) struct Submissions {
    clock: RunClock,
    has_viewers: bool,
    listener: Option<Arc<dyn AckListener>>,
    /// Acks not taken yet. At most as many as the run has comments.
    pending_acks: Mutex<Vec<AckedComment>>,
    acked: Notify,
    published: AtomicU64,
    /// Comments for a sender that the server does not accept any more.
    unsent: AtomicU64,
    reactions_sent: AtomicU64,
    reactions_refused: AtomicU64,
    answers: Mutex<SubmissionAnswers>,
}

/// The server's answers to the senders.
#[derive(Debug, Clone)]
pub(crate) struct SubmissionAnswers {
    pub acked: u64,
    pub last_ack: Micros,
    /// From the intended send time to the ack.
    pub ack_latency: Histogram<u64>,
    pub rejected: CountsByKind,
    /// Why senders' connections ended.
    pub disconnects: CountsByKind,
}

impl SubmissionAnswers {
    pub(crate) fn rejections(&self) -> u64 {
        self.rejected.values().sum()
    }
}

impl Submissions {
    pub(crate) fn new(clock: RunClock) -> Self {
        let answers = SubmissionAnswers {
            acked: 0,
            last_ack: 0,
            ack_latency: latency_histogram(),
            rejected: CountsByKind::new(),
            disconnects: CountsByKind::new(),
        };
        Self {
            clock,
            has_viewers: true,
            listener: None,
            pending_acks: Mutex::default(),
            acked: Notify::new(),
            published: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            reactions_sent: AtomicU64::new(0),
            reactions_refused: AtomicU64::new(0),
            answers: Mutex::new(answers),
        }
    }

    /// Returns submissions of a run without viewers, which keep no acks to forward.
    pub(crate) fn without_viewers(clock: RunClock) -> Self {
        Self { has_viewers: false, ..Self::new(clock) }
    }

    /// Returns submissions that tell a listener each answer.
    pub(crate) fn with_listener(self, listener: Arc<dyn AckListener>) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// Returns the acks since the last call.
    pub(crate) fn take_acks(&self) -> Vec<AckedComment> {
        std::mem::take(&mut self.pending_acks.lock())
    }

    /// Returns when there may be acks to take.
    pub(crate) async fn wait_for_acks(&self) {
        self.acked.notified().await;
    }

    pub(crate) fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    pub(crate) fn unsent(&self) -> u64 {
        self.unsent.load(Relaxed)
    }

    pub(crate) fn reactions_sent(&self) -> u64 {
        self.reactions_sent.load(Relaxed)
    }

    pub(crate) fn reactions_refused(&self) -> u64 {
        self.reactions_refused.load(Relaxed)
    }

    pub(crate) fn answers(&self) -> SubmissionAnswers {
        self.answers.lock().clone()
    }

    pub(crate) fn acks(&self) -> u64 {
        self.answers.lock().acked
    }

    pub(crate) fn rejections(&self) -> u64 {
        self.answers.lock().rejections()
    }

    /// Counts a comment that was written to a socket for the first time.
    pub(crate) fn count_published(&self) {
        self.published.fetch_add(1, Relaxed);
    }

    /// Counts a comment that no sender could take.
    pub(crate) fn count_unsent(&self) {
        self.unsent.fetch_add(1, Relaxed);
    }

    /// Counts a reaction that was written to a socket.
    pub(crate) fn count_reaction(&self) {
        self.reactions_sent.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_refused_reaction(&self) {
        self.reactions_refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn record_rejection(&self, number: u64, code: ErrorCode) {
        count(&mut self.answers.lock().rejected, code.as_str());
        if let Some(listener) = &self.listener {
            listener.rejected(number);
        }
    }

    /// Counts the end of a sender's connection, by its reason.
    pub(crate) fn count_disconnect(&self, reason: &'static str) {
        count(&mut self.answers.lock().disconnects, reason);
    }

    pub(crate) fn record_ack(&self, ack: SubmissionAck) {
        let intended_at = self.clock.micros(ack.intended);
        let at = self.clock.micros(ack.at);
        {
            let mut answers = self.answers.lock();
            answers.acked += 1;
            answers.last_ack = answers.last_ack.max(at);
            answers.ack_latency.saturating_record(at.saturating_sub(intended_at));
        }
        if let Some(listener) = &self.listener {
            listener.acked(ack.number, ack.comment_id);
        }
        if self.has_viewers {
            let comment = AckedComment { seq: ack.seq, comment_id: ack.comment_id, intended_at };
            self.pending_acks.lock().push(comment);
            self.acked.notify_one();
        }
    }
}
