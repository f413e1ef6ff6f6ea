//! The addresses of the real servers that `scripts/stack up` starts. Tests that need them are
//! `#[ignore = "needs scripts/stack up"]`; the gate runs them with `--include-ignored`. Each test
//! keeps to a prefix, schema or keyspace of its own.

use std::sync::atomic::{AtomicU32, Ordering};

/// The first port of the stack, as `scripts/stack` chooses it.
fn first_port() -> u16 {
    std::env::var("LC_STACK_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(17_000)
}

/// Three nodes.
pub(crate) fn redis() -> Vec<String> {
    (1..=3).map(|node| format!("redis://127.0.0.1:{}", first_port() + node)).collect()
}

pub(crate) fn postgres() -> String {
    format!("postgres://lcd@127.0.0.1:{}/lcd", first_port() + 10)
}

/// The first broker, which is there in a stack of one and of three.
pub(crate) fn kafka() -> Vec<String> {
    vec![format!("127.0.0.1:{}", first_port() + 20)]
}

pub(crate) fn cassandra() -> Vec<String> {
    vec![format!("127.0.0.1:{}", first_port() + 40)]
}

/// A name no other test of any run has: letters, digits and `_`, a letter first, at most 40 bytes.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{name}_{:x}_{:x}_{count}", std::process::id(), nanos & 0xff_ffff_ffff)
}
