//! `lc dm`: sends a message to one user.

use std::process::ExitCode;

use clap::Args;

use super::change::submit;
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::admin::{DirectRequest, UserRef};

/// Send a message to one user, on all of the user's connections
#[derive(Debug, Args)]
pub(super) struct DmArgs {
    /// User id or latest name; id:42 and name:42 say which is meant
    ///
    /// A name is known about a second after its user connected or commented. Until then, digits
    /// are taken for an id. The answer says which user was found.
    user: String,
    /// The message; several words need no quotes
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
}

pub(super) async fn run(args: DmArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = DirectRequest { user: UserRef(args.user), message: args.text.join(" ") };
    let describe = |outcome: &_| outcome_text::messaged(&request.user, outcome);
    submit("/v1/dm", &request, context, describe).await
}
