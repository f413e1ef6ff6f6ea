//! The MessagePack encoding: one array per message, with the kind of message first. In a batch, ids
//! and `seq` are differences to the previous comment, and `created_at` is the difference to the
//! time in the id.
//!
//! Client: `[0, token]` auth · `[1, message, ref|nil, parent_id|nil]` comment · `[2, reaction]` ·
//! `[3]` pause · `[4, skip]` resume · `[5]` ping · `[6, patch, ref|nil]` room, the patch as JSON ·
//! `[7, act, ref|nil]` moderate, the act as JSON · `[8, poll_id, option, ref|nil]` vote. Absent
//! fields at the end may be left out, and further fields are ignored. Server: `[0, …]` welcome ·
//! `[1, epoch, from_seq, to_seq, ppm, comments]` · `[2, …]` ack · `[3, …]` error · `[4, …]`
//! comment.deleted · `[5, …]` throttle · `[6, …]` reactions · `[7, viewers]` presence · `[8, …]`
//! direct · `[9, …]` announcement · `[10, from, to]` gap · `[11, …]` bye · `[12]` pong · `[13, …]`
//! like 1, the viewer's own comment outside the ranges · `[14, rules]` room · `[15, ref|nil]`
//! room_ack · `[16, ref|nil]` moderate_ack · `[17, …]` stream · `[18, pinned|nil]` pinned · `[19,
//! poll]` poll · `[20, poll_id, votes]` poll_votes · `[21, ref|nil]` vote_ack. `docs/protocol.md`
//! lists the fields.

mod batch;
mod client;
mod pinned;
mod room;
mod room_poll;
mod schedule;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use uuid::Uuid;

use super::{CommentsBatch, ServerMessage};
use crate::protocol::comment::Deletion;
use crate::protocol::room::RoomRules;
use crate::protocol::stream::StreamSchedule;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{
    CommentId, Epoch, Identity, Role, Seq, Standing, StreamId, UserId, tolerant,
};

pub use client::{decode_client, encode_client};

use batch::{CompactComment, compact, expand};
use pinned::CompactPinned;
use room::CompactRoom;
use room_poll::CompactPoll;
use schedule::{CompactNotice, CompactSchedule};

/// The last kind of message from the server.
const LAST_KIND: u8 = 21;

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

/// `[0, stream_id, user, epoch, seq, sample_rate, viewers, room, reactions, schedule, pinned,
/// poll]`; servers of earlier versions leave out the last ones.
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
    #[serde(default)]
    reactions: std::sync::Arc<[std::sync::Arc<str>]>,
    /// Nil for a live stream.
    #[serde(default)]
    schedule: Option<CompactSchedule>,
    #[serde(default)]
    pinned: Option<CompactPinned>,
    #[serde(default)]
    poll: Option<CompactPoll>,
}

/// `[10, from_seq, to_seq, history]`; servers of earlier versions leave out the address.
#[derive(Deserialize)]
struct CompactGap {
    #[serde(rename = "kind")]
    _kind: u8,
    from_seq: Seq,
    to_seq: Seq,
    #[serde(default)]
    history: Option<std::sync::Arc<str>>,
}

/// `[8, from, message, message_id, from_user]`; servers of earlier versions leave out the last two.
#[derive(Deserialize)]
struct CompactDirect {
    #[serde(rename = "kind")]
    _kind: u8,
    from: std::sync::Arc<str>,
    message: std::sync::Arc<str>,
    #[serde(default)]
    message_id: Option<u64>,
    #[serde(default)]
    from_user: Option<UserId>,
}

pub fn encode(message: &ServerMessage) -> Vec<u8> {
    use ServerMessage as M;
    match message {
        M::Welcome {
            stream_id,
            user,
            epoch,
            seq,
            sample_rate,
            viewers,
            room,
            reactions,
            state,
            starts_at,
            pinned,
            poll,
        } => {
            let user = user.as_ref().map(|user| CompactUser {
                user_id: user.user_id.0,
                name: user.name.clone(),
                role: user.role,
                avatar: user.avatar.clone(),
            });
            let room = (!room.is_open()).then(|| CompactRoom::from(*room));
            let schedule = StreamSchedule { state: *state, starts_at: *starts_at };
            let schedule = (!schedule.is_plain()).then(|| CompactSchedule::from(schedule));
            let pinned = pinned.as_deref().map(CompactPinned::from);
            let poll = poll.as_deref().map(CompactPoll::from);
            pack(&(
                0,
                stream_id,
                user,
                epoch,
                seq,
                sample_rate,
                viewers,
                room,
                reactions,
                schedule,
                pinned,
                poll,
            ))
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
        M::Direct { from, message, message_id, from_user } => {
            pack(&(8, from, message, message_id, from_user))
        }
        M::Announcement { message } => pack(&(9, message)),
        M::Gap { from_seq, to_seq, history } => pack(&(10, from_seq, to_seq, history)),
        M::Bye { code, reconnect_after_ms } => pack(&(11, code, reconnect_after_ms)),
        M::Pong => pack(&(12,)),
        M::Room(rules) => pack(&(14, CompactRoom::from(*rules))),
        M::Pinned { comment } => pack(&(18, comment.as_deref().map(CompactPinned::from))),
        M::Poll(state) => pack(&(19, CompactPoll::from(&**state))),
        M::PollVotes { poll_id, votes } => pack(&(20, poll_id, votes)),
        M::VoteAck { client_ref } => pack(&(21, client_ref)),
        M::RoomAck { client_ref } => pack(&(15, client_ref)),
        M::ModerateAck { client_ref } => pack(&(16, client_ref)),
        M::Stream(notice) => pack(&CompactNotice::from(notice)),
    }
}

/// Returns whether a message from the server is of a kind that this version knows. A client ignores
/// the others.
pub fn is_known(payload: &[u8]) -> bool {
    kind(payload).is_none_or(|kind| kind <= LAST_KIND)
}

/// Decodes a message from the server. Further fields are ignored.
///
/// # Errors
/// It is no message, or one of a kind that is not known; see [`is_known`].
pub fn decode_server(payload: &[u8]) -> Result<ServerMessage, rmp_serde::decode::Error> {
    use ServerMessage as M;
    Ok(match kind(payload).unwrap_or(u8::MAX) {
        0 => {
            let welcome: CompactWelcome = unpack(payload)?;
            let user = welcome.user.map(|user| Identity {
                user_id: UserId(user.user_id),
                name: user.name,
                role: user.role,
                everywhere: Role::default(),
                avatar: user.avatar,
                comments_per_minute: None,
                standing: Standing::default(),
            });
            let schedule = welcome.schedule.map(StreamSchedule::from).unwrap_or_default();
            M::Welcome {
                stream_id: welcome.stream_id,
                user,
                epoch: welcome.epoch,
                seq: welcome.seq,
                sample_rate: welcome.sample_rate,
                viewers: welcome.viewers,
                room: welcome.room.map(RoomRules::from).unwrap_or_default(),
                reactions: welcome.reactions,
                state: schedule.state,
                starts_at: schedule.starts_at,
                pinned: welcome.pinned.map(CompactPinned::expand).transpose()?,
                poll: welcome.poll.map(Into::into),
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
        8 => {
            let CompactDirect { from, message, message_id, from_user, .. } = unpack(payload)?;
            M::Direct { from, message, message_id, from_user }
        }
        9 => unpack(payload).map(|(_, message): (u8, _)| M::Announcement { message })?,
        10 => {
            let CompactGap { from_seq, to_seq, history, .. } = unpack(payload)?;
            M::Gap { from_seq, to_seq, history }
        }
        11 => unpack(payload)
            .map(|(_, code, reconnect_after_ms): (u8, _, _)| M::Bye { code, reconnect_after_ms })?,
        12 => M::Pong,
        14 => unpack(payload).map(|(_, rules): (u8, CompactRoom)| M::Room(rules.into()))?,
        15 => unpack(payload).map(|(_, client_ref): (u8, _)| M::RoomAck { client_ref })?,
        16 => unpack(payload).map(|(_, client_ref): (u8, _)| M::ModerateAck { client_ref })?,
        17 => unpack(payload).map(|notice: CompactNotice| M::Stream(notice.into()))?,
        18 => {
            let (_, comment): (u8, Option<CompactPinned>) = unpack(payload)?;
            M::Pinned { comment: comment.map(CompactPinned::expand).transpose()? }
        }
        19 => unpack(payload).map(|(_, poll): (u8, CompactPoll)| M::Poll(poll.into()))?,
        20 => unpack(payload)
            .map(|(_, poll_id, votes): (u8, _, _)| M::PollVotes { poll_id, votes })?,
        21 => unpack(payload).map(|(_, client_ref): (u8, _)| M::VoteAck { client_ref })?,
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
    tolerant::from_slice(payload)
}

#[cfg(test)]
mod tests;
