//! `lc alerts`: lists what is wrong now, and acknowledges it.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::change::submit;
use super::complete;
use super::context::Context;
use super::list::{List, ListArgs, left, right, text};
use super::output::warn_unreachable;
use super::table::facts;
use crate::client::outcome_text;
use crate::protocol::admin::{AckRequest, Alert, Cluster, Severity};
use crate::protocol::quantity::{show_count, show_duration};

/// List what is wrong now, the worst first, or acknowledge it
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct AlertsArgs {
    /// Id of an alert: show it in full
    #[arg(add = complete::alerts())]
    id: Option<String>,
    #[command(flatten)]
    list: ListArgs,
    #[command(subcommand)]
    command: Option<AlertsCommand>,
}

#[derive(Debug, Subcommand)]
enum AlertsCommand {
    Ack(AckArgs),
}

/// Acknowledge an alert for everybody, until it is over
///
/// The alert stays in the list, with your name. That of a loss stays until `lc acknowledge` ends
/// the loss; a further loss of the same part is not acknowledged.
#[derive(Debug, Args)]
struct AckArgs {
    /// Id of the alert, or the beginning of one
    #[arg(add = complete::alerts())]
    id: String,
    /// Note for the audit log
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

static ALERTS: List<Alert> = List {
    columns: &[
        left("id", |alert, _| format!("{} {}", mark_of(alert.severity), alert.id)),
        right("since", |alert, _| show_duration(alert.since_ms)),
        left("by", |alert: &Alert, _| alert.acked_by.clone().unwrap_or_default())
            .titled("acked by"),
        right("viewers", |alert: &Alert, _| show_count(alert.viewers)).extra(),
        right("nodes", |alert: &Alert, _| alert.nodes.len().to_string()).extra(),
        text("effect", |alert, _| alert.effect.clone()),
        text("next", |alert: &Alert, _| alert.next.clone()).extra(),
    ],
    sort: "",
    if_empty: "✓ Nothing is wrong.",
};

pub(super) async fn run(args: AlertsArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match (args.command, args.id) {
        (Some(AlertsCommand::Ack(args)), _) => ack(args, context).await,
        (None, Some(id)) => show(&id, context).await,
        (None, None) => ALERTS.view(&args.list)?.run("/v1/alerts", context).await,
    }
}

async fn show(id: &str, context: &Context) -> anyhow::Result<ExitCode> {
    let alerts: Cluster<Alert> = context.admin().get("/v1/alerts").await?;
    warn_unreachable(&alerts.unreachable);
    let alert = find(id, &alerts.items)?;
    context.output().item(alert, || in_full(alert))?;
    Ok(ExitCode::SUCCESS)
}

async fn ack(args: AckArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let alerts: Cluster<Alert> = context.admin().get("/v1/alerts").await?;
    let id = find(&args.id, &alerts.items)?.id.clone();
    let request = AckRequest { id, note: args.note };
    let describe = |outcome: &_| outcome_text::alert_acknowledged(&request.id, outcome);
    submit("/v1/alerts/ack", &request, context, describe).await
}

/// Finds the alert with the id, or the only one whose id begins like it.
fn find<'a>(id: &str, alerts: &'a [Alert]) -> anyhow::Result<&'a Alert> {
    if let Some(alert) = alerts.iter().find(|alert| alert.id == id) {
        return Ok(alert);
    }
    let begin: Vec<_> = alerts.iter().filter(|alert| alert.id.starts_with(id)).collect();
    match begin.as_slice() {
        [one] => Ok(one),
        [] => bail!("there is no alert `{id}`; `lc alerts` lists them"),
        several => {
            let ids: Vec<_> = several.iter().map(|alert| alert.id.as_str()).collect();
            bail!("`{id}` begins several alerts: {}", ids.join(", "))
        }
    }
}

/// Returns the sign of a severity.
pub(super) fn mark_of(severity: Severity) -> char {
    match severity {
        Severity::Warning => '▲',
        Severity::Critical => '✗',
    }
}

fn in_full(alert: &Alert) -> String {
    let nodes: Vec<_> = alert.nodes.iter().map(ToString::to_string).collect();
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    facts(
        &format!("{} {}", mark_of(alert.severity), alert.id),
        &[
            ("effect", alert.effect.clone()),
            ("next", alert.next.clone()),
            ("severity", alert.severity.as_str().to_owned()),
            ("since", show_duration(alert.since_ms)),
            ("viewers", show_count(alert.viewers)),
            ("nodes", nodes.join(", ")),
            ("value", number(alert.value)),
            ("threshold", number(alert.threshold)),
            ("acked by", alert.acked_by.clone().unwrap_or_default()),
        ],
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::NodeId;

    pub(crate) fn alerts() -> [Alert; 2] {
        let bus = Alert {
            id: "breaker_open/fan-out_bus".into(),
            rule: "breaker_open".into(),
            subject: "fan-out bus".into(),
            severity: Severity::Warning,
            since_ms: 41_000,
            nodes: vec![NodeId::new("edge-1"), NodeId::new("edge-2")],
            viewers: 137_000,
            effect: "fan-out bus does not answer on 2 nodes: 137k viewers see comments through \
                     the log: later, none lost"
                .into(),
            next: "its server and the network to it; it is taken back by itself".into(),
            value: None,
            threshold: None,
            acked_by: None,
        };
        let lag = Alert {
            id: "lag_high/archiver".into(),
            rule: "lag_high".into(),
            subject: "archiver".into(),
            since_ms: 233_000,
            viewers: 0,
            nodes: Vec::new(),
            effect: "archiver is 140k records behind: history lacks the newest comments; live \
                     viewers notice nothing"
                .into(),
            next: "lc lag; is its store slow?".into(),
            value: Some(140_000.0),
            threshold: Some(100_000.0),
            acked_by: Some("ann".into()),
            ..bus.clone()
        };
        [bus, lag]
    }

    #[test]
    fn alerts_have_since_and_effect() {
        assert_columns_are_known(&ALERTS);
        let [bus, lag] = alerts();
        let full = [in_full(&bus), in_full(&lag)].join("\n\n");
        insta::assert_snapshot!(format!("{}\n\n{full}", ALERTS.as_text(&[bus, lag], 0)));
        assert_eq!(ALERTS.as_text(&[], 0), "✓ Nothing is wrong.");
    }

    #[test]
    fn an_alert_is_found_by_the_beginning_of_its_id() {
        let alerts = alerts();
        assert_eq!(find("lag", &alerts).unwrap().id, "lag_high/archiver");
        assert!(find("", &alerts).unwrap_err().to_string().contains("several"));
        assert!(find("disk", &alerts).unwrap_err().to_string().contains("no alert"));
    }
}
