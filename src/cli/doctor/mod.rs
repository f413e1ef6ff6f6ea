//! `lc doctor`: looks for limits of this machine that a large event would reach, or for those of
//! another node, as far as its report tells them; and for settings of the servers behind the
//! engines, which the daemon asks.
//!
//! It reads what the kernel and the daemon say, and changes nothing. The checks are pure functions
//! of what was read.

mod other_node;
mod servers;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use nix::sys::statvfs::statvfs;

use super::complete;
use super::context::Context;
use super::exit;
use super::output::{note, now_ms};
use crate::protocol::admin::{
    Alert, CheckResult, Cluster, DoctorFinding, Health, NodeStatus, Severity, Status,
};
use crate::protocol::printable::printable;
use crate::protocol::quantity::{show_bytes, show_count, show_counted, show_duration};

/// Files that a node needs beside those of its viewers.
const OTHER_FILES: u64 = 1_000;
/// Connections that wait to be accepted when all viewers come back at once, as one in this many.
const BACKLOG_SHARE: u64 = 8;
/// A disk with less free space than this may be full within hours.
const LOW_DISK_BYTES: u64 = 5_000_000_000;

/// Look for limits of this machine that a large event would reach
///
/// Run it on the machine of the daemon: over --node, only what its report has is checked. Each
/// line has what, why, and the command that mends it. Exit code 0 if nothing is found, 3 for
/// warnings, 4 if viewers cannot be served.
///
/// With the name of another node, its files, memory, disk, clock, certificate and alerts are
/// checked, as its last report has them. What only its kernel knows is named, and not checked.
///
/// The daemon checks the settings of its Redis, Kafka, Cassandra and PostgreSQL servers. A setting
/// that a server does not tell is listed as not checked.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Name of a node, if not the one that answers
    #[arg(add = complete::nodes())]
    node: Option<String>,
}

/// Figures of this machine. `None` where it tells none, as on another operating system.
#[derive(Debug, Clone, Default)]
struct Machine {
    somaxconn: Option<u64>,
    file_max: Option<u64>,
    /// The soft limit of open files of the daemon.
    daemon_files: Option<u64>,
    daemon_files_open: Option<u64>,
    /// The third value of `tcp_mem`, in bytes.
    tcp_memory: Option<u64>,
    /// The free bytes of the data directory.
    disk_free: Option<u64>,
    /// False if the kernel's clock is not kept in time.
    synchronized: Option<bool>,
}

pub(super) async fn run(args: DoctorArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let admin = context.admin();
    let status: Status = admin.get("/v1/status").await?;
    let nodes: Cluster<NodeStatus> = admin.get("/v1/nodes").await?;
    let other = args.node.as_deref().filter(|name| *name != status.node.as_str());
    let mut findings = match other {
        Some(name) => {
            let findings = other_node::findings(name, &nodes, &status, now_ms());
            let Some(findings) = findings else {
                bail!("there is no node `{}`; `lc nodes` lists all nodes", printable(name));
            };
            note(&other_node::not_reported(name));
            findings
        }
        None => {
            let own = nodes.items.iter().find(|node| node.node == status.node);
            let mut findings = if admin.remote_host().is_some() {
                // This machine says nothing about that of the daemon.
                note(&other_node::not_reported(status.node.as_str()));
                own.map_or_else(Vec::new, other_node::of_limits)
            } else {
                let daemon = admin.peer_process().await;
                let machine = Machine::read(daemon, Path::new(&status.data_dir));
                let mut findings = machine.findings(own.map_or(0, |node| node.max_connections));
                findings.extend(own.into_iter().flat_map(other_node::of_process));
                findings
            };
            findings.extend(of_certificate(status.certificate_expires_at, now_ms()));
            findings.extend(of_alerts(&status));
            findings
        }
    };
    findings.extend(of_cluster(&nodes.items));
    // A silent node has no figures: those of the node that answers serve as well.
    let reports = |name: &&str| nodes.items.iter().any(|node| node.node.as_str() == *name);
    findings.extend(servers::findings(&admin, other.filter(reports)).await);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.result));
    context.output().items(&findings, || to_text(&findings))?;
    Ok(match findings.iter().map(|finding| finding.result).max() {
        None | Some(CheckResult::Well | CheckResult::NotChecked) => exit::OK,
        Some(CheckResult::Degraded) => exit::DEGRADED,
        Some(CheckResult::Failing) => exit::FAILING,
    }
    .into())
}

impl Machine {
    /// Reads `/proc`, and the disk of the data directory.
    fn read(daemon: Option<i32>, data_dir: &Path) -> Self {
        let limits = daemon.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/limits")).ok());
        let open = daemon.and_then(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok());
        let pages = number_in(Path::new("/proc/sys/net/ipv4/tcp_mem"), 2);
        Self {
            somaxconn: number_in(Path::new("/proc/sys/net/core/somaxconn"), 0),
            file_max: number_in(Path::new("/proc/sys/fs/file-max"), 0),
            daemon_files: limits.as_deref().and_then(soft_limit_of_files),
            daemon_files_open: open.map(|files| files.count() as u64),
            tcp_memory: pages.map(|pages| pages.saturating_mul(4_096)),
            disk_free: statvfs(data_dir)
                .ok()
                .map(|disk| disk.blocks_available() * disk.fragment_size()),
            synchronized: clock_is_synchronized(),
        }
    }

    /// Compares with what so many viewers need; 0 if this node has none.
    fn findings(&self, viewers: u64) -> Vec<DoctorFinding> {
        let mut found = Vec::new();
        if viewers > 0 {
            found.extend(self.backlog(viewers));
            found.extend(self.files(viewers));
            found.extend(self.tcp_memory(viewers));
        }
        if let Some(free) = self.disk_free {
            let what = format!("{} free in the data directory", show_bytes(free));
            found.push(if free < LOW_DISK_BYTES {
                let why = "comments are refused when it is full".to_owned();
                let mend = "free space, or eventlog.retention and store.retention";
                DoctorFinding::degraded("disk", what, why, mend)
            } else {
                DoctorFinding::well("disk", what)
            });
        }
        found.extend(self.synchronized.map(|synchronized| {
            if synchronized {
                return DoctorFinding::well("clock", "the clock is synchronized".to_owned());
            }
            let what = "the clock is not synchronized".to_owned();
            let why = "times of comments and the ends of bans differ between nodes".to_owned();
            DoctorFinding::degraded("clock", what, why, "systemctl enable --now systemd-timesyncd")
        }));
        found
    }

    fn backlog(&self, viewers: u64) -> Option<DoctorFinding> {
        let limit = self.somaxconn?;
        let wanted = (viewers / BACKLOG_SHARE).clamp(128, 65_535);
        let what = format!("net.core.somaxconn = {limit}");
        if limit >= wanted {
            return Some(DoctorFinding::well("backlog", what));
        }
        let why = format!(
            "{} may come back at once after a restart; {limit} fit",
            show_counted(viewers, "viewer")
        );
        // The gateway asks for no more.
        let mend = wanted.next_power_of_two().min(65_535);
        let mend = format!("sysctl -w net.core.somaxconn={mend}");
        Some(DoctorFinding::degraded("backlog", what, why, &mend))
    }

    fn files(&self, viewers: u64) -> Option<DoctorFinding> {
        let limit = self.daemon_files?;
        let wanted = viewers + OTHER_FILES;
        let open = self.daemon_files_open.map(|open| format!(" ({} used)", show_count(open)));
        let what = format!("{}{}", show_counted(limit, "file"), open.unwrap_or_default());
        if limit < wanted {
            let why = format!(
                "gateway.max_connections is {}; viewers beyond the limit are refused",
                show_count(viewers)
            );
            let mend = format!("LimitNOFILE={wanted} in the unit of lcd, or ulimit -n {wanted}");
            return Some(DoctorFinding::degraded("files", what, why, &mend));
        }
        let whole = self.file_max.filter(|whole| *whole < wanted);
        Some(match whole {
            Some(whole) => DoctorFinding::degraded(
                "files",
                format!("fs.file-max = {whole}"),
                format!("all processes share it, and lcd alone may need {wanted}"),
                &format!("sysctl -w fs.file-max={}", wanted * 2),
            ),
            None => DoctorFinding::well("files", what),
        })
    }

    fn tcp_memory(&self, viewers: u64) -> Option<DoctorFinding> {
        // The bytes that wait in the socket of a slow viewer.
        const SOCKET_BYTES: u64 = 16 * 1024;
        let limit = self.tcp_memory?;
        let wanted = viewers * SOCKET_BYTES;
        let what = format!("TCP may use {}", show_bytes(limit));
        if limit >= wanted {
            return Some(DoctorFinding::well("tcp memory", what));
        }
        let why = format!(
            "full sockets of {} hold {}; beyond the limit the kernel drops packets",
            show_counted(viewers, "viewer"),
            show_bytes(wanted)
        );
        let pages = wanted / 4_096;
        let mend = format!("sysctl -w net.ipv4.tcp_mem='{} {} {pages}'", pages / 2, pages * 3 / 4);
        Some(DoctorFinding::degraded("tcp memory", what, why, &mend))
    }
}

fn of_cluster(nodes: &[NodeStatus]) -> Option<DoctorFinding> {
    let mut versions: Vec<_> = nodes.iter().map(|node| node.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    Some(match versions.as_slice() {
        [] => return None,
        [one] => {
            DoctorFinding::well("versions", format!("all nodes have version {}", printable(one)))
        }
        several => DoctorFinding::degraded(
            "versions",
            format!("nodes have versions {}", printable(&several.join(", "))),
            "they should not for longer than an upgrade".to_owned(),
            "lc nodes --sort version",
        ),
    })
}

/// An alert tells when it is about to end.
fn of_certificate(expires_at_ms: Option<u64>, now_ms: u64) -> Option<DoctorFinding> {
    let left_ms = expires_at_ms?.saturating_sub(now_ms);
    let what = format!("the certificate is valid for {}", show_duration(left_ms));
    (left_ms > 0).then(|| DoctorFinding::well("certificate", what))
}

/// Only a critical alert may be the reason why viewers are not served. A node that is not ready may
/// have none yet.
fn of_alerts(status: &Status) -> Vec<DoctorFinding> {
    let finding = |alert: &Alert| DoctorFinding {
        check: "alerts".to_owned(),
        result: match alert.severity {
            Severity::Critical => status.health.into(),
            Severity::Warning => CheckResult::Degraded,
        },
        what: printable(&alert.id),
        why: printable(&alert.effect),
        mend: printable(&alert.next),
    };
    let mut found: Vec<_> = status.alerts.iter().map(finding).collect();
    let result = CheckResult::from(status.health);
    let has_reason = found.iter().any(|finding| finding.result == result);
    if status.health == Health::Failing && !has_reason {
        found.push(DoctorFinding {
            check: "ready".to_owned(),
            result: CheckResult::Failing,
            what: "this node is not ready".to_owned(),
            why: "it refuses viewers".to_owned(),
            mend: "the log of the daemon says why".to_owned(),
        });
    }
    if found.is_empty() {
        found.push(DoctorFinding::well("alerts", "no alerts".to_owned()));
    }
    found
}

fn to_text(findings: &[DoctorFinding]) -> String {
    let mut text = String::new();
    for finding in findings.iter().filter(|finding| finding.result != CheckResult::Well) {
        let DoctorFinding { what, why, mend, .. } = finding;
        let mark = match finding.result {
            CheckResult::Failing => "✗",
            CheckResult::NotChecked => "– not checked:",
            CheckResult::Degraded | CheckResult::Well => "▲",
        };
        text.push_str(&format!("{mark} {what}: {why}\n"));
        if !mend.is_empty() {
            text.push_str(&format!("    mend: {mend}\n"));
        }
    }
    let well: Vec<_> = findings
        .iter()
        .filter(|finding| finding.result == CheckResult::Well)
        .map(|finding| finding.what.as_str())
        .collect();
    if !well.is_empty() {
        text.push_str(&format!("✓ {} well: {}\n", well.len(), well.join(", ")));
    }
    text
}

/// Reads the number at a place of a file with numbers.
fn number_in(file: &Path, place: usize) -> Option<u64> {
    fs::read_to_string(file).ok()?.split_whitespace().nth(place)?.parse().ok()
}

/// Finds the soft limit in `/proc/PID/limits`.
fn soft_limit_of_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    let soft = line.strip_prefix("Max open files")?.split_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

/// Asks what systemd-timesyncd or chrony leave behind; `None` if neither has run.
fn clock_is_synchronized() -> Option<bool> {
    let timesync = Path::new("/run/systemd/timesync");
    if timesync.exists() {
        return Some(timesync.join("synchronized").exists());
    }
    Path::new("/run/chrony").exists().then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Machine {
        Machine {
            somaxconn: Some(128),
            file_max: Some(100_000),
            daemon_files: Some(1_024),
            daemon_files_open: Some(40),
            tcp_memory: Some(50_000_000),
            disk_free: Some(1_000_000_000),
            synchronized: Some(false),
        }
    }

    fn large() -> Machine {
        Machine {
            somaxconn: Some(65_535),
            file_max: Some(u64::MAX),
            daemon_files: Some(1_048_576),
            daemon_files_open: Some(34_900),
            tcp_memory: Some(8_000_000_000),
            disk_free: Some(500_000_000_000),
            synchronized: Some(true),
        }
    }

    #[test]
    fn each_limit_has_a_reason_and_a_command() {
        let texts = [small().findings(50_000), large().findings(50_000), small().findings(0)];
        insta::assert_snapshot!(texts.map(|found| to_text(&found)).join("────\n"));
        for finding in small().findings(50_000) {
            assert!(!finding.why.is_empty() && !finding.mend.is_empty(), "{finding:?}");
        }
        assert_eq!(Machine::default().findings(50_000), []);
    }

    #[test]
    fn only_what_stops_service_is_failing() {
        let status = |health, severities: &[Severity]| {
            let [alert, _] = crate::cli::alerts::tests::alerts();
            let alerts = severities.iter().map(|&severity| Alert { severity, ..alert.clone() });
            Status { health, alerts: alerts.collect(), ..crate::cli::status::tests::status() }
        };
        let results = |status: &Status| {
            of_alerts(status).iter().map(|finding| finding.result).collect::<Vec<_>>()
        };
        let both = [Severity::Critical, Severity::Warning];
        let failing = status(Health::Failing, &both);
        assert_eq!(results(&failing), [CheckResult::Failing, CheckResult::Degraded]);
        assert_eq!(results(&status(Health::Degraded, &both)), [CheckResult::Degraded; 2]);
        assert_eq!(results(&status(Health::Well, &[])), [CheckResult::Well]);
        let unready = status(Health::Failing, &[Severity::Warning]);
        assert_eq!(results(&unready), [CheckResult::Degraded, CheckResult::Failing]);
        assert_eq!(results(&status(Health::Failing, &[])), [CheckResult::Failing]);
    }

    #[test]
    fn a_check_that_was_not_made_is_said() {
        let unread = "Redis 10.0.3.12:6379 timeout".to_owned();
        let findings = [
            DoctorFinding::not_checked("redis", unread, "CONFIG GET: NOPERM".to_owned()),
            DoctorFinding::well("kafka", "Kafka 10.0.1.1:9092 (3 brokers)".to_owned()),
        ];
        insta::assert_snapshot!(to_text(&findings), @r"
        – not checked: Redis 10.0.3.12:6379 timeout: CONFIG GET: NOPERM
        ✓ 1 well: Kafka 10.0.1.1:9092 (3 brokers)
        ");
        let json = crate::protocol::json::to_string(&findings[0]).unwrap();
        insta::assert_snapshot!(json, @r#"{"check":"redis","result":"not_checked","what":"Redis 10.0.3.12:6379 timeout","why":"CONFIG GET: NOPERM"}"#);
    }

    #[test]
    fn the_limit_of_files_is_the_soft_one() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\n\
                      Max open files            1024                 1048576              files\n";
        assert_eq!(soft_limit_of_files(limits), Some(1_024));
        let none = "Max open files            unlimited            unlimited            files\n";
        assert_eq!(soft_limit_of_files(none), Some(u64::MAX));
        assert_eq!(soft_limit_of_files(""), None);
    }
}
