//! `lc drain`: moves a node's viewers to other nodes before it is stopped.

use std::process::ExitCode;

use clap::Args;

use super::change::{DryRun, preview, submit};
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::admin::{DrainRequest, PreviewRequest};

/// Send viewers to other nodes and accept no new ones
///
/// The node keeps running. `/readyz` reports it as not ready, its viewers are told when to
/// reconnect, and new viewers are refused, until the node is stopped or the drain is undone.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// Accept viewers again
    #[arg(long, conflicts_with = "dry_run")]
    undo: bool,
    #[command(flatten)]
    dry: DryRun,
}

pub(super) async fn run(args: DrainArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if args.dry.dry_run {
        return preview(&PreviewRequest::Drain, context).await;
    }
    let request = DrainRequest { undo: args.undo };
    let describe = |outcome: &_| outcome_text::drained(args.undo, outcome);
    submit("/v1/drain", &request, context, describe).await
}
