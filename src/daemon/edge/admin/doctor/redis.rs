//! Judges a Redis node: whether it cuts off nodes of lcd, forgets what they keep on it, or refuses
//! to take more.

use super::figures::NodeFigures;
use super::judgement::{Flaw, Judgement};
use crate::daemon::engines::server_settings::{OutputLimit, RedisSettings};
use crate::protocol::admin::DoctorFinding;
use crate::protocol::quantity::{show_bytes, show_counted, show_duration};

/// The oldest version with the commands of the engines.
const OLDEST_VERSION: (u32, u32) = (6, 2);
/// A node that stops for this many seconds, as while its virtual machine is moved, must not be cut
/// off.
const LONGEST_STOP_S: u64 = 60;
/// The least limit that is advised, in MiB.
const LEAST_LIMIT_MIB: u64 = 64;
/// A larger share of the memory leaves no room for a burst.
const MOST_MEMORY: f64 = 0.8;
/// Connections without a call for this many seconds occur in service.
const LONGEST_IDLE_S: u64 = 60;

pub(super) fn judge(
    server: &str,
    found: &RedisSettings,
    figures: &NodeFigures,
) -> Vec<DoctorFinding> {
    let mut judgement = Judgement::new("redis", server);
    let redis = Redis { server, found, figures };
    if let Some(version) = &found.version {
        judgement.flaw_or(redis.version(version), version.clone());
    }
    if let Some(limit) = found.pubsub_limit {
        let well = format!("client-output-buffer-limit pubsub {}", show_limit(limit));
        judgement.flaw_or(redis.pubsub_limit(limit), well);
    }
    if let Some((limit, used)) = found.maxmemory.zip(found.used_memory) {
        let of = if limit > 0 { show_bytes(limit) } else { "no limit".to_owned() };
        let well = format!("{} of {of} used", show_bytes(used));
        judgement.flaw_or(redis.memory(limit, used), well);
    }
    if let Some(policy) = &found.maxmemory_policy {
        judgement.flaw_or(redis.eviction(policy), policy.clone());
    }
    if let Some(backlog) = found.tcp_backlog {
        judgement.flaw_or(redis.backlog(backlog), format!("tcp-backlog {backlog}"));
    }
    if let Some(timeout_s) = found.timeout_s {
        judgement.flaw_or(redis.idle_timeout(timeout_s), format!("timeout {timeout_s}"));
    }
    judgement.finish(&found.unread)
}

/// Writes `34MB`, or `34MB or 8.4MB for 1m`.
fn show_limit(limit: OutputLimit) -> String {
    let OutputLimit { hard_bytes, soft_bytes, soft_s } = limit;
    let hard = if hard_bytes > 0 { show_bytes(hard_bytes) } else { "without limit".to_owned() };
    if soft_bytes == 0 {
        return hard;
    }
    format!("{hard} or {} for {}", show_bytes(soft_bytes), show_duration(soft_s * 1_000))
}

/// Returns the seconds for which a node may stop before it is cut off; `None` if it never is.
fn survives_s(limit: OutputLimit, bytes_per_second: f64) -> Option<u64> {
    if bytes_per_second < 1.0 {
        return None;
    }
    let after = |bytes: u64| (bytes > 0).then(|| (bytes as f64 / bytes_per_second) as u64);
    let soft = after(limit.soft_bytes).map(|seconds| seconds + limit.soft_s);
    after(limit.hard_bytes).into_iter().chain(soft).min()
}

/// One Redis node.
struct Redis<'a> {
    server: &'a str,
    found: &'a RedisSettings,
    figures: &'a NodeFigures,
}

impl Redis<'_> {
    fn flaw(&self, check: &'static str, setting: &str, why: String, mend: String) -> Flaw {
        Flaw { check, what: format!("{} {setting}", self.server), why, mend }
    }

    /// Returns the command that changes a setting.
    fn set(&self, name: &str, value: &str) -> String {
        let (host, port) = self.found.address.rsplit_once(':').unwrap_or((&self.found.address, ""));
        format!("redis-cli -h {host} -p {port} CONFIG SET {name} {value}")
    }

    fn viewers(&self) -> String {
        show_counted(self.figures.all_viewers, "viewer")
    }

    fn version(&self, version: &str) -> Option<Flaw> {
        let mut parts = version.split('.').map(str::parse::<u32>);
        let found = (parts.next()?.ok()?, parts.next()?.ok()?);
        (found < OLDEST_VERSION).then(|| {
            let (major, minor) = OLDEST_VERSION;
            let why =
                format!("lcd uses commands of {major}.{minor}: what fails goes through the log");
            let mend = format!("an upgrade to {major}.{minor} or later");
            self.flaw("redis version", &format!("is {version}"), why, mend)
        })
    }

    fn pubsub_limit(&self, limit: OutputLimit) -> Option<Flaw> {
        let rate = self.figures.received_from(&self.found.address);
        let survives_s = survives_s(limit, rate).filter(|seconds| *seconds < LONGEST_STOP_S)?;
        let why = format!(
            "at {}/s a node that stops for {} is cut off; {} on it then wait until it has read \
             again what it missed",
            show_bytes(rate as u64),
            show_duration(survives_s * 1_000),
            show_counted(self.figures.viewers, "viewer"),
        );
        let wanted_mib = (rate as u64 * 2 * LONGEST_STOP_S) >> 20;
        let hard = wanted_mib.max(LEAST_LIMIT_MIB).next_power_of_two();
        let value = format!("'pubsub {hard}mb {}mb {LONGEST_STOP_S}'", hard / 4);
        let mend = self.set("client-output-buffer-limit", &value);
        let setting = format!("client-output-buffer-limit pubsub {}", show_limit(limit));
        Some(self.flaw("redis pubsub limit", &setting, why, mend))
    }

    fn memory(&self, limit: u64, used: u64) -> Option<Flaw> {
        let is_limited = limit > 0;
        let most = if is_limited { limit } else { self.found.total_system_memory? };
        if most == 0 || used as f64 / most as f64 <= MOST_MEMORY {
            return None;
        }
        let viewers = self.viewers();
        let setting = format!("uses {} of {}", show_bytes(used), show_bytes(most));
        let why = if is_limited {
            format!(
                "at maxmemory it refuses writes: {viewers} are served through the log, and \
                 reactions wait"
            )
        } else {
            format!(
                "it has no maxmemory and grows until the kernel ends it: {viewers} then get \
                 comments through the log"
            )
        };
        Some(self.flaw("redis memory", &setting, why, self.more_memory(limit, used)))
    }

    /// Returns the command that gives it room, if its machine has that. A `maxmemory` below what is
    /// in use would refuse all writes at once.
    fn more_memory(&self, limit: u64, used: u64) -> String {
        let total = self.found.total_system_memory.filter(|total| *total > 0);
        let fitting = total.map_or(u64::MAX, |total| (total as f64 * MOST_MEMORY) as u64);
        let wanted = limit.saturating_mul(2).min(fitting);
        if used as f64 <= wanted as f64 * MOST_MEMORY {
            return self.set("maxmemory", &format!("{}mb", wanted >> 20));
        }
        let share = MOST_MEMORY * 100.0;
        format!("more memory on its machine; then maxmemory at {share:.0} % of it")
    }

    /// Without a limit of memory nothing is evicted.
    fn eviction(&self, policy: &str) -> Option<Flaw> {
        if policy == "noeviction" || self.found.maxmemory == Some(0) {
            return None;
        }
        let why = format!(
            "at maxmemory it drops what nodes keep on it: deleted comments may be shown again to \
             viewers that reconnect, and a ban may miss some of {}",
            show_counted(self.figures.all_viewers, "connection")
        );
        let setting = format!("maxmemory-policy {policy}");
        Some(self.flaw("redis eviction", &setting, why, self.set("maxmemory-policy", "noeviction")))
    }

    fn backlog(&self, backlog: u64) -> Option<Flaw> {
        let clients = self.found.connected_clients.filter(|clients| *clients > backlog)?;
        let why = format!(
            "{} come back at once after a restart; {backlog} fit",
            show_counted(clients, "connection")
        );
        let wanted = clients.next_power_of_two();
        let mend = format!(
            "tcp-backlog {wanted} in redis.conf, sysctl -w net.core.somaxconn={wanted}, and a restart"
        );
        Some(self.flaw("redis backlog", &format!("tcp-backlog {backlog}"), why, mend))
    }

    fn idle_timeout(&self, timeout_s: u64) -> Option<Flaw> {
        (1..LONGEST_IDLE_S).contains(&timeout_s).then(|| {
            let why = format!(
                "a connection that is idle for {} is closed; the next call on it fails",
                show_duration(timeout_s * 1_000)
            );
            let setting = format!("timeout {timeout_s}");
            self.flaw("redis timeout", &setting, why, self.set("timeout", "0"))
        })
    }
}
