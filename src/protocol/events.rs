//! What the event log carries, and how it is written there: MessagePack arrays, a new field always
//! last and with a default, so that a log written by an older release reads on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::comment::{Comment, Deletion};
use super::{CommentId, Role, StreamId, UserId};

/// One event of `comment_events` (keyed by stream) or `moderation_events` (keyed by user).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    CommentSubmitted(CommentSubmitted),
    CommentModerated(CommentModerated),
}

/// A comment was accepted and is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentSubmitted {
    pub comment: Arc<Comment>,
    pub role: Role,
    /// The sender's own name for the comment, by which a repeated submission is recognized.
    #[serde(default)]
    pub client_ref: Option<Arc<str>>,
    /// Only its sender is shown it.
    #[serde(default)]
    pub shadow: bool,
    /// Moderation decided before it was appended and need not look again.
    #[serde(default)]
    pub screened: bool,
}

/// What moderation, by machine or by hand, decided on a comment that is already in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentModerated {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    pub user_id: UserId,
    pub decision: Decision,
    /// A stable word such as `blocked_word`.
    pub reason: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// The stage or the operator that decided.
    pub decided_by: Arc<str>,
}

/// The outcomes of moderation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// May be shown.
    Accept,
    /// Must not be shown: deleted where it already was.
    Reject,
    /// Shown to its sender alone.
    ShadowBan,
    /// A person should look.
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

    /// Whether a comment already shown has to disappear.
    pub fn deletes(self) -> bool {
        matches!(self, Self::Reject | Self::ShadowBan)
    }
}

impl CommentModerated {
    /// What viewers are told, if this decision removes the comment.
    pub fn deletion(&self) -> Option<Deletion> {
        self.decision.deletes().then(|| Deletion {
            comment_id: self.comment_id,
            reason: self.reason.clone(),
            timestamp: self.timestamp,
        })
    }
}

/// A record that is no event of this format.
#[derive(Debug, thiserror::Error)]
#[error("not an event of this log: {0}")]
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
        }
    }
}
