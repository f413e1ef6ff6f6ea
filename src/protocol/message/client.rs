//! The messages that viewers send.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::protocol::error_code::without_controls;
use crate::protocol::room::{BadRoomField, RoomPatch};
use crate::protocol::{ErrorCode, ModerationAct, json};

/// Maximum length of a `ref`, enough for a UUID or a ULID with a prefix.
pub const MAX_REF_CHARS: usize = 64;

/// A message from a viewer. Fields that are not known are ignored, so that a newer client can talk
/// to an older server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
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
    /// Continues comments. The viewer receives every comment it missed while paused; with `skip`,
    /// it receives a `gap` instead.
    Resume {
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        skip: bool,
    },
    /// A request for a `pong`.
    Ping,
    /// A change of the room, from a moderator. What the patch does not name stays.
    Room {
        #[serde(deserialize_with = "read_patch")]
        patch: Box<RoomPatch>,
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        client_ref: Option<String>,
    },
    /// An act of a moderator on the stream.
    Moderate {
        #[serde(deserialize_with = "read_act")]
        act: Box<ModerationAct>,
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        client_ref: Option<String>,
    },
}

fn read_patch<'de, D: Deserializer<'de>>(value: D) -> Result<Box<RoomPatch>, D::Error> {
    read_nested("patch", value)
}

fn read_act<'de, D: Deserializer<'de>>(value: D) -> Result<Box<ModerationAct>, D::Error> {
    read_nested("act", value)
}

/// Reads a field with fields and variants of its own. The error begins with its name, so that an
/// unknown variant is not taken for an unknown type of message.
fn read_nested<'de, T, D>(name: &str, value: D) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(value).map_err(|error| D::Error::custom(json::field_misfit(name, &error)))
}

/// The error of decoding a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct BadMessage {
    pub code: ErrorCode,
    pub message: String,
    /// The `ref` of the message, if it could be read, so that the client knows which message was
    /// refused.
    pub client_ref: Option<String>,
}

impl BadMessage {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: without_controls(message.into()), client_ref: None }
    }

    pub(super) fn with_ref(self, client_ref: Option<String>) -> Self {
        Self { client_ref, ..self }
    }
}

/// Checks the length of a `ref`.
///
/// # Errors
/// The text says which length is valid.
pub fn check_ref(client_ref: &str) -> Result<(), String> {
    if (1..=MAX_REF_CHARS).contains(&client_ref.chars().count()) {
        return Ok(());
    }
    Err(format!("`ref` must have 1 to {MAX_REF_CHARS} characters"))
}

impl ClientMessage {
    /// The names of all message types, for error texts.
    pub(super) const TYPES: &str = "auth, comment, reaction, pause, resume, ping, room or moderate";

    /// Checks the limits that the types do not express.
    pub(super) fn checked(self) -> Result<Self, BadMessage> {
        if let Self::Comment { client_ref: Some(client_ref), .. }
        | Self::Room { client_ref: Some(client_ref), .. }
        | Self::Moderate { client_ref: Some(client_ref), .. } = &self
            && let Err(text) = check_ref(client_ref)
        {
            let bad = BadMessage::new(ErrorCode::BadMessage, text);
            return Err(bad.with_ref(Some(client_ref.clone())));
        }
        if let Self::Room { patch, client_ref } = &self
            && let Err(BadRoomField { field, problem }) = patch.check()
        {
            let bad = BadMessage::new(ErrorCode::BadMessage, format!("`{field}` {problem}"));
            return Err(bad.with_ref(client_ref.clone()));
        }
        Ok(self)
    }
}
