//! The messages that viewers send.

use serde::{Deserialize, Serialize};

use crate::protocol::ErrorCode;
use crate::protocol::error_code::without_controls;

/// Maximum length of a `ref`, enough for a UUID or a ULID with a prefix.
pub const MAX_REF_CHARS: usize = 64;

/// A message from a viewer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// A token, from a viewer that sent none in a header or query parameter, or to replace one.
    Auth { token: String },
    /// A comment. A repetition with the same `ref` is stored and shown only once.
    Comment {
        message: String,
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        client_ref: Option<String>,
    },
    /// One reaction, such as `fire`.
    Reaction { reaction: String },
    /// Stops comments until `resume`. Deletions and announcements are still sent.
    Pause,
    /// Continues comments, from where the viewer paused if they are still available.
    Resume,
    /// A request for a `pong`.
    Ping,
}

/// The error of decoding a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct BadMessage {
    pub code: ErrorCode,
    pub message: String,
}

impl BadMessage {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: without_controls(message.into()) }
    }
}

impl ClientMessage {
    /// The names of all message types, for error texts.
    pub(super) const TYPES: &str = "auth, comment, reaction, pause, resume or ping";

    /// Checks the limits that the types do not express.
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
