//! The MessagePack encoding: one array per message, with the kind of message first. In a batch, ids
//! and `seq` are differences to the previous comment, and `created_at` is the difference to the
//! time in the id.
//!
//! Client: `[0, token]` auth · `[1, message, ref|nil]` comment · `[2, reaction]` · `[3]` pause ·
//! `[4, skip]` resume · `[5]` ping · `[6, patch, ref|nil]` room, the patch as JSON · `[7, act,
//! ref|nil]` moderate, the act as JSON. Absent fields at the end may be left out, and further
//! fields are ignored. Server: `[0, …]` welcome · `[1,
//! epoch, from_seq, to_seq, ppm, comments]` · `[2, …]` ack · `[3, …]` error · `[4, …]`
//! comment.deleted · `[5, …]` throttle · `[6, …]` reactions · `[7, viewers]` presence · `[8, …]`
//! direct · `[9, …]` announcement · `[10, from, to]` gap · `[11, …]` bye · `[12]` pong · `[13, …]`
//! like 1, the viewer's own comment outside the ranges · `[14, rules]` room · `[15, ref|nil]`
//! room_ack · `[16, ref|nil]` moderate_ack. `docs/protocol.md` lists the fields.

mod batch;
mod room;

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _, Serialize};
use serde_bytes::ByteBuf;
use serde_json::Value;
use uuid::Uuid;

use super::{BadMessage, ClientMessage, CommentsBatch, ServerMessage};
use crate::protocol::comment::Deletion;
use crate::protocol::room::RoomRules;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{
    CommentId, Epoch, ErrorCode, Identity, Role, Seq, Standing, StreamId, UserId, json,
};
use batch::{CompactComment, compact, expand};
use room::CompactRoom;

/// `[user_id, name, role, avatar]`
#[derive(Serialize, Deserialize)]
struct CompactUser {
    user_id: u64,
    name: std::sync::Arc<str>,
    role: Role,
    /// Servers of earlier versions leave it out.
    #[serde(default)]
    avatar: Option<std::sync::Arc<str>>,
}

/// `[0, stream_id, user, epoch, seq, sample_rate, viewers, room]`; servers of earlier versions
/// leave out the rules of the room.
#[derive(Deserialize)]
struct CompactWelcome {
    #[serde(rename = "kind")]
    _kind: u8,
    stream_id: StreamId,
    user: Option<CompactUser>,
    epoch: Epoch,
    seq: Seq,
    sample_rate: SampleRate,
    viewers: u64,
    #[serde(default)]
    room: Option<CompactRoom>,
}

pub fn encode(message: &ServerMessage) -> Vec<u8> {
    use ServerMessage as M;
    match message {
        M::Welcome { stream_id, user, epoch, seq, sample_rate, viewers, room } => {
            let user = user.as_ref().map(|user| CompactUser {
                user_id: user.user_id.0,
                name: user.name.clone(),
                role: user.role,
                avatar: user.avatar.clone(),
            });
            let room = (!room.is_open()).then(|| CompactRoom::from(*room));
            pack(&(0, stream_id, user, epoch, seq, sample_rate, viewers, room))
        }
        M::Comments(batch) => {
            let comments = compact(batch);
            let kind = if batch.echo { 13 } else { 1 };
            pack(&(kind, batch.epoch, batch.from_seq, batch.to_seq, batch.sample_rate, comments))
        }
        M::Ack { client_ref, comment_id, seq } => pack(&(2, client_ref, bytes(*comment_id), seq)),
        M::Error { code, message, retry_after_ms, client_ref } => {
            pack(&(3, code, message, retry_after_ms, client_ref))
        }
        M::CommentDeleted(deletion) => {
            pack(&(4, bytes(deletion.comment_id), &deletion.reason, deletion.timestamp))
        }
        M::ThrottleNotification { sample_rate, message } => pack(&(5, sample_rate, message)),
        M::ReactionsUpdate { reactions } => pack(&(6, reactions)),
        M::Presence { viewers } => pack(&(7, viewers)),
        M::Direct { from, message } => pack(&(8, from, message)),
        M::Announcement { message } => pack(&(9, message)),
        M::Gap { from_seq, to_seq } => pack(&(10, from_seq, to_seq)),
        M::Bye { code, reconnect_after_ms } => pack(&(11, code, reconnect_after_ms)),
        M::Pong => pack(&(12,)),
        M::Room(rules) => pack(&(14, CompactRoom::from(*rules))),
        M::RoomAck { client_ref } => pack(&(15, client_ref)),
        M::ModerateAck { client_ref } => pack(&(16, client_ref)),
    }
}

pub fn encode_client(message: &ClientMessage) -> Vec<u8> {
    use ClientMessage as M;
    match message {
        M::Auth { token } => pack(&(0, token)),
        M::Comment { message, client_ref } => pack(&(1, message, client_ref)),
        M::Reaction { reaction } => pack(&(2, reaction)),
        M::Pause => pack(&(3,)),
        M::Resume { skip } => pack(&(4, skip)),
        M::Ping => pack(&(5,)),
        M::Room { patch, client_ref } => pack(&(6, text(patch), client_ref)),
        M::Moderate { act, client_ref } => pack(&(7, text(act), client_ref)),
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
            let text = format!("kind {kind} is unknown: expected 0 to 7 ({expected})");
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
fn check_encoding(payload: &[u8]) -> Result<(), String> {
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
            kind => {
                skip_rest(&mut fields)?;
                return Ok(Err(kind));
            }
        };
        skip_rest(&mut fields)?;
        Ok(Ok(message))
    }
}

/// Reads the `ref` of a comment whose text need not be valid.
struct RefVisitor;

impl<'de> Visitor<'de> for RefVisitor {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        fields.next_element::<IgnoredAny>()?;
        fields.next_element::<IgnoredAny>()?;
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

/// Reads a field that is written as JSON.
fn from_text<'de, T: DeserializeOwned, A: SeqAccess<'de>>(
    fields: &mut A,
    name: &str,
) -> Result<T, A::Error> {
    let text: String = required(fields, name)?;
    serde_json::from_str(&text).map_err(|error| {
        // A value of another type is reported as such only if it is read without the type.
        let value = serde_json::from_str::<Value>(&text);
        let error = value.and_then(serde_json::from_value::<T>).err().unwrap_or(error);
        let problem =
            if error.is_data() { error.to_string() } else { format!("not JSON: {error}") };
        A::Error::custom(json::field_misfit(name, &problem))
    })
}

/// Returns `None` for nil and for a field that was left out.
fn optional<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    fields: &mut A,
    name: &str,
) -> Result<Option<T>, A::Error> {
    let wrong = |error: A::Error| A::Error::custom(json::field_misfit(name, &error));
    Ok(fields.next_element::<Option<T>>().map_err(wrong)?.flatten())
}

/// Decodes a message from the server.
pub fn decode_server(payload: &[u8]) -> Result<ServerMessage, rmp_serde::decode::Error> {
    use ServerMessage as M;
    Ok(match kind(payload).unwrap_or(u8::MAX) {
        0 => {
            let welcome: CompactWelcome = unpack(payload)?;
            let user = welcome.user.map(|user| Identity {
                user_id: UserId(user.user_id),
                name: user.name,
                role: user.role,
                avatar: user.avatar,
                comments_per_minute: None,
                standing: Standing::default(),
            });
            M::Welcome {
                stream_id: welcome.stream_id,
                user,
                epoch: welcome.epoch,
                seq: welcome.seq,
                sample_rate: welcome.sample_rate,
                viewers: welcome.viewers,
                room: welcome.room.map(RoomRules::from).unwrap_or_default(),
            }
        }
        kind @ (1 | 13) => {
            let (_, epoch, from_seq, to_seq, sample_rate, comments): (
                u8,
                _,
                _,
                _,
                _,
                Vec<CompactComment>,
            ) = unpack(payload)?;
            let comments = expand(from_seq, comments)?;
            let echo = kind == 13;
            M::Comments(CommentsBatch { epoch, from_seq, to_seq, sample_rate, comments, echo })
        }
        2 => {
            let (_, client_ref, id, seq): (u8, _, ByteBuf, _) = unpack(payload)?;
            M::Ack { client_ref, comment_id: whole_id(&id)?, seq }
        }
        3 => unpack(payload).map(
            |(_, code, message, retry_after_ms, client_ref): (u8, _, _, _, _)| M::Error {
                code,
                message,
                retry_after_ms,
                client_ref,
            },
        )?,
        4 => {
            let (_, id, reason, timestamp): (u8, ByteBuf, _, _) = unpack(payload)?;
            M::CommentDeleted(Deletion { comment_id: whole_id(&id)?, reason, timestamp })
        }
        5 => unpack(payload).map(|(_, sample_rate, message): (u8, _, _)| {
            M::ThrottleNotification { sample_rate, message }
        })?,
        6 => unpack(payload).map(|(_, reactions): (u8, _)| M::ReactionsUpdate { reactions })?,
        7 => unpack(payload).map(|(_, viewers): (u8, _)| M::Presence { viewers })?,
        8 => unpack(payload).map(|(_, from, message): (u8, _, _)| M::Direct { from, message })?,
        9 => unpack(payload).map(|(_, message): (u8, _)| M::Announcement { message })?,
        10 => {
            unpack(payload).map(|(_, from_seq, to_seq): (u8, _, _)| M::Gap { from_seq, to_seq })?
        }
        11 => unpack(payload)
            .map(|(_, code, reconnect_after_ms): (u8, _, _)| M::Bye { code, reconnect_after_ms })?,
        12 => M::Pong,
        14 => unpack(payload).map(|(_, rules): (u8, CompactRoom)| M::Room(rules.into()))?,
        15 => unpack(payload).map(|(_, client_ref): (u8, _)| M::RoomAck { client_ref })?,
        16 => unpack(payload).map(|(_, client_ref): (u8, _)| M::ModerateAck { client_ref })?,
        kind => return Err(invalid(format!("kind {kind} is unknown"))),
    })
}

fn bytes(id: CommentId) -> ByteBuf {
    ByteBuf::from(id.0.as_bytes().to_vec())
}

fn whole_id(bytes: &[u8]) -> Result<CommentId, rmp_serde::decode::Error> {
    Uuid::from_slice(bytes).map(CommentId).map_err(|_| invalid("an id must have 16 bytes"))
}

fn invalid(text: impl Into<String>) -> rmp_serde::decode::Error {
    rmp_serde::decode::Error::Uncategorized(text.into())
}

/// Returns the first element of a non-empty array, if it is a small unsigned number.
fn kind(payload: &[u8]) -> Option<u8> {
    let at = match payload.first()? {
        0x91..=0x9F => 1,
        0xDC => 3,
        0xDD => 5,
        _ => return None,
    };
    payload.get(at).copied().filter(|kind| *kind < 0x80)
}

fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec(value)
        .expect("a message has no type MessagePack cannot carry, and memory does not fail")
}

fn unpack<T: DeserializeOwned>(payload: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(payload)
}

#[cfg(test)]
mod tests;
