//! `lc pin`, `lc unpin`: the comment above the chat of a stream.

use std::process::ExitCode;

use clap::Args;

use super::change::{submit, undo_hint};
use super::complete;
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::admin::{PinRequest, UnpinRequest};
use crate::protocol::{CommentId, StreamId};

/// Pin a comment above the chat of a stream
///
/// It takes the place of another one. It is pinned until it is unpinned, deleted or hidden.
#[derive(Debug, Args)]
pub(super) struct PinArgs {
    /// Stream id
    #[arg(add = complete::streams())]
    stream: StreamId,
    /// Comment id, as shown by `lc tail --ids` and `lc history --ids`
    comment_id: CommentId,
    /// Note for the audit log; viewers are not shown it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Take the pinned comment of a stream down
#[derive(Debug, Args)]
pub(super) struct UnpinArgs {
    /// Stream id
    #[arg(add = complete::streams())]
    stream: StreamId,
    /// Note for the audit log; viewers are not shown it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

pub(super) async fn run(args: PinArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let PinArgs { stream, comment_id, note } = args;
    let request = PinRequest { comment_id, note };
    submit(&format!("/v1/streams/{stream}/pin"), &request, context, |outcome| {
        let done = outcome_text::pinned(stream, comment_id, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}

pub(super) async fn unpin(args: UnpinArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let UnpinArgs { stream, note } = args;
    submit(&format!("/v1/streams/{stream}/unpin"), &UnpinRequest { note }, context, |outcome| {
        let done = outcome_text::unpinned(stream, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}
