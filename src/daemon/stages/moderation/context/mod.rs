//! The context of a comment: its user's reputation and the mood of its stream.
//!
//! In: the comments that the moderation worker, the screen or the checker of held comments checks,
//! and the verdicts. Out: by how much the thresholds are lower and higher for a comment
//! ([`Subject::lowered`], [`Subject::raised`]); the points of users, in the metadata store. How
//! points and moods move thresholds is [`policy::reputation`](crate::policy::reputation) and
//! [`policy::crowd`](crate::policy::crowd).
//!
//! Always holds: no comment is judged by what it says itself, only by what was before it. Points
//! are shared by all nodes: a change by another node is known within 5 seconds. A comment that is
//! read again after a crash costs no points again, because the store counts a cause once. Points
//! are stored before the worker's position moves past their comment, unless the store is slow or
//! down. Those of a screened comment are stored beside the answer to its sender. Ingest waits for
//! that when it ends, for up to four seconds; then they are lost.
//!
//! While the store is down: users have the points that are known of them, or else none, and no
//! comment waits for longer than 100 ms. New points wait in memory.
//!
//! When full: users and streams that were not seen for longest are forgotten. Of the changes that
//! wait for the store, the newest 4,096 are kept; a user of an older one has fewer points. They are
//! stored 256 at a time, so that no backlog is too long for a slow store.
//!
//! A worker reads whole partitions and so whole streams. On a stream in synchronous mode each edge
//! knows the mood of the comments that it screens.

mod reputations;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::Mutex;

use self::reputations::{Reputations, ReputationsParts};
use super::pipeline::{Subject, Verdict};
use super::rules::reason;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::ReputationConfig;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::base::two_generations::TwoGenerations;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::policy::crowd::{CrowdComment, CrowdMood, CrowdRules, HIGH_SCORE, is_loud};
use crate::policy::reputation::UserShift;
use crate::protocol::admin::ThresholdShift;
use crate::protocol::{Comment, Role, StreamId, UserId};

/// The mood of a stream without comments is forgotten after this time.
const MOOD_LIFETIME_MS: u64 = 1_800_000;
/// Streams of one generation, in about two kilobytes each.
const MOOD_STREAMS: usize = 4_096;

/// The dependencies of a [`ModerationContext`].
#[derive(Debug)]
pub struct ModerationContextParts {
    pub metadata: SharedMetadataStore,
    pub metadata_breaker: Arc<Breaker>,
    pub clock: SharedClock,
    pub config: ReputationConfig,
}

/// The users and streams as this node knows them. Shared by its worker, its screen and its trials.
#[derive(Debug)]
pub struct ModerationContext {
    /// `None` if they are off.
    reputations: Option<Reputations>,
    crowd: CrowdRules,
    moods: Mutex<TwoGenerations<StreamId, CrowdMood>>,
    clock: SharedClock,
}

/// The shift of the thresholds for a comment, and what it came from.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CommentContext {
    user: UserShift,
    points: f64,
    raised: f64,
    is_loud: bool,
}

impl CommentContext {
    /// Returns by how much the thresholds are lower for the user, at least 0.
    pub fn lowered(&self) -> f32 {
        self.user.lowered() as f32
    }

    /// Returns by how much the thresholds that flag are higher at this moment, at least 0.
    pub fn raised(&self) -> f32 {
        self.raised as f32
    }

    /// Returns the same with its reasons, for a person. Rounded to thousandths.
    pub fn explained(&self) -> ThresholdShift {
        let rounded = |number: f64| (number * 1_000.0).round() / 1_000.0;
        ThresholdShift {
            lowered: rounded(self.user.lowered() - self.raised),
            points: rounded(self.points),
            by_points: rounded(self.user.by_points),
            by_account_age: rounded(self.user.by_age),
            raised_by_crowd: rounded(self.raised),
        }
    }
}

impl ModerationContext {
    pub fn new(parts: ModerationContextParts) -> Self {
        let ModerationContextParts { metadata, metadata_breaker, clock, config } = parts;
        let reputations = config.rules().map(|rules| {
            let clock = clock.clone();
            Reputations::new(ReputationsParts { metadata, metadata_breaker, clock, rules })
        });
        Self {
            reputations,
            crowd: config.crowd_rules(),
            moods: Mutex::new(TwoGenerations::new(MOOD_LIFETIME_MS, MOOD_STREAMS)),
            clock,
        }
    }

    /// Reads what is stored of users that are not known, or were read too long ago, in one query.
    /// Waits for at most 100 ms; without an answer, users have what is known of them.
    pub async fn look_up(&self, users: &[UserId]) {
        if let Some(reputations) = &self.reputations {
            reputations.look_up(users).await;
        }
    }

    /// Returns how the thresholds are for a comment. Staff has those of everybody.
    pub fn of_comment(&self, comment: &Comment, role: Option<Role>) -> CommentContext {
        if role.is_some_and(Role::is_staff) {
            return CommentContext::default();
        }
        let of_user = self.reputations.as_ref().map(|all| all.shift(comment.user_id));
        let (points, user) = of_user.unwrap_or_default();
        let is_loud = is_loud(&comment.message);
        let mood_comment = crowd_comment(comment, is_loud, false);
        let moods = self.moods.lock();
        let mood = moods.get(&comment.stream_id);
        let raised = mood.map_or(0.0, |mood| mood.raised(&mood_comment, &self.crowd));
        CommentContext { user, points, raised, is_loud }
    }

    /// Adds a comment and its verdict: to the mood of its stream, and to the points of its user.
    /// Returns whether points were counted, which [`Self::store_points`] stores.
    pub fn record(
        &self,
        subject: &Subject<'_>,
        context: &CommentContext,
        verdict: &Verdict,
    ) -> bool {
        let Subject { comment, role, .. } = *subject;
        if role.is_some_and(Role::is_staff) {
            return false;
        }
        let is_high = verdict.scores.values().any(|score| *score >= HIGH_SCORE);
        let mood_comment = crowd_comment(comment, context.is_loud, is_high);
        let now_ms = self.clock.now_ms();
        self.moods.lock().touch(comment.stream_id, now_ms).add(&mood_comment);
        let Some(reputations) = &self.reputations else { return false };
        let finding = &verdict.finding;
        // A flood may be many users with one text, each of whom said it once.
        let is_removed = finding.decision.deletes() && finding.reason != reason::FLOOD;
        reputations.count(comment, is_removed)
    }

    /// Stores the points that were counted since the last call. Waits for a bounded time; what
    /// cannot be stored is stored by a later call.
    pub async fn store_points(&self) {
        if let Some(reputations) = &self.reputations {
            reputations.store_points().await;
        }
    }
}

fn crowd_comment(comment: &Comment, is_loud: bool, is_high: bool) -> CrowdComment {
    CrowdComment { user_id: comment.user_id, at_ms: comment.created_at, is_loud, is_high }
}
