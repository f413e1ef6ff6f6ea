//! Whose work it is, as the kernel accounts it.

use std::collections::BTreeMap;
use std::time::Duration;

/// Processor time so far, in seconds, by who it is.
pub(super) type Shares = BTreeMap<&'static str, f64>;

/// This program with its archiver, the servers, and the machine as a whole.
pub(super) fn shares() -> anyhow::Result<Shares> {
    let mut shares = Shares::new();
    let own = std::process::id();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may have ended meanwhile.
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

/// Percent of one core in use between two moments.
pub(super) fn busy_between(before: &Shares, after: &Shares, time: Duration) -> Shares {
    let share = |(who, after): (&&'static str, &f64)| {
        let used = after - before.get(*who).unwrap_or(&0.0);
        (*who, 100.0 * used / time.as_secs_f64())
    };
    after.iter().map(share).collect()
}

fn cpu_s(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces; utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    let ticks: u64 = ticks.sum();
    let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(ticks as f64 / hertz as f64)
}
