//! `lc nodes`: lists the nodes of the cluster.

use std::process::ExitCode;

use super::context::Context;
use super::output::{show, table, warn_unreachable};
use crate::protocol::admin::{Cluster, EgressLimit, NodeStatus};
use crate::protocol::quantity::{show_bytes, show_count, show_duration};

pub(super) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let nodes: Cluster<NodeStatus> = context.admin().get("/v1/nodes").await?;
    context.output().items(&nodes.items, || to_table(&nodes.items))?;
    warn_unreachable(&nodes.unreachable);
    Ok(ExitCode::SUCCESS)
}

fn to_table(nodes: &[NodeStatus]) -> String {
    let mut rows = table(&[
        "node",
        "state",
        ">connections",
        ">max",
        ">sends",
        ">limit",
        ">up",
        "listens on",
        "version",
        "~roles",
    ]);
    for node in nodes {
        rows.add_row([
            node.node.to_string(),
            if node.draining { "draining" } else { "up" }.to_owned(),
            show_count(node.connections),
            show_count(node.max_connections),
            format!("{}/s", show_bytes(node.egress.sent_bytes_per_second)),
            limit_of(node),
            show_duration(node.uptime_ms),
            node.listen.clone(),
            node.version.clone(),
            node.roles.join(", "),
        ]);
    }
    show(&rows, "No node answered.")
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
    use crate::protocol::NodeId;
    use crate::protocol::admin::{Egress, NodeRates, ProcessStatus};

    #[test]
    fn the_table_has_one_row_per_node() {
        let node = |name: &str, connections, draining| NodeStatus {
            node: NodeId::new(name),
            roles: vec!["edge".into(), "coordinator".into()],
            version: "0.1.0".into(),
            listen: "10.0.0.7:8080".into(),
            uptime_ms: 93_784_000,
            connections,
            max_connections: 20_000,
            draining,
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
        insta::assert_snapshot!(to_table(&nodes));
        assert_eq!(to_table(&[]), "No node answered.");
    }
}
