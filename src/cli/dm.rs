//! `lc dm`: sends a message to one user.

use std::process::ExitCode;

use clap::Args;

use super::change::UserArg;
use super::context::Context;
use super::exit;
use super::output::warn_unreachable;
use crate::client::outcome_text;
use crate::protocol::admin::{DirectRequest, Outcome};

/// Send a message to one user, on all of the user's connections
///
/// The message is not kept for later: if the user is not connected, the exit code is 1.
#[derive(Debug, Args)]
pub(super) struct DmArgs {
    #[command(flatten)]
    user: UserArg,
    /// The message; several words need no quotes
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
}

pub(super) async fn run(args: DmArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = DirectRequest { user: args.user.into(), message: args.text.join(" ") };
    let outcome: Outcome = context.admin().post("/v1/dm", &request).await?;
    context.output().result(&outcome, || outcome_text::messaged(&request.user, &outcome))?;
    warn_unreachable(&outcome.unreachable);
    Ok(if outcome.connections.unwrap_or(0) == 0 { exit::FAILED.into() } else { ExitCode::SUCCESS })
}
