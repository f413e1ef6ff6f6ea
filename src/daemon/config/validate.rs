//! What the types alone cannot say of a configuration.

use std::time::Duration;

use super::Config;

/// The first thing that is wrong, with its key and what would be right.
pub(super) fn validate(config: &Config) -> Result<(), String> {
    gateway(config)?;
    throttle(config)?;
    let at_least_one = [
        ("node.roles", config.node.roles.len()),
        ("ingest.max_comment_chars", config.ingest.max_comment_chars),
        ("ingest.max_comment_bytes", config.ingest.max_comment_bytes),
        ("ingest.queue_comments", config.ingest.queue_comments),
        ("delivery.ring_frames", config.delivery.ring_frames),
        ("delivery.deflate_key_frames", config.delivery.deflate_key_frames as usize),
        ("store.archive_batch", config.store.archive_batch),
        ("moderation.batch_comments", config.moderation.batch_comments),
    ];
    for (key, value) in at_least_one {
        check(value >= 1, key, "must be at least 1")?;
    }
    check(config.delivery.workers <= 1024, "delivery.workers", "must be 0 (one a core) to 1024")?;
    let segment = config.eventlog.segment_bytes.as_u64();
    check(
        (1 << 20..=1 << 32).contains(&segment),
        "eventlog.segment_bytes",
        "must be 1 MiB to 4 GiB",
    )?;
    check(
        config.eventlog.max_pending_bytes.as_u64() >= 1 << 20,
        "eventlog.max_pending_bytes",
        "must be at least 1 MiB",
    )?;
    let kinds = &config.reactions.kinds;
    check(
        kinds.len() <= 1000 && kinds.iter().all(|kind| (1..=32).contains(&kind.chars().count())),
        "reactions.kinds",
        "must be at most 1000 names of 1 to 32 characters",
    )?;
    check(
        config.shutdown.deadline >= Duration::from_secs(1),
        "shutdown.deadline",
        "must be at least 1s",
    )
}

fn gateway(config: &Config) -> Result<(), String> {
    let gateway = &config.gateway;
    check(gateway.max_connections >= 1, "gateway.max_connections", "must be at least 1")?;
    check(
        gateway.tls.is_none() || !gateway.dev_tls,
        "gateway.dev_tls",
        "cannot be used with gateway.tls: choose one",
    )?;
    let bytes = gateway.max_message_bytes.as_u64();
    check((128..=1 << 20).contains(&bytes), "gateway.max_message_bytes", "must be 128 B to 1 MiB")?;
    let times = [
        ("gateway.handshake_timeout", gateway.handshake_timeout),
        ("gateway.auth_timeout", gateway.auth_timeout),
        ("gateway.ping_interval", gateway.ping_interval),
        ("gateway.idle_timeout", gateway.idle_timeout),
    ];
    for (key, value) in times {
        check(value >= Duration::from_millis(100), key, "must be at least 100ms")?;
    }
    check(
        gateway.idle_timeout > gateway.ping_interval,
        "gateway.idle_timeout",
        "must be longer than gateway.ping_interval, or healthy viewers are closed",
    )
}

fn throttle(config: &Config) -> Result<(), String> {
    let levels = &config.broadcast.throttle;
    let key = "broadcast.throttle";
    check(
        levels.first().is_some_and(|level| level.from_per_second == 0.0),
        key,
        "must have a first level with from_per_second = 0",
    )?;
    check(levels.len() <= 16, key, "must have at most 16 levels")?;
    for pair in levels.windows(2) {
        check(
            pair[0].from_per_second < pair[1].from_per_second
                && pair[0].sample_rate > pair[1].sample_rate,
            key,
            "must rise in from_per_second and fall in sample_rate",
        )?;
    }
    check(
        config.broadcast.hysteresis > 0.0 && config.broadcast.hysteresis <= 1.0,
        "broadcast.hysteresis",
        "must be above 0 and at most 1",
    )?;
    let interval = config.broadcast.batch_interval;
    check(
        (Duration::from_millis(1)..=Duration::from_secs(1)).contains(&interval),
        "broadcast.batch_interval",
        "must be 1ms to 1s",
    )
}

fn check(right: bool, key: &str, text: &str) -> Result<(), String> {
    if right { Ok(()) } else { Err(format!("`{key}` {text}")) }
}
