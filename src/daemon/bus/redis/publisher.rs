//! Publishing to the shards that have listeners.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::AHashMap;
use futures_util::future::join_all;
use redis::{RedisResult, Value};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::channel;
use crate::daemon::bus::{BusError, BusMessage};
use crate::daemon::redis_nodes::RedisNodes;
use crate::protocol::StreamId;

/// Between two pings of each Redis node.
const PING_INTERVAL: Duration = Duration::from_millis(500);
/// Streams whose shards with listeners are remembered; beyond it all are looked up anew.
const MAX_STREAMS: usize = 65_536;

#[derive(Debug)]
pub(super) struct Publisher {
    nodes: RedisNodes,
    shards: u32,
    /// By stream, the shards that had receivers last time.
    active: Mutex<AHashMap<StreamId, Vec<bool>>>,
    /// By Redis node: it failed, and has not answered a ping since.
    down: Arc<[AtomicBool]>,
    _pings: DropGuard,
}

impl Publisher {
    pub(super) fn start(nodes: RedisNodes, shards: u32) -> Self {
        let down: Arc<[AtomicBool]> = (0..nodes.count()).map(|_| AtomicBool::new(false)).collect();
        let stop = CancellationToken::new();
        for node in 0..nodes.count() {
            tokio::spawn(ping(nodes.clone(), node, down.clone(), stop.clone()));
        }
        Self { nodes, shards, active: Mutex::default(), down, _pings: stop.drop_guard() }
    }

    pub(super) async fn publish(
        &self,
        stream_id: StreamId,
        messages: &[BusMessage],
    ) -> Result<(), BusError> {
        let payload = rmp_serde::to_vec(&(stream_id, messages))
            .expect("a message has no type MessagePack cannot carry, and memory does not fail");
        let was_active = self.lock().get(&stream_id).cloned();
        let was_active = was_active.unwrap_or_else(|| vec![false; self.shards as usize]);
        let mut by_node: BTreeMap<usize, Vec<Shard>> = BTreeMap::new();
        for (number, &active) in was_active.iter().enumerate() {
            let channel = channel(&self.nodes, stream_id, number as u32);
            let node = self.nodes.index_of(channel.as_bytes());
            let shard = Shard { number, channel, active, done: false };
            by_node.entry(node).or_default().push(shard);
        }
        // Before anything is published: who falls back tells everybody, and nobody should hear twice.
        if let Some(node) = by_node.keys().find(|node| self.down[**node].load(Ordering::Relaxed)) {
            let address = self.nodes.address(*node);
            return Err(BusError::Unavailable(format!("Redis at {address} is down")));
        }
        let published = by_node.into_iter().map(|(node, shards)| {
            let payload = &payload;
            async move { (node, self.publish_on(node, shards, payload).await) }
        });
        let mut active = vec![false; self.shards as usize];
        let mut failure = None;
        for (node, outcome) in join_all(published).await {
            match outcome {
                Ok(shards) => shards.iter().for_each(|shard| active[shard.number] = shard.active),
                Err(error) => failure = Some(self.fail(node, &error)),
            }
        }
        let mut known = self.lock();
        if known.len() >= MAX_STREAMS && !known.contains_key(&stream_id) {
            known.clear();
        }
        known.insert(stream_id, active);
        failure.map_or(Ok(()), Err)
    }

    fn fail(&self, node: usize, error: &redis::RedisError) -> BusError {
        let address = self.nodes.address(node);
        if !self.down[node].swap(true, Ordering::Relaxed) {
            warn!(address, %error, "Redis does not take messages");
        }
        BusError::Unavailable(format!("Redis at {address}: {error}"))
    }

    /// Publishes to shards of one Redis node, and notes which have receivers now.
    async fn publish_on(
        &self,
        node: usize,
        mut shards: Vec<Shard>,
        payload: &[u8],
    ) -> RedisResult<Vec<Shard>> {
        let mut connection = self.nodes.connection(node);
        let mut pipe = redis::pipe();
        for shard in shards.iter().filter(|shard| shard.active) {
            pipe.cmd("PUBLISH").arg(&shard.channel).arg(payload);
        }
        let idle: Vec<_> = shards.iter().filter(|shard| !shard.active).collect();
        if !idle.is_empty() {
            let channels: Vec<_> = idle.iter().map(|shard| shard.channel.as_str()).collect();
            pipe.cmd("PUBSUB").arg("NUMSUB").arg(channels);
        }
        let answers: Vec<Value> = pipe.query_async(&mut connection).await?;
        let mut answers = answers.into_iter();
        for shard in shards.iter_mut().filter(|shard| shard.active) {
            let receivers: u64 =
                redis::from_redis_value(answers.next().unwrap_or(Value::Nil)).unwrap_or(0);
            shard.active = receivers > 0;
            shard.done = true;
        }
        let subscribers: Vec<(String, u64)> = match answers.next() {
            Some(answer) => redis::from_redis_value(answer)?,
            None => Vec::new(),
        };
        let gained: AHashMap<&str, u64> =
            subscribers.iter().map(|(channel, count)| (channel.as_str(), *count)).collect();
        let mut pipe = redis::pipe();
        for shard in shards.iter_mut().filter(|shard| !shard.done) {
            shard.active = gained.get(shard.channel.as_str()).is_some_and(|count| *count > 0);
            if shard.active {
                pipe.cmd("PUBLISH").arg(&shard.channel).arg(payload).ignore();
            }
        }
        if shards.iter().any(|shard| shard.active && !shard.done) {
            let () = pipe.query_async(&mut connection).await?;
        }
        Ok(shards)
    }

    /// Shards that had receivers last time.
    #[cfg(test)]
    pub(super) fn active_shards(&self, stream_id: StreamId) -> Vec<u32> {
        let active = self.lock().get(&stream_id).cloned().unwrap_or_default();
        let numbered = (0..).zip(active);
        numbered.filter(|(_, active)| *active).map(|(shard, _)| shard).collect()
    }

    fn lock(&self) -> MutexGuard<'_, AHashMap<StreamId, Vec<bool>>> {
        // Each critical section is one call on the map, so a poisoned lock holds a whole one.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shard of a stream on one Redis node.
#[derive(Debug)]
struct Shard {
    number: usize,
    channel: String,
    /// Has receivers, as far as is known.
    active: bool,
    /// Was published to in the first round.
    done: bool,
}

/// Finds out that a node is down before anybody has to wait for it, and that it is back.
async fn ping(nodes: RedisNodes, node: usize, down: Arc<[AtomicBool]>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(PING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let mut connection = nodes.connection(node);
        let pong: RedisResult<String> = redis::cmd("PING").query_async(&mut connection).await;
        let was_down = down[node].swap(pong.is_err(), Ordering::Relaxed);
        match (was_down, pong) {
            (false, Err(error)) => warn!(address = nodes.address(node), %error, "Redis is down"),
            (true, Ok(_)) => info!(address = nodes.address(node), "Redis is back"),
            _ => {}
        }
    }
}
