//! Reservations on Redis: `ref:{stream}:{user}:{ref}` holds the 16 bytes of the comment's id for
//! `ingest.ref_lifetime`, on the Redis node chosen by user and stream. A reservation is one
//! `SET NX GET`; a batch is one pipeline per Redis node.
//!
//! A Redis node that does not answer within [`TIMEOUT`] is not called for [`PAUSE`]. Meanwhile each
//! node uses its own ids. A server that was started empty, or flushed, has lost all reservations:
//! the key `refs` says since when it knows them, by its remaining lifetime. Until a Redis node has
//! known and answered for [`MAX_APART`], its reservations are not certain.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::{FromRedisValue as _, Pipeline, RedisError, Value};
use tokio::time::{Instant, timeout};
use tracing::warn;
use uuid::Uuid;

use super::{Proposal, Reservations, Reserved};
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::eventlog::repeats::MAX_APART;
use crate::protocol::CommentId;

/// Short, because ingest waits for it.
const TIMEOUT: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_secs(5);
/// The lifetime of the key that dates the reservations. When it ends, they are not certain for a
/// moment, which costs some reads of the log.
const DATED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The distributed engine.
#[derive(Debug)]
pub struct RedisReservations {
    nodes: RedisNodes,
    lifetime: Duration,
    /// Per Redis node, its last failure.
    failed_at: Mutex<Vec<Option<Instant>>>,
}

impl RedisReservations {
    /// Does not connect. `lifetime` is at least a millisecond.
    pub fn new(nodes: RedisNodes, lifetime: Duration) -> Self {
        let failed_at = Mutex::new(vec![None; nodes.count()]);
        Self { nodes, lifetime, failed_at }
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
        if proposals.is_empty() || self.failed_within(node, PAUSE) {
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
        let answered = timeout(TIMEOUT, reserving).await;
        let read = answered.map(|answer| answer.and_then(|values| Answer::read(&values)));
        let reason = match read {
            Ok(Ok(Answer { dated_since, held })) => {
                let certain = dated_since >= MAX_APART && !self.failed_within(node, MAX_APART);
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
        self.failed_at.lock()[node] = Some(Instant::now());
        Vec::new()
    }

    fn failed_within(&self, node: usize, time: Duration) -> bool {
        self.failed_at.lock()[node].is_some_and(|at| at.elapsed() < time)
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::RedisConfig;
    use crate::daemon::testing::redis_server::RedisServer;
    use crate::daemon::testing::stack;
    use crate::protocol::{StreamId, UserId};

    const LIFETIME: Duration = Duration::from_secs(60);

    fn node(urls: Vec<String>, prefix: &str, lifetime: Duration) -> RedisReservations {
        let prefix = prefix.to_owned();
        let config = RedisConfig { nodes: urls, prefix, ..RedisConfig::default() };
        RedisReservations::new(RedisNodes::open(&config).unwrap(), lifetime)
    }

    fn proposal(user: u64, client_ref: &str) -> Proposal {
        let ticks = u64::from(rand::random::<u32>());
        Proposal {
            user_id: UserId(user),
            stream_id: StreamId(1),
            client_ref: client_ref.into(),
            comment_id: CommentId::from_unix_ticks(ticks, 1, rand::random()),
        }
    }

    fn ids(proposals: &[Proposal]) -> Vec<CommentId> {
        proposals.iter().map(|proposal| proposal.comment_id).collect()
    }

    async fn reserved(node: &RedisReservations, proposals: Vec<Proposal>) -> Vec<CommentId> {
        node.reserve(proposals).await.into_iter().map(|one| one.comment_id).collect()
    }

    #[tokio::test]
    #[ignore = "starts redis-server"]
    async fn a_server_that_forgot_is_not_certain() {
        let server = RedisServer::start().await;
        let node = node(vec![server.url()], "", LIFETIME);
        let mut connection = node.nodes.connection(0);
        let first = proposal(1, "r");
        let all = node.reserve(vec![first.clone()]).await;
        assert!(!all[0].certain, "it may have been flushed just now");
        let again = node.reserve(vec![proposal(1, "r")]).await;
        assert_eq!(again, [Reserved { comment_id: first.comment_id, certain: true }]);
        // It has known all refs for a day.
        let since = DATED_FOR.saturating_sub(Duration::from_secs(24 * 3600)).as_millis() as u64;
        let mut dated = redis::cmd("PEXPIRE");
        let _: i64 = dated.arg("refs").arg(since).query_async(&mut connection).await.unwrap();
        assert!(node.reserve(vec![proposal(2, "r")]).await[0].certain);
        let _: () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
        assert!(!node.reserve(vec![proposal(1, "r")]).await[0].certain);
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn the_first_node_to_reserve_names_the_comment() {
        let prefix = format!("{}:", stack::unique("refs"));
        let a = node(stack::redis(), &prefix, LIFETIME);
        let b = node(stack::redis(), &prefix, LIFETIME);
        let first: Vec<_> = (1..=100).map(|user| proposal(user, "r")).collect();
        assert_eq!(reserved(&a, first.clone()).await, ids(&first));
        let again: Vec<_> = (1..=100).map(|user| proposal(user, "r")).collect();
        assert_eq!(reserved(&b, again).await, ids(&first));
        let others: Vec<_> = (1..=100).map(|user| proposal(user, "another")).collect();
        assert_eq!(reserved(&b, others.clone()).await, ids(&others));
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn a_reservation_ends_with_its_lifetime() {
        let prefix = format!("{}:", stack::unique("refs"));
        let node = node(stack::redis(), &prefix, Duration::from_millis(50));
        let first = proposal(1, "r");
        node.reserve(vec![first.clone()]).await;
        let free_again = async {
            while reserved(&node, vec![proposal(1, "r")]).await == [first.comment_id] {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(10), free_again).await.expect("it expires");
    }

    #[tokio::test]
    async fn without_redis_the_proposed_ids_are_used() {
        // Accepts connections and never answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", silent.local_addr().unwrap());
        let node = node(vec![url], "", LIFETIME);
        let began = Instant::now();
        for n in 0..20 {
            let proposed = vec![proposal(n, "r")];
            let all = node.reserve(proposed.clone()).await;
            assert!(all.iter().all(|one| !one.certain), "another node may hold it");
            assert_eq!(all.iter().map(|one| one.comment_id).collect::<Vec<_>>(), ids(&proposed));
        }
        assert!(began.elapsed() < 4 * TIMEOUT, "only the first waits");
    }
}
