//! `lc ban`: disconnects a user and keeps them out.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::arguments::{LONGEST_BAN, duration_up_to, to_ms};
use super::change::{DryRun, UserArgs, preview, submit, undo_hint};
use super::complete;
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::StreamId;
use crate::protocol::admin::{PreviewRequest, SanctionRequest};

/// Disconnect a user and keep them out
///
/// The user's connections are closed at once, on every node. The user can neither watch nor
/// comment until the ban expires or is lifted. With --stream, that is so on one stream, and other
/// bans of the user stay as they are.
#[derive(Debug, Args)]
pub(super) struct BanArgs {
    #[command(flatten)]
    user: UserArgs,
    /// Reason, shown to the user
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Duration, from 1s to 3650d, such as 10m or 7d [default: permanent]
    #[arg(long = "for", value_name = "TIME", allow_hyphen_values = true,
        value_parser = duration_up_to(LONGEST_BAN))]
    duration: Option<Duration>,
    /// Only on this stream [default: on all streams]
    #[arg(long, value_name = "STREAM", add = complete::streams())]
    stream: Option<StreamId>,
    #[command(flatten)]
    dry: DryRun,
}

pub(super) async fn run(args: BanArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if args.dry.dry_run {
        let users = vec![args.user.user.into()];
        let duration_ms = args.duration.map(to_ms);
        let request = PreviewRequest::Ban {
            users,
            stream_id: args.stream,
            duration_ms,
            disconnect_after_ms: None,
            include_moderators: false,
        };
        return preview(&request, context).await;
    }
    let request = SanctionRequest {
        stream_id: args.stream,
        user: args.user.user.into(),
        reason: args.reason,
        note: args.user.note,
        duration_ms: args.duration.map(to_ms),
    };
    submit("/v1/ban", &request, context, |outcome| {
        let done = outcome_text::banned(&request, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}
