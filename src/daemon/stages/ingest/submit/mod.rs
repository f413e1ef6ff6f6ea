//! The loop: check, append, reply. One task, so that ids, log order and replies agree; many batches
//! are in flight to the log at once.

mod admit;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::batch::{Batch, OutcomeSource, PendingReply};
use super::comment_ids::CommentIds;
use super::earlier::EarlierComments;
use super::refs::{FirstError, RefKey, Refs};
use super::reserve::reserve_ids;
use super::rooms::{RoomMemory, Rooms};
use super::screening::{CheckedSubmission, ScreeningQueues};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::IngestConfig;
use crate::daemon::base::handoff::{Accepted, LinkFinder, Reply, ReplySink, ReplyTo, Submission};
use crate::daemon::base::metrics::count;
use crate::daemon::base::moderation_state::ModerationState;
use crate::daemon::base::status::{EVENT_LOG, StatusBoard};
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::base::telemetry::{QueueReading, StageMeter};
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::directory::{Sanctions, Streams};
use crate::daemon::engines::eventlog::{LogError, NewRecord, Position, SharedLog, Topic};
use crate::daemon::engines::reservations::SharedReservations;
use crate::policy::comment_limits::CommentLimits;
use crate::protocol::admin::{ProblemCode, StageName};
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::events::{CommentSubmitted, Event};
use crate::protocol::stream::ModerationMode;
use crate::protocol::{Comment, ErrorCode, Seq};

/// Batches that may wait for the log at once.
pub(super) const MAX_IN_FLIGHT: usize = 64;
/// Comments per append.
const MAX_BATCH: usize = 4096;
/// When ingest stops, checks that run may take this long.
const DRAIN_FOR: Duration = Duration::from_secs(2);
/// After that, decisions and points that are being recorded may take this long.
const RECORD_FOR: Duration = Duration::from_secs(2);

/// Creates the queue in front of ingest, [`IngestConfig::queue_comments`] long. Submissions that
/// find it full are answered with `overloaded`.
pub fn queue(config: &IngestConfig) -> (mpsc::Sender<Submission>, mpsc::Receiver<Submission>) {
    // The channel cannot count further than this.
    mpsc::channel(config.queue_comments.min(Semaphore::MAX_PERMITS))
}

/// Returns a reader of the queue's length. It does not keep the queue open.
pub fn queue_reader(
    queue: &mpsc::Sender<Submission>,
) -> impl Fn() -> Option<QueueReading> + Send + use<> {
    let queue = queue.downgrade();
    move || {
        let queue = queue.upgrade()?;
        let queue_max = queue.max_capacity() as u64;
        Some(QueueReading { queue: queue_max - queue.capacity() as u64, queue_max })
    }
}

/// The dependencies of [`Ingest`].
#[derive(Debug)]
pub struct IngestParts {
    pub log: SharedLog,
    pub clock: SharedClock,
    pub config: Arc<IngestConfig>,
    pub streams: Streams,
    pub sanctions: Sanctions,
    pub refs: Refs,
    /// Has what was said in rooms before this start.
    pub said: RoomMemory,
    pub links: Arc<dyn LinkFinder>,
    /// Absent on a single node.
    pub reservations: Option<SharedReservations>,
    pub screening: ScreeningQueues,
    pub moderation: ModerationState,
    pub replies: Arc<dyn ReplySink>,
    pub board: StatusBoard,
}

/// The stage.
#[derive(Debug)]
pub struct Ingest {
    parts: IngestParts,
    ids: CommentIds,
    limits: CommentLimits,
    rooms: Rooms,
    breaker: Arc<Breaker>,
    /// The log's last failure, which refuses submissions while the breaker is open.
    last_failure: ErrorCode,
    /// Refs whose comment is checked or in flight to the log; with the place for its error if it
    /// has repeats.
    pending_refs: AHashMap<RefKey, Option<FirstError>>,
    earlier: EarlierComments,
    meter: Arc<StageMeter>,
}

/// A batch that waits for the log.
struct InFlight {
    /// `None` if there was nothing to append.
    appended: Option<BoxFuture<'static, Result<Vec<Position>, LogError>>>,
    pending: Vec<PendingReply>,
    taken_at: Instant,
}

impl Ingest {
    pub fn new(mut parts: IngestParts) -> Self {
        let ids = CommentIds::new(parts.clock.clone());
        let limits = CommentLimits::new(parts.config.comments_per_minute.clone(), Instant::now());
        let said = std::mem::take(&mut parts.said);
        let rooms = Rooms::new(said, parts.links.clone(), parts.clock.clone());
        let breaker = parts.board.add_breaker(EVENT_LOG);
        let last_failure = ErrorCode::LogUnavailable;
        let earlier = EarlierComments::new(parts.log.clone(), parts.clock.clone());
        let pending_refs = AHashMap::new();
        let meter = parts.board.telemetry().stage(StageName::Ingest);
        Self { parts, ids, limits, rooms, breaker, last_failure, pending_refs, earlier, meter }
    }

    /// Runs until every sender of the queue is gone, or `stop` is cancelled and the queue is empty.
    /// Then it answers everything still in flight; comments that are still not checked after
    /// [`DRAIN_FOR`] are refused. What is not recorded [`RECORD_FOR`] later is lost.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Submission>, stop: CancellationToken) {
        let mut taken = Vec::new();
        let mut in_flight: VecDeque<InFlight> = VecDeque::new();
        let mut cleanup = ticker_from_now(Duration::from_secs(60));
        let mut open = true;
        let mut drained_by = Instant::now();
        while open || !in_flight.is_empty() || !self.parts.screening.is_idle() {
            let has_room = in_flight.len() < MAX_IN_FLIGHT;
            tokio::select! {
                biased;
                // First, so that a flood of comments cannot delay it forever.
                () = stop.cancelled(), if open => {
                    queue.close();
                    while queue.recv_many(&mut taken, MAX_BATCH).await > 0 {
                        in_flight.extend(self.accept_batch(&mut taken).await);
                    }
                    open = false;
                    drained_by = Instant::now() + DRAIN_FOR;
                }
                outcome = first_appended(in_flight.front_mut()) => {
                    if let Some(batch) = in_flight.pop_front() {
                        let answered = batch.pending.len() as u64;
                        self.meter.record_latency(answered, batch.taken_at.elapsed());
                        self.answer(outcome, batch.pending);
                        self.release_claims().await;
                    }
                }
                ready = self.parts.screening.next_ready(MAX_BATCH), if has_room => {
                    in_flight.extend(self.accept_screened(ready).await);
                }
                () = sleep_until(drained_by), if !open && self.parts.screening.has_waiting() => {
                    let text = "the comment was not checked before this node stopped";
                    let refused = ErrorBody::new(ErrorCode::ShuttingDown, text);
                    let refused = self.parts.screening.refuse_all(&refused);
                    in_flight.extend(self.accept_screened(refused).await);
                }
                () = sleep_until(drained_by + RECORD_FOR),
                    if !open && !self.parts.screening.is_idle() =>
                {
                    self.parts.screening.drop_records();
                }
                count = queue.recv_many(&mut taken, MAX_BATCH), if open && has_room => match count {
                    0 => {
                        open = false;
                        drained_by = Instant::now() + DRAIN_FOR;
                    }
                    _ => in_flight.extend(self.accept_batch(&mut taken).await),
                },
                _ = cleanup.tick() => {
                    self.limits.forget_idle(Instant::now());
                    self.parts.screening.forget_late();
                }
            }
        }
        debug!("ingest drained");
    }

    /// Checks submissions from the queue and appends the accepted ones as one batch. Those that
    /// moderation has to check first follow later.
    async fn accept_batch(&mut self, taken: &mut Vec<Submission>) -> Option<InFlight> {
        let taken_at = Instant::now();
        let mut batch = Batch::default();
        self.prepare_checks(taken);
        for submission in taken.drain(..) {
            self.parts.board.metrics().comments_received.inc();
            self.check(submission, &mut batch);
        }
        self.append(batch, taken_at).await
    }

    /// Appends the comments that moderation has checked, and answers the others.
    async fn accept_screened(&mut self, ready: Vec<CheckedSubmission>) -> Option<InFlight> {
        let taken_at = Instant::now();
        let mut batch = Batch::default();
        for checked in ready {
            self.put_into(&mut batch, checked, true);
        }
        self.append(batch, taken_at).await
    }

    async fn append(&mut self, mut batch: Batch, taken_at: Instant) -> Option<InFlight> {
        if batch.pending.is_empty() {
            return None;
        }
        if let Some(reservations) = &self.parts.reservations {
            let uncertain = reserve_ids(reservations, &mut batch, &mut self.rooms).await;
            if !uncertain.is_empty() {
                self.find_in_log(&uncertain, &mut batch).await;
            }
            self.claim_in_rooms(&mut batch).await;
        }
        let now_ms = self.parts.clock.now_ms();
        let records: Vec<_> = batch.drafts.into_iter().map(|draft| record(draft, now_ms)).collect();
        // The first record of a comment that is sent again may have reached the log at any time
        // before this append: from a node that still had it in flight, or in a topic that was
        // created again meanwhile. Readers keep that record, so its place is the one to
        // acknowledge: viewers that join behind it find the comment in the history, and are not
        // shown the repeat.
        let retried = Batch::streams_with_retries(&batch.pending);
        let appended = (!records.is_empty()).then(|| {
            let append = self.parts.log.append(Topic::CommentEvents, records);
            self.earlier.read_after(append, retried)
        });
        Some(InFlight { appended, pending: batch.pending, taken_at })
    }

    /// Lets moderation look up the senders whose comments it screens, before it checks the first.
    fn prepare_checks(&mut self, taken: &[Submission]) {
        let is_screened = |submission: &&Submission| {
            let stream = self.parts.streams.get(submission.stream_id);
            let is_sync = stream.is_some_and(|stream| stream.moderation == ModerationMode::Sync);
            is_sync && !submission.identity.role.is_staff()
        };
        let screened = taken.iter().filter(is_screened);
        let users: Vec<_> = screened.map(|submission| submission.identity.user_id).collect();
        if !users.is_empty() {
            self.parts.screening.prepare(users);
        }
    }

    /// Answers the comments that another node has appended already with their first id.
    async fn find_in_log(&mut self, uncertain: &[RefKey], batch: &mut Batch) {
        let streams = uncertain.iter().map(|(_, stream_id, _)| *stream_id).collect();
        self.earlier.load(streams, &mut self.parts.refs).await;
        let mut known = AHashMap::new();
        for key in uncertain {
            if let Some((comment_id, seq)) = self.parts.refs.get(key) {
                self.pending_refs.remove(key);
                let accepted = Accepted { comment_id, seq, comment: None, delayed: false };
                known.insert(key.clone(), accepted);
            }
        }
        batch.accept_known(|key| known.get(key).cloned());
    }

    /// Refuses the comments that break a rule of their room because of a comment on another node.
    async fn claim_in_rooms(&mut self, batch: &mut Batch) {
        let Some(reservations) = self.parts.reservations.clone() else { return };
        let refused = self.rooms.claim(&reservations, batch.claimants()).await;
        if !refused.is_empty() {
            let refused = batch.refuse(|comment| refused.get(&comment.comment_id).cloned());
            for (key, error) in refused {
                self.fail_pending(Some(&key), &error);
            }
        }
    }

    /// Frees what comments that were not stored had claimed of their rooms.
    async fn release_claims(&mut self) {
        match self.parts.reservations.clone() {
            Some(reservations) => self.rooms.release(&reservations).await,
            None => self.rooms.forget_unused(),
        }
    }

    /// Replies to the senders of a batch.
    fn answer(&mut self, outcome: AppendOutcome, pending: Vec<PendingReply>) {
        // A batch without an append says nothing about the log.
        let outcome = match outcome {
            Some(outcome) => {
                if outcome.is_ok() {
                    self.parts.board.problems().clear(ProblemCode::DiskFull, EVENT_LOG);
                }
                self.earlier.remember(&mut self.parts.refs);
                self.breaker.observe(outcome)
            }
            None => Ok(Vec::new()),
        };
        if let Err(error) = &outcome {
            self.last_failure = log_error(error).code;
            if matches!(error, LogError::Full(_)) {
                let text = "the disk of the event log is full or over a limit: comments are refused; \
                            make space, a restart is not needed";
                self.parts.board.problems().raise(ProblemCode::DiskFull, EVENT_LOG, text);
            }
        } else {
            let appended =
                |waiting: &&PendingReply| matches!(waiting.outcome, OutcomeSource::Appended { .. });
            let accepted = pending.iter().filter(appended).count() as u64;
            self.parts.board.metrics().comments_accepted.inc_by(accepted);
        }
        let mut replies = Vec::new();
        for waiting in pending {
            let outcome = match (&outcome, waiting.outcome) {
                (_, OutcomeSource::Known(outcome)) => outcome,
                (Err(error), OutcomeSource::Appended { comment, share, .. }) => {
                    self.rooms.give_back(&share, &comment);
                    if let Some(key) = &waiting.key {
                        self.parts.refs.remember_unanswered(key, comment.comment_id);
                    }
                    let error = log_error(error);
                    self.fail_pending(waiting.key.as_ref(), &error);
                    Err(error)
                }
                (Ok(positions), OutcomeSource::Appended { index, comment, is_retry, .. }) => {
                    let seq = positions[index].offset;
                    Ok(self.accepted(waiting.key, comment, seq, is_retry))
                }
                (_, OutcomeSource::Repeated(first_error)) => {
                    self.outcome_of_original(waiting.key.as_ref(), &first_error)
                }
            };
            self.reply(waiting.reply_to, waiting.client_ref, outcome, &mut replies);
        }
        if !replies.is_empty() {
            self.parts.replies.reply(replies);
        }
    }

    /// Returns the answer to a comment that the log has at `seq`, or had before if it is a retry.
    fn accepted(
        &mut self,
        key: Option<RefKey>,
        comment: Arc<Comment>,
        seq: Seq,
        is_retry: bool,
    ) -> Accepted {
        if let Some(key) = key {
            self.pending_refs.remove(&key);
            let first = is_retry.then(|| self.parts.refs.get(&key)).flatten();
            if let Some((comment_id, first_seq)) = first.filter(|(_, first)| *first < seq) {
                return Accepted { comment_id, seq: first_seq, comment: None, delayed: false };
            }
            self.parts.refs.remember(&key, comment.comment_id, seq);
        }
        let stream = self.parts.streams.get(comment.stream_id);
        let delayed = stream.is_some_and(|stream| stream.room.delay_ms.is_some());
        Accepted { comment_id: comment.comment_id, seq, comment: Some(comment), delayed }
    }

    /// Returns the outcome of the original, which was answered before its repeat.
    fn outcome_of_original(
        &mut self,
        key: Option<&RefKey>,
        first_error: &FirstError,
    ) -> Result<Accepted, ErrorBody> {
        if let Some(error) = first_error.get() {
            return Err(error.clone());
        }
        let known = key.and_then(|key| self.parts.refs.get(key));
        known
            .map(|(comment_id, seq)| Accepted { comment_id, seq, comment: None, delayed: false })
            .ok_or_else(|| {
                let text = "the outcome of the first submission with this ref is not known any \
                            more; send it again";
                ErrorBody::new(ErrorCode::LogUnavailable, text).retry_after_ms(RETRY_AFTER_MS)
            })
    }

    fn reply(
        &self,
        to: ReplyTo,
        client_ref: Option<Arc<str>>,
        outcome: Result<Accepted, ErrorBody>,
        replies: &mut Vec<Reply>,
    ) {
        if let Err(error) = &outcome {
            count(&self.parts.board.metrics().comments_refused, error.code.as_str());
        }
        match to {
            ReplyTo::Connection(connection) => {
                replies.push(Reply { connection, client_ref, outcome });
            }
            // A caller that went away needs no answer.
            ReplyTo::Caller(caller) => drop(caller.send(outcome)),
        }
    }
}

/// The result of an append, if there was one.
type AppendOutcome = Option<Result<Vec<Position>, LogError>>;

/// Waits for the append of the oldest batch; forever if there is none.
async fn first_appended(front: Option<&mut InFlight>) -> AppendOutcome {
    match front {
        Some(InFlight { appended: Some(appended), .. }) => Some(appended.await),
        Some(InFlight { appended: None, .. }) => None,
        None => std::future::pending().await,
    }
}

/// Returns the record of a comment. Its time is the clock's, which `created_at` is not always: ids
/// only grow, also after the clock was set back.
fn record(draft: CommentSubmitted, now_ms: u64) -> NewRecord {
    NewRecord {
        key: draft.comment.stream_id.0,
        timestamp_ms: now_ms,
        payload: Event::CommentSubmitted(draft).encode().into(),
    }
}

fn log_error(error: &LogError) -> ErrorBody {
    let code = match error {
        LogError::Full(_) => ErrorCode::StorageFull,
        LogError::TooLarge { .. } => ErrorCode::CommentTooLong,
        LogError::Closed => ErrorCode::ShuttingDown,
        LogError::Unavailable(_) | LogError::Corrupt(_) | LogError::Expired { .. } => {
            ErrorCode::LogUnavailable
        }
    };
    ErrorBody::new(code, format!("nothing was stored: {error}")).retry_after_ms(RETRY_AFTER_MS)
}

#[cfg(test)]
mod tests;
