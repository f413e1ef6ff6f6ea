//! The daemon's settings: file → environment → flags, merged in that order and validated once.
//!
//! In: a TOML file, variables `LCD_<SECTION>__<KEY>` (`LCD_GATEWAY__LISTEN=…`), flags. Out: one
//! [`Config`], complete and valid. Always holds: an unknown key, a wrong type or a value out of
//! range is an error that names the key, its source and the allowed values, and the daemon does not
//! start.

mod admin;
mod alerts;
mod auth;
mod cassandra;
mod cluster;
mod delivery;
mod engines;
mod environment;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hook;
mod kafka;
mod listen;
mod load;
mod moderation;
mod paths;
mod postgres;
mod proxies;
mod redis;
mod screening;
mod sections;
mod shared;
mod validate;

pub use admin::AdminConfig;
pub use alerts::AlertsConfig;
pub use auth::{AuthConfig, ClaimNames, KeyAlgorithm, KeyConfig, KeySource, key_address};
pub use cassandra::CassandraConfig;
pub use cluster::ClusterConfig;
pub use delivery::{DeflateMode, DeliveryConfig};
pub use engines::*;
pub use hook::{HookAsk, HookConfig};
pub use kafka::{KafkaConfig, KafkaSasl, KafkaTls, PartitionCounts};
pub use listen::parse_listen;
pub(crate) use load::on_one_line;
pub use load::{Overrides, default_data_dir, load};
pub use moderation::{
    ModelConfig, ModerationConfig, ModerationStage, ReputationConfig, RuleAction, RulesConfig,
};
pub use postgres::PostgresConfig;
pub use proxies::{AddressRange, ForwardedHeader, InvalidRange};
pub use redis::RedisConfig;
pub use screening::{HeldConfig, ScreeningConfig};
pub use sections::*;
pub use shared::differing_settings;
pub use validate::MIN_REF_LIFETIME;

/// Why the configuration is not valid (exit code 64).
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{0}")]
    Invalid(String),
}
