//! `lc drain`: moves a node's viewers to other nodes before it is stopped.

use std::process::ExitCode;

use clap::Args;

use super::change::{DryRun, preview};
use super::context::Context;
use super::output::warn_unreachable;
use super::{complete, exit};
use crate::client::outcome_text;
use crate::protocol::NodeId;
use crate::protocol::admin::{DrainRequest, Outcome, PreviewRequest};

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
    let request = DrainRequest { node, undo: args.undo };
    let outcome: Outcome = context.admin().post("/v1/drain", &request).await?;
    context.output().result(&outcome, || outcome_text::drained(args.undo, &outcome))?;
    warn_unreachable(&outcome.unreachable);
    let is_seen = outcome.reported != Some(false);
    let code = if is_seen { exit::OK } else { exit::FAILED };
    Ok(code.into())
}
