//! The bus on Redis Pub/Sub, sharded over one or several nodes. Redis 6.2 or later.
//!
//! **Channels.** A stream has `redis.shards` channels, `stream:{id}:comments:shard{n}` under
//! `redis.prefix`, each on the Redis node that its name hashes to. An edge listens to one of them:
//! the shard that the edge's name hashes to. A publisher sends each Redis node the payload once,
//! in one script that publishes it on those of the stream's channels that have subscribers. A
//! listener that was subscribed before the call receives it. The messages of one call are one
//! payload of MessagePack arrays. A new field must come last and have a default, so that nodes of
//! two releases understand each other.
//!
//! **Order.** One connection per publisher and Redis node carries its calls one after another, so
//! calls that are awaited in turn arrive in turn.
//!
//! **When a server is away.** Publishing fails with `Unavailable`, within `redis.timeout`, and at
//! once while the node is known to be down. The stream's channels on other nodes are still
//! published to. A listener receives `Interrupted`, reconnects by itself with pauses of at most a
//! second, subscribes to everything again, and receives `Restored` when that is done on every node
//! it needs. A server that hangs is noticed by a ping every second. For operators, a server is down
//! as soon as a connection to it is lost and it refuses another one, or if it has not answered for
//! `redis.timeout`; every node asks it four times per second, whether it publishes or not.
//!
//! **Bounds.** A listener holds `redis.listener_messages` messages. If it is too slow, the oldest
//! are dropped and counted, so that the next message shows the hole. Messages are decoded where
//! the socket is read, so no other queue builds up. If even this is too slow, the server closes
//! the connection (`client-output-buffer-limit pubsub`) and the listener receives `Interrupted`.

mod channels;
mod desired_subscriptions;
mod figures;
mod listener_queue;
mod node_subscription;
mod publisher;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument as _, info_span};

use self::channels::Channels;
use self::desired_subscriptions::DesiredSubscriptions;
use self::figures::Figures;
use self::listener_queue::ListenerQueue;
use self::node_subscription::NodeSubscription;
use self::publisher::Publisher;
use super::load::{BusLoad, ListenedShard};
use super::{
    BusError, BusEvent, BusListener, BusMessage, BusSubscriptions, FanoutBus, Subscriptions,
};
use crate::daemon::base::config::RedisConfig;
use crate::daemon::engines::backends::redis_nodes::{RedisFailure, RedisNodes, RedisSetupError};
use crate::protocol::admin::BusNode;
use crate::protocol::{NodeId, StreamId};

impl From<RedisFailure> for BusError {
    fn from(failure: RedisFailure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}

/// The engine. Dropping it closes its listeners after they have read their queues.
#[derive(Debug)]
pub struct RedisBus {
    nodes: RedisNodes,
    shards: u32,
    listener_messages: usize,
    publisher: Publisher,
    load: Arc<BusLoad>,
    figures: Figures,
    /// The listener of this node.
    listening: Mutex<Option<Listening>>,
    stop: CancellationToken,
}

/// The subscriptions of a listener, for the load.
#[derive(Debug)]
struct Listening {
    shard: u32,
    /// One per Redis node.
    desired: Vec<Arc<DesiredSubscriptions>>,
    queue: Weak<ListenerQueue>,
}

impl RedisBus {
    /// Must be called inside a tokio runtime. Does not connect, so that a node that is down at
    /// start is treated like one that goes down later.
    pub fn new(nodes: RedisNodes, config: &RedisConfig) -> Result<Self, RedisSetupError> {
        let shards = config.shards.max(1);
        let addresses = (0..nodes.count()).map(|index| nodes.address(index).into());
        let load = Arc::new(BusLoad::new(addresses, shards));
        Ok(Self {
            publisher: Publisher::new(&nodes, shards, load.clone())?,
            load,
            figures: Figures::default(),
            listening: Mutex::default(),
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

    async fn probe(&self) -> Result<(), BusError> {
        self.publisher.probe().await
    }

    async fn listen(
        &self,
        node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError> {
        let channels = Channels::of_node(&self.nodes, node, self.shards);
        let queue = Arc::new(ListenerQueue::new(self.listener_messages));
        let stop = self.stop.child_token();
        let mut desired = Vec::with_capacity(self.nodes.count());
        for index in 0..self.nodes.count() {
            let of_node = Arc::new(DesiredSubscriptions::default());
            let queue = queue.clone();
            let load = self.load.clone();
            let subscription =
                NodeSubscription::new(&self.nodes, index, &channels, of_node.clone(), queue, load)?;
            let span = info_span!("task", name = "redis subscription", %node, index);
            tokio::spawn(subscription.run(stop.clone()).instrument(span));
            desired.push(of_node);
        }
        *self.listening.lock() = Some(Listening {
            shard: channels::shard_of(node, self.shards),
            desired: desired.clone(),
            queue: Arc::downgrade(&queue),
        });
        let subscriptions = RedisSubscriptions {
            channels,
            nodes: self.nodes.clone(),
            desired,
            queue: queue.clone(),
        };
        let listener = RedisListener { queue, _stop: stop.drop_guard() };
        Ok((Arc::new(subscriptions), Box::new(listener)))
    }

    async fn sample(&self) {
        self.figures.ask(&self.nodes, &self.load).await;
        let listening = self.listening.lock();
        // One that was dropped has no subscriptions left.
        let listening = listening.as_ref().filter(|of| of.queue.strong_count() > 0);
        self.load.sample(|index| {
            listening.map(|of| ListenedShard {
                shard: of.shard,
                subscriptions: of.desired[index].len() as u64,
            })
        });
    }

    fn servers(&self) -> Vec<BusNode> {
        self.load.servers()
    }

    async fn servers_changed(&self) {
        self.load.changed().await;
    }
}

#[derive(Debug)]
struct RedisListener {
    queue: Arc<ListenerQueue>,
    /// Ends the subscription tasks, and with them their connections.
    _stop: DropGuard,
}

#[async_trait]
impl BusListener for RedisListener {
    async fn receive(&mut self) -> Result<BusEvent, BusError> {
        self.queue.receive().await
    }

    fn lost(&self) -> u64 {
        self.queue.lost()
    }

    fn outage(&self) -> Option<String> {
        self.queue.outage()
    }
}

#[derive(Debug)]
struct RedisSubscriptions {
    channels: Channels,
    nodes: RedisNodes,
    /// One per Redis node.
    desired: Vec<Arc<DesiredSubscriptions>>,
    queue: Arc<ListenerQueue>,
}

impl RedisSubscriptions {
    fn index_of(&self, stream_id: StreamId) -> usize {
        self.nodes.index_of(self.channels.name(stream_id).as_bytes())
    }

    async fn change(&self, stream_id: StreamId, is_desired: bool) -> Result<(), BusError> {
        let index = self.index_of(stream_id);
        let answer = self.desired[index].change(stream_id, is_desired)?;
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
    /// If the node is away, the subscription is made before the listener receives `Restored`.
    async fn subscribe(&self, stream_id: StreamId) -> Result<(), BusError> {
        self.change(stream_id, true).await
    }

    /// Nothing of the stream is received afterwards, even if the server did not answer.
    async fn unsubscribe(&self, stream_id: StreamId) -> Result<(), BusError> {
        let ended = match self.change(stream_id, false).await {
            Err(BusError::Closed) => return Ok(()),
            ended => ended,
        };
        // Unless there is a new subscription meanwhile.
        if !self.desired[self.index_of(stream_id)].is_desired(stream_id) {
            self.queue.discard_stream(stream_id);
        }
        ended
    }
}
