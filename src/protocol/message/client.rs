//! What a viewer may say.

use serde::{Deserialize, Serialize};

use crate::protocol::ErrorCode;

/// A `ref` may have this many characters: enough for a UUID or a ULID with a prefix.
pub const MAX_REF_CHARS: usize = 64;

/// A message from a viewer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// The token, where neither header nor query could carry it.
    Auth { token: String },
    /// A comment. Repeating it with the same `ref` is safe: it is stored and shown once.
    Comment {
        message: String,
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        client_ref: Option<String>,
    },
    /// One reaction, such as `fire`.
    Reaction { reaction: String },
    /// No comments until `resume`; deletions and announcements still come.
    Pause,
    /// Comments again, from where the viewer paused if that is still at hand.
    Resume,
    /// Answered with `pong`.
    Ping,
}

/// Why a message was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct BadMessage {
    pub code: ErrorCode,
    pub message: String,
}

impl BadMessage {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl ClientMessage {
    /// The names of all messages, for error texts.
    pub(super) const TYPES: &str = "auth, comment, reaction, pause, resume or ping";

    /// Checks what the types alone do not say.
    pub(super) fn checked(self) -> Result<Self, BadMessage> {
        if let Self::Comment { client_ref: Some(text), .. } = &self
            && (text.is_empty() || text.chars().count() > MAX_REF_CHARS)
        {
            return Err(BadMessage::new(
                ErrorCode::BadMessage,
                format!("`ref` must have 1 to {MAX_REF_CHARS} characters"),
            ));
        }
        Ok(self)
    }
}
