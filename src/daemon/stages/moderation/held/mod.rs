//! Checks the comments that are held because no stage could check them, and ends the wait of those
//! about which nobody decides.
//!
//! In: the unchecked comments of the review queue, oldest first, while moderation is up. Out: a
//! decision about each: published, rejected, hidden, or left to a person with the reason of the
//! stage.
//!
//! Always holds: comments of a stream are published in the order of their creation, also if several
//! nodes check them or one dies. The queue is read first, and then whether an earlier comment of
//! the stream is decided but not in the log; only if not, the next one is decided. The store lets
//! one node decide about a comment, once.
//!
//! When full: comments wait in the metadata store.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::context::ModerationContext;
use super::pipeline::{CHECK_FAILED, Finding, Pipeline, Subject};
use super::worker::moderated;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::HeldConfig;
use crate::daemon::base::handoff::HeldComments;
use crate::daemon::base::metrics::{Metrics, count};
use crate::daemon::base::moderation_state::ModerationState;
use crate::daemon::base::ticker::ticker_from_now;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::events::Decision;
use crate::protocol::{Comment, Role};

/// The time between two looks at the queue.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Comments that are read at once.
const PAGE: usize = 256;
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
    pub state: ModerationState,
    pub metrics: Metrics,
    pub clock: SharedClock,
    pub config: HeldConfig,
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
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            if Instant::now() >= expire_at {
                expire_at = Instant::now() + EXPIRE_INTERVAL;
                self.expire(&stop).await;
            }
            while !self.parts.state.is_down() && !stop.is_cancelled() {
                match self.check_page(&stop).await {
                    Ok(0) => break,
                    Ok(decided) => debug!(decided, "checked held comments"),
                    Err(error) => {
                        warn!(error = error.message, "held comments not checked; retrying");
                        break;
                    }
                }
            }
        }
    }

    /// Checks the oldest unchecked comments. Returns how many were decided.
    async fn check_page(&self, stop: &CancellationToken) -> Result<usize, ErrorBody> {
        let page = self.parts.held.unchecked(PAGE).await?;
        let users: Vec<_> = page.iter().map(|comment| comment.user_id).collect();
        self.parts.context.look_up(&users).await;
        let mut later = HashSet::new();
        let mut decided = 0;
        for comment in page {
            if stop.is_cancelled() {
                break;
            }
            if later.contains(&comment.stream_id) {
                continue;
            }
            // An earlier one must come first. It gets into the log within some seconds.
            if self.parts.held.is_stream_pending(comment.stream_id).await? {
                later.insert(comment.stream_id);
                continue;
            }
            match self.check(&comment).await {
                Ok(is_decided) => decided += usize::from(is_decided),
                Err(error) => {
                    let comment_id = comment.comment_id;
                    warn!(%comment_id, error = error.message, "held comment not decided");
                    later.insert(comment.stream_id);
                }
            }
        }
        Ok(decided)
    }

    async fn check(&self, comment: &Comment) -> Result<bool, ErrorBody> {
        let HeldCheckerParts { pipeline, context, held, metrics, clock, .. } = &self.parts;
        // Comments of staff are never held.
        let role = Some(Role::Viewer);
        let of_comment = context.of_comment(comment, role);
        let subject = Subject { comment, role, lowered: of_comment.lowered(), deadline: None };
        let mut verdict = pipeline.check(&subject).await;
        if verdict.is_unchecked() {
            // The stage would fail again, so a person decides.
            verdict.add("pipeline", Finding::new(Decision::Flag, CHECK_FAILED));
        }
        let finding = &verdict.finding;
        let is_decided = held.decide(moderated(comment, &verdict, clock.now_ms())).await?;
        if is_decided {
            // Not before, so that a comment that is tried again counts once.
            context.record(&subject, &of_comment, &verdict);
            context.store_points().await;
            metrics.moderation_checked.inc();
            count(&metrics.moderation_decisions, finding.decision.as_str());
            if finding.decision != Decision::Accept {
                count(&metrics.moderation_reasons, finding.reason);
            }
        }
        Ok(is_decided)
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
