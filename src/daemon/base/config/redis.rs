//! Redis: the bus, the registry, the recent cache, the reaction totals.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Used by every contract whose engine is `"redis"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://host:port` or `rediss://…` of each node, in the same order on every `lcd`: keys and
    /// shards are spread over them by hash.
    pub nodes: Vec<String>,
    /// Put before every key and channel, so that several systems can share a server.
    pub prefix: String,
    pub username: String,
    /// The password, in a file of its own; absent: none.
    pub password_file: Option<PathBuf>,
    /// Channels a stream is published on; each edge listens on one of them.
    pub shards: u32,
    /// How long a node may take to answer before the call counts as failed.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Messages that may wait in an edge for its viewers' workers; more are lost, seen as a hole in
    /// the sequence and repaired.
    pub listener_messages: usize,
    /// How long the recent cache keeps a stream that nothing happens on.
    #[serde(with = "humantime_serde")]
    pub recent_lifetime: Duration,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            nodes: vec!["redis://127.0.0.1:6379".to_owned()],
            prefix: String::new(),
            username: String::new(),
            password_file: None,
            shards: 8,
            timeout: Duration::from_secs(1),
            listener_messages: 16_384,
            recent_lifetime: Duration::from_secs(3600),
        }
    }
}
