//! `lc history`: a stream's stored comments, a page at a time.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::tail::line;
use crate::protocol::admin::HistoryPage;
use crate::protocol::quantity::parse_count;
use crate::protocol::{CommentId, StreamId};

/// Read a stream's stored comments
///
/// On a terminal the newest is at the bottom, as in a chat; JSON comes newest first.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The stream's number
    stream: StreamId,
    /// Only comments older than this one
    #[arg(long, value_name = "COMMENT_ID")]
    before: Option<CommentId>,
    /// How many comments
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "50")]
    limit: u64,
    /// Show comment ids, as `lc delete` takes them
    #[arg(long)]
    ids: bool,
}

pub(super) async fn run(args: HistoryArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let before = args.before.map(|id| format!("&before={id}")).unwrap_or_default();
    let path = format!("/v1/history/{}?limit={}{before}", args.stream, args.limit);
    let page: HistoryPage = context.admin().get(&path).await?;
    context.output().items(&page.comments, || human(&page, args.ids))?;
    if let Some(next) = page.next_before {
        eprintln!("older: lc history {} --limit {} --before {next}", args.stream, args.limit);
    }
    Ok(ExitCode::SUCCESS)
}

fn human(page: &HistoryPage, ids: bool) -> String {
    if page.comments.is_empty() {
        return "No comments.".to_owned();
    }
    page.comments.iter().rev().map(|comment| line(comment, ids) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tail::tests::comment;

    #[test]
    fn people_read_downwards() {
        let comments = vec![comment(3, "third"), comment(2, "second"), comment(1, "first")];
        let page = HistoryPage { comments, next_before: None };
        assert_eq!(
            human(&page, false),
            "09:46:50 ann1: first\n09:46:52 ann2: second\n09:46:54 ann3: third\n"
        );
    }
}
