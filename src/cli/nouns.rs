//! Nouns with verbs, beside the short commands: `lc user ban x` is `lc ban x`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::context::Context;
use super::exit::UsageError;
use super::{ban, delete, dm, history, kick, shadow, tail, timeout, unban, user};

/// Show a user, or change what the user may do
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(super) struct UserNoun {
    /// User id or latest name: show connections, bans, latest comments and audit entries
    user: Option<String>,
    #[command(subcommand)]
    verb: Option<UserVerb>,
}

#[derive(Debug, Subcommand)]
enum UserVerb {
    Ban(ban::BanArgs),
    Timeout(timeout::TimeoutArgs),
    Kick(kick::KickArgs),
    Unban(unban::UnbanArgs),
    Shadow(shadow::ShadowArgs),
    Unshadow(shadow::UnshadowArgs),
    Dm(dm::DmArgs),
}

/// Delete comments, or read those of a stream
#[derive(Debug, Args)]
pub(super) struct CommentNoun {
    #[command(subcommand)]
    verb: CommentVerb,
}

#[derive(Debug, Subcommand)]
enum CommentVerb {
    Delete(delete::DeleteArgs),
    History(history::HistoryArgs),
    Tail(tail::TailArgs),
}

pub(super) async fn user(noun: UserNoun, context: &Context) -> anyhow::Result<ExitCode> {
    match (noun.verb, noun.user) {
        (Some(UserVerb::Ban(args)), _) => ban::run(args, context).await,
        (Some(UserVerb::Timeout(args)), _) => timeout::run(args, context).await,
        (Some(UserVerb::Kick(args)), _) => kick::run(args, context).await,
        (Some(UserVerb::Unban(args)), _) => unban::run(args, context).await,
        (Some(UserVerb::Shadow(args)), _) => shadow::run(args, context).await,
        (Some(UserVerb::Unshadow(args)), _) => shadow::lift(args, context).await,
        (Some(UserVerb::Dm(args)), _) => dm::run(args, context).await,
        (None, Some(user)) => user::run(&user, context).await,
        (None, None) => Err(UsageError("name a user".to_owned()).into()),
    }
}

pub(super) async fn comment(noun: CommentNoun, context: &Context) -> anyhow::Result<ExitCode> {
    match noun.verb {
        CommentVerb::Delete(args) => delete::run(args, context).await,
        CommentVerb::History(args) => history::run(args, context).await,
        CommentVerb::Tail(args) => tail::run(args, context).await,
    }
}
