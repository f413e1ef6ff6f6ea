//! `lc timeout`: lets a user watch but not comment for a while.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::arguments::{LONGEST_TIMEOUT, duration_up_to, to_ms};
use super::change::{DryRun, UserArgs, preview, submit, undo_hint};
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::admin::{PreviewRequest, SanctionRequest};

/// Let a user watch but not comment for a while
#[derive(Debug, Args)]
pub(super) struct TimeoutArgs {
    #[command(flatten)]
    user: UserArgs,
    /// Reason, shown to the user
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Duration, from 1s to 30d
    #[arg(long = "for", value_name = "TIME", allow_hyphen_values = true,
        value_parser = duration_up_to(LONGEST_TIMEOUT),
        default_value = "10m")]
    duration: Duration,
    #[command(flatten)]
    dry: DryRun,
}

pub(super) async fn run(args: TimeoutArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if args.dry.dry_run {
        let users = vec![args.user.user.into()];
        let duration_ms = Some(to_ms(args.duration));
        let request = PreviewRequest::Timeout { users, duration_ms, include_moderators: false };
        return preview(&request, context).await;
    }
    let request = SanctionRequest {
        user: args.user.user.into(),
        reason: args.reason,
        note: args.user.note,
        duration_ms: Some(to_ms(args.duration)),
    };
    submit("/v1/timeout", &request, context, |outcome| {
        let done = outcome_text::timed_out(&request.user, request.duration_ms, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}
