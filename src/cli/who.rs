//! `lc who`: where a user is connected and what is held against them.

use std::process::ExitCode;

use clap::Args;

use super::bans;
use super::context::Context;
use super::output::{harmless, now_ms, show, show_ago, table, warn_unreachable};
use crate::client::admin::path_segment;
use crate::protocol::admin::Who;

/// Show where a user is connected and what is held against them
#[derive(Debug, Args)]
pub(super) struct WhoArgs {
    /// A user id, or the name the user last had
    user: String,
}

pub(super) async fn run(args: WhoArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let who: Who = context.admin().get(&format!("/v1/who/{}", path_segment(&args.user))).await?;
    context.output().item(&who, || human(&who, now_ms()))?;
    warn_unreachable(&who.unreachable);
    Ok(ExitCode::SUCCESS)
}

fn human(who: &Who, now_ms: u64) -> String {
    let name = who.name.as_deref().map_or_else(|| "(no name known)".to_owned(), harmless);
    let mut rows = table(&["node", ">stream", "connected"]);
    for connection in &who.connections {
        rows.add_row([
            connection.node.to_string(),
            connection.stream_id.to_string(),
            show_ago(connection.connected_at, now_ms),
        ]);
    }
    let sanctions = match who.sanctions.as_slice() {
        [] => "Neither banned nor timed out.".to_owned(),
        some => bans::human(some, now_ms),
    };
    format!("{name}, user {}\n\n{}\n\n{sanctions}", who.user_id, show(&rows, "Not connected."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::ConnectionInfo;
    use crate::protocol::{NodeId, StreamId, UserId};

    #[test]
    fn it_shows_every_connection() {
        let now_ms = 1_795_254_408_000;
        let who = Who {
            user_id: UserId(42),
            name: Some("ann".into()),
            connections: vec![
                ConnectionInfo {
                    node: NodeId::new("edge-1"),
                    stream_id: StreamId(7),
                    connected_at: now_ms - 3_725_000,
                },
                ConnectionInfo {
                    node: NodeId::new("edge-2"),
                    stream_id: StreamId(1),
                    connected_at: now_ms - 4_000,
                },
            ],
            sanctions: vec![],
            unreachable: vec![],
        };
        insta::assert_snapshot!(human(&who, now_ms));
    }
}
