//! The names of channels, and the shard that a node listens to. Every `lcd` must compute the same.

use std::sync::Arc;

use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::protocol::{NodeId, StreamId};

/// The channels of one shard, for all streams.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    prefix: Arc<str>,
    suffix: Arc<str>,
}

impl Channels {
    pub(super) fn of_shard(nodes: &RedisNodes, shard: u32) -> Self {
        let suffix = format!(":comments:shard{shard}");
        Self { prefix: nodes.key("stream:").into(), suffix: suffix.into() }
    }

    /// The channels that a node listens to.
    pub(super) fn of_node(nodes: &RedisNodes, node: &NodeId, shards: u32) -> Self {
        Self::of_shard(nodes, shard_of(node, shards))
    }

    pub(super) fn name(&self, stream_id: StreamId) -> String {
        format!("{}{stream_id}{}", self.prefix, self.suffix)
    }

    /// The inverse of [`Self::name`].
    pub(super) fn stream_of(&self, channel: &[u8]) -> Option<StreamId> {
        let channel = std::str::from_utf8(channel).ok()?;
        channel.strip_prefix(&*self.prefix)?.strip_suffix(&*self.suffix)?.parse().ok()
    }
}

/// Returns the shard that a node listens to.
pub(super) fn shard_of(node: &NodeId, shards: u32) -> u32 {
    crc32c::crc32c(node.as_str().as_bytes()) % shards
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::RedisConfig;

    #[tokio::test]
    async fn channel_names_are_as_documented() {
        let config = RedisConfig { prefix: "live:".to_owned(), ..RedisConfig::default() };
        let nodes = RedisNodes::open(&config).unwrap();
        let channels = Channels::of_shard(&nodes, 3);
        assert_eq!(channels.name(StreamId(42)), "live:stream:42:comments:shard3");
        assert_eq!(channels.stream_of(b"live:stream:42:comments:shard3"), Some(StreamId(42)));
        for other in ["live:stream:42:comments:shard4", "stream:42:comments:shard3", "live:stream:"]
        {
            assert_eq!(channels.stream_of(other.as_bytes()), None, "{other}");
        }
        let of_node = Channels::of_node(&nodes, &NodeId::new("edge-1"), 8);
        assert_eq!(&*of_node.suffix, ":comments:shard7", "an edge of another release agrees");
    }
}
