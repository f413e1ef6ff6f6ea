//! `lc nodes`: lists the nodes of the cluster, or shows one of them.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::complete;
use super::context::Context;
use super::drain::{self, DrainArgs};
use super::list::{List, ListArgs, left, right, text};
use super::output::warn_unreachable;
use super::table::facts;
use crate::protocol::admin::{Cluster, EgressLimit, NodeStatus};
use crate::protocol::quantity::{show_bytes, show_count, show_duration};

/// List the nodes of the cluster, or show one of them
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct NodesArgs {
    /// Name of a node: show it in full
    #[arg(add = complete::nodes())]
    node: Option<String>,
    #[command(flatten)]
    list: ListArgs,
    #[command(subcommand)]
    command: Option<NodesCommand>,
}

#[derive(Debug, Subcommand)]
enum NodesCommand {
    Drain(DrainArgs),
}

static NODES: List<NodeStatus> = List {
    columns: &[
        left("node", |node, _| node.node.to_string()),
        left("state", |node, _| node.state().to_owned()),
        left("health", |node, _| node.health.as_str().to_owned()),
        right("viewers", |node, _| show_count(node.viewers())),
        right("senders", |node: &NodeStatus, _| show_count(node.senders)).extra(),
        right("connections", |node: &NodeStatus, _| show_count(node.connections)).extra(),
        right("sse", |node: &NodeStatus, _| show_count(node.transports.sse)).extra(),
        right("polls", |node: &NodeStatus, _| show_count(node.transports.poll)).extra(),
        right("max", |node, _| show_count(node.max_connections)),
        right("places", |node: &NodeStatus, _| places_of(node)).extra(),
        right("sent", |node: &NodeStatus, _| show_bytes(node.egress.sent_bytes_per_second))
            .titled("sent/s"),
        right("wanted", |node: &NodeStatus, _| show_bytes(node.egress.wanted_bytes_per_second))
            .extra(),
        right("limit", |node, _| limit_of(node)),
        right("lowered", |node: &NodeStatus, _| node.egress.streams_lowered.to_string()).extra(),
        right("up", |node, _| show_duration(node.uptime_ms)),
        right("cpu", |node, _| cpu_of(node)),
        right("memory", |node, _| known(node.process.rss_bytes, show_bytes)),
        left("partitions", |node, _| node.partitions_text()),
        right("late", late_of).extra(),
        right("seen", |node: &NodeStatus, _| show_duration(node.seen_ms)).extra(),
        right("files", |node: &NodeStatus, _| known(node.process.files, show_count)).extra(),
        right("disk", |node: &NodeStatus, _| known(node.process.disk_free_bytes, show_bytes))
            .extra(),
        right("clock", |node: &NodeStatus, _| clock_of(node)).extra(),
        left("listen", |node, _| node.listen.clone()),
        left("version", |node, _| node.version.clone()),
        text("roles", |node, _| node.roles.join(", ")),
    ],
    sort: "",
    if_empty: "No node answered.",
};

pub(super) async fn run(args: NodesArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match (args.command, args.node) {
        (Some(NodesCommand::Drain(args)), _) => drain::run(args, context).await,
        (None, Some(node)) => show(&node, context).await,
        (None, None) => NODES.view(&args.list)?.run("/v1/nodes", context).await,
    }
}

async fn show(name: &str, context: &Context) -> anyhow::Result<ExitCode> {
    let nodes: Cluster<NodeStatus> = context.admin().get("/v1/nodes").await?;
    warn_unreachable(&nodes.unreachable);
    let Some(node) = nodes.items.iter().find(|node| node.node.as_str() == name) else {
        let names: Vec<_> = nodes.items.iter().map(|node| node.node.as_str()).take(10).collect();
        bail!(
            "no node `{name}` answers; lc nodes lists those that do, such as {}",
            names.join(", ")
        );
    };
    context.output().item(node, || in_full(node))?;
    Ok(ExitCode::SUCCESS)
}

fn in_full(node: &NodeStatus) -> String {
    let egress = &node.egress;
    facts(
        &format!("Node {} is {} and {}", node.node, node.state(), node.health.as_str()),
        &[
            ("roles", node.roles.join(", ")),
            ("version", node.version.clone()),
            ("up", show_duration(node.uptime_ms)),
            ("listens on", node.listen.clone()),
            ("viewers", node.viewers().to_string()),
            ("senders", node.senders.to_string()),
            ("connections", format!("{} of {}", node.connections, node.max_connections)),
            ("by transport", node.transports.text()),
            ("places taken", places_of(node)),
            ("partitions", node.partitions_text()),
            ("sends", format!("{}/s", show_bytes(egress.sent_bytes_per_second))),
            ("would send", format!("{}/s", show_bytes(egress.wanted_bytes_per_second))),
            ("limit", limit_of(node)),
            ("streams lowered", egress.streams_lowered.to_string()),
            ("late", late_of(node, 0)),
            ("CPU", cpu_of(node)),
            ("memory", known(node.process.rss_bytes, show_bytes)),
            ("files", known(node.process.files, show_count)),
            ("disk free", known(node.process.disk_free_bytes, show_bytes)),
            ("clock", clock_of(node)),
        ],
    )
}

/// Writes a figure that may be unknown.
fn known(figure: Option<u64>, show: impl FnOnce(u64) -> String) -> String {
    figure.map_or_else(|| "–".to_owned(), show)
}

/// The share of the processors that the node may use.
fn cpu_of(node: &NodeStatus) -> String {
    let share = node.process.cpu_share();
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.0}%", share * 100.0))
}

fn clock_of(node: &NodeStatus) -> String {
    node.process.clock_ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:+}ms"))
}

fn late_of(node: &NodeStatus, _: u64) -> String {
    if node.rates.delivered <= 0.0 {
        return "–".to_owned();
    }
    format!("{:.1}%", node.rates.late * 100.0 / node.rates.delivered)
}

fn places_of(node: &NodeStatus) -> String {
    let of = Some(node.max_connections).filter(|places| *places > 0);
    known(of, |of| format!("{:.0}%", node.connections as f64 * 100.0 / of as f64))
}

/// Describes the egress limit that is in effect: the configured budget, or full viewer sockets.
fn limit_of(node: &NodeStatus) -> String {
    let limit = || show_bytes(node.egress.limit_bytes_per_second.unwrap_or(0));
    match node.egress.limited_by {
        Some(EgressLimit::Budget) => format!("budget {}/s", limit()),
        Some(EgressLimit::Sockets) => format!("sockets {}/s", limit()),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::NodeId;
    use crate::protocol::admin::{Egress, Health, NodeRates, ProcessStatus};
    use crate::protocol::filter::Filter;

    #[test]
    fn the_table_has_one_row_per_node() {
        let node = |name: &str, connections, draining| NodeStatus {
            node: NodeId::new(name),
            roles: vec!["edge".into(), "coordinator".into()],
            version: "0.1.0".into(),
            listen: "10.0.0.7:8080".into(),
            uptime_ms: 93_784_000,
            connections,
            senders: connections / 100,
            transports: Default::default(),
            max_connections: 20_000,
            draining,
            health: if draining { Health::Degraded } else { Health::Well },
            seen_ms: 0,
            partitions: [("coordinator".to_owned(), 50)].into(),
            egress: Egress {
                sent_bytes_per_second: 11_400_000 * u64::from(!draining),
                wanted_bytes_per_second: 70_000_000 * u64::from(!draining),
                limited_by: (!draining).then_some(EgressLimit::Budget),
                limit_bytes_per_second: (!draining).then_some(12_000_000),
                streams_lowered: u64::from(!draining),
            },
            process: ProcessStatus::default(),
            rates: NodeRates::default(),
        };
        let nodes = [node("edge-1", 18_230, false), node("edge-2", 12, true)];
        assert_columns_are_known(&NODES);
        insta::assert_snapshot!(NODES.as_text(&nodes, 0));
        let mut busy = node("edge-3", 1, false);
        busy.process = ProcessStatus { cpu: Some(3.0), cores: Some(4), ..busy.process };
        assert_eq!(cpu_of(&busy), "75%");
        let shown: Filter = "cpu>=75% cpu<76%".parse().unwrap();
        assert!(shown.matches(&busy), "a filter compares with what the table shows");
        assert_eq!(NODES.as_text(&[], 0), "No node answered.");
    }
}
