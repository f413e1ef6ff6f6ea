//! `lc kick`: closes a user's connections.

use std::process::ExitCode;

use clap::Args;

use super::change::{DryRun, UserArgs, preview, submit};
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::admin::{PreviewRequest, UserRequest};

/// Close a user's connections; the user may reconnect
#[derive(Debug, Args)]
pub(super) struct KickArgs {
    #[command(flatten)]
    user: UserArgs,
    #[command(flatten)]
    dry: DryRun,
}

pub(super) async fn run(args: KickArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if args.dry.dry_run {
        let users = vec![args.user.user.into()];
        let request = PreviewRequest::Kick { users, include_moderators: false };
        return preview(&request, context).await;
    }
    let request = UserRequest::from(args.user);
    let describe = |outcome: &_| outcome_text::kicked(&request.user, outcome);
    submit("/v1/kick", &request, context, describe).await
}
