//! `lc mod`: the comments that moderation left to people.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::context::Context;
use super::output::{harmless, now_ms, show, show_ago, table, warn_unreachable};
use super::sanction::act;
use crate::client::wording;
use crate::protocol::CommentId;
use crate::protocol::admin::{Cluster, ReviewItem, ReviewRequest};

/// Review the comments that moderation left to people
#[derive(Debug, Args)]
pub(super) struct ReviewArgs {
    #[command(subcommand)]
    command: ReviewCommand,
}

#[derive(Debug, Subcommand)]
enum ReviewCommand {
    /// List the comments that wait for a decision
    Queue,
    /// Let a comment stay, or show it if it was held back
    Approve(DecisionArgs),
    /// Delete a comment, or never show it if it was held back
    Reject(DecisionArgs),
}

#[derive(Debug, Args)]
struct DecisionArgs {
    /// The comment's id, as `lc mod queue` shows it
    comment_id: CommentId,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) async fn run(args: ReviewArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match args.command {
        ReviewCommand::Queue => queue(context).await,
        ReviewCommand::Approve(args) => decide("/v1/mod/approve", "Approved", args, context).await,
        ReviewCommand::Reject(args) => decide("/v1/mod/reject", "Rejected", args, context).await,
    }
}

async fn queue(context: &Context) -> anyhow::Result<ExitCode> {
    let queue: Cluster<ReviewItem> = context.admin().get("/v1/mod/queue").await?;
    context.output().items(&queue.items, || human(&queue.items, now_ms()))?;
    warn_unreachable(&queue.unreachable);
    Ok(ExitCode::SUCCESS)
}

async fn decide(
    path: &str,
    done: &str,
    args: DecisionArgs,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let request = ReviewRequest { comment_id: args.comment_id, reason: args.reason };
    act(path, &request, context, |outcome| wording::reviewed(done, request.comment_id, outcome))
        .await
}

fn human(queue: &[ReviewItem], now_ms: u64) -> String {
    let mut rows = table(&["comment", ">stream", "flagged", "reason", "shown", "from", "~message"]);
    for item in queue {
        rows.add_row([
            item.comment_id.to_string(),
            item.stream_id.to_string(),
            show_ago(item.flagged_at, now_ms),
            item.reason.clone(),
            if item.held { "held back" } else { "yes" }.to_owned(),
            format!("{} ({})", harmless(&item.name), item.user_id),
            harmless(&item.message),
        ]);
    }
    show(&rows, "Nothing waits for a decision.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{StreamId, UserId};

    #[test]
    fn the_queue_shows_what_is_needed_to_decide() {
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
        insta::assert_snapshot!(human(&[item], now_ms));
        assert_eq!(human(&[], now_ms), "Nothing waits for a decision.");
    }
}
