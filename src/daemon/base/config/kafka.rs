//! The event log on Kafka.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Used when `engines.eventlog = "kafka"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// `host:port` of some brokers. The others are discovered through them.
    pub brokers: Vec<String>,
    /// A prefix of every topic, group and transaction name, so that several systems can share a
    /// cluster.
    pub prefix: String,
    /// The replicas of a topic that is created at start.
    pub replication_factor: i32,
    /// The replicas that must have an append before it is acknowledged, for a topic that is created
    /// at start.
    pub min_insync_replicas: i32,
    pub partitions: PartitionCounts,
    /// The time within which a broker must acknowledge an append, else the comment is refused. The
    /// same limit applies to other requests. While no broker is reachable, comments are refused at
    /// once.
    #[serde(with = "humantime_serde")]
    pub append_timeout: Duration,
    /// A consumer that sends no heartbeat for this long loses its partitions to others. Brokers
    /// allow 6 s and more by default.
    #[serde(with = "humantime_serde")]
    pub session_timeout: Duration,
    /// Absent: no TLS.
    pub tls: Option<KafkaTls>,
    pub sasl: Option<KafkaSasl>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: vec!["127.0.0.1:9092".to_owned()],
            prefix: String::new(),
            replication_factor: 1,
            min_insync_replicas: 1,
            partitions: PartitionCounts::default(),
            append_timeout: Duration::from_secs(5),
            session_timeout: Duration::from_secs(6),
            tls: None,
            sasl: None,
        }
    }
}

/// Partitions of topics that are created. Existing topics keep theirs. Adding partitions to a topic
/// in use moves streams to other partitions: every node opens the log again with a new epoch, and
/// viewers reconnect.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PartitionCounts {
    pub comment_events: u32,
    pub moderation_events: u32,
    /// One partition keeps the order of all streams, and the fallback carries little traffic.
    pub ws_messages: u32,
    pub dead_letters: u32,
}

impl Default for PartitionCounts {
    fn default() -> Self {
        Self { comment_events: 100, moderation_events: 20, ws_messages: 1, dead_letters: 1 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaTls {
    /// PEM of the authority. Absent: those of the system.
    pub ca: Option<PathBuf>,
    /// PEM of this node's own certificate. Needs `key`.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    pub username: String,
    /// A file with the password.
    pub password_file: PathBuf,
}
