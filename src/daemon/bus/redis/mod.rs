//! The bus on Redis Pub/Sub, sharded.
//!
//! A stream is published on `stream:{stream_id}:comments:shard{n}` for each of `redis.shards` shards;
//! channels are spread over the Redis nodes by hash, so that no node carries all edges of a hot
//! stream. A node of ours listens on shard `hash(its name) % shards` of each stream it has viewers of.
//! A message is the MessagePack of the stream and all messages of one call.
//!
//! How the contract is kept: one connection to each Redis node carries all publishing in order. Shards
//! that had no receivers are not published to: in the same round trip they are asked for subscribers,
//! and published to at once if they have gained one, so a subscriber that was confirmed before the
//! call misses nothing. A listener's connection is pinged once a second; when it breaks or hangs the
//! listener hears [`Heard::Interrupted`](super::Heard), its channels are subscribed again on a new one,
//! and it hears `Restored`.
//!
//! While a Redis node is away: calls that need it fail, after `redis.timeout` the first time, then at
//! once until it answers a ping again; nothing waits for it.
//!
//! When full: a listener holds `redis.listener_messages`; the newest are lost, and counted.

mod link;
mod mailbox;
mod publisher;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::link::Link;
use self::mailbox::Mailbox;
use self::publisher::Publisher;
use super::{BusError, BusListener, BusMessage, BusSubscriptions, FanoutBus, Heard, Subscriptions};
use crate::daemon::config::RedisConfig;
use crate::daemon::redis_nodes::RedisNodes;
use crate::protocol::{NodeId, StreamId};

/// The engine. Dropping it ends what it does in the background; its listeners live on.
#[derive(Debug)]
pub struct RedisBus {
    nodes: RedisNodes,
    shards: u32,
    listener_messages: usize,
    publisher: Publisher,
}

impl RedisBus {
    /// Connects to nothing yet. Must be called inside a tokio runtime.
    pub fn new(nodes: RedisNodes, config: &RedisConfig) -> Self {
        let shards = config.shards.max(1);
        Self {
            publisher: Publisher::start(nodes.clone(), shards),
            nodes,
            shards,
            listener_messages: config.listener_messages.max(1),
        }
    }
}

/// The shard that a node of ours listens on.
fn shard_of(node: &NodeId, shards: u32) -> u32 {
    crc32c::crc32c(node.as_str().as_bytes()) % shards
}

fn channel(nodes: &RedisNodes, stream_id: StreamId, shard: u32) -> String {
    nodes.key(&format!("stream:{stream_id}:comments:shard{shard}"))
}

#[async_trait]
impl FanoutBus for RedisBus {
    async fn publish(
        &self,
        stream_id: StreamId,
        messages: Vec<BusMessage>,
    ) -> Result<(), BusError> {
        if messages.is_empty() {
            return Ok(());
        }
        self.publisher.publish(stream_id, &messages).await
    }

    async fn listen(
        &self,
        node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError> {
        let mailbox = Arc::new(Mailbox::new(self.listener_messages));
        let stop = CancellationToken::new();
        let links = (0..self.nodes.count())
            .map(|index| Link::start(&self.nodes, index, mailbox.clone(), stop.clone()))
            .collect();
        let subscriptions = RedisSubscriptions {
            nodes: self.nodes.clone(),
            shard: shard_of(node, self.shards),
            links,
        };
        let listener = RedisListener { mailbox, _links: stop.drop_guard() };
        Ok((Arc::new(subscriptions), Box::new(listener)))
    }
}

#[derive(Debug)]
struct RedisListener {
    mailbox: Arc<Mailbox>,
    /// Ends the connections when the listener goes.
    _links: DropGuard,
}

#[async_trait]
impl BusListener for RedisListener {
    async fn receive(&mut self) -> Result<Heard, BusError> {
        Ok(self.mailbox.take().await)
    }

    fn lost(&self) -> u64 {
        self.mailbox.lost()
    }
}

#[derive(Debug)]
struct RedisSubscriptions {
    nodes: RedisNodes,
    shard: u32,
    /// One for each Redis node.
    links: Vec<Link>,
}

impl RedisSubscriptions {
    fn link(&self, stream_id: StreamId) -> (&Link, String) {
        let channel = channel(&self.nodes, stream_id, self.shard);
        (&self.links[self.nodes.index_of(channel.as_bytes())], channel)
    }

    /// Connecting and confirming may each take as long as a call.
    fn patience(&self) -> Duration {
        self.nodes.timeout() * 2
    }
}

#[async_trait]
impl Subscriptions for RedisSubscriptions {
    /// On an error the channel is subscribed to as soon as its node answers.
    async fn subscribe(&self, stream_id: StreamId) -> Result<(), BusError> {
        let (link, channel) = self.link(stream_id);
        let subscribed = timeout(self.patience(), link.subscribe(channel)).await;
        subscribed.unwrap_or_else(|_| Err(BusError::Unavailable("Redis is slow".to_owned())))
    }

    async fn unsubscribe(&self, stream_id: StreamId) -> Result<(), BusError> {
        let (link, channel) = self.link(stream_id);
        let unsubscribed = timeout(self.patience(), link.unsubscribe(channel)).await;
        unsubscribed.unwrap_or_else(|_| Err(BusError::Unavailable("Redis is slow".to_owned())))
    }
}
