//! A comment, as accepted and as shown in a stream's order.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CommentId, Seq, StreamId, UserId};

/// A comment as a viewer wrote it and the daemon accepted it; what the event log keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    pub user_id: UserId,
    pub name: Arc<str>,
    /// NFC, no control characters, never empty.
    pub message: Arc<str>,
    /// Milliseconds since the Unix epoch, on the clock of the node that accepted it.
    pub created_at: u64,
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
        }
    }
}

/// A comment with its place in its stream's order, as viewers and history show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequencedComment {
    pub comment_id: CommentId,
    pub user_id: UserId,
    pub name: Arc<str>,
    pub message: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
    pub seq: Seq,
}

/// That a comment was deleted. Deletions travel ahead of comments, so one may arrive before the
/// comment it names: a client keeps the id and drops the comment then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    pub comment_id: CommentId,
    /// A stable word such as `high_toxicity`, `blocked_word` or `moderator`.
    pub reason: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
}
