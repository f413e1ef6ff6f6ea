//! `lc drain`: sends a node's viewers elsewhere before it is taken down.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::sanction::act;
use crate::client::wording;
use crate::protocol::admin::DrainRequest;

/// Send viewers to other nodes and take no new ones
///
/// The node goes on running: it leaves `/readyz`, tells its viewers when to reconnect, and refuses
/// new ones, until it is stopped or the drain is undone.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// Take viewers again
    #[arg(long)]
    undo: bool,
}

pub(super) async fn run(args: DrainArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = DrainRequest { undo: args.undo };
    act("/v1/drain", &request, context, |outcome| wording::drained(args.undo, outcome)).await
}
