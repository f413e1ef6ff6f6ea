//! Reservations on Redis: `ref:{stream}:{user}:{ref}` holds the 16 bytes of the comment's id for
//! `ingest.ref_lifetime`, on the Redis node chosen by user and stream. A reservation is one
//! `SET NX GET`; a batch is one pipeline per Redis node.
//!
//! A Redis node that does not answer within [`TIMEOUT`] is not called for [`PAUSE`]. Meanwhile each
//! node uses its own ids. A server that was started empty has lost all reservations.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::Pipeline;
use tokio::time::{Instant, timeout};
use tracing::warn;
use uuid::Uuid;

use super::{Proposal, Reservations};
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::protocol::CommentId;

/// Short, because ingest waits for it.
const TIMEOUT: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_secs(5);

/// The distributed engine.
#[derive(Debug)]
pub struct RedisReservations {
    nodes: RedisNodes,
    lifetime: Duration,
    /// Per Redis node, the end of the pause after its last failure.
    paused_until: Mutex<Vec<Option<Instant>>>,
}

impl RedisReservations {
    /// Does not connect. `lifetime` is at least a millisecond.
    pub fn new(nodes: RedisNodes, lifetime: Duration) -> Self {
        let paused_until = Mutex::new(vec![None; nodes.count()]);
        Self { nodes, lifetime, paused_until }
    }

    fn node_of(&self, proposal: &Proposal) -> usize {
        let Proposal { user_id, stream_id, .. } = proposal;
        self.nodes.index_of(format!("{stream_id}:{user_id}").as_bytes())
    }

    /// Returns the ids that other nodes reserved, by index of the proposal.
    async fn reserve_on(
        &self,
        node: usize,
        proposals: Vec<(usize, &Proposal)>,
    ) -> Vec<(usize, CommentId)> {
        if proposals.is_empty() || self.is_paused(node) {
            return Vec::new();
        }
        let mut pipeline = Pipeline::with_capacity(proposals.len());
        let lifetime_ms = self.lifetime.as_millis().max(1) as u64;
        for (_, Proposal { user_id, stream_id, client_ref, comment_id }) in &proposals {
            let key = self.nodes.key(&format!("ref:{stream_id}:{user_id}:{client_ref}"));
            let id = comment_id.0.as_bytes().as_slice();
            pipeline.cmd("SET").arg(key).arg(id).arg("NX").arg("GET").arg("PX").arg(lifetime_ms);
        }
        let mut connection = self.nodes.connection(node);
        let reserving = pipeline.query_async::<Vec<Option<Vec<u8>>>>(&mut connection);
        let reason = match timeout(TIMEOUT, reserving).await {
            Ok(Ok(held)) => {
                let indexs = proposals.into_iter().map(|(index, _)| index);
                let known = |id: Option<Vec<u8>>| Uuid::from_slice(&id?).ok().map(CommentId);
                let held = indexs.zip(held);
                return held.filter_map(|(index, id)| Some((index, known(id)?))).collect();
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {TIMEOUT:?}"),
        };
        warn!(
            address = self.nodes.address(node),
            reason, "refs not reserved; duplicates are found on this node only"
        );
        self.pause(node);
        Vec::new()
    }

    fn is_paused(&self, node: usize) -> bool {
        let times = self.paused_until.lock();
        times[node].is_some_and(|end| Instant::now() < end)
    }

    fn pause(&self, node: usize) {
        let mut times = self.paused_until.lock();
        times[node] = Some(Instant::now() + PAUSE);
    }
}

#[async_trait]
impl Reservations for RedisReservations {
    async fn reserve(&self, proposals: Vec<Proposal>) -> Vec<CommentId> {
        let mut by_node = vec![Vec::new(); self.nodes.count()];
        for (index, proposal) in proposals.iter().enumerate() {
            by_node[self.node_of(proposal)].push((index, proposal));
        }
        let calls = by_node.into_iter().enumerate();
        let calls = calls.map(|(node, proposals)| self.reserve_on(node, proposals));
        let mut ids: Vec<_> = proposals.iter().map(|proposal| proposal.comment_id).collect();
        for (index, id) in join_all(calls).await.into_iter().flatten() {
            ids[index] = id;
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::RedisConfig;
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

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn the_first_node_to_reserve_names_the_comment() {
        let prefix = format!("{}:", stack::unique("refs"));
        let a = node(stack::redis(), &prefix, LIFETIME);
        let b = node(stack::redis(), &prefix, LIFETIME);
        let first: Vec<_> = (1..=100).map(|user| proposal(user, "r")).collect();
        assert_eq!(a.reserve(first.clone()).await, ids(&first));
        let again: Vec<_> = (1..=100).map(|user| proposal(user, "r")).collect();
        assert_eq!(b.reserve(again).await, ids(&first));
        let others: Vec<_> = (1..=100).map(|user| proposal(user, "another")).collect();
        assert_eq!(b.reserve(others.clone()).await, ids(&others));
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn a_reservation_ends_with_its_lifetime() {
        let prefix = format!("{}:", stack::unique("refs"));
        let node = node(stack::redis(), &prefix, Duration::from_millis(50));
        let first = proposal(1, "r");
        node.reserve(vec![first.clone()]).await;
        let free_again = async {
            while node.reserve(vec![proposal(1, "r")]).await == [first.comment_id] {
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
            assert_eq!(node.reserve(proposed.clone()).await, ids(&proposed));
        }
        assert!(began.elapsed() < 4 * TIMEOUT, "only the first waits");
    }
}
