//! The events of the event log and their encoding as MessagePack arrays. New fields are added at
//! the end and have a default, so that logs of earlier versions stay readable.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::comment::{Comment, Deletion};
use super::{CommentId, Role, StreamId, UserId};

/// One event of `comment_events` (keyed by stream) or `moderation_events` (keyed by user).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    CommentSubmitted(CommentSubmitted),
    CommentModerated(CommentModerated),
    CommentRestored(CommentRestored),
}

/// A comment that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentSubmitted {
    pub comment: Arc<Comment>,
    pub role: Role,
    /// The `ref` of the client, by which a repeated submission is recognized.
    #[serde(default)]
    pub client_ref: Option<Arc<str>>,
    /// True if only the sender sees the comment.
    #[serde(default)]
    pub shadow: bool,
    /// True if moderation has already checked the comment before it was appended.
    #[serde(default)]
    pub screened: bool,
}

/// A decision of a moderation stage or an operator about a comment that is already in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentModerated {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    pub user_id: UserId,
    pub decision: Decision,
    /// A stable code such as `blocked_word`.
    pub reason: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// The moderation stage or the operator.
    pub decided_by: Arc<str>,
    /// The name and the text that moderators are shown; only in `moderation_events`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<ModeratedText>,
}

/// A person took back the deletions of a comment that come before this in the log. Later ones
/// count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentRestored {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    pub user_id: UserId,
    /// The note of the operator; viewers are not shown it.
    pub reason: Option<Arc<str>>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// The operator.
    pub restored_by: Arc<str>,
}

/// The comment that a decision was about, as moderators are shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeratedText {
    pub name: Arc<str>,
    pub message: Arc<str>,
}

impl From<&Comment> for ModeratedText {
    fn from(comment: &Comment) -> Self {
        Self { name: comment.name.clone(), message: comment.message.clone() }
    }
}

/// A moderation decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The comment may be shown.
    Accept,
    /// The comment must not be shown. If it was, it is deleted.
    Reject,
    /// Only the sender sees the comment.
    ShadowBan,
    /// The comment needs review by a person.
    Flag,
}

impl Decision {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::ShadowBan => "shadow_ban",
            Self::Flag => "flag",
        }
    }

    /// Returns whether a comment that was already shown must be deleted.
    pub fn deletes(self) -> bool {
        matches!(self, Self::Reject | Self::ShadowBan)
    }
}

impl CommentModerated {
    /// Returns the decision as it stands among the comments, where each reader has the text.
    pub fn without_text(&self) -> Self {
        Self { text: None, ..self.clone() }
    }

    /// Returns the deletion to send to viewers, if this decision deletes the comment.
    pub fn deletion(&self) -> Option<Deletion> {
        self.decision.deletes().then(|| Deletion {
            comment_id: self.comment_id,
            reason: self.reason.clone(),
            timestamp: self.timestamp,
        })
    }
}

/// A record that is not an event of this format.
#[derive(Debug, thiserror::Error)]
#[error("invalid event record: {0}")]
pub struct BadEvent(#[from] rmp_serde::decode::Error);

impl Event {
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec(self)
            .expect("an event has no type MessagePack cannot carry, and memory does not fail")
    }

    pub fn decode(payload: &[u8]) -> Result<Self, BadEvent> {
        Ok(rmp_serde::from_slice(payload)?)
    }

    pub fn stream_id(&self) -> StreamId {
        match self {
            Self::CommentSubmitted(event) => event.comment.stream_id,
            Self::CommentModerated(event) => event.stream_id,
            Self::CommentRestored(event) => event.stream_id,
        }
    }
}
