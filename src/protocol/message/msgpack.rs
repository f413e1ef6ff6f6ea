//! The MessagePack encoding: one array per message, with the kind of message first. In a batch, ids
//! and `seq` are differences to the previous comment, and `created_at` is the difference to the
//! time in the id.
//!
//! Client: `[0, token]` auth · `[1, message, ref|nil]` comment · `[2, reaction]` · `[3]` pause ·
//! `[4]` resume · `[5]` ping.
//! Server: `[0, …]` welcome · `[1, epoch, from_seq, to_seq, ppm, comments]` · `[2, …]` ack ·
//! `[3, …]` error · `[4, …]` comment.deleted · `[5, …]` throttle · `[6, …]` reactions ·
//! `[7, viewers]` presence · `[8, …]` direct · `[9, …]` announcement · `[10, from, to]` gap ·
//! `[11, …]` bye · `[12]` pong · `[13, …]` like 1, the viewer's own comment outside the ranges.
//! `docs/protocol.md` lists the fields.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
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
        M::Resume => pack(&(4,)),
        M::Ping => pack(&(5,)),
    }
}

/// Decodes a message from a viewer.
pub fn decode_client(payload: &[u8]) -> Result<ClientMessage, BadMessage> {
    use ClientMessage as M;
    let bad = |error: rmp_serde::decode::Error| {
        BadMessage::new(ErrorCode::BadMessage, format!("wrong fields: {error}"))
    };
    let kind = match kind(payload) {
        Some(kind) => kind,
        None if rmp_serde::from_slice::<serde::de::IgnoredAny>(payload).is_ok() => {
            let text = "expected an array that starts with the kind of message";
            return Err(BadMessage::new(ErrorCode::BadMessage, text));
        }
        None => return Err(BadMessage::new(ErrorCode::BadMsgpack, "not MessagePack")),
    };
    let mut rest = payload;
    if let Err(error) = rmp_serde::from_read::<_, serde::de::IgnoredAny>(&mut rest) {
        return Err(BadMessage::new(ErrorCode::BadMsgpack, format!("not MessagePack: {error}")));
    }
    if !rest.is_empty() {
        let text = format!("{} bytes follow the message", rest.len());
        return Err(BadMessage::new(ErrorCode::BadMsgpack, text));
    }
    match kind {
        0 => unpack(payload).map(|(_, token): (u8, _)| M::Auth { token }),
        1 => unpack(payload)
            .map(|(_, message, client_ref): (u8, _, _)| M::Comment { message, client_ref }),
        2 => unpack(payload).map(|(_, reaction): (u8, _)| M::Reaction { reaction }),
        3 => unpack(payload).map(|(_,): (u8,)| M::Pause),
        4 => unpack(payload).map(|(_,): (u8,)| M::Resume),
        5 => unpack(payload).map(|(_,): (u8,)| M::Ping),
        _ => {
            let text = format!("kind {kind} is unknown: expected 0 to 5 ({})", M::TYPES);
            return Err(BadMessage::new(ErrorCode::UnknownType, text));
        }
    }
    .map_err(bad)?
    .checked()
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
            comment.created_at as i64 - id.unix_ms() as i64,
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
        let created_at = comment_id.unix_ms().saturating_add_signed(created_delta);
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
            (any::<u64>(), any::<u64>())
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
        fn any_bytes_are_a_message_of_both_encodings_or_an_error(bytes: Vec<u8>) {
            crate::fuzzing::msgpack(&bytes);
            crate::fuzzing::json(&bytes);
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
            (&[0x92, 3, 7], ErrorCode::BadMessage),
        ] {
            assert_eq!(decode_client(payload).unwrap_err().code, code, "{payload:?}");
        }
    }
}
