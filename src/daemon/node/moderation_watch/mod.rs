//! Watches whether moderation checks the published comments: on edges, which hold the comments of
//! some rooms while it does not, and on moderators, which check held comments when it does.
//!
//! In: the nodes that are alive, the lag of the moderators, and the settings of the streams, every
//! [`INTERVAL`]. Out: [`ModerationState`], and the problem `moderation_down` on edges, which names
//! the streams concerned.
//!
//! Always holds: a registry that does not answer says nothing about moderation; then the lag does,
//! which comes from the log. While the metadata store is down, and until [`CATCH_UP`] after, the
//! lag says nothing: moderators still check, but their position waits for the store. An edge that
//! has not looked yet takes moderation for down unless it is a moderator itself.

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
use crate::protocol::admin::{BreakerState, ProblemCode};
use crate::protocol::quantity::show_duration;
use crate::protocol::room::{WhenDown, WhenLate};
use crate::protocol::stream::{ModerationMode, Stream, StreamState};

/// The time between two looks.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// The time limit of each question. A dependency that is slower is asked again later.
const TIMEOUT: Duration = Duration::from_secs(2);
/// After an outage of the metadata store, the moderators move their positions within this time.
const CATCH_UP: Duration = Duration::from_secs(15);
/// The subject of the problem.
const SUBJECT: &str = "moderation";
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
    Behind,
}

impl ModerationWatch {
    /// Looks once, and changes the state and the problem.
    pub(super) async fn look(&self) {
        let outage = match self.has_moderator().await {
            Some(false) => Some(Outage::NoModerator),
            Some(true) | None => self.is_behind().await.then_some(Outage::Behind),
        };
        self.state.set_down(outage.is_some());
        if !self.is_edge {
            return;
        }
        match outage.and_then(|outage| self.text(&outage)) {
            Some(text) => self.problems.raise(ProblemCode::ModerationDown, SUBJECT, text),
            None => self.problems.clear(ProblemCode::ModerationDown, SUBJECT),
        }
    }

    /// Returns whether a node with the role `moderator` is alive; `None` if that is not known.
    async fn has_moderator(&self) -> Option<bool> {
        if self.is_moderator {
            return Some(true);
        }
        let known = timeout(TIMEOUT, self.registry.nodes()).await.ok()?.ok()?;
        let role = NodeRole::Moderator.as_str();
        Some(known.iter().filter(|node| node.alive).any(|node| {
            let report = node.report.as_ref();
            report.is_some_and(|report| report.node.roles.iter().any(|known| known == role))
        }))
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
            Outage::Behind => format!(
                "the moderators are more than {} behind: see lc lag",
                show_duration(self.down_after.as_millis() as u64)
            ),
        };
        Some(format!("{effect}; {cause}"))
    }
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
