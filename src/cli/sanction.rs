//! `lc ban`, `timeout`, `kick`, `unban`: what an operator does to a user.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::arguments::{span, span_ms};
use super::context::Context;
use super::output::warn_unreachable;
use crate::client::wording;
use crate::protocol::admin::{Outcome, SanctionRequest, UserRef, UserRequest};

#[derive(Debug, Args)]
pub(super) struct UserArgs {
    /// A user id, or the name the user last had
    user: String,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Disconnect a user and keep them out
///
/// Their connections are closed at once, on every node. They can neither watch nor comment until
/// the ban ends or is lifted.
#[derive(Debug, Args)]
pub(super) struct BanArgs {
    #[command(flatten)]
    user: UserArgs,
    /// How long, such as 10m or 7d [default: for good]
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    span: Option<Duration>,
}

/// Let a user watch but not comment for a while
#[derive(Debug, Args)]
pub(super) struct TimeoutArgs {
    #[command(flatten)]
    user: UserArgs,
    /// How long: 1s to 30d
    #[arg(long = "for", value_name = "TIME", value_parser = span, default_value = "10m")]
    span: Duration,
}

pub(super) async fn ban(args: BanArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = sanction(args.user, args.span);
    act("/v1/ban", &request, context, |outcome| {
        let told = wording::banned(&request.user, request.duration_ms, outcome);
        format!("{told} Undo: lc unban {}", undo_name(&request.user, outcome))
    })
    .await
}

pub(super) async fn timeout(args: TimeoutArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = sanction(args.user, Some(args.span));
    act("/v1/timeout", &request, context, |outcome| {
        let told = wording::timed_out(&request.user, request.duration_ms, outcome);
        format!("{told} Undo: lc unban {}", undo_name(&request.user, outcome))
    })
    .await
}

pub(super) async fn kick(args: UserArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = UserRequest { user: UserRef(args.user), reason: args.reason };
    act("/v1/kick", &request, context, |outcome| wording::kicked(&request.user, outcome)).await
}

pub(super) async fn unban(args: UserArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = UserRequest { user: UserRef(args.user), reason: args.reason };
    act("/v1/unban", &request, context, |outcome| wording::unbanned(&request.user, outcome)).await
}

fn sanction(args: UserArgs, span: Option<Duration>) -> SanctionRequest {
    SanctionRequest {
        user: UserRef(args.user),
        reason: args.reason,
        duration_ms: span.map(span_ms),
    }
}

/// The id, which stays the same when the user takes another name.
fn undo_name(user: &UserRef, outcome: &Outcome) -> String {
    outcome.user_id.map_or_else(|| user.0.clone(), |id| id.to_string())
}

/// Sends a change, prints what came of it, and names the nodes that took no part.
pub(super) async fn act(
    path: &str,
    request: &impl Serialize,
    context: &Context,
    sentence: impl FnOnce(&Outcome) -> String,
) -> anyhow::Result<ExitCode> {
    let outcome: Outcome = context.admin().post(path, request).await?;
    context.output().item(&outcome, || sentence(&outcome))?;
    warn_unreachable(&outcome.unreachable);
    Ok(ExitCode::SUCCESS)
}
