//! Watches whether moderation checks the published comments: on edges, which hold the comments of
//! some rooms while it does not, and on moderators, which check held comments when it does.
//!
//! In: the nodes that are alive with their reports, the lag of the moderators, and the settings of
//! the streams, every [`INTERVAL`]. Out: [`ModerationState`], and the problem `moderation_down`: on
//! edges, where it names the streams concerned, and on a moderator that has stopped checking.
//!
//! Always holds: a registry that does not answer says nothing about moderation; then the lag does,
//! which comes from the log. While the metadata store is down, and until [`CATCH_UP`] after, the
//! lag says nothing: moderators still check, but their position waits for the store. One that has
//! stopped, because too many flagged comments wait for the store, reports it as a problem, and all
//! nodes count moderation as down until that moderator has caught up. An edge that has not looked
//! yet takes moderation for down unless it is a moderator itself.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::daemon::base::config::NodeRole;
use crate::daemon::base::moderation_state::ModerationState;
use crate::daemon::base::problems::Problems;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::directory::Streams;
use crate::daemon::engines::eventlog::{ConsumerGroup, SharedLog};
use crate::daemon::engines::registry::SharedRegistry;
use crate::protocol::StreamId;
use crate::protocol::admin::{BreakerState, NodeReport, ProblemCode};
use crate::protocol::quantity::show_duration;
use crate::protocol::room::{WhenDown, WhenLate};
use crate::protocol::stream::{ModerationMode, Stream, StreamState};

/// The time between two looks.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// The time limit of each question. A dependency that is slower is asked again later.
const TIMEOUT: Duration = Duration::from_secs(2);
/// After an outage of the metadata store, the moderators move their positions within this time.
const CATCH_UP: Duration = Duration::from_secs(15);
/// The subject of the problem on edges.
const SUBJECT: &str = "moderation";
/// The subject of the problem on a moderator that has stopped checking. Edges look for it.
const STOPPED_SUBJECT: &str = "review queue";
const STOPPED: &str = "this moderator checks no comments: too many flagged ones wait for the \
                       metadata store; it continues when the store answers";
/// Streams that the problem names.
const LISTED_STREAMS: usize = 5;

/// The watch of one node.
#[derive(Debug, Clone)]
pub(super) struct ModerationWatch {
    pub(super) is_moderator: bool,
    pub(super) is_edge: bool,
    pub(super) registry: SharedRegistry,
    pub(super) log: SharedLog,
    pub(super) streams: Streams,
    pub(super) state: ModerationState,
    pub(super) problems: Problems,
    pub(super) metadata: MetadataOutage,
    /// A published comment that waits longer than this for its check means that moderation is down.
    pub(super) down_after: Duration,
}

/// Whether the metadata store is down, or was until a moment ago. Clones share what they saw.
#[derive(Debug, Clone)]
pub(super) struct MetadataOutage {
    breaker: Arc<Breaker>,
    seen_at: Arc<Mutex<Option<Instant>>>,
}

impl MetadataOutage {
    pub(super) fn new(breaker: Arc<Breaker>) -> Self {
        Self { breaker, seen_at: Arc::default() }
    }

    fn is_recent(&self) -> bool {
        let mut seen_at = self.seen_at.lock();
        if self.breaker.state() != BreakerState::Closed {
            *seen_at = Some(Instant::now());
        }
        seen_at.is_some_and(|at| at.elapsed() < CATCH_UP)
    }
}

/// The reason why moderation counts as down.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outage {
    NoModerator,
    /// A moderator has stopped checking.
    Stopped,
    Behind,
}

impl ModerationWatch {
    /// Looks once, and changes the state and the problems.
    pub(super) async fn look(&self) {
        if self.state.is_stopped() {
            self.problems.raise(ProblemCode::ModerationDown, STOPPED_SUBJECT, STOPPED);
        } else {
            self.problems.clear(ProblemCode::ModerationDown, STOPPED_SUBJECT);
        }
        let outage = self.outage().await;
        self.state.set_down(outage.is_some());
        if !self.is_edge {
            return;
        }
        match outage.and_then(|outage| self.text(&outage)) {
            Some(text) => self.problems.raise(ProblemCode::ModerationDown, SUBJECT, text),
            None => self.problems.clear(ProblemCode::ModerationDown, SUBJECT),
        }
    }

    async fn outage(&self) -> Option<Outage> {
        if self.state.is_stopped() {
            return Some(Outage::Stopped);
        }
        if let Ok(Ok(nodes)) = timeout(TIMEOUT, self.registry.nodes()).await {
            let alive = nodes.iter().filter(|node| node.alive);
            let reports = alive.filter_map(|node| node.report.as_deref());
            let moderators: Vec<_> = reports.filter(|report| is_moderator(report)).collect();
            if moderators.is_empty() && !self.is_moderator {
                return Some(Outage::NoModerator);
            }
            if moderators.into_iter().any(has_stopped) {
                return Some(Outage::Stopped);
            }
        }
        self.is_behind().await.then_some(Outage::Behind)
    }

    /// Returns whether comments wait too long. Once they do, they must wait only half as long until
    /// moderation counts as up again, so that the state does not flicker.
    async fn is_behind(&self) -> bool {
        if self.metadata.is_recent() {
            return false;
        }
        let was_down = self.state.is_down();
        let Ok(Ok(lags)) = timeout(TIMEOUT, self.log.lag()).await else { return was_down };
        let moderator = ConsumerGroup::Moderator.as_str();
        let own = lags.iter().filter(|lag| lag.group == moderator && lag.lag > 0);
        let oldest_ms = own.filter_map(|lag| lag.oldest_ms).max().unwrap_or(0);
        let bound = if was_down { self.down_after / 2 } else { self.down_after };
        u128::from(oldest_ms) > bound.as_millis()
    }

    /// Returns the sentence for operators; `None` if no stream is concerned.
    fn text(&self, outage: &Outage) -> Option<String> {
        let all = self.streams.all();
        let clause = |is_concerned: &dyn Fn(&Stream) -> bool, down: WhenDown, whose: &str| {
            let concerned = all.iter().filter(|stream| {
                stream.state == StreamState::Live
                    && stream.room.checks.down == down
                    && is_concerned(stream)
            });
            let ids: Vec<_> = concerned.map(|stream| stream.stream_id).collect();
            let end = match down {
                WhenDown::Hold => "held for review",
                WhenDown::Pass => "shown unchecked",
            };
            Some(format!("{whose} of {} are {end}", streams_text(&ids)?))
        };
        let is_async = |stream: &Stream| stream.moderation == ModerationMode::Async;
        let passes_late = |stream: &Stream| {
            stream.moderation == ModerationMode::Sync && stream.room.checks.late == WhenLate::Pass
        };
        let clauses = [
            clause(&is_async, WhenDown::Hold, "comments"),
            clause(&is_async, WhenDown::Pass, "comments"),
            clause(&passes_late, WhenDown::Hold, "late comments"),
            clause(&passes_late, WhenDown::Pass, "late comments"),
        ];
        let effect = clauses.into_iter().flatten().collect::<Vec<_>>().join(", ");
        if effect.is_empty() {
            return None;
        }
        let cause = match outage {
            Outage::NoModerator => {
                "no node with the role moderator runs: start one, it checks what it missed".into()
            }
            Outage::Stopped => {
                "a moderator waits for the metadata store and checks nothing: see lc status".into()
            }
            Outage::Behind => format!(
                "the moderators are more than {} behind: see lc lag",
                show_duration(self.down_after.as_millis() as u64)
            ),
        };
        Some(format!("{effect}; {cause}"))
    }
}

fn is_moderator(report: &NodeReport) -> bool {
    report.node.roles.iter().any(|role| role == NodeRole::Moderator.as_str())
}

/// Returns whether a moderator has stopped checking, as it reports.
fn has_stopped(report: &NodeReport) -> bool {
    let code = ProblemCode::ModerationDown.as_str();
    report.problems.iter().any(|known| known.code == code && known.subject == STOPPED_SUBJECT)
}

/// Writes `streams 7, 9`, and how many more there are; `None` for none.
fn streams_text(ids: &[StreamId]) -> Option<String> {
    let listed: Vec<_> = ids.iter().take(LISTED_STREAMS).map(StreamId::to_string).collect();
    let listed = listed.join(", ");
    match ids.len() {
        0 => None,
        1 => Some(format!("stream {listed}")),
        2..=LISTED_STREAMS => Some(format!("streams {listed}")),
        all => Some(format!("streams {listed} and {} more", all - LISTED_STREAMS)),
    }
}

#[cfg(test)]
mod tests;
