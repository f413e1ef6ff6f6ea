//! The comment that a moderator has pinned above the chat of a stream.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Badges, CommentId, UserId};

/// A pinned comment, with what a viewer needs to show it: it may be older than what the viewer has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PinnedComment {
    pub comment_id: CommentId,
    pub user_id: UserId,
    pub name: Arc<str>,
    pub message: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
    /// Those of the author when the comment was accepted.
    #[serde(default, skip_serializing_if = "Badges::is_empty")]
    pub badges: Badges,
    /// When it was pinned, in milliseconds since the Unix epoch.
    pub pinned_at: u64,
}
