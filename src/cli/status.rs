//! `lc status`: shows whether the daemon is healthy.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::context::Context;
use super::exit;
use super::output::{show, table};
use crate::protocol::admin::{BreakerState, BreakerStatus, Status};
use crate::protocol::printable::printable;
use crate::protocol::quantity::{show_count, show_duration};

pub(super) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let status: Status = context.admin().get("/v1/status").await?;
    context.output().item(&status, || to_text(&status))?;
    Ok(exit_code(&status).into())
}

fn exit_code(status: &Status) -> u8 {
    if !status.ready && !status.draining {
        return exit::FAILING;
    }
    if status.warnings.is_empty() { exit::OK } else { exit::DEGRADED }
}

fn to_text(status: &Status) -> String {
    let state = match (status.draining, status.ready) {
        (true, _) => "draining: sends viewers to other nodes and accepts no new ones",
        (false, true) => "ready",
        (false, false) => "NOT READY: see the warnings and the log of the daemon",
    };
    let node = printable(&status.node.to_string());
    let mut text = format!("{node} is {state}\n\n");
    let facts = [
        ("version", status.version.clone()),
        ("up", show_duration(status.uptime_ms)),
        ("listens on", status.listen.clone()),
        ("data directory", status.data_dir.clone()),
        ("connections", show_count(status.connections)),
        ("live streams", show_count(status.live_streams)),
    ];
    for (name, fact) in facts {
        let _ = writeln!(text, "  {name:<20} {}", printable(&fact));
    }
    for (contract, engine) in &status.engines {
        let _ = writeln!(text, "  {:<20} {}", printable(contract), printable(engine));
    }
    if !status.breakers.is_empty() {
        let _ = writeln!(text, "\n{}", breakers(&status.breakers));
    }
    for warning in &status.warnings {
        let _ = writeln!(text, "\nwarning: {}", printable(warning));
    }
    text
}

fn breakers(breakers: &[BreakerStatus]) -> String {
    let mut rows = table(&["dependency", "state", ">for", "~last error"]);
    for breaker in breakers {
        rows.add_row([
            breaker.dependency.clone(),
            match breaker.state {
                BreakerState::Closed => "works".to_owned(),
                BreakerState::Open => "FAILS".to_owned(),
                BreakerState::HalfOpen => "being tried again".to_owned(),
            },
            show_duration(breaker.since_ms),
            breaker.last_error.clone().unwrap_or_default(),
        ]);
    }
    show(&rows, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::NodeId;

    #[test]
    fn an_unready_node_shows_its_problems() {
        let status = Status {
            node: NodeId::new("edge-1"),
            version: "0.1.0".into(),
            uptime_ms: 11_520_000,
            ready: false,
            draining: false,
            listen: "0.0.0.0:8080".into(),
            certificate_sha256: None,
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
        };
        insta::assert_snapshot!(to_text(&status));
        assert_eq!(exit_code(&status), exit::FAILING);
        let ready = Status { ready: true, ..status };
        assert_eq!(exit_code(&ready), exit::DEGRADED);
        let well = Status { warnings: Vec::new(), ..ready };
        assert_eq!(exit_code(&well), exit::OK);
    }
}
