//! The bus on Redis Pub/Sub, sharded over one or several nodes. Redis 6.2 or later.
//!
//! **What is where.** A stream has `redis.shards` channels, `stream:{id}:comments:shard{n}` under
//! `redis.prefix`, each on the Redis node its name hashes to. An edge listens to one of them, the
//! shard its own name hashes to. A publisher gives each Redis node the payload once, in one script
//! that passes it to those of the stream's channels that have subscribers: whoever was subscribed
//! before the call began is told, and no other channel is touched. The messages of one call travel
//! as one payload, MessagePack arrays; a field added later must come last and have a default, so
//! that nodes of two releases understand each other.
//!
//! **Order.** One connection per publisher and Redis node carries its calls one after another, so
//! calls that are awaited in turn arrive in turn.
//!
//! **When a server is away.** Publishing fails with `Unavailable`, within `redis.timeout` and at once
//! while the node is known to be down; the stream's channels on other nodes are still published to.
//! A listener hears `Interrupted`, connects again by itself, at most a second between two tries,
//! subscribes to everything again, and hears `Restored` when that is done on every node it needs. A
//! server that hangs is found by a ping every second.
//!
//! **What is bounded.** A listener holds `redis.listener_messages`; when it does not keep up the
//! oldest go, counted, so that what comes after the hole shows it. Messages are decoded where the
//! socket is read, so nothing piles up in front of that queue; a listener slower even than this is
//! cut off by the server (`client-output-buffer-limit pubsub`) and hears `Interrupted`.

mod channels;
mod mailbox;
mod publisher;
mod subscription;
#[cfg(test)]
mod tests;
mod wishes;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument as _, info_span};

use self::channels::Channels;
use self::mailbox::Mailbox;
use self::publisher::Publisher;
use self::subscription::Subscription;
use self::wishes::Wishes;
use super::{
    BusError, BusEvent, BusListener, BusMessage, BusSubscriptions, FanoutBus, Subscriptions,
};
use crate::daemon::base::config::RedisConfig;
use crate::daemon::engines::backends::redis_nodes::{RedisFailure, RedisNodes, RedisSetupError};
use crate::protocol::{NodeId, StreamId};

impl From<RedisFailure> for BusError {
    fn from(failure: RedisFailure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}

/// The engine. Dropping it closes its listeners, once they have read what had arrived.
#[derive(Debug)]
pub struct RedisBus {
    nodes: RedisNodes,
    shards: u32,
    listener_messages: usize,
    publisher: Publisher,
    stop: CancellationToken,
}

impl RedisBus {
    /// Must be called inside a tokio runtime; connects to nothing yet, so that a node that is down
    /// at start is no different from one that goes down later.
    pub fn new(nodes: RedisNodes, config: &RedisConfig) -> Result<Self, RedisSetupError> {
        let shards = config.shards.max(1);
        Ok(Self {
            publisher: Publisher::new(&nodes, shards)?,
            nodes,
            shards,
            listener_messages: config.listener_messages.max(1),
            stop: CancellationToken::new(),
        })
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl FanoutBus for RedisBus {
    async fn publish(
        &self,
        stream_id: StreamId,
        messages: Vec<BusMessage>,
    ) -> Result<(), BusError> {
        self.publisher.publish(stream_id, &messages).await
    }

    async fn listen(
        &self,
        node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError> {
        let channels = Channels::of_node(&self.nodes, node, self.shards);
        let mailbox = Arc::new(Mailbox::new(self.listener_messages));
        let stop = self.stop.child_token();
        let mut wishes = Vec::with_capacity(self.nodes.count());
        for index in 0..self.nodes.count() {
            let (of_this, mailbox) = (Arc::new(Wishes::default()), mailbox.clone());
            let subscription =
                Subscription::new(&self.nodes, index, &channels, of_this.clone(), mailbox)?;
            let span = info_span!("task", name = "redis subscription", %node, index);
            tokio::spawn(subscription.run(stop.clone()).instrument(span));
            wishes.push(of_this);
        }
        let subscriptions = RedisSubscriptions {
            channels,
            nodes: self.nodes.clone(),
            wishes,
            mailbox: mailbox.clone(),
        };
        let listener = RedisListener { mailbox, _stop: stop.drop_guard() };
        Ok((Arc::new(subscriptions), Box::new(listener)))
    }
}

#[derive(Debug)]
struct RedisListener {
    mailbox: Arc<Mailbox>,
    /// Ends the subscription tasks, and with them their connections.
    _stop: DropGuard,
}

#[async_trait]
impl BusListener for RedisListener {
    async fn receive(&mut self) -> Result<BusEvent, BusError> {
        self.mailbox.receive().await
    }

    fn lost(&self) -> u64 {
        self.mailbox.lost()
    }
}

#[derive(Debug)]
struct RedisSubscriptions {
    channels: Channels,
    nodes: RedisNodes,
    /// One for each Redis node.
    wishes: Vec<Arc<Wishes>>,
    mailbox: Arc<Mailbox>,
}

impl RedisSubscriptions {
    fn index_of(&self, stream_id: StreamId) -> usize {
        self.nodes.index_of(self.channels.name(stream_id).as_bytes())
    }

    async fn change(&self, stream_id: StreamId, wanted: bool) -> Result<(), BusError> {
        let index = self.index_of(stream_id);
        let answer = self.wishes[index].change(stream_id, wanted)?;
        match tokio::time::timeout(self.nodes.timeout(), answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(BusError::Closed),
            Err(_) => Err(BusError::Unavailable(format!(
                "Redis node {} of `redis.nodes` has not confirmed a change of the subscription to \
                 stream {stream_id} within {:?} (`redis.timeout`)",
                self.nodes.address(index),
                self.nodes.timeout(),
            ))),
        }
    }
}

#[async_trait]
impl Subscriptions for RedisSubscriptions {
    /// Where the node is away the subscription is remembered, and made before `Restored` is heard.
    async fn subscribe(&self, stream_id: StreamId) -> Result<(), BusError> {
        self.change(stream_id, true).await
    }

    /// Nothing of the stream is heard afterwards, even if the server did not answer.
    async fn unsubscribe(&self, stream_id: StreamId) -> Result<(), BusError> {
        let ended = match self.change(stream_id, false).await {
            Err(BusError::Closed) => return Ok(()),
            ended => ended,
        };
        // Unless it was subscribed to again meanwhile.
        if !self.wishes[self.index_of(stream_id)].is_wanted(stream_id) {
            self.mailbox.forget(stream_id);
        }
        ended
    }
}
