//! The event log on Kafka.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Used when `engines.eventlog = "kafka"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// `host:port` of some brokers; the others are found through them.
    pub brokers: Vec<String>,
    /// Put before every topic, group and transaction name, so that several systems can share a cluster.
    pub prefix: String,
    /// Replicas of a topic that is created at start.
    pub replication_factor: i32,
    /// Replicas that must have an append before it is acknowledged, of a topic that is created at
    /// start.
    pub min_insync_replicas: i32,
    pub partitions: PartitionCounts,
    /// How long a broker may take to acknowledge an append before the comment is refused; also how
    /// long any other question to the cluster may take. While no broker can be reached at all, it is
    /// refused at once.
    #[serde(with = "humantime_serde")]
    pub append_timeout: Duration,
    /// A consumer that is not heard of for this long is taken for dead and its partitions go to
    /// others. Brokers allow 6 s and more unless told otherwise.
    #[serde(with = "humantime_serde")]
    pub session_timeout: Duration,
    /// Absent: plaintext, nobody is asked for a name.
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

/// Partitions of a topic that is created at start; those of a topic that is there stay. Add none to a
/// topic in use: streams would move in the middle of their order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PartitionCounts {
    pub comment_events: u32,
    pub moderation_events: u32,
    pub analytics_events: u32,
    /// One keeps the order of all streams, and the fallback is a trickle.
    pub ws_messages: u32,
    pub dead_letters: u32,
}

impl Default for PartitionCounts {
    fn default() -> Self {
        Self {
            comment_events: 100,
            moderation_events: 20,
            analytics_events: 50,
            ws_messages: 1,
            dead_letters: 1,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaTls {
    /// PEM; absent: the system's.
    pub ca: Option<PathBuf>,
    /// PEM, with `key`: this node's own certificate.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    pub username: String,
    /// The password, in a file of its own.
    pub password_file: PathBuf,
}
