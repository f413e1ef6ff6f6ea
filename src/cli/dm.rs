//! `lc dm`: sends a message to one user.

use std::process::ExitCode;

use clap::Args;

use super::change::{UserArg, submit};
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::admin::DirectRequest;

/// Send a message to one user, on all of the user's connections
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
    let describe = |outcome: &_| outcome_text::messaged(&request.user, outcome);
    submit("/v1/dm", &request, context, describe).await
}
