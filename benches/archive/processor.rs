//! Processor time per process, as the kernel accounts it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cpu::cpu_s;

/// Processor time so far, in seconds.
pub(super) type Shares = BTreeMap<&'static str, f64>;

/// This program with its archiver, the servers, and the machine as a whole.
pub(super) fn shares() -> anyhow::Result<Shares> {
    let mut shares = Shares::new();
    let own = std::process::id();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may have exited meanwhile.
        let Ok(command) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let who = match String::from_utf8_lossy(&command) {
            _ if pid == own => "bench and archiver",
            command if command.contains("kafka.Kafka") => "Kafka",
            command if command.contains("CassandraDaemon") => "Cassandra",
            _ => "others",
        };
        *shares.entry(who).or_default() += cpu_s(pid).unwrap_or(0.0);
    }
    Ok(shares)
}

/// Returns the use of one core in percent between two times.
pub(super) fn busy_between(before: &Shares, after: &Shares, time: Duration) -> Shares {
    let share = |(who, after): (&&'static str, &f64)| {
        let used = after - before.get(*who).unwrap_or(&0.0);
        (*who, 100.0 * used / time.as_secs_f64())
    };
    after.iter().map(share).collect()
}
