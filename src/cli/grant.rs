//! `lc grant`, `lc revoke`, `lc grants`: roles of users on single streams.

use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::change::{UserArgs, submit, undo_hint};
use super::complete;
use super::context::Context;
use super::list::{List, ListArgs, left, right, text};
use super::output::show_ago;
use crate::client::outcome_text;
use crate::protocol::StreamId;
use crate::protocol::admin::{GRANTED_ROLES, Grant, GrantRequest, RevokeRequest};

/// Give a user a role on a stream
///
/// moderator: moderates there. broadcaster: also changes the stream. The role counts beside those
/// in the user's token; the highest does. Connections of the user are closed and reconnect with it.
#[derive(Debug, Args)]
pub(super) struct GrantArgs {
    #[command(flatten)]
    user: UserArgs,
    #[arg(value_parser = PossibleValuesParser::new(GRANTED_ROLES.map(|role| role.as_str())))]
    role: String,
    /// Stream on which the user has the role
    #[arg(long, value_name = "STREAM", add = complete::streams())]
    stream: StreamId,
}

/// Take the role that a user was given on a stream
///
/// Roles in the user's token stay. Connections of the user are closed and reconnect without it.
#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    user: UserArgs,
    /// Stream on which the user has the role
    #[arg(long, value_name = "STREAM", add = complete::streams())]
    stream: StreamId,
}

static GRANTS: List<Grant> = List {
    columns: &[
        right("user", |grant, _| grant.user_id.to_string()),
        right("stream", |grant, _| grant.stream_id.to_string()),
        left("role", |grant, _| grant.role.to_string()),
        left("age", |grant: &Grant, now_ms| show_ago(grant.created_at, now_ms)).titled("set"),
        text("by", |grant, _| grant.created_by.clone()),
        text("name", |grant, _| grant.name.clone().unwrap_or_default()),
    ],
    sort: "",
    if_empty: "No user was given a role.",
};

pub(super) async fn run(args: GrantArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let GrantArgs { user, role, stream } = args;
    let role = role.parse().map_err(anyhow::Error::msg)?;
    let request = GrantRequest { user: user.user.into(), role, stream_id: stream, note: user.note };
    submit("/v1/grant", &request, context, |outcome| {
        let done = outcome_text::granted(&request, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}

pub(super) async fn revoke(args: RevokeArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let RevokeArgs { user, stream } = args;
    let request = RevokeRequest { user: user.user.into(), stream_id: stream, note: user.note };
    submit("/v1/revoke", &request, context, |outcome| {
        let done = outcome_text::revoked(&request, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}

pub(super) async fn list(args: ListArgs, context: &Context) -> anyhow::Result<ExitCode> {
    GRANTS.view(&args)?.run("/v1/grants", context).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::{Role, UserId};

    #[test]
    fn grants_table_names_stream_and_role() {
        let now_ms = 1_795_254_408_000;
        let grant = Grant {
            user_id: UserId(4711),
            stream_id: StreamId(7),
            role: Role::Moderator,
            name: Some("ann".into()),
            created_by: "op".into(),
            created_at: now_ms - 200_000,
        };
        assert_columns_are_known(&GRANTS);
        let table = GRANTS.as_text(&[grant], now_ms);
        for part in ["4711", "moderator", "ann", "op"] {
            assert!(table.contains(part), "{table}");
        }
        assert_eq!(GRANTS.as_text(&[], now_ms), "No user was given a role.");
    }
}
