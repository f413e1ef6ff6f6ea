//! Checks of a node by what it has reported: of another one, and of the one that answers.

use super::{Machine, of_alerts, of_certificate};
use crate::protocol::admin::{
    Alert, AlertThresholds, Cluster, DoctorFinding, Health, NodeStatus, ProcessStatus, Severity,
    Status,
};
use crate::protocol::printable::printable;
use crate::protocol::quantity::show_bytes;

/// Figures that a report of a node does not have.
const NOT_REPORTED: &str =
    "net.core.somaxconn, fs.file-max, TCP memory, whether its clock is synchronized";
/// A larger share of the memory leaves no room for a burst.
const MOST_MEMORY: f64 = 0.9;

/// Says what cannot be checked of another node.
pub(super) fn not_reported(name: &str) -> String {
    let name = printable(name);
    format!("not in the report of {name}: {NOT_REPORTED}; lc doctor on its machine checks them")
}

/// Checks what a node has reported; `None` if there is no such node.
pub(super) fn findings(
    name: &str,
    nodes: &Cluster<NodeStatus>,
    status: &Status,
    now_ms: u64,
) -> Option<Vec<DoctorFinding>> {
    let Some(node) = nodes.items.iter().find(|node| node.node.as_str() == name) else {
        let is_silent = nodes.unreachable.iter().any(|node| node.as_str() == name);
        return is_silent.then(|| {
            let what = format!("{} does not report", printable(name));
            let why = "its viewers reconnect to other nodes".to_owned();
            let mend = "is lcd running there, and does it reach the registry?";
            vec![DoctorFinding::degraded("report", what, why, mend)]
        });
    };
    let mut findings = of_limits(node);
    findings.extend(of_certificate(node.process.certificate_expires_at, now_ms));
    let mut alerts = status.clone();
    alerts.alerts.retain(|alert| alert.nodes.contains(&node.node));
    let is_critical = |alert: &Alert| alert.severity == Severity::Critical;
    let is_failing = alerts.alerts.iter().any(is_critical);
    alerts.health = if is_failing { Health::Failing } else { Health::Degraded };
    findings.extend(of_alerts(&alerts));
    Some(findings)
}

/// Checks the limits in the report of a node.
pub(super) fn of_limits(node: &NodeStatus) -> Vec<DoctorFinding> {
    let process = &node.process;
    let machine = Machine {
        daemon_files: process.files_max,
        daemon_files_open: process.files,
        disk_free: process.disk_free_bytes,
        ..Machine::default()
    };
    let mut findings = machine.findings(node.max_connections);
    findings.extend(of_process(node));
    findings
}

/// Checks what only the report of a node has, on whatever machine it is read.
pub(super) fn of_process(node: &NodeStatus) -> Vec<DoctorFinding> {
    let process = &node.process;
    of_memory(process).into_iter().chain(of_clock(process.clock_ms)).collect()
}

fn of_memory(process: &ProcessStatus) -> Option<DoctorFinding> {
    let used = process.rss_bytes?;
    let limit = process.memory_bytes.filter(|limit| *limit > 0)?;
    let what = format!("{} of {} of memory used", show_bytes(used), show_bytes(limit));
    if used as f64 / limit as f64 <= MOST_MEMORY {
        return Some(DoctorFinding::well("memory", what));
    }
    let why = "the kernel ends the process when it has none left".to_owned();
    let mend = "a lower gateway.max_connections, or more memory";
    Some(DoctorFinding::degraded("memory", what, why, mend))
}

fn of_clock(clock_ms: Option<i64>) -> Option<DoctorFinding> {
    let offset = clock_ms?;
    let what = format!("clock {offset:+}ms to that of Redis");
    if offset.unsigned_abs() <= AlertThresholds::DEFAULT.clock_off_ms {
        return Some(DoctorFinding::well("clock", what));
    }
    let why = "times of comments and the ends of bans are off as much".to_owned();
    Some(DoctorFinding::degraded(
        "clock",
        what,
        why,
        "chronyc tracking, or timedatectl, on that node",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::NodeId;
    use crate::protocol::admin::{CheckResult, Egress, NodeRates};

    #[test]
    fn another_node_is_checked_by_its_report() {
        let node = |process| NodeStatus {
            node: NodeId::new("edge-4"),
            roles: vec!["edge".into()],
            version: "0.1.0".into(),
            listen: "10.0.0.7:8080".into(),
            uptime_ms: 93_784_000,
            connections: 34_900,
            senders: 0,
            transports: Default::default(),
            max_connections: 50_000,
            draining: false,
            health: Health::Well,
            seen_ms: 0,
            partitions: std::collections::BTreeMap::new(),
            egress: Egress::default(),
            process,
            rates: NodeRates::default(),
        };
        let status = crate::cli::status::tests::status();
        let findings = |process| {
            let nodes =
                Cluster { items: vec![node(process)], unreachable: vec![NodeId::new("edge-7")] };
            let checks = |name| super::findings(name, &nodes, &status, 1_000);
            assert_eq!(checks("edge-9"), None);
            let silent = checks("edge-7").unwrap();
            assert_eq!((silent.len(), silent[0].check.as_str()), (1, "report"));
            let results = checks("edge-4").unwrap().into_iter();
            results.map(|finding| (finding.check, finding.result)).collect::<Vec<_>>()
        };
        let large = ProcessStatus {
            files: Some(40),
            files_max: Some(1_048_576),
            rss_bytes: Some(1_000_000_000),
            memory_bytes: Some(32_000_000_000),
            disk_free_bytes: Some(60_000_000_000),
            clock_ms: Some(-20),
            certificate_expires_at: Some(90_000_000),
            ..ProcessStatus::default()
        };
        let checks = ["files", "disk", "memory", "clock", "certificate", "alerts"];
        let well: Vec<_> =
            checks.iter().map(|check| ((*check).to_owned(), CheckResult::Well)).collect();
        assert_eq!(findings(large.clone()), well);
        let small = ProcessStatus {
            files_max: Some(1_024),
            rss_bytes: Some(31_000_000_000),
            disk_free_bytes: Some(1_000),
            clock_ms: Some(41),
            ..large
        };
        let degraded = findings(small).iter().filter(|it| it.1 == CheckResult::Degraded).count();
        assert_eq!(degraded, 4);
        assert_eq!(findings(ProcessStatus::default()), [("alerts".to_owned(), CheckResult::Well)]);
    }
}
