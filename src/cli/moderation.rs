//! `lc mod`: lists the comments that wait for review, and decides on them.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::change::submit;
use super::context::Context;
use super::list::{List, ListArgs, left, right, text};
use super::output::show_ago;
use crate::client::outcome_text;
use crate::protocol::CommentId;
use crate::protocol::admin::{ReviewItem, ReviewRequest};

/// Review the comments that moderation has flagged
#[derive(Debug, Args)]
pub(super) struct ModerationArgs {
    #[command(subcommand)]
    command: ModerationCommand,
}

#[derive(Debug, Subcommand)]
enum ModerationCommand {
    /// List the comments that wait for review, oldest first
    Queue(ListArgs),
    /// Keep a comment, or show it if it was held back
    Approve(ApproveArgs),
    /// Delete a comment, or discard it if it was held back
    Reject(RejectArgs),
}

#[derive(Debug, Args)]
struct ApproveArgs {
    /// Comment id, as shown by `lc mod queue`
    comment_id: CommentId,
    /// Note for the audit log
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, Args)]
struct RejectArgs {
    #[command(flatten)]
    decision: ApproveArgs,
    /// Reason, shown to viewers if they have seen the comment: one word, such as spam
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
}

/// All that the daemon answers.
const QUEUE_PATH: &str = "/v1/mod/queue?limit=1000";

static QUEUE: List<ReviewItem> = List {
    columns: &[
        left("comment", |item, _| item.comment_id.to_string()),
        right("stream", |item, _| item.stream_id.to_string()),
        left("age", |item: &ReviewItem, now_ms| show_ago(item.flagged_at, now_ms))
            .titled("flagged"),
        left("held", |item: &ReviewItem, _| if item.held { "held back" } else { "yes" }.to_owned())
            .titled("shown"),
        left("reason", |item, _| item.reason.clone()),
        text("name", |item: &ReviewItem, _| format!("{} ({})", item.name, item.user_id))
            .titled("from"),
        text("text", |item, _| item.message.clone()),
    ],
    sort: "",
    if_empty: "No comment waits for review.",
};

pub(super) async fn run(args: ModerationArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match args.command {
        ModerationCommand::Queue(args) => QUEUE.view(&args)?.run(QUEUE_PATH, context).await,
        ModerationCommand::Approve(ApproveArgs { comment_id, note }) => {
            let request = ReviewRequest { comment_id, reason: None, note };
            decide("/v1/mod/approve", "Approved", request, context).await
        }
        ModerationCommand::Reject(RejectArgs { decision, reason }) => {
            let ApproveArgs { comment_id, note } = decision;
            let request = ReviewRequest { comment_id, reason, note };
            decide("/v1/mod/reject", "Rejected", request, context).await
        }
    }
}

async fn decide(
    path: &str,
    decided: &str,
    request: ReviewRequest,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let describe = |outcome: &_| outcome_text::reviewed(decided, request.comment_id, outcome);
    submit(path, &request, context, describe).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::{StreamId, UserId};

    #[test]
    fn the_review_queue_table() {
        let now_ms = 1_795_254_408_000;
        let item = ReviewItem {
            comment_id: CommentId::from_unix_ticks(17_952_544_080_000_000, 7, [1; 6]),
            stream_id: StreamId(7),
            user_id: UserId(42),
            name: "ann".into(),
            message: "is this allowed?".into(),
            reason: "link".into(),
            flagged_at: now_ms - 61_000,
            held: true,
        };
        assert_columns_are_known(&QUEUE);
        insta::assert_snapshot!(QUEUE.as_text(&[item], now_ms));
        assert_eq!(QUEUE.as_text(&[], now_ms), "No comment waits for review.");
    }
}
