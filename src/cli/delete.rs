//! `lc delete`: takes one comment away from every viewer and from history.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::sanction::act;
use crate::client::wording;
use crate::protocol::CommentId;
use crate::protocol::admin::DeleteRequest;

/// Delete a comment
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The comment's id, as `lc tail` and `lc history` show it
    comment_id: CommentId,
    /// Why, for the audit log and the viewers
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) async fn run(args: DeleteArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = DeleteRequest { comment_id: args.comment_id, reason: args.reason };
    act("/v1/delete", &request, context, |outcome| wording::deleted(request.comment_id, outcome))
        .await
}
