//! Checks the comments that are held because no stage could check them, and ends the wait of those
//! about which nobody decides.
//!
//! In: the unchecked comments of the review queue, oldest first, while moderation is up. Out: a
//! decision about each: published, rejected, hidden, or left to a person with the reason of the
//! stage.
//!
//! Always holds: a node checks the comments of the streams whose partitions its worker reads, so
//! that each is checked by one node. While partitions move it may be two; the store lets one of
//! them decide, once. Comments of a stream are published in the order of their creation, also if a
//! node dies: the queue is read first, and then whether an earlier comment of the stream is decided
//! but not in the log; only if not, the next one is decided. A stream that has to wait delays no
//! other stream.
//!
//! When full: comments wait in the metadata store. At most `PAGE` are checked at a time, of these
//! as many at once as the stages that wait allow, and at most `STREAMS_AT_ONCE` streams are decided
//! about at once. A backlog of which little can be decided is read over several looks, `IDLE_PAGES`
//! of them at each.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::ready;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::context::{CommentContext, ModerationContext};
use super::pipeline::{CHECK_FAILED, Finding, Pipeline, Subject, Verdict};
use super::worker::moderated;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::HeldConfig;
use crate::daemon::base::handoff::{HeldComments, UncheckedPage};
use crate::daemon::base::metrics::{Metrics, count};
use crate::daemon::base::moderation_state::ModerationState;
use crate::daemon::base::telemetry::StageMeter;
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::eventlog::{SharedLog, Topic};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::events::Decision;
use crate::protocol::{Comment, CommentId, Role, StreamId};

/// The role of the authors: comments of staff are never held.
const ROLE: Option<Role> = Some(Role::Viewer);
/// The time between two looks at the queue.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Comments that are read at once.
const PAGE: usize = 256;
/// Pages without a decision after which a look ends, so that comments of other nodes or of streams
/// that wait do not keep the store busy.
const IDLE_PAGES: usize = 8;
/// Streams whose comments are decided at once. A decision waits for the store and the log.
const STREAMS_AT_ONCE: usize = 8;
/// The time between two looks for comments that have waited too long.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(60);

/// The dependencies of a [`HeldChecker`].
#[derive(Debug)]
pub struct HeldCheckerParts {
    /// May be the worker's own: its history counts a comment once, also one that is checked again
    /// because its first check was late.
    pub pipeline: Arc<Pipeline>,
    pub context: Arc<ModerationContext>,
    pub held: Arc<dyn HeldComments>,
    /// Tells the partition of a stream.
    pub log: SharedLog,
    /// Knows the partitions that the worker of this node reads.
    pub meter: Arc<StageMeter>,
    pub state: ModerationState,
    pub metrics: Metrics,
    pub clock: SharedClock,
    pub config: HeldConfig,
}

/// A comment and the verdict on it.
#[derive(Debug)]
struct HeldCheck {
    comment: Comment,
    context: CommentContext,
    verdict: Verdict,
}

impl HeldCheck {
    fn subject(&self) -> Subject<'_> {
        subject(&self.comment, &self.context)
    }
}

/// A held comment as it is checked: nobody waits for the verdict.
fn subject<'a>(comment: &'a Comment, context: &CommentContext) -> Subject<'a> {
    let lowered = context.lowered();
    Subject { comment, role: ROLE, lowered, raised: context.raised(), deadline: None }
}

/// The decisions made about a stream.
#[derive(Debug)]
struct StreamProgress {
    decided: usize,
    /// The stream, if its next comment has to wait.
    waits: Option<StreamId>,
}

/// A way through the queue, which may take several looks.
#[derive(Debug, Default)]
struct Pass {
    /// The last comment that was read.
    after: Option<CommentId>,
    /// The streams of which a comment was passed over. All others of them wait for the next pass.
    later: HashSet<StreamId>,
}

/// The task. Every node with the role `moderator` runs one.
#[derive(Debug)]
pub struct HeldChecker {
    parts: HeldCheckerParts,
}

impl HeldChecker {
    pub fn new(parts: HeldCheckerParts) -> Self {
        Self { parts }
    }

    /// Runs until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let mut looks = ticker_from_now(LOOK_INTERVAL);
        let mut expire_at = Instant::now();
        let mut pass = Pass::default();
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            if Instant::now() >= expire_at {
                expire_at = Instant::now() + EXPIRE_INTERVAL;
                self.expire(&stop).await;
            }
            match self.look(&mut pass, &stop).await {
                Ok(0) => {}
                Ok(decided) => debug!(decided, "checked held comments"),
                Err(error) => {
                    pass = Pass::default();
                    warn!(error = error.message, "held comments not checked; retrying");
                }
            }
        }
    }

    /// Checks the unchecked comments of this node, from where the last look has ended on. The next
    /// pass begins with the oldest. Returns the number of those that were decided.
    async fn look(&self, pass: &mut Pass, stop: &CancellationToken) -> Result<usize, ErrorBody> {
        let mut decided = 0;
        let mut idle_pages = 0;
        while idle_pages < IDLE_PAGES && !self.parts.state.is_down() && !stop.is_cancelled() {
            let Pass { after, later } = &mut *pass;
            let UncheckedPage { comments, next } = self.parts.held.unchecked(*after, PAGE).await?;
            let comments = self.without_waiting(comments, later).await?;
            let checks = self.check_page(comments);
            let Some(checks) = stop.run_until_cancelled(checks).await else { break };
            let of_page = self.decide_page(checks, later, stop).await;
            idle_pages = if of_page > 0 { 0 } else { idle_pages + 1 };
            decided += of_page;
            *after = next;
            if next.is_none() {
                *pass = Pass::default();
                break;
            }
        }
        Ok(decided)
    }

    /// Returns the comments of this node whose streams do not wait for an earlier comment, which
    /// gets into the log within some seconds. Adds all other streams to `later`: a stream that
    /// comes to this node meanwhile begins with its first comment.
    async fn without_waiting(
        &self,
        comments: Vec<Comment>,
        later: &mut HashSet<StreamId>,
    ) -> Result<Vec<Comment>, ErrorBody> {
        let mut asked = HashSet::new();
        for comment in &comments {
            let stream_id = comment.stream_id;
            let is_new = !later.contains(&stream_id) && asked.insert(stream_id);
            let held = &self.parts.held;
            if is_new && (!self.is_mine(stream_id) || held.is_stream_pending(stream_id).await?) {
                later.insert(stream_id);
            }
        }
        Ok(comments.into_iter().filter(|comment| !later.contains(&comment.stream_id)).collect())
    }

    /// Returns whether the worker of this node moderates a stream.
    fn is_mine(&self, stream_id: StreamId) -> bool {
        let HeldCheckerParts { log, meter, .. } = &self.parts;
        meter.reads(log.partition_of(Topic::CommentEvents, stream_id.0))
    }

    /// Checks comments, as the worker checks those of the log: each by the stages that compute, in
    /// order, and several at once by the stages that wait. Nothing is decided yet.
    async fn check_page(&self, comments: Vec<Comment>) -> Vec<HeldCheck> {
        let HeldCheckerParts { pipeline, context, .. } = &self.parts;
        let users: Vec<_> = comments.iter().map(|comment| comment.user_id).collect();
        context.look_up(&users).await;
        let mut checks = Vec::new();
        for comment in comments {
            let of_comment = context.of_comment(&comment, ROLE);
            let verdict = pipeline.check_in_order(&subject(&comment, &of_comment)).await;
            checks.push(HeldCheck { comment, context: of_comment, verdict });
        }
        if let Some(at_once) = pipeline.concurrent_checks() {
            let finishing: Vec<_> = checks.iter_mut().map(|check| self.finish(check)).collect();
            stream::iter(finishing).buffer_unordered(at_once).for_each(|()| ready(())).await;
        }
        for HeldCheck { verdict, .. } in checks.iter_mut().filter(|it| it.verdict.is_unchecked()) {
            // The stage would fail again, so a person decides.
            verdict.add("pipeline", Finding::new(Decision::Flag, CHECK_FAILED));
        }
        checks
    }

    async fn finish(&self, check: &mut HeldCheck) {
        let HeldCheck { comment, context, verdict } = check;
        self.parts.pipeline.check_waiting(&subject(comment, context), verdict).await;
    }

    /// Carries out the verdicts: those of a stream in order, those of several streams at once. Adds
    /// the streams that have to wait to `later`. Returns the number of comments decided.
    async fn decide_page(
        &self,
        checks: Vec<HeldCheck>,
        later: &mut HashSet<StreamId>,
        stop: &CancellationToken,
    ) -> usize {
        let mut by_stream: BTreeMap<StreamId, Vec<HeldCheck>> = BTreeMap::new();
        for check in checks {
            by_stream.entry(check.comment.stream_id).or_default().push(check);
        }
        let deciding: Vec<_> = by_stream
            .into_iter()
            .map(|(id, checks)| self.decide_stream(id, checks, stop))
            .collect();
        let progress: Vec<_> =
            stream::iter(deciding).buffer_unordered(STREAMS_AT_ONCE).collect().await;
        later.extend(progress.iter().filter_map(|stream| stream.waits));
        let decided: usize = progress.iter().map(|stream| stream.decided).sum();
        if decided > 0 {
            self.parts.context.store_points().await;
        }
        decided
    }

    /// Carries out the verdicts on comments of a stream, up to the first one that has to wait.
    async fn decide_stream(
        &self,
        stream_id: StreamId,
        checks: Vec<HeldCheck>,
        stop: &CancellationToken,
    ) -> StreamProgress {
        let mut decided = 0;
        for check in checks {
            if stop.is_cancelled() {
                break;
            }
            match self.decide(&check).await {
                Ok(Some(is_decided)) => decided += usize::from(is_decided),
                Ok(None) => return StreamProgress { decided, waits: Some(stream_id) },
                Err(error) => {
                    let comment_id = check.comment.comment_id;
                    warn!(%comment_id, error = error.message, "held comment not decided");
                    return StreamProgress { decided, waits: Some(stream_id) };
                }
            }
        }
        StreamProgress { decided, waits: None }
    }

    /// Carries out the verdict on a comment. Returns false if somebody else has decided about it,
    /// `None` if an earlier comment of its stream must get into the log first.
    async fn decide(&self, check: &HeldCheck) -> Result<Option<bool>, ErrorBody> {
        let HeldCheckerParts { context, held, metrics, clock, .. } = &self.parts;
        let HeldCheck { comment, verdict, .. } = check;
        if held.is_stream_pending(comment.stream_id).await? {
            return Ok(None);
        }
        let made = held.decide(moderated(comment, verdict, clock.now_ms())).await?;
        let Some(made) = made else { return Ok(Some(false)) };
        metrics.moderation_checked.inc();
        count(&metrics.moderation_decisions, made.as_str());
        let finding = &verdict.finding;
        // A comment that is left to a person counts when that person decides.
        if made == finding.decision {
            // Not before, so that a comment that is tried again counts once.
            context.record(&check.subject(), &check.context, verdict);
            if made != Decision::Accept {
                count(&metrics.moderation_reasons, finding.reason);
            }
        }
        Ok(Some(true))
    }

    /// Ends the wait of comments that are held for too long.
    async fn expire(&self, stop: &CancellationToken) {
        let HeldCheckerParts { held, clock, config, .. } = &self.parts;
        if config.expire_after.is_zero() {
            return;
        }
        let before_ms = clock.now_ms().saturating_sub(config.expire_after.as_millis() as u64);
        while !stop.is_cancelled() {
            match held.expire(before_ms, PAGE).await {
                Ok(0) => return,
                Ok(expired) => info!(expired, "rejected comments that were held for too long"),
                Err(error) => {
                    warn!(error = error.message, "held comments not expired; retrying");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
