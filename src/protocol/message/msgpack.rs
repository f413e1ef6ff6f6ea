//! The MessagePack encoding: one array per message, with the kind of message first. In a batch, ids
//! and `seq` are differences to the previous comment, and `created_at` is the difference to the
//! time in the id.
//!
//! Client: `[0, token]` auth · `[1, message, ref|nil]` comment · `[2, reaction]` · `[3]` pause ·
//! `[4, skip]` resume · `[5]` ping. Absent fields at the end may be left out, and further fields
//! are ignored.
//! Server: `[0, …]` welcome · `[1, epoch, from_seq, to_seq, ppm, comments]` · `[2, …]` ack ·
//! `[3, …]` error · `[4, …]` comment.deleted · `[5, …]` throttle · `[6, …]` reactions ·
//! `[7, viewers]` presence · `[8, …]` direct · `[9, …]` announcement · `[10, from, to]` gap ·
//! `[11, …]` bye · `[12]` pong · `[13, …]` like 1, the viewer's own comment outside the ranges.
//! `docs/protocol.md` lists the fields.

use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _, Serialize};
use serde_bytes::ByteBuf;
use uuid::Uuid;

use super::{BadMessage, ClientMessage, CommentsBatch, ServerMessage};
use crate::protocol::comment::{Deletion, SequencedComment};
use crate::protocol::{CommentId, ErrorCode, Identity, Role, UserId};

/// A comment id: the ticks since the previous comment of the batch if that is from the same node,
/// else the 16 bytes.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum CompactId {
    TicksSincePrevious(u64),
    Whole(ByteBuf),
}

/// `[id, user_id, name, message, seq − previous seq, created_at − time of id in ms]`
type CompactComment = (CompactId, u64, std::sync::Arc<str>, std::sync::Arc<str>, u64, i64);

/// `[user_id, name, role]`
type CompactUser = (u64, std::sync::Arc<str>, Role);

pub fn encode(message: &ServerMessage) -> Vec<u8> {
    use ServerMessage as M;
    match message {
        M::Welcome { stream_id, user, epoch, seq, sample_rate, viewers } => {
            let user: Option<CompactUser> =
                user.as_ref().map(|user| (user.user_id.0, user.name.clone(), user.role));
            pack(&(0, stream_id, user, epoch, seq, sample_rate, viewers))
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
    }
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
            let text = format!("kind {kind} is unknown: expected 0 to 5 ({expected})");
            let bad = BadMessage::new(ErrorCode::UnknownType, text);
            Err(bad.with_ref(client_ref(payload)))
        }
        Err(error) => {
            let text = format!("wrong fields: {error}");
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
        let message = match required(&mut fields, "the kind of message")? {
            0 => M::Auth { token: required(&mut fields, "token")? },
            1 => M::Comment {
                message: required(&mut fields, "message")?,
                client_ref: optional(&mut fields)?,
            },
            2 => M::Reaction { reaction: required(&mut fields, "reaction")? },
            3 => M::Pause,
            4 => M::Resume { skip: optional(&mut fields)?.unwrap_or(false) },
            5 => M::Ping,
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
        let client_ref = optional(&mut fields)?;
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
    let missing = || serde::de::Error::custom(format!("{name} is missing"));
    fields.next_element()?.ok_or_else(missing)
}

/// Returns `None` for nil and for a field that was left out.
fn optional<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    fields: &mut A,
) -> Result<Option<T>, A::Error> {
    Ok(fields.next_element::<Option<T>>()?.flatten())
}

/// Decodes a message from the server.
pub fn decode_server(payload: &[u8]) -> Result<ServerMessage, rmp_serde::decode::Error> {
    use ServerMessage as M;
    Ok(match kind(payload).unwrap_or(u8::MAX) {
        0 => {
            let (_, stream_id, user, epoch, seq, sample_rate, viewers): (
                u8,
                _,
                Option<CompactUser>,
                _,
                _,
                _,
                _,
            ) = unpack(payload)?;
            let user = user.map(|(id, name, role)| Identity {
                user_id: UserId(id),
                name,
                role,
                comments_per_minute: None,
            });
            M::Welcome { stream_id, user, epoch, seq, sample_rate, viewers }
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
        kind => return Err(invalid(format!("kind {kind} is unknown"))),
    })
}

fn compact(batch: &CommentsBatch) -> Vec<CompactComment> {
    let mut previous: Option<CommentId> = None;
    let mut previous_seq = batch.from_seq;
    let mut rows = Vec::with_capacity(batch.comments.len());
    for comment in &batch.comments {
        let id = comment.comment_id;
        let code = match previous {
            Some(before)
                if before.origin() == id.origin() && before.unix_ticks() <= id.unix_ticks() =>
            {
                CompactId::TicksSincePrevious(id.unix_ticks() - before.unix_ticks())
            }
            _ => CompactId::Whole(bytes(id)),
        };
        rows.push((
            code,
            comment.user_id.0,
            comment.name.clone(),
            comment.message.clone(),
            comment.seq - previous_seq,
            comment.created_at.wrapping_sub(id.unix_ms()) as i64,
        ));
        previous = Some(id);
        previous_seq = comment.seq;
    }
    rows
}

fn expand(
    from_seq: u64,
    rows: Vec<CompactComment>,
) -> Result<Vec<SequencedComment>, rmp_serde::decode::Error> {
    let mut previous: Option<CommentId> = None;
    let mut seq = from_seq;
    let mut comments = Vec::with_capacity(rows.len());
    for (code, user_id, name, message, seq_delta, created_delta) in rows {
        let comment_id = match (code, previous) {
            (CompactId::Whole(bytes), _) => whole_id(&bytes)?,
            (CompactId::TicksSincePrevious(ticks), Some(before)) => after(before, ticks)?,
            (CompactId::TicksSincePrevious(_), None) => {
                return Err(invalid("the first comment of a batch has no whole id"));
            }
        };
        seq = seq.checked_add(seq_delta).ok_or_else(|| invalid("seq out of range"))?;
        let created_at = comment_id.unix_ms().wrapping_add_signed(created_delta);
        comments.push(SequencedComment {
            comment_id,
            user_id: UserId(user_id),
            name,
            message,
            created_at,
            seq,
        });
        previous = Some(comment_id);
    }
    Ok(comments)
}

fn after(before: CommentId, ticks: u64) -> Result<CommentId, rmp_serde::decode::Error> {
    let total = before.unix_ticks().checked_add(ticks).filter(|ticks| *ticks < 1 << 59);
    let total = total.ok_or_else(|| invalid("comment id out of range"))?;
    let origin = before.origin();
    let mut node = [0_u8; 6];
    node.copy_from_slice(&origin[2..]);
    let clock_sequence = u16::from_be_bytes([origin[0] & 0x3F, origin[1]]);
    Ok(CommentId::from_unix_ticks(total, clock_sequence, node))
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
mod tests {
    use super::*;
    use crate::protocol::ids::MAX_SAFE_INTEGER;
    use crate::protocol::message::json;
    use crate::protocol::throttle::SampleRate;
    use crate::protocol::{Epoch, StreamId};
    use proptest::prelude::*;

    fn comment() -> impl Strategy<Value = SequencedComment> {
        (0_u64..1 << 55, 0_u16..4, 1_u64..1 << 62, ".{0,40}", 0_u64..1 << 40, 0_u64..1000).prop_map(
            |(ticks, node, user, text, created_at, seq)| SequencedComment {
                comment_id: CommentId::from_unix_ticks(ticks, node, [node as u8; 6]),
                user_id: UserId(user),
                name: format!("u{user}").into(),
                message: text.into(),
                created_at,
                seq,
            },
        )
    }

    fn message() -> impl Strategy<Value = ServerMessage> {
        let batch = (proptest::collection::vec(comment(), 0..8), 0_u32..=100, any::<bool>());
        prop_oneof![
            batch.prop_map(|(mut comments, percent, echo)| {
                comments.sort_by_key(|comment| comment.seq);
                ServerMessage::Comments(CommentsBatch {
                    epoch: Epoch(9),
                    from_seq: 0,
                    to_seq: 1000,
                    sample_rate: SampleRate::from_share(f64::from(percent) / 100.0).unwrap(),
                    comments,
                    echo,
                })
            }),
            comment().prop_map(|comment| ServerMessage::Ack {
                client_ref: Some(comment.message.clone()),
                comment_id: comment.comment_id,
                seq: comment.seq,
            }),
            (any::<u32>(), ".{0,20}").prop_map(|(seq, text)| ServerMessage::Welcome {
                stream_id: StreamId(1),
                user: Some(Identity {
                    user_id: UserId(7),
                    name: text.into(),
                    role: Role::Viewer,
                    comments_per_minute: None,
                }),
                epoch: Epoch(seq),
                seq: u64::from(seq),
                sample_rate: SampleRate::ALL,
                viewers: 3,
            }),
            (0..=MAX_SAFE_INTEGER, 0..=MAX_SAFE_INTEGER)
                .prop_map(|(from_seq, to_seq)| ServerMessage::Gap { from_seq, to_seq }),
            ".{0,20}".prop_map(|text| ServerMessage::Error {
                code: ErrorCode::RateLimited,
                message: text,
                retry_after_ms: Some(5),
                client_ref: None,
            }),
            comment().prop_map(|comment| ServerMessage::CommentDeleted(Deletion {
                comment_id: comment.comment_id,
                reason: comment.message,
                timestamp: comment.created_at,
            })),
        ]
    }

    proptest! {
        #[test]
        fn both_encodings_carry_the_same_content(message in message()) {
            prop_assert_eq!(&decode_server(&encode(&message)).unwrap(), &message);
            prop_assert_eq!(&json::decode_server(&json::encode(&message)).unwrap(), &message);
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>) {
            crate::fuzzing::msgpack(&bytes);
            crate::fuzzing::json(&bytes);
        }

        /// Bytes that are taken for a message are one: written again, they are read as the same.
        #[test]
        fn accepted_bytes_are_a_message(
            kind in 0_u8..8,
            fields in proptest::collection::vec(
                prop_oneof![
                    Just(vec![0xC0]),
                    Just(vec![0xC3]),
                    "[a-z]{0,9}".prop_map(|text| rmp_serde::to_vec(&text).unwrap()),
                    any::<u16>().prop_map(|number| rmp_serde::to_vec(&number).unwrap()),
                    proptest::collection::vec(any::<u8>(), 0..3),
                ],
                0..4,
            ),
        ) {
            let mut bytes = vec![0x91 + fields.len() as u8, kind];
            fields.iter().for_each(|field| bytes.extend_from_slice(field));
            match decode_client(&bytes) {
                Ok(message) => {
                    prop_assert!(kind <= 5);
                    prop_assert_eq!(decode_client(&encode_client(&message)), Ok(message));
                }
                Err(bad) => {
                    let well_formed = check_encoding(&bytes).is_ok();
                    prop_assert_eq!(bad.code == ErrorCode::BadMsgpack, !well_formed, "{}", bad);
                    prop_assert_eq!(bad.code == ErrorCode::UnknownType, well_formed && kind > 5);
                }
            }
        }

        /// A server message that can be read is the same after it was written and read again.
        #[test]
        fn damaged_server_messages_are_errors_or_others(
            message in message(),
            at: proptest::sample::Index,
            byte: u8,
        ) {
            let mut bytes = encode(&message);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = decode_server(&bytes) {
                // Sequences that overflow or go back cannot be written as differences.
                let in_order = |batch: &CommentsBatch| {
                    let first = batch.comments.first().is_none_or(|c| c.seq >= batch.from_seq);
                    first && batch.comments.is_sorted_by_key(|comment| comment.seq)
                };
                prop_assert!(!matches!(&read, ServerMessage::Comments(batch) if !in_order(batch)));
                prop_assert_eq!(decode_server(&encode(&read)).unwrap(), read);
            }
        }

        #[test]
        fn client_messages_round_trip(text in ".{1,30}", with_ref: bool) {
            let client_ref = with_ref.then(|| text.clone());
            let message = ClientMessage::Comment { message: text, client_ref };
            prop_assert_eq!(decode_client(&encode_client(&message)), Ok(message.clone()));
            prop_assert_eq!(json::decode_client(&json::encode_client(&message)), Ok(message));
        }
    }

    #[test]
    fn bad_messages_have_the_right_code() {
        for (payload, code) in [
            (&b""[..], ErrorCode::BadMsgpack),
            (&[0xC1], ErrorCode::BadMsgpack),
            (&[0x92, 1], ErrorCode::BadMsgpack),
            (&[0x80], ErrorCode::BadMessage),
            (&[0x01], ErrorCode::BadMessage),
            (&[0x91, 99], ErrorCode::UnknownType),
            (&[0x91, 1], ErrorCode::BadMessage),
            (&[0x91, 3, 0xC0], ErrorCode::BadMsgpack),
            (&[0x93, 1, 7, 0xC0], ErrorCode::BadMessage),
            (&[0x90], ErrorCode::BadMessage),
            (&[0x91, 3, 0], ErrorCode::BadMsgpack),
            (&[0x92, 4, 7], ErrorCode::BadMessage),
        ] {
            assert_eq!(decode_client(payload).unwrap_err().code, code, "{payload:?}");
        }
    }

    #[test]
    fn every_legal_form_of_a_message_is_read() {
        let hi = ClientMessage::Comment { message: "hi".into(), client_ref: None };
        for (payload, message) in [
            (&[0x91, 5][..], ClientMessage::Ping),
            (&[0x92, 5, 7], ClientMessage::Ping),
            (&[0x91, 0xCC, 5], ClientMessage::Ping),
            (&[0x91, 0xCD, 0, 5], ClientMessage::Ping),
            (&[0xDC, 0, 1, 5], ClientMessage::Ping),
            (&[0xDD, 0, 0, 0, 1, 5], ClientMessage::Ping),
            (&[0x91, 4], ClientMessage::Resume { skip: false }),
            (&[0x92, 4, 0xC0], ClientMessage::Resume { skip: false }),
            (&[0x92, 4, 0xC3], ClientMessage::Resume { skip: true }),
            (&[0x92, 1, 0xA2, b'h', b'i'], hi.clone()),
            (&[0x93, 1, 0xD9, 2, b'h', b'i', 0xC0], hi.clone()),
            (&[0x93, 1, 0xDB, 0, 0, 0, 2, b'h', b'i', 0xC0], hi.clone()),
            (&[0x95, 1, 0xA2, b'h', b'i', 0xC0, 0x81, 1, 2, 0x90], hi),
        ] {
            assert_eq!(decode_client(payload), Ok(message), "{payload:?}");
        }
    }

    #[test]
    fn errors_carry_the_ref_wherever_it_can_be_read() {
        for (payload, client_ref) in [
            (&[0x93, 1, 7, 0xA1, b'r'][..], Some("r")),
            (&[0x93, 1, 0xA2, 0xC3, 0x28, 0xA1, b'r'], Some("r")),
            (&[0x93, 99, 0xC0, 0xA1, b'r'], Some("r")),
            (&[0x93, 1, 0xA1, b'x', 0xA0], Some("")),
            (&[0x93, 1, 7, 0xA1, b'r', 0], Some("r")),
            (&[0x93, 1, 7], None),
            (&[0x93, 1, 7, 8], None),
            (&[0x91, 1], None),
        ] {
            let bad = decode_client(payload).unwrap_err();
            assert_eq!(bad.client_ref.as_deref(), client_ref, "{payload:?}: {bad}");
        }
    }
}
