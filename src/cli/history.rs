//! `lc history`: reads a stream's stored comments, one page at a time.

use std::process::ExitCode;

use clap::Args;

use super::arguments::count_in;
use super::complete;
use super::context::Context;
use super::output::note;
use super::tail::{Authors, comment_line};
use crate::protocol::admin::HistoryPage;
use crate::protocol::{CommentId, StreamId};

/// Read a stream's stored comments
///
/// A terminal shows the newest comment at the bottom, as a chat does. JSON is newest first. Times
/// are in UTC. Comments that are deleted, or that only their authors see, are left out. `↪ ann`
/// marks a reply to a comment of ann on the same page, `↪ an earlier comment` one to another; with
/// --ids the id of that comment stands there.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Stream id
    #[arg(add = complete::streams())]
    stream: StreamId,
    /// Only comments older than this comment
    #[arg(long, value_name = "COMMENT_ID")]
    before: Option<CommentId>,
    /// Maximum number of comments, up to 1000
    #[arg(long, value_name = "N", value_parser = count_in(1..=1000), default_value = "50")]
    limit: u64,
    /// Show comment ids, for use with `lc delete`
    #[arg(long)]
    ids: bool,
}

pub(super) async fn run(args: HistoryArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let before = args.before.map(|id| format!("&before={id}")).unwrap_or_default();
    let path = format!("/v1/history/{}?limit={}{before}", args.stream, args.limit);
    let page: HistoryPage = context.admin().get(&path).await?;
    context.output().items(&page.comments, || to_text(&page, args.ids))?;
    if let Some(next) = page.next_before {
        note(&format!("older: lc{} {}", context.typed(), next_page(&args, next)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the command that reads the next page as this one was read.
fn next_page(args: &HistoryArgs, before: CommentId) -> String {
    let ids = if args.ids { " --ids" } else { "" };
    format!("history {} --limit {}{ids} --before {before}", args.stream, args.limit)
}

fn to_text(page: &HistoryPage, show_ids: bool) -> String {
    if page.comments.is_empty() {
        return "No comments.".to_owned();
    }
    let mut authors = Authors::default();
    page.comments.iter().for_each(|comment| authors.remember(comment));
    let line = |comment| comment_line(comment, &authors, show_ids) + "\n";
    page.comments.iter().rev().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tail::tests::{comment, reply};

    #[test]
    fn the_next_page_is_read_as_this_one() {
        let before = comment(1, "x").comment_id;
        let mut args = HistoryArgs { stream: StreamId(7), before: None, limit: 5, ids: true };
        assert_eq!(
            next_page(&args, before),
            format!("history 7 --limit 5 --ids --before {before}")
        );
        args.ids = false;
        assert!(!next_page(&args, before).contains("--ids"));
    }

    #[test]
    fn the_newest_comment_is_at_the_bottom() {
        let comments = vec![reply(4, 2), reply(3, 0), comment(2, "second"), comment(1, "first")];
        let page = HistoryPage { comments, next_before: None };
        assert_eq!(
            to_text(&page, false),
            "09:46:50 ann1: first\n09:46:52 ann2: second\n\
             09:46:54 ann3 ↪ an earlier comment: yes\n09:46:56 ann4 ↪ ann2: yes\n"
        );
    }
}
