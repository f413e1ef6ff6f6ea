//! `lc drain`: moves a node's viewers to other nodes before it is stopped.

use std::process::ExitCode;

use clap::Args;

use super::change::submit;
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::admin::DrainRequest;

/// Send viewers to other nodes and accept no new ones
///
/// The node keeps running. `/readyz` reports it as not ready, its viewers are told when to
/// reconnect, and new viewers are refused, until the node is stopped or the drain is undone.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// Accept viewers again
    #[arg(long)]
    undo: bool,
}

pub(super) async fn run(args: DrainArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = DrainRequest { undo: args.undo };
    let describe = |outcome: &_| outcome_text::drained(args.undo, outcome);
    submit("/v1/drain", &request, context, describe).await
}
