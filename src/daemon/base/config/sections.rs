//! The sections of the configuration and their defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::admin::AdminConfig;
use super::alerts::AlertsConfig;
use super::auth::AuthConfig;
use super::cassandra::CassandraConfig;
use super::cluster::ClusterConfig;
use super::delivery::DeliveryConfig;
use super::engines::EnginesConfig;
use super::kafka::KafkaConfig;
use super::moderation::ModerationConfig;
use super::postgres::PostgresConfig;
use super::proxies::{AddressRange, ForwardedHeader};
use super::redis::RedisConfig;
use crate::policy::comment_limits::RoleLimits;
use crate::policy::throttle::{ThrottleLevel, ThrottleRules};
use crate::protocol::message::MAX_REF_CHARS;

/// All settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub node: NodeConfig,
    pub cluster: ClusterConfig,
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
    pub messages: MessagesConfig,
    pub moderation: ModerationConfig,
    pub store: StoreConfig,
    pub shutdown: ShutdownConfig,
    pub alerts: AlertsConfig,
    pub admin: AdminConfig,
}

/// A part of the pipeline that a process can run.
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
    /// The node's name in `lc nodes`. Empty: the host's name.
    pub name: String,
    pub roles: Vec<NodeRole>,
    /// The directory of log, stores, signing secret and admin socket. Empty: `$XDG_DATA_HOME/lcd`.
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
    #[serde(deserialize_with = "super::listen::deserialize")]
    pub listen: SocketAddr,
    pub tls: Option<TlsConfig>,
    /// Serves wss with a certificate generated at start, for development.
    pub dev_tls: bool,
    /// The path of the site that pages, API and WebSockets are below. Empty: its root. Health and
    /// metrics are at the root in any case.
    pub base_path: String,
    /// Every connection begins with a header of the PROXY protocol, version 2, and comes from a
    /// trusted proxy.
    pub proxy_protocol: bool,
    /// The header of requests in which trusted proxies name the viewer's address.
    pub forwarded_header: ForwardedHeader,
    /// The proxies that are believed about addresses.
    pub trusted_proxies: Vec<AddressRange>,
    /// The most viewers of this node. More are answered 503.
    pub max_connections: u32,
    /// The most connections of a user over all nodes. 0 means no limit.
    pub max_connections_per_user: u32,
    /// The most connections of an address to this node. 0 means no limit: a proxy or a campus may
    /// be one address.
    pub max_connections_per_address: u32,
    /// The most viewers this node admits per second. More are told when to retry. 0 means no limit.
    pub connections_per_second: u32,
    /// The most viewers admitted at once. 0 means those of one second.
    pub connection_burst: u32,
    /// The limit for TLS and the HTTP request head together.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// The time from the upgrade to a valid `auth` message, on streams that are not open to
    /// anonymous viewers.
    #[serde(with = "humantime_serde")]
    pub auth_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// The time for the answer to a ping. A connection without one is closed, and its place is
    /// free.
    #[serde(with = "humantime_serde")]
    pub pong_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// The largest WebSocket message. HTTP bodies may have 1 KiB more. At least
    /// [`IngestConfig::largest_message_bytes`].
    pub max_message_bytes: ByteSize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: None,
            dev_tls: false,
            base_path: String::new(),
            proxy_protocol: false,
            forwarded_header: ForwardedHeader::Off,
            trusted_proxies: Vec::new(),
            max_connections: 1_000_000,
            max_connections_per_user: 20,
            max_connections_per_address: 0,
            connections_per_second: 0,
            connection_burst: 0,
            handshake_timeout: Duration::from_secs(3),
            auth_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            max_message_bytes: ByteSize::kib(32),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM of the whole chain.
    pub certificate: PathBuf,
    /// PEM of the private key.
    pub key: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// By role, of a user on one edge: a user that sends through several edges has the limit on
    /// each. 0 means no limit.
    pub comments_per_minute: RoleLimits,
    /// The most characters (Unicode scalar values) of a comment after NFC.
    pub max_comment_chars: usize,
    /// The most bytes of a comment after NFC.
    pub max_comment_bytes: usize,
    /// Comments that may wait to be checked. More are answered `overloaded`.
    pub queue_comments: usize,
    /// The time for which a `ref` is remembered, so that a repeated comment is recognized.
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

/// The most bytes of a character in UTF-8.
pub(super) const MAX_CHAR_BYTES: usize = 4;
/// The most bytes of JSON for a character of an accepted comment: a client may send it decomposed,
/// as four UTF-16 units, and escape each as `\u0041`.
const ESCAPED_CHAR_BYTES: u64 = 4 * 6;
/// Bytes of a message with a comment besides the text, all of it escaped: the names of the fields
/// and a `ref` of [`MAX_REF_CHARS`] characters, and room for fields that are ignored.
const ENVELOPE_BYTES: u64 = 512 + 12 * MAX_REF_CHARS as u64 + 768;

impl IngestConfig {
    /// Returns the size of the largest message that can carry a comment of the allowed length, in
    /// any encoding. Escaped JSON is larger than MessagePack.
    pub fn largest_message_bytes(&self) -> u64 {
        (self.max_comment_chars as u64)
            .saturating_mul(ESCAPED_CHAR_BYTES)
            .saturating_add(ENVELOPE_BYTES)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventLogConfig {
    pub guarantee: Guarantee,
    /// The size at which a segment file is closed. 1 MiB to 4 GiB.
    pub segment_bytes: ByteSize,
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// The most bytes per topic. The oldest segments are deleted first.
    pub retention_bytes: ByteSize,
    /// Bytes of appends that may wait in memory for the disk. More make the writer wait. At least 1
    /// MiB.
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
    /// Before it is on disk. Kafka: once the leader has it, without retries (`acks=1`). `acks=0`
    /// would not return the offset, which is the comment's sequence number.
    AtMostOnce,
    /// After fsync. Kafka: once all in-sync replicas have it.
    AtLeastOnce,
    /// After fsync, as above: the embedded log has one writer. Kafka: appends are transactions, and
    /// consumers read only committed records.
    ExactlyOnce,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BroadcastConfig {
    /// The first level must begin at 0, and sample rates must fall. At most 16 levels.
    pub throttle: Vec<ThrottleLevel>,
    /// A level is left downwards only below this share of its threshold, so that a rate near the
    /// threshold does not change it repeatedly.
    pub hysteresis: f64,
    /// The time for which the rate must stay below that share.
    #[serde(with = "humantime_serde")]
    pub step_down_after: Duration,
    /// The time between two frames of a busy stream. A single comment is sent at once. 1 ms to 1 s.
    #[serde(with = "humantime_serde")]
    pub batch_interval: Duration,
    /// The longest time between two commits of the broadcast stage's position.
    #[serde(with = "humantime_serde")]
    pub commit_interval: Duration,
}

impl BroadcastConfig {
    pub fn throttle_rules(&self) -> ThrottleRules {
        ThrottleRules {
            levels: self.throttle.clone(),
            hysteresis: self.hysteresis,
            step_down_after: self.step_down_after,
        }
    }
}

impl Default for BroadcastConfig {
    fn default() -> Self {
        let ThrottleRules { levels, hysteresis, step_down_after } = ThrottleRules::default();
        Self {
            throttle: levels,
            hysteresis,
            step_down_after,
            batch_interval: Duration::from_millis(25),
            commit_interval: Duration::from_millis(250),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReactionsConfig {
    pub kinds: Vec<String>,
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// The most reactions of a user per second. 0 means no limit.
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

/// Direct messages that viewers send.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessagesConfig {
    /// Whether viewers may send each other messages.
    pub between_users: bool,
    /// The most messages of a user per minute, on one edge. 0 means no limit.
    pub per_minute: u32,
}

impl Default for MessagesConfig {
    fn default() -> Self {
        Self { between_users: false, per_minute: 10 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// The time for which the comment store keeps comments: zero (forever) or at least a minute. An
    /// engine may keep them up to a day longer.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// The most comments and tombstones written in one transaction.
    pub archive_batch: usize,
    /// The longest time the archiver waits for a batch to fill.
    #[serde(with = "humantime_serde")]
    pub archive_interval: Duration,
    /// The most events of one stream in the recent cache.
    pub recent_events: usize,
    /// The most bytes of the recent cache, over all streams.
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
    /// The time from the signal until all viewers are dismissed and all stages are drained. At
    /// least 1 s.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// The time after the deadline at which remaining tasks are aborted.
    #[serde(with = "humantime_serde")]
    pub force_after: Duration,
    /// Viewers are told to reconnect after a random time up to this.
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
