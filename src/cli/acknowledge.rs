//! `lc acknowledge`: ends warnings of losses.

use std::process::ExitCode;

use clap::Args;

use super::change::submit;
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::admin::{AcknowledgeRequest, ProblemCode};

/// End the warnings of losses of a kind, on every node that answers
///
/// A node that finds that data was lost says so once, when it happens or at the next start. `lc
/// status` shows that until it is acknowledged, also after restarts of the node. The answer repeats
/// what is acknowledged. A node that is down or does not answer (a warning names those that are
/// known) shows its losses again when it is back: run the command again then.
///
/// To tell the others that you look after an alert, without ending it: lc alerts ack.
#[derive(Debug, Args)]
pub(super) struct AcknowledgeArgs {
    /// The loss, as the warning names it
    #[arg(value_name = "PROBLEM", value_parser = ProblemCode::LOSSES.map(ProblemCode::as_str))]
    problem: String,
}

pub(super) async fn run(args: AcknowledgeArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = AcknowledgeRequest { problem: args.problem };
    submit("/v1/acknowledge", &request, context, |outcome| {
        outcome_text::acknowledged(&request.problem, outcome)
    })
    .await
}
