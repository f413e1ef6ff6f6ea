//! `lc delete`: removes a comment, or a user's latest comments, from every viewer and from history.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::arguments::{duration_up_to, to_ms};
use super::change::{preview, submit, undo_hint};
use super::complete;
use super::context::Context;
use super::exit::UsageError;
use crate::client::outcome_text;
use crate::protocol::admin::{DeleteOfUserRequest, DeleteRequest, PreviewRequest, UserRef};
use crate::protocol::{CommentId, StreamId};

/// The daemon's limit of `--last`.
const LONGEST_LAST: Duration = Duration::from_secs(86_400);

/// Delete a comment, or the latest comments of a user
///
/// Viewers are told to remove them. At most 100 comments of a user are deleted at one time, the
/// newest first. The answer says what is left. Texts are kept for moderators, so that lc undo can
/// take a deletion back.
#[derive(Debug, Args)]
#[command(override_usage = "lc delete [OPTIONS] <COMMENT_ID>\n       \
    lc delete [OPTIONS] --user <USER> --last <TIME>")]
pub(super) struct DeleteArgs {
    /// Comment id, as shown by `lc tail --ids` and `lc history --ids`
    #[arg(required_unless_present = "user", conflicts_with_all = ["user", "last", "stream"])]
    comment_id: Option<CommentId>,
    /// Delete what this user wrote: user id or latest name
    #[arg(long, value_name = "USER", requires = "last")]
    user: Option<String>,
    /// In this time up to now, from 1s to 1d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true,
        value_parser = duration_up_to(LONGEST_LAST),
          requires = "user")]
    last: Option<Duration>,
    /// On this stream only
    #[arg(long, value_name = "STREAM", requires = "user", add = complete::streams())]
    stream: Option<StreamId>,
    /// Tell how many comments would be deleted, and change nothing
    #[arg(long, requires = "user")]
    dry_run: bool,
    /// Reason, shown to viewers: one word, such as spam or off_topic
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
    /// Note for the audit log; viewers are not shown it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

pub(super) async fn run(args: DeleteArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match (args.comment_id, args.user, args.last) {
        (Some(comment_id), ..) => {
            let request = DeleteRequest { comment_id, reason: args.reason, note: args.note };
            submit("/v1/delete", &request, context, |outcome| {
                let done = outcome_text::deleted(comment_id, outcome);
                format!("{done} {}", undo_hint(outcome))
            })
            .await
        }
        (None, Some(user), Some(last)) => {
            let request = DeleteOfUserRequest {
                user: UserRef(user),
                last_ms: to_ms(last),
                stream_id: args.stream,
                reason: args.reason,
                note: args.note,
            };
            if args.dry_run {
                return preview(&PreviewRequest::DeleteOfUser(request), context).await;
            }
            submit("/v1/delete_of_user", &request, context, |outcome| {
                let done = outcome_text::deleted_of_user(outcome);
                format!("{done} {}", undo_hint(outcome))
            })
            .await
        }
        (None, ..) => Err(UsageError("name a comment, or --user and --last".to_owned()).into()),
    }
}
