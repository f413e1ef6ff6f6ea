//! `lc status`: shows whether viewers are served, what is wrong, and what to do next.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::alerts::mark_of;
use super::context::Context;
use super::exit;
use super::output::write;
use crate::protocol::admin::{Alert, BreakerState, Health, Severity, Status};
use crate::protocol::printable::printable;
use crate::protocol::quantity::{show_count, show_counted, show_duration};

/// Things that work and are named in the last line; the others are counted.
const MAX_WORKING: usize = 10;

/// Show whether viewers are served, what is wrong, and what to do next
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Also show the node, its engines and its dependencies
    #[arg(long)]
    full: bool,
    /// Print one line for Nagios and exit with its codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
    #[arg(long, conflicts_with = "prometheus")]
    nagios: bool,
    /// Print metrics for the textfile collector of Prometheus
    #[arg(long)]
    prometheus: bool,
}

pub(super) async fn run(args: StatusArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let status = context.admin().get::<Status>("/v1/status").await;
    if args.nagios {
        let (line, code) = match &status {
            Ok(status) => nagios(status),
            Err(error) => (format!("LC UNKNOWN - {}", printable(&error.to_string())), 3),
        };
        write(&line)?;
        return Ok(code.into());
    }
    let status = status?;
    if args.prometheus {
        write(&prometheus(&status))?;
    } else {
        context.output().item(&status, || to_text(&status, args.full))?;
    }
    Ok(exit_code(&status).into())
}

fn health_of(status: &Status) -> Health {
    let serves = status.ready || status.draining;
    match status.health {
        _ if !serves => Health::Failing,
        // A condition may be too young to be an alert. Alerts of a state that is well are
        // acknowledged, and warnings are about them.
        Health::Well if status.alerts.is_empty() && !status.warnings.is_empty() => Health::Degraded,
        health => health,
    }
}

fn exit_code(status: &Status) -> u8 {
    match health_of(status) {
        Health::Well => exit::OK,
        Health::Degraded => exit::DEGRADED,
        Health::Failing => exit::FAILING,
    }
}

fn to_text(status: &Status, full: bool) -> String {
    let mut text = headline(status);
    for alert in &status.alerts {
        text.push_str(&alert_lines(alert));
    }
    if status.alerts.is_empty() {
        for warning in &status.warnings {
            let _ = writeln!(text, "▲ {}", printable(warning));
        }
    }
    text.push_str(&working(&status.working));
    if full {
        text.push_str(&facts_of(status));
    }
    text
}

fn headline(status: &Status) -> String {
    let node = printable(&status.node.to_string());
    let place = match &status.cluster {
        Some(cluster) => format!("{} ({node})", printable(cluster)),
        None => node,
    };
    let health = health_of(status);
    let since = status.unwell_ms.map(|ms| format!(" for {}", show_duration(ms)));
    let since = since.unwrap_or_default();
    // The daemon makes a drain critical if no other node takes viewers.
    let is_last = |alert: &Alert| alert.rule == "draining" && alert.severity == Severity::Critical;
    let serves = match (status.draining, status.ready, health) {
        (true, _, _) if status.alerts.iter().any(is_last) => {
            "This node is draining, and no other node takes viewers."
        }
        (true, _, _) => "This node is draining: it sends viewers to other nodes.",
        (false, false, _) => "This node is not ready: see the log of the daemon.",
        (false, true, Health::Failing) => "Viewers are not served in full.",
        (false, true, Health::Well | Health::Degraded) => "Viewers are served.",
    };
    let p99 = status.p99_ms.map(|ms| format!(", p99 {ms:.0} ms")).unwrap_or_default();
    let served = status.served.map(|share| format!(" {:.2}% delivered{p99}.", share * 100.0));
    format!(
        "{place} is {}{since}. {serves}{} {}, {}.\n",
        health.as_str().to_uppercase(),
        served.unwrap_or_default(),
        show_counted(status.viewers, "viewer"),
        show_counted(status.live_streams, "live stream"),
    )
}

fn alert_lines(alert: &Alert) -> String {
    let mark = mark_of(alert.severity);
    let acked = alert.acked_by.as_ref().map(|by| format!(" (acknowledged by {by})"));
    let mut text = format!(
        "{mark} {}  {}  {}{}\n",
        printable(&alert.id),
        show_duration(alert.since_ms),
        printable(&alert.effect),
        printable(&acked.unwrap_or_default()),
    );
    if !alert.next.is_empty() {
        let _ = writeln!(text, "    next: {}", printable(&alert.next));
    }
    text
}

fn working(working: &[String]) -> String {
    if working.is_empty() {
        return String::new();
    }
    let shown: Vec<_> = working.iter().take(MAX_WORKING).map(|text| printable(text)).collect();
    let more = if working.len() > MAX_WORKING { ", …" } else { "" };
    format!("✓ {} more: {}{more}\n", working.len(), shown.join(", "))
}

fn facts_of(status: &Status) -> String {
    let node = [
        ("version", status.version.clone()),
        ("up", show_duration(status.uptime_ms)),
        ("listens on", status.listen.clone()),
        ("data directory", status.data_dir.clone()),
        ("connections", show_count(status.connections)),
    ];
    let mut text = "\n".to_owned();
    let engines = status.engines.iter().map(|(contract, engine)| (contract.as_str(), engine));
    for (name, fact) in node.iter().map(|(name, fact)| (*name, fact)).chain(engines) {
        let _ = writeln!(text, "  {:<26}  {}", printable(name), printable(fact));
    }
    for breaker in &status.breakers {
        let state = match breaker.state {
            BreakerState::Closed => "works",
            BreakerState::Open => "FAILS",
            BreakerState::HalfOpen => "being tried again",
        };
        let error = breaker.last_error.as_deref().unwrap_or_default();
        let since = show_duration(breaker.since_ms);
        let line = format!("{state} for {since}  {}", printable(error));
        let _ = writeln!(text, "  {:<26}  {}", printable(&breaker.dependency), line.trim_end());
    }
    text
}

/// Returns the line and the exit code of a Nagios plugin, with its performance data.
fn nagios(status: &Status) -> (String, u8) {
    let (word, code) = match health_of(status) {
        Health::Well => ("OK", 0),
        Health::Degraded => ("WARNING", 1),
        Health::Failing => ("CRITICAL", 2),
    };
    let alerts: Vec<_> =
        status.alerts.iter().map(|alert| format!("{}: {}", alert.id, alert.effect)).collect();
    let told = match (alerts.is_empty(), status.warnings.first()) {
        (false, _) => alerts.join("; "),
        (true, Some(warning)) => warning.clone(),
        (true, None) => "viewers are served".to_owned(),
    };
    // A bar begins the performance data.
    let told = printable(&told).replace('|', "/");
    let served = status.served.map(|share| format!(" served={:.2}%", share * 100.0));
    let line = format!(
        "LC {word} - {told} | viewers={} alerts={}{}",
        status.viewers,
        status.alerts.len(),
        served.unwrap_or_default()
    );
    (line, code)
}

fn prometheus(status: &Status) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut text = String::new();
    let health = health_of(status) as u8;
    let _ = writeln!(text, "# HELP lc_health 0 well, 1 degraded, 2 failing");
    let _ = writeln!(text, "# TYPE lc_health gauge\nlc_health {health}");
    let _ = writeln!(text, "# HELP lc_viewers Viewers of all nodes");
    let _ = writeln!(text, "# TYPE lc_viewers gauge\nlc_viewers {}", status.viewers);
    if let Some(served) = status.served {
        let _ = writeln!(text, "# HELP lc_served_ratio Deliveries that were not skipped");
        let _ = writeln!(text, "# TYPE lc_served_ratio gauge\nlc_served_ratio {served}");
    }
    if let Some(ms) = status.p99_ms {
        let _ = writeln!(text, "# HELP lc_delivery_delay_p99_seconds Creation to write");
        let _ = writeln!(text, "# TYPE lc_delivery_delay_p99_seconds gauge");
        let _ = writeln!(text, "lc_delivery_delay_p99_seconds {}", ms / 1e3);
    }
    let _ = writeln!(text, "# HELP lc_alert_seconds Time for which an alert has lasted");
    let _ = writeln!(text, "# TYPE lc_alert_seconds gauge");
    for alert in &status.alerts {
        let rule = escaped(&alert.rule);
        let subject = escaped(&alert.subject);
        let severity = alert.severity.as_str();
        let acked = alert.acked_by.is_some();
        let labels = format!(
            "rule=\"{rule}\",subject=\"{subject}\",severity=\"{severity}\",acked=\"{acked}\""
        );
        let _ = writeln!(text, "lc_alert_seconds{{{labels}}} {}", alert.since_ms as f64 / 1e3);
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::alerts::tests::alerts;
    use crate::protocol::NodeId;
    use crate::protocol::admin::BreakerStatus;

    pub(crate) fn status() -> Status {
        Status {
            node: NodeId::new("edge-1"),
            cluster: None,
            colour: None,
            version: "0.1.0".into(),
            uptime_ms: 11_520_000,
            ready: true,
            draining: false,
            listen: "0.0.0.0:8080".into(),
            base_path: String::new(),
            certificate_sha256: None,
            certificate_expires_at: None,
            data_dir: "/var/lib/lcd".into(),
            engines: [("event log", "embedded"), ("bus", "in process")]
                .map(|(contract, engine)| (contract.into(), engine.into()))
                .into(),
            connections: 12_345,
            live_streams: 1,
            breakers: vec![BreakerStatus {
                dependency: "comment store".into(),
                state: BreakerState::Open,
                last_error: Some("disk I/O error".into()),
                since_ms: 65_000,
            }],
            problems: Vec::new(),
            warnings: vec!["the archiver is 12k comments behind".into()],
            health: Health::Degraded,
            unwell_ms: Some(233_000),
            viewers: 412_000,
            served: Some(0.9991),
            p99_ms: Some(83.6),
            alerts: alerts().into(),
            working: ["2 of 2 nodes report", "event log", "versions equal"].map(Into::into).into(),
        }
    }

    #[test]
    fn alerts_come_with_effect_and_next_step() {
        let degraded = status();
        let failing = Status { ready: false, ..status() };
        let young = Status { alerts: Vec::new(), health: Health::Well, ..status() };
        let well = Status {
            alerts: Vec::new(),
            health: Health::Well,
            unwell_ms: None,
            warnings: Vec::new(),
            ..status()
        };
        let all = [(&degraded, false), (&failing, false), (&young, false), (&well, true)];
        let texts = all.map(|(status, full)| to_text(status, full));
        insta::assert_snapshot!(texts.join("────\n"));
        let codes = all.map(|(status, _)| exit_code(status));
        assert_eq!(codes, [exit::DEGRADED, exit::FAILING, exit::DEGRADED, exit::OK]);
    }

    #[test]
    fn the_first_line_names_the_cluster_and_the_node() {
        let named = Status { cluster: Some("prod-eu".into()), ..status() };
        assert!(headline(&named).starts_with("prod-eu (edge-1) is DEGRADED for "));
        assert!(headline(&status()).starts_with("edge-1 is DEGRADED for "));
    }

    #[test]
    fn an_acknowledged_warning_leaves_the_exit_code_0() {
        let acked = Status { health: Health::Well, ..status() };
        assert_eq!(exit_code(&acked), exit::OK);
    }

    #[test]
    fn the_last_node_sends_viewers_nowhere() {
        let [mut drain, ..] = alerts();
        drain.rule = "draining".into();
        drain.severity = Severity::Critical;
        let last = Status { draining: true, alerts: vec![drain], ..status() };
        let told = headline(&last);
        assert!(told.contains("draining, and no other node takes viewers."), "{told}");
        let one = Status { alerts: Vec::new(), ..last };
        assert!(headline(&one).contains("it sends viewers to other nodes."));
    }

    #[test]
    fn other_monitoring_reads_its_own_format() {
        let failing = Status { health: Health::Failing, ..status() };
        let well = Status {
            alerts: Vec::new(),
            health: Health::Well,
            served: None,
            warnings: Vec::new(),
            ..status()
        };
        let lines = [&failing, &status(), &well].map(nagios);
        assert_eq!(lines.each_ref().map(|(_, code)| *code), [2, 1, 0]);
        let lines = lines.map(|(line, _)| line).join("\n");
        insta::assert_snapshot!(format!("{lines}\n\n{}", prometheus(&failing)));
    }
}
