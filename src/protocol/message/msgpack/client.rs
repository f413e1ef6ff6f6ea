//! Messages from viewers. `mod.rs` lists their arrays.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _, Serialize};
use serde_bytes::ByteBuf;
use serde_json::Value;

use super::{bytes, pack, whole_id};
use crate::protocol::message::client::check_safe;
use crate::protocol::message::{BadMessage, ClientMessage};
use crate::protocol::{ErrorCode, json};

pub fn encode_client(message: &ClientMessage) -> Vec<u8> {
    use ClientMessage as M;
    match message {
        M::Auth { token } => pack(&(0, token)),
        M::Comment { message, client_ref, parent_id: None } => pack(&(1, message, client_ref)),
        M::Comment { message, client_ref, parent_id: Some(parent_id) } => {
            pack(&(1, message, client_ref, bytes(*parent_id)))
        }
        M::Reaction { reaction } => pack(&(2, reaction)),
        M::Pause => pack(&(3,)),
        M::Resume { skip } => pack(&(4, skip)),
        M::Ping => pack(&(5,)),
        M::Room { patch, client_ref } => pack(&(6, text(patch), client_ref)),
        M::Moderate { act, client_ref } => pack(&(7, text(act), client_ref)),
        M::Vote { poll_id, option, client_ref } => pack(&(8, poll_id, option, client_ref)),
    }
}

/// Returns a field as JSON: unlike an array, it can leave fields out.
fn text(field: &impl Serialize) -> String {
    json::to_string(field).expect("fields have string keys only, and memory does not fail")
}

/// Decodes a message from a viewer.
pub fn decode_client(payload: &[u8]) -> Result<ClientMessage, BadMessage> {
    if let Err(text) = check_encoding(payload) {
        let bad = BadMessage::new(ErrorCode::BadMsgpack, format!("not MessagePack: {text}"));
        return Err(bad.with_ref(client_ref(payload)));
    }
    let decoded = rmp_serde::Deserializer::from_read_ref(payload).deserialize_any(ClientVisitor);
    match decoded {
        Ok(Ok(message)) => message.checked(),
        Ok(Err(kind)) => {
            let expected = ClientMessage::TYPES;
            let text = format!("kind {kind} is unknown: expected 0 to 8 ({expected})");
            let bad = BadMessage::new(ErrorCode::UnknownType, text);
            Err(bad.with_ref(client_ref(payload)))
        }
        Err(error) => {
            let text = format!("wrong fields: {}", json::misfit_text(&error.to_string()));
            Err(BadMessage::new(ErrorCode::BadMessage, text).with_ref(client_ref(payload)))
        }
    }
}

/// Checks that the payload is one value in MessagePack and nothing else.
pub(super) fn check_encoding(payload: &[u8]) -> Result<(), String> {
    let mut decoder = rmp_serde::Deserializer::new(std::io::Cursor::new(payload));
    IgnoredAny::deserialize(&mut decoder).map_err(|error| error.to_string())?;
    match payload.len() as u64 - decoder.position() {
        0 => Ok(()),
        more => Err(format!("{more} bytes follow the message")),
    }
}

/// Returns the `ref` of a comment that cannot be decoded as a whole.
fn client_ref(payload: &[u8]) -> Option<String> {
    let decoded = rmp_serde::Deserializer::from_read_ref(payload).deserialize_any(RefVisitor);
    decoded.ok().flatten()
}

/// Reads the array of a client message. Returns the kind if it is unknown.
struct ClientVisitor;

impl<'de> Visitor<'de> for ClientVisitor {
    type Value = Result<ClientMessage, u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array that starts with the kind of message")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        use ClientMessage as M;
        let message = match required(&mut fields, "kind")? {
            0 => M::Auth { token: required(&mut fields, "token")? },
            1 => M::Comment {
                message: required(&mut fields, "message")?,
                client_ref: optional(&mut fields, "ref")?,
                parent_id: optional::<ByteBuf, A>(&mut fields, "parent_id")?
                    .map(|bytes| whole_id(&bytes).map_err(A::Error::custom))
                    .transpose()?,
            },
            2 => M::Reaction { reaction: required(&mut fields, "reaction")? },
            3 => M::Pause,
            4 => M::Resume { skip: optional(&mut fields, "skip")?.unwrap_or(false) },
            5 => M::Ping,
            6 => M::Room {
                patch: from_text(&mut fields, "patch")?,
                client_ref: optional(&mut fields, "ref")?,
            },
            7 => M::Moderate {
                act: from_text(&mut fields, "act")?,
                client_ref: optional(&mut fields, "ref")?,
            },
            8 => M::Vote {
                poll_id: safe(&mut fields, "poll_id")?,
                option: safe(&mut fields, "option")?,
                client_ref: optional(&mut fields, "ref")?,
            },
            kind => {
                skip_rest(&mut fields)?;
                return Ok(Err(kind));
            }
        };
        skip_rest(&mut fields)?;
        Ok(Ok(message))
    }
}

/// Reads the `ref` of a message whose other fields need not be valid.
struct RefVisitor;

/// The first element of a message.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kind {
    Known(u64),
    Other(IgnoredAny),
}

impl<'de> Visitor<'de> for RefVisitor {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let before = match fields.next_element()? {
            // A vote has its poll and its option.
            Some(Kind::Known(8)) => 2,
            Some(Kind::Known(_) | Kind::Other(IgnoredAny)) | None => 1,
        };
        for _ in 0..before {
            fields.next_element::<IgnoredAny>()?;
        }
        let client_ref = optional(&mut fields, "ref")?;
        skip_rest(&mut fields)?;
        Ok(client_ref)
    }
}

/// Reads the elements that are not known: an array must be read to its end.
fn skip_rest<'de, A: SeqAccess<'de>>(fields: &mut A) -> Result<(), A::Error> {
    while fields.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn required<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    fields: &mut A,
    name: &str,
) -> Result<T, A::Error> {
    let wrong = |error: A::Error| A::Error::custom(json::field_misfit(name, &error));
    let missing = || A::Error::custom(format!("`{name}` is missing"));
    fields.next_element().map_err(wrong)?.ok_or_else(missing)
}

/// Reads a number that every client can hold.
fn safe<'de, A: SeqAccess<'de>>(fields: &mut A, name: &str) -> Result<u64, A::Error> {
    let number = required(fields, name)?;
    check_safe(name, number).map_err(A::Error::custom)
}

/// Reads a field that is written as JSON.
fn from_text<'de, T: DeserializeOwned, A: SeqAccess<'de>>(
    fields: &mut A,
    name: &str,
) -> Result<T, A::Error> {
    let text: String = required(fields, name)?;
    // Read with the type first, which finds a field that is there twice.
    let read = serde_json::from_str(&text);
    if read.is_ok() && !text.contains('[') {
        return read.map_err(A::Error::custom);
    }
    // Read without the type, so that arrays are not taken for objects, and an error is about the
    // type and names the field.
    let told = match serde_json::from_str::<Value>(&text) {
        Ok(value) => json::read_object::<T>(name, value).err().map(|error| error.to_string()),
        Err(error) => Some(json::field_misfit(name, &format!("not JSON: {error}"))),
    };
    match told {
        Some(told) => Err(A::Error::custom(told)),
        None => read.map_err(|error| A::Error::custom(json::field_misfit(name, &error))),
    }
}

/// Returns `None` for nil and for a field that was left out.
fn optional<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    fields: &mut A,
    name: &str,
) -> Result<Option<T>, A::Error> {
    let wrong = |error: A::Error| A::Error::custom(json::field_misfit(name, &error));
    Ok(fields.next_element::<Option<T>>().map_err(wrong)?.flatten())
}
