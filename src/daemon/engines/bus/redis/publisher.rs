//! Publishes to every shard that has subscribers: one call per Redis node, all at once.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::channels::Channels;
use crate::daemon::engines::backends::redis_nodes::{
    GuardedConnection, OutageObserver, RedisFailure, RedisNodes, RedisSetupError,
};
use crate::daemon::engines::bus::load::{BusLoad, BusPath, Publication};
use crate::daemon::engines::bus::{BusError, BusMessage};
use crate::protocol::{StreamId, tolerant};

/// Finds the channels with subscribers and publishes to them atomically, so that no new subscriber
/// is missed. Returns the number of subscribers of each channel. Sent in full each time (Redis
/// caches the compiled script): if it were called by its hash, a server that does not know it would
/// need a second call, which another call could overtake.
const PUBLISH: &str = "\
local subscribers = redis.call('PUBSUB', 'NUMSUB', unpack(ARGV, 2))
local counts = {}
for i = 2, #subscribers, 2 do
  if subscribers[i] > 0 then redis.call('PUBLISH', subscribers[i - 1], ARGV[1]) end
  counts[i / 2] = subscribers[i]
end
return counts";

/// Streams have ids from 1.
const NO_STREAM: StreamId = StreamId(0);

#[derive(Debug)]
pub(super) struct Publisher {
    nodes: RedisNodes,
    /// One per node, not shared with other engines: a page of the recent cache must not delay a
    /// comment. They are watched, so that a node that publishes nothing also knows of an outage.
    connections: Vec<GuardedConnection>,
    shards: Vec<Channels>,
    load: Arc<BusLoad>,
}

/// The channels of a stream on one Redis node, and the shard of each.
#[derive(Debug, Clone, Default)]
struct NodeChannels {
    names: Vec<String>,
    shards: Vec<u32>,
}

impl Publisher {
    pub(super) fn new(
        nodes: &RedisNodes,
        shards: u32,
        load: Arc<BusLoad>,
    ) -> Result<Self, RedisSetupError> {
        let connections = (0..nodes.count()).map(|index| {
            let load = load.clone();
            let observer: OutageObserver =
                Box::new(move |outage| load.set_outage(index, BusPath::Publishing, outage));
            nodes.watched(index, observer)
        });
        Ok(Self {
            connections: connections.collect::<Result<_, _>>()?,
            shards: (0..shards).map(|shard| Channels::of_shard(nodes, shard)).collect(),
            nodes: nodes.clone(),
            load,
        })
    }

    /// Returns `Unavailable` if any node failed that holds a shard of the stream, because it may
    /// have subscribers. The other nodes have received the messages.
    pub(super) async fn publish(
        &self,
        stream_id: StreamId,
        messages: &[BusMessage],
    ) -> Result<(), BusError> {
        if messages.is_empty() {
            return Ok(());
        }
        let payload = encode(messages);
        let by_node = self.channels_by_node(stream_id);
        let concerned = by_node.iter().enumerate().filter(|(_, of)| !of.names.is_empty());
        let calls = concerned.map(|(index, channels)| self.call(index, &payload, channels));
        all_succeeded(join_all(calls).await)
    }

    /// Publishes an empty payload on every Redis node, on a channel of a stream that does not
    /// exist. Unlike a message to a stream without viewers, it needs the permission to publish.
    pub(super) async fn probe(&self) -> Result<(), BusError> {
        let Some(channels) = self.shards.first() else { return Ok(()) };
        let mut command = redis::cmd("PUBLISH");
        command.arg(channels.name(NO_STREAM)).arg("");
        let calls = self.connections.iter().map(|connection| connection.query::<u64>(&command));
        all_succeeded(join_all(calls).await)
    }

    async fn call(
        &self,
        index: usize,
        payload: &[u8],
        channels: &NodeChannels,
    ) -> Result<(), RedisFailure> {
        let mut command = redis::cmd("EVAL");
        command.arg(PUBLISH).arg(0).arg(payload).arg(&channels.names);
        let began = Instant::now();
        let counts: Vec<u64> = self.connections[index].query(&command).await?;
        let listeners: Vec<_> = channels.shards.iter().copied().zip(counts).collect();
        self.load.record(&Publication {
            server: index,
            duration: began.elapsed(),
            bytes: payload.len() as u64,
            listeners: &listeners,
        });
        Ok(())
    }

    fn channels_by_node(&self, stream_id: StreamId) -> Vec<NodeChannels> {
        let mut by_node = vec![NodeChannels::default(); self.connections.len()];
        for (shard, channels) in (0..).zip(&self.shards) {
            let name = channels.name(stream_id);
            let of_node = &mut by_node[self.nodes.index_of(name.as_bytes())];
            of_node.names.push(name);
            of_node.shards.push(shard);
        }
        by_node
    }
}

/// Returns `Unavailable` with all failures if any node failed.
fn all_succeeded<T>(outcomes: Vec<Result<T, RedisFailure>>) -> Result<(), BusError> {
    let failures: Vec<String> = outcomes
        .into_iter()
        .filter_map(|published| published.err().map(|failure| failure.to_string()))
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(BusError::Unavailable(failures.join("; "))) }
}

fn encode(messages: &[BusMessage]) -> Vec<u8> {
    rmp_serde::to_vec(messages)
        .expect("a message has no type MessagePack cannot carry, and memory does not fail")
}

pub(super) fn decode(payload: &[u8]) -> Result<Vec<BusMessage>, rmp_serde::decode::Error> {
    tolerant::from_slice(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::bus::{Batch, HeldBack};
    use crate::protocol::comment::SequencedComment;
    use crate::protocol::events::{Removal, Told};
    use crate::protocol::throttle::SampleRate;
    use crate::protocol::{CommentId, Epoch, UserId};

    #[test]
    fn messages_survive_a_compact_encoding() {
        let comment_id = CommentId::from_unix_ticks(17_500_000_000_000_000, 5, [2, 0, 0, 0, 0, 1]);
        let reason: Arc<str> = "moderator".into();
        let deletion = Removal { comment_id, reason, timestamp: 7, told: Told::Everybody };
        let except = Removal { told: Told::AllBut(UserId(1_000_000)), ..deletion.clone() };
        let comment = SequencedComment {
            comment_id,
            user_id: UserId(1_000_000),
            name: "ann".into(),
            message: "hello".into(),
            created_at: 1_750_000_000_000,
            seq: 1_000_000,
            badges: Default::default(),
            parent_id: None,
        };
        let sample_rate = SampleRate::from_share(0.5).unwrap();
        let batch = |comments| {
            BusMessage::Batch(Arc::new(Batch {
                epoch: Epoch(3),
                from_seq: 10,
                to_seq: 20,
                sample_rate,
                comments,
                sampled_out: 4,
                deletions: vec![(11, deletion.clone())],
                staff: vec![12, 13],
                own: Vec::new(),
                held_back: HeldBack { delay_ms: 5_000, released: vec![14] },
            }))
        };
        let with_own = Batch {
            epoch: Epoch(3),
            from_seq: 21,
            to_seq: 22,
            sample_rate,
            comments: Vec::new(),
            sampled_out: 0,
            deletions: vec![(22, except.clone())],
            staff: Vec::new(),
            own: vec![comment.clone()],
            held_back: HeldBack::default(),
        };
        let totals = [("fire".into(), u64::MAX)].into_iter().collect();
        let messages = [
            batch(vec![comment.clone(); 2]),
            BusMessage::Batch(Arc::new(with_own)),
            BusMessage::Deleted { seq: 11, deletion: deletion.clone() },
            BusMessage::Deleted { seq: 22, deletion: except },
            BusMessage::Throttle { sample_rate },
            BusMessage::Reactions { totals },
            BusMessage::Announcement { message: "l'été".into() },
            BusMessage::Ended,
        ];
        assert_eq!(decode(&encode(&messages)).unwrap(), messages);
        let bytes = |count| encode(&[batch(vec![comment.clone(); count])]).len();
        let per_comment = bytes(11) - bytes(10);
        assert!(per_comment <= 3 + 5 + 40, "{per_comment} bytes for a comment of 8 bytes of text");
    }
}
