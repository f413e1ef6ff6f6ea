//! The messages that viewers send.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::protocol::error_code::without_controls;
use crate::protocol::ids::MAX_SAFE_INTEGER;
use crate::protocol::room::{BadRoomField, RoomPatch};
use crate::protocol::{CommentId, ErrorCode, ModerationAct, json};

/// Maximum length of a `ref`, enough for a UUID or a ULID with a prefix.
pub const MAX_REF_CHARS: usize = 64;

/// A message from a viewer. Fields that are not known are ignored, so that a newer client can talk
/// to an older server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// A token, from a viewer that sent none in a header or query parameter, or to replace one.
    Auth {
        #[serde(deserialize_with = "read_token")]
        token: String,
    },
    /// A comment. A repetition with the same `ref` is stored and shown only once.
    Comment {
        #[serde(deserialize_with = "read_message")]
        message: String,
        #[serde(
            default,
            rename = "ref",
            deserialize_with = "read_ref",
            skip_serializing_if = "Option::is_none"
        )]
        client_ref: Option<String>,
        /// The comment that this one answers.
        #[serde(
            default,
            deserialize_with = "read_parent_id",
            skip_serializing_if = "Option::is_none"
        )]
        parent_id: Option<CommentId>,
    },
    /// One reaction, such as `fire`.
    Reaction {
        #[serde(deserialize_with = "read_reaction")]
        reaction: String,
    },
    /// A vote for an option of the open poll, counted from 0.
    Vote {
        #[serde(deserialize_with = "read_poll_id")]
        poll_id: u64,
        #[serde(deserialize_with = "read_option")]
        option: u64,
        #[serde(
            default,
            rename = "ref",
            deserialize_with = "read_ref",
            skip_serializing_if = "Option::is_none"
        )]
        client_ref: Option<String>,
    },
    /// Stops comments until `resume`. Deletions and announcements are still sent.
    Pause,
    /// Continues comments. The viewer receives every comment it missed while paused; with `skip`,
    /// it receives a `gap` instead.
    Resume {
        #[serde(
            default,
            deserialize_with = "read_skip",
            skip_serializing_if = "std::ops::Not::not"
        )]
        skip: bool,
    },
    /// A request for a `pong`.
    Ping,
    /// A change of the room, from a moderator. What the patch does not name stays.
    Room {
        #[serde(deserialize_with = "read_patch")]
        patch: Box<RoomPatch>,
        #[serde(
            default,
            rename = "ref",
            deserialize_with = "read_ref",
            skip_serializing_if = "Option::is_none"
        )]
        client_ref: Option<String>,
    },
    /// An act of a moderator on the stream.
    Moderate {
        #[serde(deserialize_with = "read_act")]
        act: Box<ModerationAct>,
        #[serde(
            default,
            rename = "ref",
            deserialize_with = "read_ref",
            skip_serializing_if = "Option::is_none"
        )]
        client_ref: Option<String>,
    },
}

/// Reads the id of the comment that a reply answers.
///
/// # Errors
/// It is no comment id; see [`check_parent_id`].
pub(crate) fn read_parent_id<'de, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<CommentId>, D::Error> {
    let text: Option<String> = json::read_field("parent_id", value)?;
    let Some(text) = text else { return Ok(None) };
    let parent_id = text
        .parse::<CommentId>()
        .map_err(|error| D::Error::custom(format!("`parent_id`: {error}")))?;
    check_parent_id(parent_id).map_err(D::Error::custom)?;
    Ok(Some(parent_id))
}

/// Checks that the id of the comment that a reply answers is of the kind that this system makes.
///
/// # Errors
/// The text says which kind that is.
pub(super) fn check_parent_id(parent_id: CommentId) -> Result<(), &'static str> {
    if parent_id.0.get_version_num() == 1 {
        return Ok(());
    }
    Err("`parent_id`: the id of a comment is a UUID of version 1")
}

// Serde leaves out the names of plain fields in its errors. With them, an unknown variant inside a
// field is not taken for an unknown type of message either.

fn read_token<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    json::read_field("token", value)
}

fn read_message<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    json::read_field("message", value)
}

fn read_ref<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    json::read_field("ref", value)
}

fn read_reaction<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    json::read_field("reaction", value)
}

fn read_poll_id<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    let number = json::read_field("poll_id", value)?;
    check_safe("poll_id", number).map_err(D::Error::custom)
}

fn read_option<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    let number = json::read_field("option", value)?;
    check_safe("option", number).map_err(D::Error::custom)
}

/// Checks that a number is one that every client can hold.
///
/// # Errors
/// The text names the field and its largest value.
pub(super) fn check_safe(name: &str, number: u64) -> Result<u64, String> {
    if number <= MAX_SAFE_INTEGER {
        return Ok(number);
    }
    Err(format!("`{name}` must be at most {MAX_SAFE_INTEGER}"))
}

fn read_skip<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    json::read_field("skip", value)
}

fn read_patch<'de, D: Deserializer<'de>>(value: D) -> Result<Box<RoomPatch>, D::Error> {
    json::read_field("patch", value)
}

fn read_act<'de, D: Deserializer<'de>>(value: D) -> Result<Box<ModerationAct>, D::Error> {
    json::read_field("act", value)
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
    pub(super) const TYPES: &str =
        "auth, comment, reaction, vote, pause, resume, ping, room or moderate";

    /// Checks the limits that the types do not express.
    pub(super) fn checked(self) -> Result<Self, BadMessage> {
        if let Self::Comment { client_ref: Some(client_ref), .. }
        | Self::Vote { client_ref: Some(client_ref), .. }
        | Self::Room { client_ref: Some(client_ref), .. }
        | Self::Moderate { client_ref: Some(client_ref), .. } = &self
            && let Err(text) = check_ref(client_ref)
        {
            let bad = BadMessage::new(ErrorCode::BadMessage, text);
            return Err(bad.with_ref(Some(client_ref.clone())));
        }
        if let Self::Comment { parent_id: Some(parent_id), client_ref, .. } = &self
            && let Err(text) = check_parent_id(*parent_id)
        {
            let bad = BadMessage::new(ErrorCode::BadMessage, text);
            return Err(bad.with_ref(client_ref.clone()));
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
