//! Comments that are checked, or held, before they are appended.
//!
//! In: comments that passed every other check, of streams in synchronous mode and of rooms that
//! hold comments while moderation is down; and whatever else arrives for such a stream meanwhile.
//! Out: the same, stream by stream in the order of their arrival, each with its outcome.
//!
//! Always holds: a stream waits only for its own comments, and each of them at most for its
//! deadline and for the store of the review queue. Checks run on [`ScreeningThreads`], so that a
//! stage that needs long takes no time from the other comments of the node.
//!
//! When full: at most `moderation.screening.queue` submissions wait. A stream may have no more of
//! them waiting than there are places left, so one whose checks are slow leaves places to the rest.
//! A comment without a place is refused with `overloaded`, whatever the fallback of its room is.

mod check;
mod threads;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use futures_util::future::{self, BoxFuture, Shared};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;
use tracing::warn;

pub(super) use self::check::{Route, ScreenOutcome, route};
pub use self::threads::ScreeningThreads;
use super::refs::{FirstError, RefKey};
use super::rooms::RoomShare;
use crate::daemon::base::handoff::{Accepted, Screen, Submission};
use crate::daemon::base::metrics::Metrics;
use crate::daemon::base::problems::Problems;
use crate::protocol::admin::ProblemCode;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::events::CommentModerated;
use crate::protocol::room::WhenLate;
use crate::protocol::{Comment, ErrorCode, StreamId, UserId};

/// Decisions that may wait for the log. More are not recorded; they hold all the same.
const MAX_RECORDS: usize = 1024;
/// Streams whose late checks are told to operators at a time.
const MAX_LATE_STREAMS: usize = 16;
/// The time without a late check after which operators are not told any more.
const CALM: Duration = Duration::from_secs(60);

/// Several checks wait for one look-up.
type LookUp = Shared<BoxFuture<'static, ()>>;

/// A submission that was checked, up to the check by moderation.
#[derive(Debug)]
pub(super) struct CheckedSubmission {
    pub(super) submission: Submission,
    pub(super) key: Option<RefKey>,
    pub(super) state: SubmissionState,
}

/// The result of the checks of a submission.
#[derive(Debug)]
pub(super) enum SubmissionState {
    /// It has an answer.
    Known(Result<Accepted, ErrorBody>),
    /// It repeats a submission that had no answer yet.
    Repeated(FirstError),
    /// It may be appended once it has an outcome.
    Admitted { comment: Arc<Comment>, share: RoomShare, outcome: Option<ScreenOutcome> },
}

impl CheckedSubmission {
    fn is_ready(&self) -> bool {
        !matches!(self.state, SubmissionState::Admitted { outcome: None, .. })
    }
}

/// The submissions of one stream, in the order of their arrival.
#[derive(Debug, Default)]
struct StreamQueue {
    /// The number of the first of `items`.
    first: u64,
    items: VecDeque<CheckedSubmission>,
}

impl StreamQueue {
    /// Takes the submissions at the front that have an outcome.
    fn take_ready(&mut self, ready: &mut Vec<CheckedSubmission>) {
        while let Some(item) = self.items.pop_front_if(|item| item.is_ready()) {
            self.first += 1;
            ready.push(item);
        }
    }
}

/// The end of one check.
#[derive(Debug)]
struct FinishedCheck {
    stream_id: StreamId,
    number: u64,
    outcome: ScreenOutcome,
    /// To be recorded.
    decided: Option<CommentModerated>,
    has_points: bool,
    late: Option<WhenLate>,
}

/// The dependencies of [`ScreeningQueues`].
#[derive(Debug)]
pub struct ScreeningParts {
    pub screen: Arc<dyn Screen>,
    pub threads: ScreeningThreads,
    /// Submissions that may wait, over all streams.
    pub max_waiting: usize,
    pub metrics: Metrics,
    pub problems: Problems,
}

/// The submissions that wait, and the checks that run.
pub struct ScreeningQueues {
    parts: ScreeningParts,
    streams: AHashMap<StreamId, StreamQueue>,
    waiting: usize,
    running: FuturesUnordered<BoxFuture<'static, FinishedCheck>>,
    records: FuturesUnordered<BoxFuture<'static, ()>>,
    /// The look-up of the senders of the current batch, which its checks wait for.
    look_up: LookUp,
    /// When a check of the stream was last late. At most [`MAX_LATE_STREAMS`].
    late: AHashMap<StreamId, Instant>,
}

impl std::fmt::Debug for ScreeningQueues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScreeningQueues").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl ScreeningQueues {
    pub fn new(parts: ScreeningParts) -> Self {
        Self {
            parts,
            streams: AHashMap::new(),
            waiting: 0,
            running: FuturesUnordered::new(),
            records: FuturesUnordered::new(),
            look_up: future::ready(()).boxed().shared(),
            late: AHashMap::new(),
        }
    }

    /// Returns whether what arrives for a stream has to wait behind what came before.
    pub(super) fn is_waiting(&self, stream_id: StreamId) -> bool {
        self.streams.contains_key(&stream_id)
    }

    /// Returns whether nothing waits and nothing runs.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.records.is_empty()
    }

    /// Returns whether a submission waits for its outcome.
    pub(super) fn has_waiting(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Returns whether one more submission of a stream finds a place.
    pub(super) fn has_place(&self, stream_id: StreamId) -> bool {
        let own = self.streams.get(&stream_id).map_or(0, |queue| queue.items.len());
        own < self.parts.max_waiting.saturating_sub(self.waiting)
    }

    /// Looks up users whose comments are pushed next, all at once. Only their checks wait for it.
    pub(super) fn prepare(&mut self, users: Vec<UserId>) {
        let screen = self.parts.screen.clone();
        self.look_up = async move { screen.prepare(&users).await }.boxed().shared();
    }

    /// Takes a submission that [has a place](Self::has_place), behind the others of its stream. One
    /// that has no outcome is checked, or held, as its route says.
    pub(super) fn push(&mut self, item: CheckedSubmission, route: Route) {
        let stream_id = item.submission.stream_id;
        let queue = self.streams.entry(stream_id).or_default();
        let number = queue.first + queue.items.len() as u64;
        if let SubmissionState::Admitted { comment, outcome: None, .. } = &item.state {
            let role = item.submission.identity.role;
            let check = check::run(
                self.parts.screen.clone(),
                self.parts.threads.handle().clone(),
                comment.clone(),
                check::CheckWay { route, role, look_up: self.look_up.clone() },
                self.parts.metrics.clone(),
            );
            let finished = check.map(move |end| {
                let check::CheckEnd { outcome, decided, has_points, late } = end;
                FinishedCheck { stream_id, number, outcome, decided, has_points, late }
            });
            self.running.push(finished.boxed());
        }
        queue.items.push_back(item);
        self.waiting += 1;
    }

    /// Waits until a check ends, and takes the submissions that have their outcome then, those of
    /// about `max` checks. None if this is idle now. Nothing is lost if the future is dropped.
    pub(super) async fn next_ready(&mut self, max: usize) -> Vec<CheckedSubmission> {
        loop {
            tokio::select! {
                biased;
                Some(finished) = self.running.next() => {
                    let mut touched = vec![self.finish(finished)];
                    while touched.len() < max
                        && let Some(Some(finished)) = self.running.next().now_or_never()
                    {
                        touched.push(self.finish(finished));
                    }
                    let ready = self.take_ready(&touched);
                    if !ready.is_empty() {
                        return ready;
                    }
                }
                Some(()) = self.records.next() => {
                    // The caller may wait for this.
                    if self.is_idle() {
                        return Vec::new();
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    /// Ends the wait of every submission with an error, in order.
    pub(super) fn refuse_all(&mut self, error: &ErrorBody) -> Vec<CheckedSubmission> {
        self.running.clear();
        let streams: Vec<_> = self.streams.keys().copied().collect();
        let items = self.streams.values_mut().flat_map(|queue| queue.items.iter_mut());
        for item in items {
            if let SubmissionState::Admitted { outcome: outcome @ None, .. } = &mut item.state {
                *outcome = Some(ScreenOutcome::Refuse(error.clone()));
            }
        }
        self.take_ready(&streams)
    }

    /// Gives up what is being recorded.
    pub(super) fn drop_records(&mut self) {
        let lost = self.records.len();
        if lost > 0 {
            warn!(lost, "moderation decisions or points not recorded: the stores are too slow");
            self.records.clear();
        }
    }

    fn finish(&mut self, finished: FinishedCheck) -> StreamId {
        let FinishedCheck { stream_id, number, outcome: known, decided, has_points, late } =
            finished;
        let queue = self.streams.get_mut(&stream_id);
        let item = queue.and_then(|queue| {
            let index = number.checked_sub(queue.first)?;
            queue.items.get_mut(index as usize)
        });
        if let Some(SubmissionState::Admitted { outcome, .. }) = item.map(|item| &mut item.state) {
            *outcome = Some(known);
        }
        if decided.is_some() || has_points {
            self.record(decided);
        }
        if let Some(late) = late {
            self.tell_late(stream_id, late);
        }
        stream_id
    }

    /// Tells operators that checks of a stream take too long.
    fn tell_late(&mut self, stream_id: StreamId, late: WhenLate) {
        if self.late.len() >= MAX_LATE_STREAMS && !self.late.contains_key(&stream_id) {
            return;
        }
        self.late.insert(stream_id, Instant::now());
        let end = match late {
            WhenLate::Pass => "shown unchecked",
            WhenLate::Hold => "held for review",
            WhenLate::Refuse => "refused",
        };
        let text = format!(
            "checks take longer than the room of stream {stream_id} allows, or fail: comments that \
             are not checked in time are {end}"
        );
        self.parts.problems.raise(ProblemCode::ChecksLate, &subject(stream_id), text);
    }

    /// Ends the problems of streams whose checks have been in time for [`CALM`].
    pub(super) fn forget_late(&mut self) {
        let problems = &self.parts.problems;
        self.late.retain(|stream_id, at| {
            let is_late = at.elapsed() < CALM;
            if !is_late {
                problems.clear(ProblemCode::ChecksLate, &subject(*stream_id));
            }
            is_late
        });
    }

    /// Records a decision, and the points of its user, beside everything else: no comment waits for
    /// it.
    fn record(&mut self, decided: Option<CommentModerated>) {
        if self.records.len() >= MAX_RECORDS {
            // Points are stored with those of a later decision.
            if let Some(CommentModerated { comment_id, .. }) = decided {
                warn!(%comment_id, "moderation decision not recorded: the log is too slow");
            }
            return;
        }
        let screen = self.parts.screen.clone();
        self.records.push(async move { screen.record(decided).await }.boxed());
    }

    fn take_ready(&mut self, streams: &[StreamId]) -> Vec<CheckedSubmission> {
        let mut ready = Vec::new();
        for stream_id in streams {
            let Some(queue) = self.streams.get_mut(stream_id) else { continue };
            queue.take_ready(&mut ready);
            if queue.items.is_empty() {
                self.streams.remove(stream_id);
            }
        }
        self.waiting -= ready.len();
        ready
    }
}

/// Returns the subject of the problem of a stream.
fn subject(stream_id: StreamId) -> String {
    format!("stream {stream_id}")
}

/// Returns the error of a submission that finds no place.
pub(super) fn overloaded() -> ErrorBody {
    let text = "too many comments wait for moderation; nothing was stored";
    ErrorBody::new(ErrorCode::Overloaded, text)
}

/// Returns the error of a repeat that finds no place. Its original may still be stored.
pub(super) fn overloaded_repeat() -> ErrorBody {
    let text = "too many comments wait for moderation; the first submission with this ref still \
                waits for its answer";
    ErrorBody::new(ErrorCode::Overloaded, text)
}
