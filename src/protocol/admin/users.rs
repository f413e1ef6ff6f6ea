//! Users: their connections, bans and timeouts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{AuditEntry, Shadow, TransportKind, audit_action};
use crate::protocol::quantity::show_time;
use crate::protocol::{CommentId, NodeId, Role, StreamId, UserId, on_stream};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SanctionKind {
    /// The user may neither connect nor comment.
    Ban,
    /// The user may watch but not comment.
    Timeout,
}

impl SanctionKind {
    /// Returns its name, which is also that of its audit entries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ban => audit_action::BAN,
            Self::Timeout => audit_action::TIMEOUT,
        }
    }
}

/// `GET /v1/bans`: an active ban or timeout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sanction {
    pub user_id: UserId,
    pub kind: SanctionKind,
    /// The stream that it holds on; absent if it holds on all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<StreamId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub created_by: String,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl Sanction {
    /// Returns whether it holds on a stream, if it has not run out.
    pub fn holds_on(&self, stream_id: StreamId) -> bool {
        self.stream_id.is_none_or(|only| only == stream_id)
    }

    /// Writes `the ban until 2026-11-21 09:46:48`, in UTC, `the ban without an end`, or `the ban
    /// on stream 7 without an end`.
    pub fn text(&self) -> String {
        let kind = self.kind.as_str();
        let place = on_stream(self.stream_id);
        match self.expires_at {
            Some(end) => format!("the {kind}{place} until {}", show_time(end)),
            None => format!("the {kind}{place} without an end"),
        }
    }
}

/// `GET /v1/who/{user}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Who {
    pub user_id: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub connections: Vec<ConnectionInfo>,
    pub sanctions: Vec<Sanction>,
    /// Streams on which only the user sees the user's new comments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<Shadow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<NodeId>,
}

impl Who {
    /// Returns the highest role of the user's connections; viewer without a connection.
    pub fn role(&self) -> Role {
        self.role_on(None)
    }

    /// Returns the user's [`highest_role`] on a stream, or on any.
    pub fn role_on(&self, stream_id: Option<StreamId>) -> Role {
        highest_role(&self.connections, stream_id)
    }
}

/// Returns the highest role that these connections show on a stream, or on any for `None`; viewer
/// if there are none. Connections to other streams show roles that count on all.
pub fn highest_role(connections: &[ConnectionInfo], stream_id: Option<StreamId>) -> Role {
    let role = |connection: &ConnectionInfo| match stream_id {
        Some(only) if only != connection.stream_id => connection.everywhere,
        _ => connection.role,
    };
    connections.iter().map(role).max().unwrap_or_default()
}

/// One connection of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConnectionInfo {
    pub node: NodeId,
    pub stream_id: StreamId,
    /// Milliseconds since the Unix epoch.
    pub connected_at: u64,
    /// The role that the user's token gave it. Nodes of earlier versions do not tell it: viewer.
    #[serde(default)]
    pub role: Role,
    /// Nodes of earlier versions do not tell it: websocket.
    #[serde(default)]
    pub transport: TransportKind,
    /// The address that it came from, behind trusted proxies too. Nodes of earlier versions do not
    /// tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The role that the user's token gave it on all streams. Nodes of earlier versions do not tell
    /// it: viewer.
    #[serde(default)]
    pub everywhere: Role,
}

/// `GET /v1/users/{user}`: a user in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserDetail {
    #[serde(flatten)]
    pub who: Who,
    /// The counts and comments are of this time up to now, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Comments the user wrote.
    pub said: u64,
    /// Comments of the user that were deleted.
    pub removed: u64,
    /// The latest comments, newest first, at most 20.
    pub comments: Vec<UserComment>,
    /// The latest audit entries about the user, newest first, at most 20.
    pub audit: Vec<AuditEntry>,
    /// Absent if users have no points here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reputation: Option<UserReputation>,
}

/// The points of a user at this moment, and what they do. Rounded to thousandths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserReputation {
    /// 0 to 20. Removed comments, timeouts and bans add points; they decay.
    pub points: f64,
    /// When the first of them was counted, in milliseconds since the Unix epoch; absent without
    /// points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// By how much the thresholds of moderation are lower for the user, the age of the account
    /// included.
    pub lowers: f64,
    /// When the account was created, in milliseconds since the Unix epoch; absent if no token has
    /// said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_created: Option<u64>,
}

/// A comment of a user, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserComment {
    pub comment_id: CommentId,
    pub stream_id: StreamId,
    pub message: String,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
    /// The reason of its deletion, or of the decision that hides it from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<String>,
    /// Only the user sees it, because of a decision or because the user was shadowed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadowed: bool,
}
