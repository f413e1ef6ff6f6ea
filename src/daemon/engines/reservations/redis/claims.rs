//! Claims on Redis: `turn:{stream}:{user}:{ms}` and `said:{stream}:{hash}:{ms}` hold the 16 bytes
//! of the comment's id for the time of the rule. A text that only its author sees has the author
//! behind the hash. A claim is one `SET NX GET` and one `PTTL`, and one `GET` and one `PTTL` for
//! the place that it also meets; a batch is one pipeline per Redis node.

use futures_util::future::join_all;
use redis::{FromRedisValue as _, Pipeline, RedisError, Value};
use tokio::time::timeout;
use tracing::warn;

use super::{RedisReservations, TIMEOUT};
use crate::daemon::engines::reservations::{Claim, ClaimKey, Claimed};

/// Deletes a key if it holds the id of the comment.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

impl RedisReservations {
    pub(super) async fn claim_all(&self, claims: &[Claim]) -> Vec<Claimed> {
        let mut all = vec![Claimed::Unknown; claims.len()];
        let calls = self.by_node(claims).into_iter().enumerate();
        let calls = calls.map(|(node, claims)| self.claim_on(node, claims));
        for (index, claimed) in join_all(calls).await.into_iter().flatten() {
            all[index] = claimed;
        }
        all
    }

    pub(super) async fn release_all(&self, claims: &[Claim]) {
        let calls = self.by_node(claims).into_iter().enumerate();
        join_all(calls.map(|(node, claims)| self.release_on(node, claims))).await;
    }

    /// Returns the claims of each Redis node, with their indexes.
    fn by_node<'a>(&self, claims: &'a [Claim]) -> Vec<Vec<(usize, &'a Claim)>> {
        let mut by_node = vec![Vec::new(); self.nodes.count()];
        for (index, claim) in claims.iter().enumerate() {
            by_node[self.nodes.index_of(place_in_common(claim.key).as_bytes())]
                .push((index, claim));
        }
        by_node
    }

    /// Returns the answers, by index of the claim. Absent: not known.
    async fn claim_on(&self, node: usize, claims: Vec<(usize, &Claim)>) -> Vec<(usize, Claimed)> {
        if claims.is_empty() || self.is_paused(node) {
            return Vec::new();
        }
        let mut pipeline = Pipeline::with_capacity(claims.len() * 4);
        for (_, claim) in &claims {
            let key = self.key_of(claim.key, claim.for_ms);
            let id = claim.comment_id.0.as_bytes().as_slice();
            let for_ms = claim.for_ms.max(1);
            pipeline.cmd("SET").arg(&key).arg(id).arg("NX").arg("GET").arg("PX").arg(for_ms);
            pipeline.cmd("PTTL").arg(&key);
            if let Some(also_met) = claim.also_met {
                let key = self.key_of(also_met, claim.for_ms);
                pipeline.cmd("GET").arg(&key);
                pipeline.cmd("PTTL").arg(&key);
            }
        }
        let mut connection = self.nodes.connection(node);
        let answered = timeout(TIMEOUT, pipeline.query_async::<Vec<Value>>(&mut connection)).await;
        let read = answered.map(|answer| answer.and_then(|values| read(&claims, &values)));
        let reason = match read {
            Ok(Ok(claimed)) => return claimed,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {TIMEOUT:?}"),
        };
        warn!(
            address = self.nodes.address(node),
            reason, "rules of rooms are held on each node by itself"
        );
        self.record_failure(node);
        Vec::new()
    }

    async fn release_on(&self, node: usize, claims: Vec<(usize, &Claim)>) {
        if claims.is_empty() || self.is_paused(node) {
            return;
        }
        let mut pipeline = Pipeline::with_capacity(claims.len());
        for (_, claim) in &claims {
            let id = claim.comment_id.0.as_bytes().as_slice();
            let key = self.key_of(claim.key, claim.for_ms);
            pipeline.cmd("EVAL").arg(RELEASE).arg(1).arg(key).arg(id);
        }
        let mut connection = self.nodes.connection(node);
        let answered = timeout(TIMEOUT, pipeline.query_async::<Vec<Value>>(&mut connection)).await;
        if !matches!(answered, Ok(Ok(_))) {
            // They end by themselves.
            self.record_failure(node);
        }
    }

    fn key_of(&self, key: ClaimKey, for_ms: u64) -> String {
        self.nodes.key(&format!("{}:{for_ms}", place(key)))
    }
}

fn place(key: ClaimKey) -> String {
    match key {
        ClaimKey::Turn { stream_id, user_id } => format!("turn:{stream_id}:{user_id}"),
        ClaimKey::Text { stream_id, hash, author: None } => format!("said:{stream_id}:{hash:016x}"),
        ClaimKey::Text { stream_id, hash, author: Some(author) } => {
            format!("said:{stream_id}:{hash:016x}:{author}")
        }
    }
}

/// Returns the name that chooses the Redis node: one for all places that a claim of a text meets.
fn place_in_common(key: ClaimKey) -> String {
    match key {
        ClaimKey::Text { stream_id, hash, .. } => {
            place(ClaimKey::Text { stream_id, hash, author: None })
        }
        ClaimKey::Turn { .. } => place(key),
    }
}

fn read(claims: &[(usize, &Claim)], values: &[Value]) -> Result<Vec<(usize, Claimed)>, RedisError> {
    let mut all = Vec::with_capacity(claims.len());
    let mut answers = values.chunks_exact(2);
    for (index, claim) in claims {
        let places = 1 + usize::from(claim.also_met.is_some());
        let mut wait_ms = None;
        for answer in answers.by_ref().take(places) {
            wait_ms = wait_ms.max(taken_for(claim, answer)?);
        }
        let claimed = wait_ms.map_or(Claimed::Free, |wait_ms| Claimed::Taken { wait_ms });
        all.push((*index, claimed));
    }
    Ok(all)
}

/// Reads the holder of a place and the time for which it is held, in milliseconds. Returns `None`
/// if it is free for the claim.
fn taken_for(claim: &Claim, answer: &[Value]) -> Result<Option<u64>, RedisError> {
    let holder = Option::<Vec<u8>>::from_redis_value_ref(&answer[0])?;
    let left_ms = i64::from_redis_value_ref(&answer[1])?;
    let is_free = holder.is_none_or(|id| id == claim.comment_id.0.as_bytes());
    Ok((!is_free).then(|| u64::try_from(left_ms).unwrap_or(0).max(1)))
}
