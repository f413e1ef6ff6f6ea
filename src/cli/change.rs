//! Parts shared by the commands that change something through the admin socket.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::output::warn_unreachable;
use crate::protocol::admin::{Outcome, UserRef, UserRequest};

/// The arguments of the commands that change one user.
#[derive(Debug, Args)]
pub(super) struct UserArgs {
    /// User id, or the user's latest name
    pub(super) user: String,
    /// Reason, for the audit log
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

impl From<UserArgs> for UserRequest {
    fn from(args: UserArgs) -> Self {
        Self { user: UserRef(args.user), reason: args.reason }
    }
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
    context.output().item(&outcome, || describe(&outcome))?;
    warn_unreachable(&outcome.unreachable);
    Ok(ExitCode::SUCCESS)
}

/// Returns the command that undoes a ban or timeout. It names the user by id where possible,
/// because the user may change name before it is run.
pub(super) fn undo_hint(user: &UserRef, outcome: &Outcome) -> String {
    let name = outcome.user_id.map_or_else(|| user.0.clone(), |id| id.to_string());
    format!("Undo: lc unban {name}")
}
