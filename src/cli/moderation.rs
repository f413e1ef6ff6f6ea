//! `lc mod`: lists the comments that wait for review, and decides on them.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::change::submit;
use super::context::Context;
use super::output::{now_ms, show, show_ago, table, warn_unreachable};
use crate::client::outcome_text;
use crate::protocol::CommentId;
use crate::protocol::admin::{Cluster, ReviewItem, ReviewRequest};
use crate::protocol::printable::printable;

/// Review the comments that moderation has flagged
#[derive(Debug, Args)]
pub(super) struct ModerationArgs {
    #[command(subcommand)]
    command: ModerationCommand,
}

#[derive(Debug, Subcommand)]
enum ModerationCommand {
    /// List the comments that wait for review
    Queue,
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

pub(super) async fn run(args: ModerationArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match args.command {
        ModerationCommand::Queue => queue(context).await,
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

async fn queue(context: &Context) -> anyhow::Result<ExitCode> {
    let queue: Cluster<ReviewItem> = context.admin().get("/v1/mod/queue").await?;
    context.output().items(&queue.items, || to_table(&queue.items, now_ms()))?;
    warn_unreachable(&queue.unreachable);
    Ok(ExitCode::SUCCESS)
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

fn to_table(queue: &[ReviewItem], now_ms: u64) -> String {
    let mut rows = table(&["comment", ">stream", "flagged", "reason", "shown", "from", "~message"]);
    for item in queue {
        rows.add_row([
            item.comment_id.to_string(),
            item.stream_id.to_string(),
            show_ago(item.flagged_at, now_ms),
            item.reason.clone(),
            if item.held { "held back" } else { "yes" }.to_owned(),
            format!("{} ({})", printable(&item.name), item.user_id),
            printable(&item.message),
        ]);
    }
    show(&rows, "No comment waits for review.")
}

#[cfg(test)]
mod tests {
    use super::*;
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
        insta::assert_snapshot!(to_table(&[item], now_ms));
        assert_eq!(to_table(&[], now_ms), "No comment waits for review.");
    }
}
