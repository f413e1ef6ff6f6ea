//! `lc unban`: lifts a user's ban and timeout.

use std::process::ExitCode;

use clap::Args;

use super::change::{UserArgs, submit, undo_hint};
use super::complete;
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::admin::UserRequest;

/// Lift a user's ban and timeout
#[derive(Debug, Args)]
#[command(mut_arg("user", |user| user.add(complete::sanctioned_users())))]
pub(super) struct UnbanArgs {
    #[command(flatten)]
    user: UserArgs,
}

pub(super) async fn run(args: UnbanArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = UserRequest::from(args.user);
    submit("/v1/unban", &request, context, |outcome| {
        let done = outcome_text::unbanned(&request.user, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}
