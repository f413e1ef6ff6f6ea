//! `lc shadow`, `lc unshadow`, `lc shadows`: users whose comments only they see.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::arguments::{LONGEST_BAN, duration_up_to, to_ms};
use super::change::{DryRun, UserArgs, preview, submit, undo_hint};
use super::complete;
use super::context::Context;
use super::list::{List, ListArgs, left, right, text};
use super::output::show_ago;
use crate::client::outcome_text;
use crate::protocol::StreamId;
use crate::protocol::admin::{PreviewRequest, Shadow, ShadowRequest, UserRequest};
use crate::protocol::quantity::show_duration;

/// Show a user's new comments to nobody but the user
///
/// The user is not told: comments are acknowledged, and the user's connections and history show
/// them. Everybody else never sees them, except `lc tail` and `lc user`. Comments from before stay
/// visible.
#[derive(Debug, Args)]
pub(super) struct ShadowArgs {
    #[command(flatten)]
    user: UserArgs,
    #[command(flatten)]
    dry: DryRun,
    /// Only on this stream [default: on all streams]
    #[arg(long, value_name = "STREAM", add = complete::streams())]
    stream: Option<StreamId>,
    /// Duration, from 1s to 3650d, such as 10m or 7d [default: permanent]
    #[arg(long = "for", value_name = "TIME", value_parser = duration_up_to(LONGEST_BAN))]
    duration: Option<Duration>,
}

/// Show a user's new comments to everybody again
///
/// Ends all shadow bans of the user, also those on one stream. Comments that only the user has seen
/// so far stay so.
#[derive(Debug, Args)]
#[command(mut_arg("user", |user| user.add(complete::shadowed_users())))]
pub(super) struct UnshadowArgs {
    #[command(flatten)]
    user: UserArgs,
}

static SHADOWS: List<Shadow> = List {
    columns: &[
        right("user", |shadow, _| shadow.user_id.to_string()),
        right("stream", |shadow: &Shadow, _| {
            shadow.stream_id.map_or("all".to_owned(), |stream_id| stream_id.to_string())
        }),
        left("left", left_of).titled("expires"),
        left("age", |shadow: &Shadow, now_ms| show_ago(shadow.created_at, now_ms)).titled("set"),
        text("by", |shadow, _| shadow.created_by.clone()),
        text("name", |shadow, _| shadow.name.clone().unwrap_or_default()),
    ],
    sort: "",
    if_empty: "No user is shadowed.",
};

fn left_of(shadow: &Shadow, now_ms: u64) -> String {
    shadow
        .expires_at
        .map_or("never".to_owned(), |at| format!("in {}", show_duration(at.saturating_sub(now_ms))))
}

pub(super) async fn run(args: ShadowArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = ShadowRequest {
        user: args.user.user.into(),
        stream_id: args.stream,
        note: args.user.note,
        duration_ms: args.duration.map(to_ms),
    };
    if args.dry.dry_run {
        let ShadowRequest { user, stream_id, duration_ms, .. } = request;
        let request = PreviewRequest::Shadow { users: vec![user], stream_id, duration_ms };
        return preview(&request, context).await;
    }
    submit("/v1/shadow", &request, context, |outcome| {
        let done = outcome_text::shadowed(&request, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}

pub(super) async fn lift(args: UnshadowArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = UserRequest::from(args.user);
    submit("/v1/unshadow", &request, context, |outcome| {
        let done = outcome_text::unshadowed(&request.user, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}

pub(super) async fn list(args: ListArgs, context: &Context) -> anyhow::Result<ExitCode> {
    SHADOWS.view(&args)?.run("/v1/shadows", context).await
}

/// Writes shadows as a table.
pub(super) fn to_table(shadows: &[Shadow], now_ms: u64) -> String {
    SHADOWS.as_text(shadows, now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::UserId;

    #[test]
    fn shadows_table_names_stream_and_end() {
        let now_ms = 1_795_254_408_000;
        let everywhere = Shadow {
            user_id: UserId(4711),
            stream_id: None,
            name: Some("troll42".into()),
            created_by: "ann".into(),
            created_at: now_ms - 200_000,
            expires_at: None,
        };
        let on_one = Shadow {
            user_id: UserId(12),
            stream_id: Some(StreamId(7)),
            name: None,
            expires_at: Some(now_ms + 598_000),
            ..everywhere.clone()
        };
        assert_columns_are_known(&SHADOWS);
        insta::assert_snapshot!(to_table(&[everywhere, on_one], now_ms));
        assert_eq!(to_table(&[], now_ms), "No user is shadowed.");
    }
}
