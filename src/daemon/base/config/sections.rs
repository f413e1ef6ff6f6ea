//! The sections of the configuration and their defaults, which come with the design's mission.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::cassandra::CassandraConfig;
use super::delivery::DeliveryConfig;
use super::engines::EnginesConfig;
use super::kafka::KafkaConfig;
use super::moderation::ModerationConfig;
use super::postgres::PostgresConfig;
use super::redis::RedisConfig;
use crate::protocol::throttle::SampleRate;

/// Everything that can be set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub node: NodeConfig,
    pub engines: EnginesConfig,
    pub kafka: KafkaConfig,
    pub redis: RedisConfig,
    pub cassandra: CassandraConfig,
    pub postgres: PostgresConfig,
    pub gateway: GatewayConfig,
    pub auth: AuthConfig,
    pub ingest: IngestConfig,
    pub eventlog: EventLogConfig,
    pub broadcast: BroadcastConfig,
    pub delivery: DeliveryConfig,
    pub reactions: ReactionsConfig,
    pub moderation: ModerationConfig,
    pub store: StoreConfig,
    pub shutdown: ShutdownConfig,
}

/// A part of the pipeline that a process can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// gateway, ingest, delivery, reactions
    Edge,
    /// broadcast
    Coordinator,
    /// moderation
    Moderator,
    /// archive
    Archiver,
}

impl NodeRole {
    pub const ALL: [Self; 4] = [Self::Edge, Self::Coordinator, Self::Moderator, Self::Archiver];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Coordinator => "coordinator",
            Self::Moderator => "moderator",
            Self::Archiver => "archiver",
        }
    }
}

impl std::str::FromStr for NodeRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            format!("`{text}` is not a role: expected edge, coordinator, moderator or archiver")
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// The node's name in `lc nodes`; the host's name when empty.
    pub name: String,
    pub roles: Vec<NodeRole>,
    /// Log, stores, signing secret and admin socket live here. Empty: `$XDG_DATA_HOME/lcd`.
    pub data_dir: PathBuf,
    /// Empty: `admin.sock` in the data directory.
    pub admin_socket: PathBuf,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            roles: NodeRole::ALL.to_vec(),
            data_dir: PathBuf::new(),
            admin_socket: PathBuf::new(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    pub listen: SocketAddr,
    pub tls: Option<TlsConfig>,
    /// Serve wss with a certificate made at start, for development.
    pub dev_tls: bool,
    /// On this node; new connections beyond it are answered 503.
    pub max_connections: u32,
    /// On all nodes; 0 is no limit.
    pub max_connections_per_user: u32,
    /// On this node; 0 is no limit (a proxy or a campus is one address).
    pub max_connections_per_address: u32,
    /// Of viewers that begin to watch on this node; more are told when to come back. 0 is no limit.
    pub connections_per_second: u32,
    /// How many of them may come at once; 0 is one second's worth.
    pub connection_burst: u32,
    /// TLS and the HTTP request head together.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// From the upgrade to a valid `auth` message where a stream is not open to anonymous viewers.
    #[serde(with = "humantime_serde")]
    pub auth_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// A larger WebSocket message or HTTP body is refused.
    pub max_message_bytes: ByteSize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: None,
            dev_tls: false,
            max_connections: 1_000_000,
            max_connections_per_user: 20,
            max_connections_per_address: 0,
            connections_per_second: 0,
            connection_burst: 0,
            handshake_timeout: Duration::from_secs(3),
            auth_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            max_message_bytes: ByteSize(4096),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM, the whole chain.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Accept only tokens of this `iss`; empty accepts any.
    pub issuer: String,
    /// Accept only tokens whose `aud` names this; empty accepts tokens without `aud` only.
    pub audience: String,
    /// How far clocks may differ when `exp` and `nbf` are checked.
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
    /// The secret this node signs tokens with, and accepts them by; the same on every node of a
    /// cluster. Empty: `signing.key` in the data directory, made at the first start.
    pub signing_key: PathBuf,
    /// Keys besides the node's own signing secret.
    pub keys: Vec<KeyConfig>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: String::new(),
            leeway: Duration::from_secs(30),
            signing_key: PathBuf::new(),
            keys: Vec::new(),
        }
    }
}

/// The signature algorithms accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    HS256,
    RS256,
    ES256,
    EdDSA,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    pub algorithm: KeyAlgorithm,
    /// HS256: the secret as it is. Others: the public key as PEM.
    pub file: PathBuf,
    /// Use this key only for tokens with this `kid`.
    #[serde(default)]
    pub kid: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// By role; 0 is no limit.
    pub comments_per_minute: RoleLimits,
    /// Characters (Unicode scalar values) of a comment after NFC.
    pub max_comment_chars: usize,
    /// Bytes of a comment after NFC.
    pub max_comment_bytes: usize,
    /// Comments that may wait to be checked; more are answered `overloaded`.
    pub queue_comments: usize,
    /// How long a `ref` is remembered, so that a repeated comment is recognized.
    #[serde(with = "humantime_serde")]
    pub ref_lifetime: Duration,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            comments_per_minute: RoleLimits::default(),
            max_comment_chars: 500,
            max_comment_bytes: 2000,
            queue_comments: 65_536,
            ref_lifetime: Duration::from_secs(600),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoleLimits {
    pub viewer: u32,
    pub moderator: u32,
    pub broadcaster: u32,
    pub admin: u32,
}

impl Default for RoleLimits {
    fn default() -> Self {
        Self { viewer: 60, moderator: 200, broadcaster: 200, admin: 0 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventLogConfig {
    pub guarantee: Guarantee,
    /// A segment file is closed at this size.
    pub segment_bytes: ByteSize,
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// Per topic; the oldest segments go first.
    pub retention_bytes: ByteSize,
    /// Appends that may wait in memory for the disk; more make the writer wait.
    pub max_pending_bytes: ByteSize,
}

impl Default for EventLogConfig {
    fn default() -> Self {
        Self {
            guarantee: Guarantee::AtLeastOnce,
            segment_bytes: ByteSize::mib(64),
            retention: Duration::from_secs(7 * 24 * 3600),
            retention_bytes: ByteSize::gib(8),
            max_pending_bytes: ByteSize::mib(64),
        }
    }
}

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Before it is on disk. Kafka: once the leading replica has it, and it is sent only once
    /// (`acks=1`, no retry); `acks=0` would not tell a comment its number, which is its place there.
    AtMostOnce,
    /// After fsync (Kafka: once all in-sync replicas have it).
    AtLeastOnce,
    /// After fsync; the embedded log has one writer, so this is the same there. On Kafka appends are
    /// transactions and consumers read committed records alone.
    ExactlyOnce,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BroadcastConfig {
    /// The first level must begin at 0; rates must fall.
    pub throttle: Vec<ThrottleLevel>,
    /// A level is left downwards only below this share of its threshold, so that a rate near the
    /// threshold does not flap.
    pub hysteresis: f64,
    /// And only after the rate stayed there this long.
    #[serde(with = "humantime_serde")]
    pub step_down_after: Duration,
    /// A busy stream sends a frame this often; a lone comment leaves at once.
    #[serde(with = "humantime_serde")]
    pub batch_interval: Duration,
    /// How long the coordinator may be ahead of its committed position.
    #[serde(with = "humantime_serde")]
    pub commit_interval: Duration,
}

impl Default for BroadcastConfig {
    fn default() -> Self {
        let level = |from_per_second, share| ThrottleLevel {
            from_per_second,
            sample_rate: SampleRate::from_share(share).expect("a literal share of 0 to 1"),
        };
        Self {
            throttle: vec![
                level(0.0, 1.0),
                level(5_000.0, 0.5),
                level(20_000.0, 0.1),
                level(50_000.0, 0.05),
            ],
            hysteresis: 0.8,
            step_down_after: Duration::from_secs(5),
            batch_interval: Duration::from_millis(25),
            commit_interval: Duration::from_millis(250),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThrottleLevel {
    /// The level holds from this rate of accepted comments a second on.
    pub from_per_second: f64,
    pub sample_rate: SampleRate,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReactionsConfig {
    pub kinds: Vec<String>,
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// A user's reactions; 0 is no limit.
    pub per_second: u32,
}

impl Default for ReactionsConfig {
    fn default() -> Self {
        let kinds = ["like", "heart", "fire", "laugh", "wow", "sad", "clap", "hundred"];
        Self {
            kinds: kinds.map(str::to_owned).to_vec(),
            window: Duration::from_millis(500),
            per_second: 10,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// How long comments are kept in the comment store; zero keeps them for good, and less than a
    /// minute is refused. An engine may keep them longer, by a day at most.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// Comments and tombstones written in one transaction at most.
    pub archive_batch: usize,
    /// How long the archiver waits for a batch to fill.
    #[serde(with = "humantime_serde")]
    pub archive_interval: Duration,
    /// Events of one stream in the recent cache.
    pub recent_events: usize,
    /// All streams of the recent cache together.
    pub recent_bytes: ByteSize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            retention: Duration::ZERO,
            archive_batch: 4096,
            archive_interval: Duration::from_millis(50),
            recent_events: 20_000,
            recent_bytes: ByteSize::mib(256),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// From the signal until every viewer was told and every stage has drained.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// What is still running after the deadline is cut off after this long.
    #[serde(with = "humantime_serde")]
    pub force_after: Duration,
    /// Viewers are told to come back after a random time up to this.
    #[serde(with = "humantime_serde")]
    pub reconnect_jitter: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            force_after: Duration::from_secs(5),
            reconnect_jitter: Duration::from_secs(5),
        }
    }
}
