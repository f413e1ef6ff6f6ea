//! `lc delete`: removes a comment from every viewer and from history.

use std::process::ExitCode;

use clap::Args;

use super::change::submit;
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::CommentId;
use crate::protocol::admin::DeleteRequest;

/// Delete a comment
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// Comment id, as shown by `lc tail --ids` and `lc history --ids`
    comment_id: CommentId,
    /// Reason, shown to viewers: one word, such as spam or off_topic
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
    /// Note for the audit log; viewers are not shown it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

pub(super) async fn run(args: DeleteArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request =
        DeleteRequest { comment_id: args.comment_id, reason: args.reason, note: args.note };
    let describe = |outcome: &_| outcome_text::deleted(request.comment_id, outcome);
    submit("/v1/delete", &request, context, describe).await
}
