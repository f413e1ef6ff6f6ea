//! `lc tail`: follows a stream's comments and moderation, also through a restart of the daemon.

use std::process::ExitCode;

use clap::Args;
use futures_util::StreamExt as _;

use super::context::Context;
use super::output::{harmless, show_time};
use crate::client::follow::{Followed, follow};
use crate::protocol::admin::TailItem;
use crate::protocol::quantity::show_duration;
use crate::protocol::{SequencedComment, StreamId};

/// Follow a stream's comments and moderation as they happen, before any throttling
///
/// Goes on after a restart of the daemon; what came in between is in `lc history`.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// The stream's number
    stream: StreamId,
    /// Show comment ids, as `lc delete` takes them
    #[arg(long)]
    ids: bool,
}

pub(super) async fn run(args: TailArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/tail/{}", args.stream);
    let mut items = Box::pin(follow::<TailItem>(context.admin(), path).await?);
    let output = context.output();
    while let Some(item) = items.next().await {
        match item {
            Followed::Item(item) => output.item(&item, || human(&item, args.ids))?,
            Followed::Lost { why, retry_in } => {
                let wait = show_duration(u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX));
                eprintln!("lc: {why}; trying again in {wait}");
            }
            Followed::Ended(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn human(item: &TailItem, ids: bool) -> String {
    match item {
        TailItem::Comment(comment) => line(comment, ids),
        TailItem::Moderated { comment_id, user_id, decision, reason, decided_by, timestamp } => {
            let (decision, reason) = (decision.as_str(), harmless(reason));
            let by = harmless(decided_by);
            let at = show_clock(*timestamp);
            format!("{at} -- {decision} ({reason}) by {by}: {comment_id} of user {user_id}")
        }
        TailItem::Missed { items } => {
            format!("-- {items} items left out: this reader is too slow --")
        }
    }
}

/// One comment as people read chat.
pub(super) fn line(comment: &SequencedComment, ids: bool) -> String {
    let at = show_clock(comment.created_at);
    let (name, message) = (harmless(&comment.name), harmless(&comment.message));
    if ids {
        format!("{at} {} {name} ({}): {message}", comment.comment_id, comment.user_id)
    } else {
        format!("{at} {name}: {message}")
    }
}

/// `09:46:48`, in UTC.
fn show_clock(at_ms: u64) -> String {
    show_time(at_ms).split_off(11)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::protocol::events::Decision;
    use crate::protocol::{CommentId, UserId};

    pub(crate) fn comment(number: u64, message: &str) -> SequencedComment {
        let ticks = 17_952_544_080_000_000 + number * 20_000_000;
        SequencedComment {
            comment_id: CommentId::from_unix_ticks(ticks, 7, [1; 6]),
            user_id: UserId(40 + number),
            name: format!("ann{number}").into(),
            message: message.into(),
            created_at: ticks / 10_000,
            seq: 100 + number,
        }
    }

    #[test]
    fn chat_reads_as_chat_and_moderation_stands_out() {
        let comment = comment(1, "gg \u{1b}]0;owned\u{7}");
        let moderated = TailItem::Moderated {
            comment_id: comment.comment_id,
            user_id: comment.user_id,
            decision: Decision::Reject,
            reason: "blocked_word".into(),
            decided_by: "rules".into(),
            timestamp: comment.created_at + 4_000,
        };
        let lines = [TailItem::Comment(comment), moderated, TailItem::Missed { items: 3 }];
        let text = |ids| lines.iter().map(|item| human(item, ids)).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(format!("{}\n\n{}", text(false), text(true)));
    }
}
