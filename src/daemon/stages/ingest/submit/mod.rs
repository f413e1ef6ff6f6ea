//! The loop: check, append, answer. One task, so that ids, log order and replies agree; many batches
//! on their way to the disk at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::comment_ids::CommentIds;
use super::rate_limit::CommentLimits;
use super::refs::{RefKey, Refs};
use super::reserve::settle_ids;
use super::validate::validate;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::IngestConfig;
use crate::daemon::base::handoff::{
    Accepted, Reply, ReplySink, ReplyTo, Screen, Screening, Submission,
};
use crate::daemon::base::metrics::count;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::directory::{Sanctions, Streams};
use crate::daemon::engines::eventlog::{LogError, NewRecord, Position, SharedLog, Topic};
use crate::daemon::engines::reservations::SharedReservations;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::events::{CommentSubmitted, Event};
use crate::protocol::stream::{ModerationMode, StreamState};
use crate::protocol::{Comment, CommentId, ErrorCode};

/// Batches that may wait for the log at once.
pub(super) const MAX_IN_FLIGHT: usize = 64;
/// Comments of one append.
const MAX_BATCH: usize = 4096;

/// The queue in front of ingest, [`IngestConfig::queue_comments`] long; a full one means `overloaded`
/// for what does not fit.
pub fn queue(config: &IngestConfig) -> (mpsc::Sender<Submission>, mpsc::Receiver<Submission>) {
    // A longer one than the channel can count is as good as endless.
    mpsc::channel(config.queue_comments.min(Semaphore::MAX_PERMITS))
}

#[derive(Debug)]
pub struct IngestParts {
    pub log: SharedLog,
    pub clock: SharedClock,
    pub config: Arc<IngestConfig>,
    pub streams: Streams,
    pub sanctions: Sanctions,
    pub refs: Refs,
    /// Absent on a node alone.
    pub reservations: Option<SharedReservations>,
    pub screen: Arc<dyn Screen>,
    pub replies: Arc<dyn ReplySink>,
    pub board: StatusBoard,
}

/// The stage.
#[derive(Debug)]
pub struct Ingest {
    parts: IngestParts,
    ids: CommentIds,
    limits: CommentLimits,
    breaker: Arc<Breaker>,
    /// What the log last answered instead of storing, for who is refused while the breaker is open.
    last_failure: ErrorCode,
    /// Refs whose comment is on its way to the log.
    pending_refs: AHashMap<RefKey, CommentId>,
}

/// A submission in the line of answers: replies come in the order of submissions, so also an outcome
/// that is known at once waits for those before it.
#[derive(Debug)]
pub(super) struct Awaiting {
    reply_to: ReplyTo,
    client_ref: Option<Arc<str>>,
    pub(super) key: Option<RefKey>,
    pub(super) what: Awaited,
}

#[derive(Debug)]
pub(super) enum Awaited {
    /// The draft, then the record, at this index of the batch.
    Appended { index: usize, comment: Arc<Comment>, shadow: bool },
    /// The same submission as one in this or an earlier batch.
    Repeated,
    /// Decided without the log.
    Settled(Result<Accepted, ErrorBody>),
}

/// A batch on its way.
struct InFlight {
    /// `None` if there was nothing to append.
    appended: Option<BoxFuture<'static, Result<Vec<Position>, LogError>>>,
    awaiting: Vec<Awaiting>,
}

/// A batch being built.
#[derive(Default)]
pub(super) struct Building {
    /// What becomes records, once the ids are settled.
    pub(super) drafts: Vec<CommentSubmitted>,
    pub(super) awaiting: Vec<Awaiting>,
}

impl Building {
    fn settle(&mut self, submission: Submission, outcome: Result<Accepted, ErrorBody>) {
        let Submission { reply_to, client_ref, .. } = submission;
        let what = Awaited::Settled(outcome);
        self.awaiting.push(Awaiting { reply_to, client_ref, key: None, what });
    }
}

impl Ingest {
    pub fn new(parts: IngestParts) -> Self {
        let ids = CommentIds::new(parts.clock.clone());
        let limits = CommentLimits::new(parts.config.comments_per_minute.clone());
        let breaker = parts.board.add_breaker("event log");
        let last_failure = ErrorCode::LogUnavailable;
        Self { parts, ids, limits, breaker, last_failure, pending_refs: AHashMap::new() }
    }

    /// Runs until every sender of the queue is gone or `stop` is cancelled and the queue is empty;
    /// then answers everything that is still on its way.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Submission>, stop: CancellationToken) {
        let mut taken = Vec::new();
        let mut in_flight: VecDeque<InFlight> = VecDeque::new();
        let mut tidy = tokio::time::interval(Duration::from_secs(60));
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        while open || !in_flight.is_empty() {
            let has_room = in_flight.len() < MAX_IN_FLIGHT;
            tokio::select! {
                biased;
                // First, or a flood of comments would put it off for good.
                () = stop.cancelled(), if open => {
                    queue.close();
                    while queue.recv_many(&mut taken, MAX_BATCH).await > 0 {
                        in_flight.extend(self.take_in(&mut taken).await);
                    }
                    open = false;
                }
                outcome = settled(in_flight.front_mut()) => {
                    if let Some(batch) = in_flight.pop_front() {
                        self.answer(outcome, batch.awaiting);
                    }
                }
                count = queue.recv_many(&mut taken, MAX_BATCH), if open && has_room => match count {
                    0 => open = false,
                    _ => in_flight.extend(self.take_in(&mut taken).await),
                },
                _ = tidy.tick() => self.limits.forget_idle(),
            }
        }
        debug!("ingest drained");
    }

    /// Checks what was taken from the queue and sends it on its way as one batch.
    async fn take_in(&mut self, taken: &mut Vec<Submission>) -> Option<InFlight> {
        let mut building = Building::default();
        for submission in taken.drain(..) {
            self.parts.board.metrics().comments_received.inc();
            self.check(submission, &mut building).await;
        }
        if building.awaiting.is_empty() {
            return None;
        }
        if let Some(reservations) = &self.parts.reservations {
            settle_ids(reservations, &mut building).await;
        }
        let records: Vec<_> = building.drafts.into_iter().map(record).collect();
        let appended =
            (!records.is_empty()).then(|| self.parts.log.append(Topic::CommentEvents, records));
        Some(InFlight { appended, awaiting: building.awaiting })
    }

    async fn check(&mut self, submission: Submission, building: &mut Building) {
        let key = submission.client_ref.as_ref().map(|client_ref| {
            (submission.identity.user_id, submission.stream_id, client_ref.clone())
        });
        if let Some(key) = &key {
            if let Some((comment_id, seq)) = self.parts.refs.get(key) {
                let repeated = Accepted { comment_id, seq, comment: None, shadow: false };
                return building.settle(submission, Ok(repeated));
            }
            if self.pending_refs.contains_key(key) {
                let Submission { reply_to, client_ref, .. } = submission;
                let key = Some(key.clone());
                building.awaiting.push(Awaiting {
                    reply_to,
                    client_ref,
                    key,
                    what: Awaited::Repeated,
                });
                return;
            }
        }
        match self.admit(&submission).await {
            Err(error) => building.settle(submission, Err(error)),
            Ok((comment, shadow, screened)) => {
                if let Some(key) = &key {
                    self.pending_refs.insert(key.clone(), comment.comment_id);
                }
                draft(submission, comment, shadow, screened, key, building);
            }
        }
    }

    /// Everything that can be said against a comment, the cheapest first; a repeat costs no quota.
    async fn admit(
        &self,
        submission: &Submission,
    ) -> Result<(Arc<Comment>, bool, bool), ErrorBody> {
        let identity = &submission.identity;
        if let Some(verdict) = self.parts.sanctions.check(identity.user_id) {
            return Err(verdict.error());
        }
        let stream_id = submission.stream_id;
        let Some(stream) = self.parts.streams.get(stream_id) else {
            return Err(ErrorBody::new(ErrorCode::UnknownStream, format!("no stream {stream_id}")));
        };
        if stream.state != StreamState::Live {
            let text = format!("stream {stream_id} is {}, not live", stream.state.as_str());
            return Err(ErrorBody::new(ErrorCode::StreamNotLive, text));
        }
        let message =
            validate(&submission.message, &self.parts.config).map_err(|error| error.body())?;
        self.limits.check(identity).map_err(|wait| {
            let wait_ms = wait.as_millis().max(1) as u64;
            let text = format!("too many comments; wait {:.1} s", wait.as_secs_f64());
            ErrorBody::new(ErrorCode::RateLimited, text).retry_after_ms(wait_ms)
        })?;
        if !self.breaker.permits() {
            let wait_ms = self.breaker.retry_after().as_millis() as u64;
            let text = "the event log does not take comments; nothing was stored";
            return Err(ErrorBody::new(self.last_failure, text).retry_after_ms(wait_ms));
        }
        let comment_id = self.ids.next();
        let comment = Arc::new(Comment {
            stream_id,
            comment_id,
            user_id: identity.user_id,
            name: identity.name.clone(),
            message,
            created_at: comment_id.unix_ms(),
        });
        let (shadow, screened) = self.screen(&stream, &comment, identity.role.is_staff()).await?;
        Ok((comment, shadow, screened))
    }

    /// Whether the comment is for its sender alone, and whether moderation has seen it.
    async fn screen(
        &self,
        stream: &crate::protocol::stream::Stream,
        comment: &Arc<Comment>,
        staff: bool,
    ) -> Result<(bool, bool), ErrorBody> {
        if stream.moderation != ModerationMode::Sync || staff {
            return Ok((false, staff));
        }
        match self.parts.screen.screen(comment).await? {
            Screening::Accept => Ok((false, true)),
            Screening::Shadow(_) => Ok((true, true)),
            Screening::Reject(reason) => {
                let text = format!("the comment was refused: {reason}");
                Err(ErrorBody::new(ErrorCode::ModerationRejected, text))
            }
            Screening::Hold(reason) => {
                self.parts.screen.hold(comment.clone(), reason).await?;
                let text = "a moderator looks at the comment before it is shown";
                Err(ErrorBody::new(ErrorCode::HeldForReview, text))
            }
        }
    }

    /// Tells the senders of a batch what became of it.
    fn answer(&mut self, outcome: Appended, awaiting: Vec<Awaiting>) {
        // A batch that asked nothing of the log says nothing about it.
        let outcome = match outcome {
            Some(outcome) => self.breaker.observe(outcome),
            None => Ok(Vec::new()),
        };
        if let Err(error) = &outcome {
            self.last_failure = log_error(error).code;
        } else {
            let appended = |waiting: &&Awaiting| matches!(waiting.what, Awaited::Appended { .. });
            let accepted = awaiting.iter().filter(appended).count() as u64;
            self.parts.board.metrics().comments_accepted.inc_by(accepted);
        }
        let mut replies = Vec::new();
        for waiting in awaiting {
            let outcome = match (&outcome, waiting.what) {
                (_, Awaited::Settled(outcome)) => outcome,
                (Err(error), Awaited::Appended { .. }) => {
                    if let Some(key) = &waiting.key {
                        self.pending_refs.remove(key);
                    }
                    Err(log_error(error))
                }
                (Ok(positions), Awaited::Appended { index, comment, shadow }) => {
                    let (comment_id, seq) = (comment.comment_id, positions[index].offset);
                    if let Some(key) = waiting.key {
                        self.pending_refs.remove(&key);
                        self.parts.refs.remember(&key, comment_id, seq);
                    }
                    Ok(Accepted { comment_id, seq, comment: Some(comment), shadow })
                }
                (_, Awaited::Repeated) => self.outcome_of_original(waiting.key.as_ref()),
            };
            self.reply(waiting.reply_to, waiting.client_ref, outcome, &mut replies);
        }
        if !replies.is_empty() {
            self.parts.replies.reply(replies);
        }
    }

    /// The original was ahead in the line, so it is settled by now.
    fn outcome_of_original(&mut self, key: Option<&RefKey>) -> Result<Accepted, ErrorBody> {
        let known = key.and_then(|key| self.parts.refs.get(key));
        known
            .map(|(comment_id, seq)| Accepted { comment_id, seq, comment: None, shadow: false })
            .ok_or_else(|| {
                let text = "the first submission with this ref failed; send it again";
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

/// What became of an append, if there was one.
type Appended = Option<Result<Vec<Position>, LogError>>;

/// The outcome of the batch that was sent first; never, if there is none.
async fn settled(front: Option<&mut InFlight>) -> Appended {
    match front {
        Some(InFlight { appended: Some(appended), .. }) => Some(appended.await),
        Some(InFlight { appended: None, .. }) => None,
        None => std::future::pending().await,
    }
}

fn draft(
    submission: Submission,
    comment: Arc<Comment>,
    shadow: bool,
    screened: bool,
    key: Option<RefKey>,
    building: &mut Building,
) {
    let index = building.drafts.len();
    building.drafts.push(CommentSubmitted {
        comment: comment.clone(),
        role: submission.identity.role,
        client_ref: submission.client_ref.clone(),
        shadow,
        screened,
    });
    building.awaiting.push(Awaiting {
        reply_to: submission.reply_to,
        client_ref: submission.client_ref,
        key,
        what: Awaited::Appended { index, comment, shadow },
    });
}

fn record(draft: CommentSubmitted) -> NewRecord {
    NewRecord {
        key: draft.comment.stream_id.0,
        timestamp_ms: draft.comment.created_at,
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
