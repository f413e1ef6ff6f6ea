//! Users whose comments only they see.

use serde::{Deserialize, Serialize};

use super::UserRef;
use crate::protocol::quantity::show_time;
use crate::protocol::{StreamId, UserId};

/// `GET /v1/shadows`: a user whose new comments are shown to the user only, who is told nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Shadow {
    pub user_id: UserId,
    /// The stream that it applies to; absent if it applies to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<StreamId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub created_by: String,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl Shadow {
    /// Returns whether it has not run out at a time (milliseconds since the Unix epoch).
    pub fn is_in_force(&self, now_ms: u64) -> bool {
        self.expires_at.is_none_or(|end| end > now_ms)
    }

    /// Writes `the shadow on stream 7 until 2026-11-21 09:46:48`, in UTC, or `the shadow on all
    /// streams without an end`.
    pub fn text(&self) -> String {
        let place = match self.stream_id {
            Some(stream_id) => format!("stream {stream_id}"),
            None => "all streams".to_owned(),
        };
        match self.expires_at {
            Some(end) => format!("the shadow on {place} until {}", show_time(end)),
            None => format!("the shadow on {place} without an end"),
        }
    }
}

/// `POST /v1/shadow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowRequest {
    pub user: UserRef,
    /// Without a stream, it applies to all.
    #[serde(default)]
    pub stream_id: Option<StreamId>,
    /// For operators: only the audit log has it.
    #[serde(default)]
    pub note: Option<String>,
    /// From 1 s to 3650 d; without a duration it does not end.
    #[serde(default)]
    pub duration_ms: Option<u64>,
}
