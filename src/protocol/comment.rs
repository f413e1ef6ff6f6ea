//! Comments and deletions.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Badges, CommentId, Seq, StreamId, UserId};

/// A comment as the daemon accepted it and the event log stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    pub user_id: UserId,
    pub name: Arc<str>,
    /// The text: NFC, without control characters, never empty.
    pub message: Arc<str>,
    /// Milliseconds since the Unix epoch, on the clock of the node that accepted it.
    pub created_at: u64,
    /// Those of the author when it was accepted.
    #[serde(default, skip_serializing_if = "Badges::is_empty")]
    pub badges: Badges,
}

impl Comment {
    pub fn sequenced(&self, seq: Seq) -> SequencedComment {
        SequencedComment {
            comment_id: self.comment_id,
            user_id: self.user_id,
            name: self.name.clone(),
            message: self.message.clone(),
            created_at: self.created_at,
            seq,
            badges: self.badges,
        }
    }
}

/// A comment with its position in the stream, as viewers and the history see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
pub struct SequencedComment {
    pub comment_id: CommentId,
    pub user_id: UserId,
    pub name: Arc<str>,
    pub message: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
    pub seq: Seq,
    /// The badges of its author when the comment was accepted: a role above viewer, a subscriber.
    #[serde(default, skip_serializing_if = "Badges::is_empty")]
    pub badges: Badges,
}

/// The deletion of a comment. Deletions overtake comments, so one may arrive before its comment.
/// A client must remember the id and ignore the comment when it arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
pub struct Deletion {
    pub comment_id: CommentId,
    /// A stable code such as `high_toxicity`, `blocked_word` or `moderator`.
    pub reason: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
}
