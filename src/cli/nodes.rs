//! `lc nodes`: the nodes of the cluster.

use std::process::ExitCode;

use super::context::Context;
use super::output::{show, table, warn_unreachable};
use crate::protocol::admin::{Cluster, NodeStatus};
use crate::protocol::quantity::{show_count, show_duration};

pub(super) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let nodes: Cluster<NodeStatus> = context.admin().get("/v1/nodes").await?;
    context.output().items(&nodes.items, || human(&nodes.items))?;
    warn_unreachable(&nodes.unreachable);
    Ok(ExitCode::SUCCESS)
}

fn human(nodes: &[NodeStatus]) -> String {
    let mut rows = table(&[
        "node",
        "state",
        ">connections",
        ">of at most",
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
            show_duration(node.uptime_ms),
            node.listen.clone(),
            node.version.clone(),
            node.roles.join(","),
        ]);
    }
    show(&rows, "No node answered.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::NodeId;

    #[test]
    fn a_cluster_is_one_row_a_node() {
        let node = |name: &str, connections, draining| NodeStatus {
            node: NodeId::new(name),
            roles: vec!["edge".into(), "coordinator".into()],
            version: "0.1.0".into(),
            listen: "10.0.0.7:8080".into(),
            uptime_ms: 93_784_000,
            connections,
            max_connections: 20_000,
            draining,
        };
        let nodes = [node("edge-1", 18_230, false), node("edge-2", 12, true)];
        insta::assert_snapshot!(human(&nodes));
        assert_eq!(human(&[]), "No node answered.");
    }
}
