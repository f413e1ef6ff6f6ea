//! `lc unban`: lifts a user's ban and timeout.

use std::process::ExitCode;

use clap::Args;

use super::change::{UserArgs, submit, undo_hint};
use super::complete;
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::StreamId;
use crate::protocol::admin::UnbanRequest;

/// Lift a user's ban and timeout
///
/// Lifts those that hold on all streams, or with --stream those on that one. Others stay in force,
/// and are named if they hold there too.
#[derive(Debug, Args)]
#[command(mut_arg("user", |user| user.add(complete::sanctioned_users())))]
pub(super) struct UnbanArgs {
    #[command(flatten)]
    user: UserArgs,
    /// Those on this stream [default: those on all streams]
    #[arg(long, value_name = "STREAM", add = complete::streams())]
    stream: Option<StreamId>,
}

pub(super) async fn run(args: UnbanArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let UserArgs { user, note } = args.user;
    let request = UnbanRequest { user: user.into(), stream_id: args.stream, note };
    submit("/v1/unban", &request, context, |outcome| {
        let done = outcome_text::unbanned(&request, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}
