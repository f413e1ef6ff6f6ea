//! Checks of a configuration that its types cannot express. Every fault is reported, not only the
//! first.

use std::time::Duration;

use super::cluster::MAX_NAME_CHARS;
use super::sections::MAX_CHAR_BYTES;
use super::{
    AdminConfig, CassandraConfig, Config, DeliveryConfig, ForwardedHeader, GatewayConfig,
    KafkaConfig, ModelConfig, ModerationConfig, ReputationConfig,
};
use crate::policy::throttle::{MAX_LEVELS, levels_step_down};
use crate::protocol::admin::ADMIN_AUDIENCE;

/// The least `ingest.ref_lifetime`. Readers of the log drop a comment that repeats a `ref` within a
/// shorter time, so a `ref` may be used again after it.
pub const MIN_REF_LIFETIME: Duration = Duration::from_secs(120);

/// The faults found so far, each with its key and the allowed values.
#[derive(Debug, Default)]
struct Faults(Vec<String>);

impl Faults {
    fn check(&mut self, right: bool, key: &str, text: &str) {
        if !right {
            self.0.push(format!("`{key}` {text}"));
        }
    }
}

/// Returns every fault.
pub(super) fn validate(config: &Config) -> Result<(), String> {
    let mut faults = Faults::default();
    check_all(config, &mut faults);
    if faults.0.is_empty() { Ok(()) } else { Err(faults.0.join("; ")) }
}

fn reputation(reputation: &ReputationConfig, faults: &mut Faults) {
    let half_lives = Duration::from_secs(3_600)..=Duration::from_secs(365 * 24 * 3_600);
    faults.check(
        half_lives.contains(&reputation.half_life),
        "moderation.reputation.half_life",
        "must be 1h to 365d",
    );
    let ReputationConfig { most_lowered, new_account_lowered, most_raised, .. } = *reputation;
    for (key, share, most) in [
        ("moderation.reputation.most_lowered", most_lowered, 0.4),
        ("moderation.reputation.new_account_lowered", new_account_lowered, 0.4),
        ("moderation.reputation.most_raised", most_raised, 0.2),
    ] {
        faults.check((0.0..=most).contains(&share), key, &format!("must be 0 to {most}"));
    }
}

fn check_all(config: &Config, faults: &mut Faults) {
    gateway(config, faults);
    throttle(config, faults);
    kafka(&config.kafka, faults);
    postgres(config, faults);
    cassandra(&config.cassandra, faults);
    admin(&config.admin, faults);
    moderation(&config.moderation, faults);
    reputation(&config.moderation.reputation, faults);
    faults.check(
        config.cluster.has_valid_name(),
        "cluster.name",
        &format!("must be at most {MAX_NAME_CHARS} letters, digits, dots, dashes and underscores"),
    );
    faults.check(
        config.auth.audience != ADMIN_AUDIENCE,
        "auth.audience",
        "must be another name: tokens for the admin API have this one",
    );
    for (key, text) in config.auth.faults() {
        faults.check(false, key, text);
    }
    let at_least_one = [
        ("node.roles", config.node.roles.len()),
        ("ingest.max_comment_chars", config.ingest.max_comment_chars),
        ("ingest.max_comment_bytes", config.ingest.max_comment_bytes),
        ("ingest.queue_comments", config.ingest.queue_comments),
        ("delivery.ring_frames", config.delivery.ring_frames),
        ("delivery.deflate_key_frames", config.delivery.deflate_key_frames as usize),
        ("store.archive_batch", config.store.archive_batch),
        ("store.recent_events", config.store.recent_events),
        ("moderation.batch_comments", config.moderation.batch_comments),
        ("moderation.screening.threads", config.moderation.screening.threads),
        ("moderation.screening.queue", config.moderation.screening.queue),
    ];
    for (key, value) in at_least_one {
        faults.check(value >= 1, key, "must be at least 1");
    }
    delivery(&config.delivery, faults);
    model(&config.moderation.model, faults);
    let segment = config.eventlog.segment_bytes.as_u64();
    faults.check(
        (1 << 20..=1 << 32).contains(&segment),
        "eventlog.segment_bytes",
        "must be 1 MiB to 4 GiB",
    );
    faults.check(
        config.eventlog.max_pending_bytes.as_u64() >= 1 << 20,
        "eventlog.max_pending_bytes",
        "must be at least 1 MiB",
    );
    faults.check(
        config.store.retention.is_zero() || config.store.retention >= Duration::from_secs(60),
        "store.retention",
        "must be 0s (forever) or at least 1m",
    );
    let held = &config.moderation.held;
    faults.check(
        held.expire_after.is_zero() || held.expire_after >= Duration::from_secs(60),
        "moderation.held.expire_after",
        "must be 0s (never) or at least 1m",
    );
    faults.check(
        held.down_after >= Duration::from_secs(1),
        "moderation.held.down_after",
        "must be at least 1s",
    );
    faults.check(
        config.ingest.ref_lifetime >= MIN_REF_LIFETIME,
        "ingest.ref_lifetime",
        "must be at least 2m",
    );
    faults.check(
        config.redis.recent_lifetime >= Duration::from_secs(1),
        "redis.recent_lifetime",
        "must be at least 1s",
    );
    let kinds = &config.reactions.kinds;
    faults.check(
        kinds.len() <= 1000 && kinds.iter().all(|kind| (1..=32).contains(&kind.chars().count())),
        "reactions.kinds",
        "must be at most 1000 names of 1 to 32 characters",
    );
    for (key, share) in config.alerts.shares() {
        faults.check((0.0..=1.0).contains(&share), key, "must be a share of 0 to 1");
    }
    faults.check(config.alerts.flagged_high > 1.0, "alerts.flagged_high", "must be more than 1");
    faults.check(
        config.shutdown.deadline >= Duration::from_secs(1),
        "shutdown.deadline",
        "must be at least 1s",
    );
}

fn gateway(config: &Config, faults: &mut Faults) {
    let gateway = &config.gateway;
    faults.check(gateway.max_connections >= 1, "gateway.max_connections", "must be at least 1");
    faults.check(
        gateway.tls.is_none() || !gateway.dev_tls,
        "gateway.dev_tls",
        "cannot be used with gateway.tls: choose one",
    );
    faults.check(
        gateway.connections_per_second <= 1_000_000,
        "gateway.connections_per_second",
        "must be 0 (no limit) to 1000000",
    );
    faults.check(
        gateway.connection_burst <= 10_000_000,
        "gateway.connection_burst",
        "must be 0 (those of one second) to 10000000",
    );
    sizes(config, faults);
    proxies(gateway, faults);
    let times = [
        ("gateway.handshake_timeout", gateway.handshake_timeout),
        ("gateway.auth_timeout", gateway.auth_timeout),
        ("gateway.ping_interval", gateway.ping_interval),
        ("gateway.pong_timeout", gateway.pong_timeout),
        ("gateway.idle_timeout", gateway.idle_timeout),
    ];
    for (key, value) in times {
        faults.check(value >= Duration::from_millis(100), key, "must be at least 100ms");
    }
    faults.check(
        gateway.idle_timeout > gateway.ping_interval,
        "gateway.idle_timeout",
        "must be longer than gateway.ping_interval, or healthy viewers are closed",
    );
}

fn proxies(gateway: &GatewayConfig, faults: &mut Faults) {
    faults.check(
        is_base_path(&gateway.base_path),
        "gateway.base_path",
        "must be empty or like /live: names of letters, digits, dashes, dots, underscores and \
         tildes, at most 200 characters, without a slash at the end; not /metrics, /healthz or \
         /readyz",
    );
    let believes = gateway.proxy_protocol || gateway.forwarded_header != ForwardedHeader::Off;
    faults.check(
        !believes || !gateway.trusted_proxies.is_empty(),
        "gateway.trusted_proxies",
        "must name the proxies that gateway.proxy_protocol and gateway.forwarded_header trust",
    );
}

fn is_base_path(path: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(allowed) && !name.bytes().all(|byte| byte == b'.')
    };
    let Some(names) = path.strip_prefix('/') else { return path.is_empty() };
    let taken = ["/metrics", "/healthz", "/readyz"].contains(&path);
    path.len() <= 200 && !taken && names.split('/').all(is_name)
}

/// Checks that no limit on the size of a comment or message forbids what another allows.
fn sizes(config: &Config, faults: &mut Faults) {
    let ingest = &config.ingest;
    let least = ingest.max_comment_chars.saturating_mul(MAX_CHAR_BYTES);
    faults.check(
        ingest.max_comment_bytes >= least,
        "ingest.max_comment_bytes",
        &format!(
            "must be at least {least}: `ingest.max_comment_chars` allows {} characters, and a \
             character may have {MAX_CHAR_BYTES} bytes",
            ingest.max_comment_chars
        ),
    );
    let bytes = config.gateway.max_message_bytes.as_u64();
    let least = ingest.largest_message_bytes();
    faults.check(
        bytes >= least,
        "gateway.max_message_bytes",
        &format!(
            "must be at least {least}: so large can a comment of the {} characters that \
             `ingest.max_comment_chars` allows be in escaped JSON",
            ingest.max_comment_chars
        ),
    );
    faults.check(bytes <= 1 << 20, "gateway.max_message_bytes", "must be at most 1 MiB");
}

fn delivery(delivery: &DeliveryConfig, faults: &mut Faults) {
    faults.check(delivery.workers <= 1024, "delivery.workers", "must be 0 (one per core) to 1024");
    faults.check(
        (0.01..=1.0).contains(&delivery.fan_out_share),
        "delivery.fan_out_share",
        "must be a share of 0.01 to 1.0 (frames never wait)",
    );
    faults.check(
        delivery.coalesce_up_to <= Duration::from_secs(1),
        "delivery.coalesce_up_to",
        "must be 0ms (frames never wait) to 1s",
    );
    let budget = delivery.egress_bytes_per_second.as_u64();
    faults.check(
        budget == 0 || budget >= 1_000,
        "delivery.egress_bytes_per_second",
        "must be 0 (no budget) or at least 1 kB",
    );
    faults.check(
        (0.0..=1.0).contains(&delivery.egress_held_up),
        "delivery.egress_held_up",
        "must be a share of 0.0 (never) to 1.0",
    );
}

fn model(model: &ModelConfig, faults: &mut Faults) {
    let tasks = [
        ("toxicity", model.toxicity_flag, model.toxicity_reject),
        ("spam", model.spam_flag, model.spam_reject),
    ];
    for (task, flag, reject) in tasks {
        faults.check(
            flag > 0.0 && flag <= reject && reject <= 1.0,
            &format!("moderation.model.{task}_flag"),
            &format!(
                "must be above 0 and at most moderation.model.{task}_reject, and that at most 1"
            ),
        );
    }
    faults.check(
        model.exempt_users.iter().all(|user| user.is_valid()),
        "moderation.model.exempt_users",
        "must be ids of users, from 1 to 9223372036854775807",
    );
}

fn kafka(kafka: &KafkaConfig, faults: &mut Faults) {
    faults.check(!kafka.brokers.is_empty(), "kafka.brokers", "must name at least one broker");
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    faults.check(
        kafka.prefix.chars().all(allowed) && kafka.prefix.len() <= 128,
        "kafka.prefix",
        "must be at most 128 letters, digits, dots, dashes and underscores",
    );
    faults.check(
        (1..=i32::from(i16::MAX)).contains(&kafka.replication_factor),
        "kafka.replication_factor",
        "must be at least 1",
    );
    faults.check(
        (1..=kafka.replication_factor).contains(&kafka.min_insync_replicas),
        "kafka.min_insync_replicas",
        "must be 1 to kafka.replication_factor, or nothing is ever acknowledged",
    );
    let counts = &kafka.partitions;
    let counts = [
        ("kafka.partitions.comment_events", counts.comment_events),
        ("kafka.partitions.moderation_events", counts.moderation_events),
        ("kafka.partitions.ws_messages", counts.ws_messages),
        ("kafka.partitions.dead_letters", counts.dead_letters),
    ];
    for (key, count) in counts {
        faults.check((1..=10_000).contains(&count), key, "must be 1 to 10000");
    }
    faults.check(
        (Duration::from_millis(100)..=Duration::from_secs(300)).contains(&kafka.append_timeout),
        "kafka.append_timeout",
        "must be 100ms to 5m",
    );
    faults.check(
        (Duration::from_secs(1)..=Duration::from_secs(300)).contains(&kafka.session_timeout),
        "kafka.session_timeout",
        "must be 1s to 5m",
    );
    if let Some(sasl) = &kafka.sasl {
        let known = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
        faults.check(
            known.contains(&sasl.mechanism.as_str()),
            "kafka.sasl.mechanism",
            "must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        );
    }
    let halves = kafka.tls.as_ref().map(|tls| (tls.certificate.is_some(), tls.key.is_some()));
    faults.check(
        halves.is_none_or(|(certificate, key)| certificate == key),
        "kafka.tls.key",
        "and kafka.tls.certificate come together",
    );
}

fn postgres(config: &Config, faults: &mut Faults) {
    let postgres = &config.postgres;
    let schema = postgres.schema.as_bytes();
    let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    faults.check(
        (1..=63).contains(&schema.len())
            && schema.iter().all(plain)
            && !schema[0].is_ascii_digit()
            && !postgres.schema.starts_with("pg_"),
        "postgres.schema",
        "must be 1 to 63 of a-z, 0-9 and _, begin with no digit, and not with pg_",
    );
    faults.check(
        (1..=1000).contains(&postgres.max_connections),
        "postgres.max_connections",
        "must be 1 to 1000",
    );
    faults.check(
        (Duration::from_millis(100)..=Duration::from_secs(600)).contains(&postgres.timeout),
        "postgres.timeout",
        "must be 100ms to 10m",
    );
}

fn throttle(config: &Config, faults: &mut Faults) {
    let levels = &config.broadcast.throttle;
    let key = "broadcast.throttle";
    faults.check(
        levels.first().is_some_and(|level| level.from_per_second == 0.0),
        key,
        "must have a first level with from_per_second = 0",
    );
    faults.check(
        levels.len() <= MAX_LEVELS,
        key,
        &format!("must have at most {MAX_LEVELS} levels"),
    );
    faults.check(
        levels_step_down(levels),
        key,
        "must rise in from_per_second and fall in sample_rate",
    );
    faults.check(
        config.broadcast.hysteresis > 0.0 && config.broadcast.hysteresis <= 1.0,
        "broadcast.hysteresis",
        "must be above 0 and at most 1",
    );
    let interval = config.broadcast.batch_interval;
    faults.check(
        (Duration::from_millis(1)..=Duration::from_secs(1)).contains(&interval),
        "broadcast.batch_interval",
        "must be 1ms to 1s",
    );
}

fn cassandra(cassandra: &CassandraConfig, faults: &mut Faults) {
    faults.check(!cassandra.nodes.is_empty(), "cassandra.nodes", "must name at least one node");
    let keyspace = &cassandra.keyspace;
    faults.check(
        keyspace.starts_with(|first: char| first.is_ascii_alphabetic())
            && keyspace.len() <= 48
            && keyspace.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
        "cassandra.keyspace",
        "must be 1 to 48 letters, digits and `_`, a letter first",
    );
    faults.check(
        cassandra.replication_factor >= 1,
        "cassandra.replication_factor",
        "must be at least 1",
    );
    faults.check(
        cassandra.timeout >= Duration::from_millis(100),
        "cassandra.timeout",
        "must be at least 100ms",
    );
    faults.check(
        cassandra.password_file.is_none() || !cassandra.username.is_empty(),
        "cassandra.username",
        "is needed with cassandra.password_file",
    );
}

fn moderation(moderation: &ModerationConfig, faults: &mut Faults) {
    faults.check(
        moderation.names_stages_once(),
        "moderation.stages",
        "must name each stage once: a second time it would count every comment again",
    );
    faults.check(
        moderation.ends_with_hook(),
        "moderation.stages",
        "must name hook last: it is asked about what the other stages found",
    );
    for (key, text) in moderation.hook.faults(moderation.uses_hook()) {
        faults.check(false, key, text);
    }
}

/// Checks the admin API over the network, which is never open without TLS.
fn admin(admin: &AdminConfig, faults: &mut Faults) {
    if admin.listen.is_some() {
        let needed = [("admin.certificate", &admin.certificate), ("admin.key", &admin.key)];
        for (key, path) in needed {
            let text = "is needed with admin.listen: the admin API is served over TLS only";
            faults.check(path.is_some(), key, text);
        }
    }
    faults.check(
        admin.roles.is_empty() || admin.client_ca.is_some(),
        "admin.client_ca",
        "is needed with admin.roles: it signs the certificates that have these roles",
    );
}
