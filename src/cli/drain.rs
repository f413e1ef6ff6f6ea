//! `lc drain`: moves a node's viewers to other nodes before it is stopped.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use super::change::{DryRun, preview};
use super::context::Context;
use super::output::warn_unreachable;
use super::{complete, exit};
use crate::client::outcome_text;
use crate::protocol::NodeId;
use crate::protocol::admin::{Cluster, DrainRequest, NodeStatus, Outcome, PreviewRequest};

/// Send viewers to other nodes and accept no new ones
///
/// The node keeps running. `/readyz` reports it as not ready, its viewers are told when to
/// reconnect, and new viewers are refused, until the node is stopped or the drain is undone. Any
/// node takes the command, and waits for a report of that node that shows it; exit code 1 if none
/// does within seconds.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// Name of the node [default: the node of the admin socket]
    #[arg(add = complete::nodes())]
    node: Option<String>,
    /// Accept viewers again
    #[arg(long, conflicts_with = "dry_run")]
    undo: bool,
    #[command(flatten)]
    dry: DryRun,
}

pub(super) async fn run(args: DrainArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let node = args.node.as_deref().map(NodeId::new);
    if args.dry.dry_run {
        return preview(&PreviewRequest::Drain { node }, context).await;
    }
    let before = if args.undo { draining(context).await } else { BTreeMap::new() };
    let request = DrainRequest { node, undo: args.undo };
    let outcome: Outcome = context.admin().post("/v1/drain", &request).await?;
    context.output().result(&outcome, || {
        let done = outcome_text::drained(args.undo, &outcome);
        if was_draining(&before, &outcome) { done } else { format!("{done} It was not draining.") }
    })?;
    warn_unreachable(&outcome.unreachable);
    let is_seen = outcome.reported != Some(false);
    let code = if is_seen { exit::OK } else { exit::FAILED };
    Ok(code.into())
}

/// Returns which nodes drain before a change; empty if that cannot be read.
async fn draining(context: &Context) -> BTreeMap<NodeId, bool> {
    let nodes = context.admin().get::<Cluster<NodeStatus>>("/v1/nodes").await;
    let nodes = nodes.map(|nodes| nodes.items).unwrap_or_default();
    nodes.into_iter().map(|status| (status.node, status.draining)).collect()
}

/// Returns whether the node of an outcome drained before; true if it is not known.
fn was_draining(before: &BTreeMap<NodeId, bool>, outcome: &Outcome) -> bool {
    let known = outcome.node.as_ref().and_then(|node| before.get(node));
    known.copied().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_did_not_drain_is_known() {
        let before = BTreeMap::from([(NodeId::new("a"), true), (NodeId::new("b"), false)]);
        let of = |name| Outcome { node: Some(NodeId::new(name)), ..Outcome::default() };
        assert!(was_draining(&before, &of("a")));
        assert!(!was_draining(&before, &of("b")));
        assert!(was_draining(&before, &of("c")), "nothing is said of an unknown node");
        assert!(was_draining(&before, &Outcome::default()));
    }
}
