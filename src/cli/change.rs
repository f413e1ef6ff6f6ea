//! Parts shared by the commands that change something through the admin socket.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::output::warn_unreachable;
use crate::client::admin::PREVIEW;
use crate::protocol::admin::{Outcome, Preview, PreviewRequest, UserRef, UserRequest};
use crate::protocol::printable::printable;

/// The argument of every command on one user.
#[derive(Debug, Args)]
pub(super) struct UserArg {
    /// User id or latest name; id:42 and name:42 say which is meant
    ///
    /// A name is known about a second after its user connected or commented. Until then, digits
    /// are taken for an id. The answer says which user was found.
    pub(super) user: String,
}

impl From<UserArg> for UserRef {
    fn from(arg: UserArg) -> Self {
        Self(arg.user)
    }
}

/// The arguments of every command that changes one user.
#[derive(Debug, Args)]
pub(super) struct UserArgs {
    #[command(flatten)]
    pub(super) user: UserArg,
    /// Note for the audit log; the user is not shown it
    #[arg(long, value_name = "TEXT")]
    pub(super) note: Option<String>,
}

impl From<UserArgs> for UserRequest {
    fn from(args: UserArgs) -> Self {
        Self { user: args.user.into(), note: args.note }
    }
}

/// The option of changes that can be previewed.
#[derive(Debug, Args)]
pub(super) struct DryRun {
    /// Tell what would happen, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Asks what a change would do, and prints it.
pub(super) async fn preview(
    request: &PreviewRequest,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let preview: Preview = context.admin().post(PREVIEW, request).await?;
    context.output().item(&preview, || printable(&preview.effect))?;
    Ok(ExitCode::SUCCESS)
}

/// Posts the change, prints its outcome, and warns about nodes that were not reached.
///
/// `describe` writes the outcome as a sentence.
pub(super) async fn submit(
    path: &str,
    request: &impl Serialize,
    context: &Context,
    describe: impl FnOnce(&Outcome) -> String,
) -> anyhow::Result<ExitCode> {
    let outcome: Outcome = context.admin().post(path, request).await?;
    context.output().result(&outcome, || describe(&outcome))?;
    warn_unreachable(&outcome.unreachable);
    Ok(ExitCode::SUCCESS)
}

/// Returns the command that takes a change back.
pub(super) fn undo_hint(outcome: &Outcome) -> String {
    format!("Undo: lc undo {}", outcome.audit_id)
}
