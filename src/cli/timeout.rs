//! `lc timeout`: lets a user watch but not comment for a while.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::arguments::{LONGEST_TIMEOUT, duration_up_to, to_ms};
use super::change::{DryRun, UserArgs, preview, submit, undo_hint};
use super::complete;
use super::context::Context;
use super::output::note;
use crate::client::outcome_text;
use crate::protocol::StreamId;
use crate::protocol::admin::{PreviewRequest, Room, SanctionRequest};
use crate::protocol::room::{DEFAULT_TIMEOUT_MS, timeouts_text};

/// Let a user watch but not comment for a while
#[derive(Debug, Args)]
pub(super) struct TimeoutArgs {
    #[command(flatten)]
    user: UserArgs,
    /// Reason, shown to the user
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Duration, from 1s to 30d [default: 10m, or with --stream the shortest of the timeouts that
    /// its room has]
    #[arg(long = "for", value_name = "TIME", allow_hyphen_values = true,
        value_parser = duration_up_to(LONGEST_TIMEOUT), add = complete::room_timeouts())]
    duration: Option<Duration>,
    /// Only on this stream, whose room's timeouts are offered [default: on all streams]
    #[arg(long, value_name = "STREAM", add = complete::streams())]
    stream: Option<StreamId>,
    #[command(flatten)]
    dry: DryRun,
}

pub(super) async fn run(args: TimeoutArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let duration_ms = match (args.duration, args.stream) {
        (Some(duration), _) => to_ms(duration),
        (None, Some(stream_id)) => of_room(stream_id, context).await?,
        (None, None) => DEFAULT_TIMEOUT_MS,
    };
    if args.dry.dry_run {
        let users = vec![args.user.user.into()];
        let duration_ms = Some(duration_ms);
        let request = PreviewRequest::Timeout {
            users,
            stream_id: args.stream,
            duration_ms,
            include_moderators: false,
        };
        return preview(&request, context).await;
    }
    let request = SanctionRequest {
        stream_id: args.stream,
        user: args.user.user.into(),
        reason: args.reason,
        note: args.user.note,
        duration_ms: Some(duration_ms),
    };
    submit("/v1/timeout", &request, context, |outcome| {
        let done = outcome_text::timed_out(&request, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}

/// Returns the shortest timeout that a room offers, and tells which others there are.
async fn of_room(stream_id: StreamId, context: &Context) -> anyhow::Result<u64> {
    let room: Room = context.admin().get(&format!("/v1/streams/{stream_id}/room")).await?;
    let offered = &room.settings.timeouts_ms;
    if offered.is_empty() {
        note(&format!(
            "lc: the room of stream {stream_id} has no timeouts to choose from; 10m is taken"
        ));
    }
    if offered.len() > 1 {
        let all = timeouts_text(offered);
        note(&format!("lc: timeouts of the room of stream {stream_id}: {all}; --for chooses one"));
    }
    Ok(room.settings.shortest_timeout_ms())
}
