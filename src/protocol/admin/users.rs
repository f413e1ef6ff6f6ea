//! Users: their connections, bans and timeouts.

use serde::{Deserialize, Serialize};

use crate::protocol::quantity::show_time;
use crate::protocol::{NodeId, StreamId, UserId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SanctionKind {
    /// The user may neither connect nor comment.
    Ban,
    /// The user may watch but not comment.
    Timeout,
}

impl SanctionKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::Timeout => "timeout",
        }
    }
}

/// `GET /v1/bans`: an active ban or timeout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
pub struct Sanction {
    pub user_id: UserId,
    pub kind: SanctionKind,
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
    /// Writes `the ban until 2026-11-21 09:46:48`, in UTC, or `the ban without an end`.
    pub fn text(&self) -> String {
        let kind = self.kind.as_str();
        match self.expires_at {
            Some(end) => format!("the {kind} until {}", show_time(end)),
            None => format!("the {kind} without an end"),
        }
    }
}

/// `GET /v1/who/{user}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
pub struct Who {
    pub user_id: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub connections: Vec<ConnectionInfo>,
    pub sanctions: Vec<Sanction>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<NodeId>,
}

/// One connection of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
pub struct ConnectionInfo {
    pub node: NodeId,
    pub stream_id: StreamId,
    /// Milliseconds since the Unix epoch.
    pub connected_at: u64,
}
