//! Roles on single streams that operators give.

use serde::{Deserialize, Serialize};

use super::UserRef;
use crate::protocol::{Role, StreamId, UserId};

/// The roles that can be given on a stream. Viewers are all, and an admin is one on all streams.
pub const GRANTED_ROLES: [Role; 2] = [Role::Moderator, Role::Broadcaster];

/// `GET /v1/grants`: the role of a user on a stream, beside those in its token. The highest counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Grant {
    pub user_id: UserId,
    pub stream_id: StreamId,
    pub role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub created_by: String,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
}

impl Grant {
    /// Writes `moderator on stream 7`.
    pub fn text(&self) -> String {
        format!("{} on stream {}", self.role, self.stream_id)
    }
}

/// `POST /v1/grant`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    pub user: UserRef,
    /// One of [`GRANTED_ROLES`].
    pub role: Role,
    pub stream_id: StreamId,
    /// For operators: only the audit log has it.
    #[serde(default)]
    pub note: Option<String>,
}

/// `POST /v1/revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    pub user: UserRef,
    pub stream_id: StreamId,
    /// For operators: only the audit log has it.
    #[serde(default)]
    pub note: Option<String>,
}
