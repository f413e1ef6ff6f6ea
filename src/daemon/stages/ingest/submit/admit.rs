//! The checks of one submission, and its way into a batch.

use std::sync::Arc;

use tokio::time::Instant;

use super::Ingest;
use crate::daemon::base::handoff::{Accepted, Submission};
use crate::daemon::stages::ingest::batch::{AdmittedComment, Batch, OutcomeSource, PendingReply};
use crate::daemon::stages::ingest::refs::RefKey;
use crate::daemon::stages::ingest::rooms::RoomShare;
use crate::daemon::stages::ingest::screening::{
    CheckedSubmission, Route, ScreenOutcome, SubmissionState, overloaded, overloaded_repeat, route,
};
use crate::daemon::stages::ingest::validate::validate;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::stream::{Stream, StreamState};
use crate::protocol::{Badges, Comment, ErrorCode};

/// A comment that only moderation can still refuse.
struct CommentAdmission {
    comment: Arc<Comment>,
    share: RoomShare,
    route: Route,
}

impl Ingest {
    /// Checks a submission. It joins the batch, unless it or an earlier one of its stream has to
    /// wait for moderation.
    pub(super) fn check(&mut self, submission: Submission, batch: &mut Batch) {
        let key = submission.client_ref.as_ref().map(|client_ref| {
            (submission.identity.user_id, submission.stream_id, client_ref.clone())
        });
        let mut way = Route::Direct { screened: false };
        let state = match self.repeated(key.as_ref()) {
            Some(repeated) => repeated,
            None => match self.admit(&submission, key.as_ref()) {
                Err(error) => SubmissionState::Known(Err(error)),
                Ok(CommentAdmission { comment, share, route }) => {
                    way = route;
                    let outcome = match route {
                        Route::Direct { screened } => {
                            Some(ScreenOutcome::Publish { shadow: false, screened })
                        }
                        Route::Check { .. } | Route::Hold => None,
                    };
                    SubmissionState::Admitted { comment, share, outcome }
                }
            },
        };
        let stream_id = submission.stream_id;
        let is_waiting = self.parts.screening.is_waiting(stream_id);
        if !is_waiting && matches!(way, Route::Direct { .. }) {
            self.remember_pending(key.as_ref(), &state);
            return self.put_into(batch, CheckedSubmission { submission, key, state }, false);
        }
        if self.parts.screening.has_place(stream_id) {
            self.remember_pending(key.as_ref(), &state);
            return self.parts.screening.push(CheckedSubmission { submission, key, state }, way);
        }
        // A submission that has an answer needs no place, and no other comment.
        let state = match state {
            SubmissionState::Admitted { comment, share, .. } => {
                self.rooms.forget(&share, &comment);
                SubmissionState::Known(Err(overloaded()))
            }
            SubmissionState::Repeated(_) => SubmissionState::Known(Err(overloaded_repeat())),
            SubmissionState::Known(outcome) => SubmissionState::Known(outcome),
        };
        self.put_into(batch, CheckedSubmission { submission, key, state }, false);
    }

    /// Returns the state of a submission that repeats another.
    fn repeated(&mut self, key: Option<&RefKey>) -> Option<SubmissionState> {
        let key = key?;
        if let Some((comment_id, seq)) = self.parts.refs.get(key) {
            return Some(SubmissionState::Known(Ok(Accepted {
                comment_id,
                seq,
                comment: None,
                delayed: false,
            })));
        }
        if let Some(error) = self.parts.refs.get_held(key) {
            return Some(SubmissionState::Known(Err(error)));
        }
        let first_error = self.pending_refs.get_mut(key)?.get_or_insert_default();
        Some(SubmissionState::Repeated(first_error.clone()))
    }

    fn remember_pending(&mut self, key: Option<&RefKey>, state: &SubmissionState) {
        if let (Some(key), SubmissionState::Admitted { .. }) = (key, state) {
            self.pending_refs.insert(key.clone(), None);
        }
    }

    /// Puts a submission with an outcome into a batch. After a wait the user may be banned, or the
    /// stream ended.
    pub(super) fn put_into(
        &mut self,
        batch: &mut Batch,
        checked: CheckedSubmission,
        has_waited: bool,
    ) {
        let CheckedSubmission { submission, key, state } = checked;
        match state {
            SubmissionState::Known(Ok(accepted)) => batch.push_outcome(submission, Ok(accepted)),
            SubmissionState::Known(Err(error)) => self.refuse(batch, submission, error),
            SubmissionState::Repeated(first_error) => {
                let Submission { reply_to, client_ref, .. } = submission;
                let outcome = OutcomeSource::Repeated(first_error);
                batch.pending.push(PendingReply { reply_to, client_ref, key, outcome });
            }
            SubmissionState::Admitted { comment, share, outcome } => {
                let refusal = match outcome {
                    Some(ScreenOutcome::Publish { shadow, screened }) => {
                        let refusal = has_waited.then(|| self.may_comment(&submission).err());
                        if let Some(error) = refusal.flatten() {
                            error
                        } else {
                            let Comment { user_id, stream_id, .. } = *comment;
                            let is_shadowed = self.parts.sanctions.is_shadowed(user_id, stream_id);
                            let shadow = shadow || is_shadowed;
                            let share =
                                if shadow { self.rooms.hide(&share, &comment) } else { share };
                            let unanswered =
                                key.as_ref().and_then(|key| self.parts.refs.get_unanswered(key));
                            let is_retry = unanswered == Some(comment.comment_id);
                            let admitted =
                                AdmittedComment { comment, shadow, screened, share, is_retry };
                            return batch.push_draft(submission, admitted, key);
                        }
                    }
                    // A held comment may be shown later, so it keeps what it took of its room.
                    Some(ScreenOutcome::Held(error)) => {
                        self.fail_pending(key.as_ref(), &error);
                        if let Some(key) = &key {
                            self.parts.refs.remember_held(key, error.clone());
                        }
                        return self.refuse(batch, submission, error);
                    }
                    Some(ScreenOutcome::Unsettled(error)) => {
                        if let Some(key) = &key {
                            self.parts.refs.remember_unsettled(key, comment.comment_id);
                        }
                        error
                    }
                    Some(ScreenOutcome::Refuse(error)) => error,
                    None => overloaded(),
                };
                self.rooms.forget(&share, &comment);
                self.fail_pending(key.as_ref(), &refusal);
                self.refuse(batch, submission, refusal);
            }
        }
    }

    /// Frees the ref of a submission that failed, and tells its repeats the error.
    pub(super) fn fail_pending(&mut self, key: Option<&RefKey>, error: &ErrorBody) {
        if let Some(first_error) = key.and_then(|key| self.pending_refs.remove(key)).flatten() {
            first_error.get_or_init(|| error.clone());
        }
    }

    fn refuse(&self, batch: &mut Batch, submission: Submission, error: ErrorBody) {
        if is_refused_for_its_user(error.code) {
            let talkers = self.parts.board.telemetry().talkers();
            let identity = &submission.identity;
            talkers.record_refusal(submission.stream_id, identity, Instant::now());
        }
        batch.push_outcome(submission, Err(error));
    }

    /// Checks that the user may comment and that the stream is live.
    fn may_comment(&self, submission: &Submission) -> Result<Arc<Stream>, ErrorBody> {
        let stream_id = submission.stream_id;
        if let Some(verdict) = self.parts.sanctions.check(submission.identity.user_id, stream_id) {
            return Err(verdict.error());
        }
        let Some(stream) = self.parts.streams.get(stream_id) else {
            return Err(ErrorBody::new(ErrorCode::UnknownStream, format!("no stream {stream_id}")));
        };
        if stream.state != StreamState::Live {
            let text = format!("stream {stream_id} is {}, not live", stream.state.as_str());
            return Err(ErrorBody::new(ErrorCode::StreamNotLive, text));
        }
        Ok(stream)
    }

    /// Checks what the id of a reply's parent tells by itself. Nobody looks for the parent: it may
    /// be too new for the store and too old for the recent cache, and while they are away replies
    /// would be refused.
    fn check_parent(&self, submission: &Submission) -> Result<(), ErrorBody> {
        let latest_ms = self.parts.clock.now_ms() + CLOCK_TOLERANCE_MS;
        if submission.parent_id.is_some_and(|parent_id| parent_id.unix_ms() > latest_ms) {
            let text = "`parent_id` is not the id of an earlier comment: its time is still to come";
            return Err(ErrorBody::new(ErrorCode::BadMessage, text));
        }
        Ok(())
    }

    /// Runs every check that can refuse a comment at once, the cheapest first. A repeat costs no
    /// quota.
    fn admit(
        &mut self,
        submission: &Submission,
        key: Option<&RefKey>,
    ) -> Result<CommentAdmission, ErrorBody> {
        let stream = self.may_comment(submission)?;
        let Submission { identity, stream_id, .. } = submission;
        let message =
            validate(&submission.message, &self.parts.config).map_err(|error| error.body())?;
        self.check_parent(submission)?;
        let rules = stream.room.in_force();
        let share = self.rooms.check(*stream_id, &rules, identity, &message)?;
        self.limits.check(identity, Instant::now()).map_err(|wait| {
            let wait_ms = wait.as_millis().max(1) as u64;
            let text = format!("too many comments; wait {:.1} s", wait.as_secs_f64());
            ErrorBody::new(ErrorCode::RateLimited, text).retry_after_ms(wait_ms)
        })?;
        if !self.breaker.permits() {
            let wait_ms = self.breaker.retry_after().as_millis() as u64;
            let text = "the event log does not take comments; nothing was stored";
            return Err(ErrorBody::new(self.last_failure, text).retry_after_ms(wait_ms));
        }
        // The review queue may have taken it already, so it is held again under its id and shown
        // only from there.
        let unsettled = key.and_then(|key| self.parts.refs.get_unsettled(key));
        // An append that failed may have been stored all the same: under one id, every reader and
        // every store keeps the comment once.
        let unanswered = key.and_then(|key| self.parts.refs.get_unanswered(key));
        let comment_id = unsettled.or(unanswered).unwrap_or_else(|| self.ids.next());
        let comment = Arc::new(Comment {
            stream_id: *stream_id,
            comment_id,
            user_id: identity.user_id,
            name: identity.name.clone(),
            message,
            created_at: comment_id.unix_ms(),
            badges: Badges::of(identity),
            parent_id: submission.parent_id,
        });
        // Before it is checked, so that its sender's next one meets the rules of the room.
        self.rooms.take(&share, &comment);
        let is_down = self.parts.moderation.is_down();
        let route = match unsettled {
            Some(_) => Route::Hold,
            None => route(&stream, identity.role.is_staff(), is_down),
        };
        Ok(CommentAdmission { comment, share, route })
    }
}

/// The clocks of the nodes differ by less than this.
const CLOCK_TOLERANCE_MS: u64 = 60_000;

/// Returns whether a comment was refused because of what its user did, and not because of the
/// state of the stream or of the daemon.
fn is_refused_for_its_user(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::RateLimited
            | ErrorCode::Banned
            | ErrorCode::TimedOut
            | ErrorCode::ModerationRejected
            | ErrorCode::CommentEmpty
            | ErrorCode::CommentTooLong
            | ErrorCode::ControlCharacters
            | ErrorCode::SlowMode
            | ErrorCode::EmotesOnly
            | ErrorCode::LinksRefused
            | ErrorCode::SaidBefore
    )
}
