//! `lc who`: shows a user's connections, bans, timeouts and shadows.

use std::process::ExitCode;

use clap::Args;

use super::change::UserArg;
use super::context::Context;
use super::output::{now_ms, show_ago, warn_unreachable};
use super::table::{show, table};
use super::{bans, shadow};
use crate::client::admin::path_segment;
use crate::protocol::admin::Who;
use crate::protocol::printable::printable;

/// Show a user's connections, bans, timeouts and shadows
#[derive(Debug, Args)]
pub(super) struct WhoArgs {
    #[command(flatten)]
    pub(super) user: UserArg,
}

pub(super) async fn run(args: WhoArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let who: Who =
        context.admin().get(&format!("/v1/who/{}", path_segment(&args.user.user))).await?;
    context.output().item(&who, || to_text(&who, now_ms()))?;
    warn_unreachable(&who.unreachable);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn to_text(who: &Who, now_ms: u64) -> String {
    let name = who.name.as_deref().map_or_else(|| "(name unknown)".to_owned(), printable);
    let mut rows = table(&["node", ">stream", "role", "transport", "address", "connected"]);
    for connection in &who.connections {
        rows.add_row([
            connection.node.to_string(),
            connection.stream_id.to_string(),
            connection.role.to_string(),
            connection.transport.to_string(),
            connection.address.map_or_else(String::new, |address| address.to_string()),
            show_ago(connection.connected_at, now_ms),
        ]);
    }
    let sanctions = match who.sanctions.as_slice() {
        [] => "Neither banned nor timed out.".to_owned(),
        some => bans::to_table(some, now_ms),
    };
    let shadows = match who.shadows.as_slice() {
        [] => String::new(),
        some => format!("\n\nShadowed\n\n{}", shadow::to_table(some, now_ms)),
    };
    let connections = show(&rows, "Not connected.");
    format!("{name}, user {}\n\n{connections}\n\n{sanctions}{shadows}", who.user_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::{ConnectionInfo, Shadow, TransportKind};
    use crate::protocol::{NodeId, Role, StreamId, UserId};

    #[test]
    fn every_connection_is_listed() {
        let now_ms = 1_795_254_408_000;
        let shadow = Shadow {
            user_id: UserId(42),
            stream_id: Some(StreamId(7)),
            name: Some("ann".into()),
            created_by: "bob".into(),
            created_at: now_ms - 60_000,
            expires_at: None,
        };
        let who = Who {
            user_id: UserId(42),
            name: Some("ann".into()),
            connections: vec![
                ConnectionInfo {
                    node: NodeId::new("edge-1"),
                    stream_id: StreamId(7),
                    connected_at: now_ms - 3_725_000,
                    role: Role::Moderator,
                    transport: TransportKind::Websocket,
                    address: Some([203, 0, 113, 7].into()),
                    everywhere: Role::Viewer,
                },
                ConnectionInfo {
                    node: NodeId::new("edge-2"),
                    stream_id: StreamId(1),
                    connected_at: now_ms - 4_000,
                    role: Role::Viewer,
                    transport: TransportKind::Sse,
                    address: None,
                    everywhere: Role::Viewer,
                },
            ],
            sanctions: vec![],
            shadows: vec![shadow],
            unreachable: vec![],
        };
        insta::assert_snapshot!(to_text(&who, now_ms));
    }
}
