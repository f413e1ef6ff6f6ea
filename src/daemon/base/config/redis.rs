//! Redis: the bus, the registry, the recent cache, the reaction totals.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Used by every contract whose engine is `"redis"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://host:port` or `rediss://…` of each node, written alike and in the same order on
    /// every `lcd`. Keys and shards are distributed over them by hash.
    pub nodes: Vec<String>,
    /// A prefix of every key and channel, so that several systems can share a server.
    pub prefix: String,
    pub username: String,
    /// A file with the password. Absent: no password.
    pub password_file: Option<PathBuf>,
    /// Bus shards: the channels per stream. Each edge listens on one of them.
    pub shards: u32,
    /// The limit per call. A node that takes longer has failed the call.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Messages that may wait in an edge for its delivery workers. More are lost; the gap in the
    /// sequence is detected and repaired.
    pub listener_messages: usize,
    /// The time after which the recent cache drops a stream without events.
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
