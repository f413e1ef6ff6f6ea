//! Reservations on Redis: `ref:{stream}:{user}:{ref}` holds the 16 bytes of the comment's id for
//! `ingest.ref_lifetime`, on the Redis node chosen by user and stream. A reservation is one
//! `SET NX GET`; a batch is one pipeline per Redis node.
//!
//! A Redis node that does not answer within [`TIMEOUT`] is not called for [`PAUSE`]. Meanwhile each
//! node uses its own ids. A server that was flushed has lost all reservations: the key `refs` says
//! since when it knows them, by its remaining lifetime. A server that was restarted, maybe with a
//! snapshot, that evicts keys, or that another server replaced, such as a promoted replica, may
//! have lost some. `INFO` tells, and is asked once per [`STATE_INTERVAL`], so a loss is noticed up
//! to that much later. Until a Redis node has known and answered for [`MAX_APART`], its
//! reservations are not certain.
//!
//! [`claims`] has what comments take of their rooms. A server that has forgotten claims gives them
//! away once more.

mod claims;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::{FromRedisValue as _, Pipeline, RedisError, Value};
use tokio::time::{Instant, timeout};
use tracing::warn;
use uuid::Uuid;

use super::{Claim, Claimed, Proposal, Reservations, Reserved};
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::eventlog::repeats::MAX_APART;
use crate::protocol::CommentId;

/// Short, because ingest waits for it.
const TIMEOUT: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_secs(5);
/// The lifetime of the key that dates the reservations. When it ends, they are not certain for a
/// moment, which costs some reads of the log.
const DATED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Interval at which a server is asked whether it was restarted, replaced or has evicted keys.
/// Reservations lost within the interval are taken as certain until its end.
const STATE_INTERVAL: Duration = Duration::from_secs(1);

/// The distributed engine.
#[derive(Debug)]
pub struct RedisReservations {
    nodes: RedisNodes,
    lifetime: Duration,
    max_apart: Duration,
    /// Per Redis node.
    known: Mutex<Vec<KnownServer>>,
}

/// The state of a Redis node as this process knows it.
#[derive(Debug, Clone, Default)]
struct KnownServer {
    /// Its last failure.
    failed_at: Option<Instant>,
    /// Before this time it may have forgotten reservations that matter.
    certain_from: Option<Instant>,
    /// Its last answer to `INFO`, and the time of it.
    state: Option<(ServerState, Instant)>,
    /// `INFO` failed, which has been logged.
    is_state_unknown: bool,
}

/// The fields of `INFO` that tell whether a server may have forgotten reservations.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ServerState {
    run_id: String,
    uptime: Duration,
    evicted_keys: u64,
}

impl ServerState {
    fn read(info: &str) -> Option<Self> {
        let value = |name: &str| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            lines.find_map(|(key, value)| (key == name).then(|| value.trim()))
        };
        Some(Self {
            run_id: value("run_id")?.to_owned(),
            uptime: Duration::from_secs(value("uptime_in_seconds")?.parse().ok()?),
            evicted_keys: value("evicted_keys")?.parse().ok()?,
        })
    }
}

impl KnownServer {
    fn not_certain_for(&mut self, time: Duration) {
        let from = Instant::now() + time;
        self.certain_from = Some(self.certain_from.map_or(from, |known| known.max(from)));
    }

    /// Records an answer to `INFO`. Another `run_id` than before is another server, which may lack
    /// what the last one had not yet replicated. A counter that fell was reset (`CONFIG
    /// RESETSTAT`), so it does not tell what was evicted before.
    fn record_state(&mut self, state: ServerState, max_apart: Duration) {
        let has_lost_nothing = match &self.state {
            Some((before, _)) => {
                before.run_id == state.run_id && before.evicted_keys == state.evicted_keys
            }
            None => state.evicted_keys == 0,
        };
        if !has_lost_nothing {
            self.not_certain_for(max_apart);
        }
        self.not_certain_for(max_apart.saturating_sub(state.uptime));
        self.state = Some((state, Instant::now()));
        self.is_state_unknown = false;
    }

    fn is_certain(&self) -> bool {
        self.certain_from.is_some_and(|from| Instant::now() >= from)
    }
}

impl RedisReservations {
    /// Does not connect. `lifetime` is at least a millisecond.
    pub fn new(nodes: RedisNodes, lifetime: Duration) -> Self {
        let known = Mutex::new(vec![KnownServer::default(); nodes.count()]);
        Self { nodes, lifetime, max_apart: MAX_APART, known }
    }

    fn node_of(&self, proposal: &Proposal) -> usize {
        let Proposal { user_id, stream_id, .. } = proposal;
        self.nodes.index_of(format!("{stream_id}:{user_id}").as_bytes())
    }

    /// Returns the reservations, by index of the proposal. Absent: not reserved.
    async fn reserve_on(
        &self,
        node: usize,
        proposals: Vec<(usize, &Proposal)>,
    ) -> Vec<(usize, Reserved)> {
        if proposals.is_empty() || self.is_paused(node) {
            return Vec::new();
        }
        let mut pipeline = Pipeline::with_capacity(proposals.len() + 2);
        let dated = self.nodes.key("refs");
        let dated_ms = DATED_FOR.as_millis() as u64;
        pipeline.cmd("SET").arg(&dated).arg(1).arg("NX").arg("PX").arg(dated_ms);
        pipeline.cmd("PTTL").arg(&dated);
        let lifetime_ms = self.lifetime.as_millis().max(1) as u64;
        for (_, Proposal { user_id, stream_id, client_ref, comment_id }) in &proposals {
            let key = self.nodes.key(&format!("ref:{stream_id}:{user_id}:{client_ref}"));
            let id = comment_id.0.as_bytes().as_slice();
            pipeline.cmd("SET").arg(key).arg(id).arg("NX").arg("GET").arg("PX").arg(lifetime_ms);
        }
        let mut connection = self.nodes.connection(node);
        let reserving = pipeline.query_async::<Vec<Value>>(&mut connection);
        let both = async { tokio::join!(reserving, self.ask_state(node)).0 };
        let answered = timeout(TIMEOUT, both).await;
        let read = answered.map(|answer| answer.and_then(|values| Answer::read(&values)));
        let reason = match read {
            Ok(Ok(Answer { dated_since, held })) => {
                let certain = dated_since >= self.max_apart && self.known.lock()[node].is_certain();
                let known = |id: Option<Vec<u8>>| Uuid::from_slice(&id?).ok().map(CommentId);
                let reserved = |((index, proposal), id): ((usize, &Proposal), _)| match known(id) {
                    Some(comment_id) => (index, Reserved { comment_id, certain: true }),
                    None => (index, Reserved { comment_id: proposal.comment_id, certain }),
                };
                return proposals.into_iter().zip(held).map(reserved).collect();
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {TIMEOUT:?}"),
        };
        warn!(
            address = self.nodes.address(node),
            reason, "refs not reserved; the log is read for comments sent before"
        );
        self.record_failure(node);
        Vec::new()
    }

    /// Leaves a server alone for [`PAUSE`]. Meanwhile this node uses ids that no other knows.
    fn record_failure(&self, node: usize) {
        let mut known = self.known.lock();
        let known = &mut known[node];
        known.failed_at = Some(Instant::now());
        known.not_certain_for(self.max_apart);
    }

    /// Asks a server whether it may have forgotten something, if it was not asked lately. Without
    /// an answer its reservations are not certain.
    async fn ask_state(&self, node: usize) {
        let asked_at = self.known.lock()[node].state.as_ref().map(|(_, asked_at)| *asked_at);
        if asked_at.is_some_and(|at| at.elapsed() < STATE_INTERVAL) {
            return;
        }
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("INFO").arg("server").cmd("INFO").arg("stats");
        let mut connection = self.nodes.connection(node);
        let answer = pipeline.query_async::<Vec<String>>(&mut connection).await;
        let state = match answer {
            Ok(parts) => ServerState::read(&parts.join("\n"))
                .ok_or_else(|| "a field of the answer to INFO is missing".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let mut known = self.known.lock();
        let known = &mut known[node];
        let error = match state {
            Ok(state) => return known.record_state(state, self.max_apart),
            Err(error) => error,
        };
        known.not_certain_for(self.max_apart);
        if !std::mem::replace(&mut known.is_state_unknown, true) {
            warn!(
                address = self.nodes.address(node),
                error,
                "INFO failed; the log is read for comments sent before, until it succeeds \
                 (docs/rights.md lists the rights that the user needs)"
            );
        }
    }

    fn is_paused(&self, node: usize) -> bool {
        self.known.lock()[node].failed_at.is_some_and(|at| at.elapsed() < PAUSE)
    }
}

/// The answer of a Redis node.
struct Answer {
    /// The time since which it has forgotten nothing.
    dated_since: Duration,
    /// In the order of the proposals, the id under which the ref was reserved before.
    held: Vec<Option<Vec<u8>>>,
}

impl Answer {
    fn read(values: &[Value]) -> Result<Self, RedisError> {
        let (dated, held) = values.split_at(values.len().min(2));
        let remaining_ms = dated.get(1).map(i64::from_redis_value_ref).transpose()?.unwrap_or(0);
        let remaining = Duration::from_millis(remaining_ms.try_into().unwrap_or(0));
        let held = held.iter().map(Option::<Vec<u8>>::from_redis_value_ref);
        Ok(Self {
            dated_since: DATED_FOR.saturating_sub(remaining),
            held: held.collect::<Result<_, _>>()?,
        })
    }
}

#[async_trait]
impl Reservations for RedisReservations {
    async fn reserve(&self, proposals: Vec<Proposal>) -> Vec<Reserved> {
        let mut by_node = vec![Vec::new(); self.nodes.count()];
        for (index, proposal) in proposals.iter().enumerate() {
            by_node[self.node_of(proposal)].push((index, proposal));
        }
        let calls = by_node.into_iter().enumerate();
        let calls = calls.map(|(node, proposals)| self.reserve_on(node, proposals));
        let unreserved =
            |proposal: &Proposal| Reserved { comment_id: proposal.comment_id, certain: false };
        let mut all: Vec<_> = proposals.iter().map(unreserved).collect();
        for (index, reserved) in join_all(calls).await.into_iter().flatten() {
            all[index] = reserved;
        }
        all
    }

    async fn claim(&self, claims: Vec<Claim>) -> Vec<Claimed> {
        self.claim_all(&claims).await
    }

    async fn release(&self, claims: Vec<Claim>) {
        self.release_all(&claims).await;
    }
}

#[cfg(test)]
mod tests;
