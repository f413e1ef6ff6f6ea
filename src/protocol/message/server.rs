//! The messages that viewers receive.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::comment::{Deletion, SequencedComment};
use crate::protocol::room::RoomRules;
use crate::protocol::stream::{StreamNotice, StreamState};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{
    CommentId, Epoch, ErrorCode, Identity, PinnedComment, PollState, Seq, StreamId, UserId,
};

/// A message to a viewer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The first message of a connection, and again after a later `auth`.
    Welcome {
        stream_id: StreamId,
        /// `None` for an anonymous viewer, who may only read.
        user: Option<Identity>,
        epoch: Epoch,
        /// The position that the next `comments` continues after. A viewer that reconnects with
        /// `?epoch=…&seq=…` of its latest `comments.to_seq` receives everything it missed.
        seq: Seq,
        sample_rate: SampleRate,
        viewers: u64,
        /// Absent if there is no rule.
        #[serde(default, skip_serializing_if = "RoomRules::is_open")]
        room: RoomRules,
        /// The reactions that can be sent, in the order in which they are offered. Servers of
        /// earlier versions leave it out.
        #[serde(default, skip_serializing_if = "no_names")]
        reactions: Arc<[Arc<str>]>,
        /// Absent if the stream is live.
        #[serde(default, skip_serializing_if = "StreamState::is_live")]
        state: StreamState,
        /// When the stream is to start by itself, in milliseconds since the Unix epoch; absent
        /// after the start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        starts_at: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pinned: Option<Arc<PinnedComment>>,
        /// The poll that is open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        poll: Option<Arc<PollState>>,
    },
    /// A batch of comments, in order.
    Comments(CommentsBatch),
    /// The comment is durable.
    Ack {
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        client_ref: Option<Arc<str>>,
        comment_id: CommentId,
        seq: Seq,
    },
    Error {
        code: ErrorCode,
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        client_ref: Option<Arc<str>>,
    },
    #[serde(rename = "comment.deleted")]
    CommentDeleted(Deletion),
    /// The share of comments that is shown has changed.
    ThrottleNotification {
        sample_rate: SampleRate,
        message: String,
    },
    /// The totals of the reactions that changed.
    ReactionsUpdate {
        reactions: BTreeMap<Arc<str>, u64>,
    },
    Presence {
        viewers: u64,
    },
    /// The rules of the room have changed. These are all of them.
    Room(RoomRules),
    /// The event has changed: it has started, was scheduled for another time, or is called
    /// otherwise.
    Stream(StreamNotice),
    /// Another comment is pinned above the chat, or none.
    Pinned {
        comment: Option<Arc<PinnedComment>>,
    },
    /// A poll was opened or closed.
    Poll(Arc<PollState>),
    /// The votes of the open poll, in the order of its options.
    PollVotes {
        poll_id: u64,
        votes: Vec<u64>,
    },
    /// The vote of this viewer counts.
    VoteAck {
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        client_ref: Option<Arc<str>>,
    },
    /// The change of the room that this moderator sent is made.
    RoomAck {
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        client_ref: Option<Arc<str>>,
    },
    /// The act of this moderator is done.
    ModerateAck {
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        client_ref: Option<Arc<str>>,
    },
    /// A message to this user.
    Direct {
        /// A name to show, not an account.
        from: Arc<str>,
        message: Arc<str>,
        /// The id under which the message is kept until the user acknowledges it. It may arrive
        /// more than once. Servers of earlier versions leave it out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<u64>,
        /// The sender, if it is another user. Messages of operators and moderators have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_user: Option<UserId>,
    },
    Announcement {
        message: Arc<str>,
    },
    /// The viewer has skipped this range, both ends included. The history contains it.
    Gap {
        from_seq: Seq,
        to_seq: Seq,
        /// The address of the history, a path of the same server. Servers of earlier versions
        /// leave it out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history: Option<Arc<str>>,
    },
    /// The connection is about to be closed.
    Bye {
        /// The name of the close code that follows.
        code: Arc<str>,
        /// When to reconnect; absent if the client should not reconnect.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reconnect_after_ms: Option<u64>,
    },
    Pong,
}

/// Comments of one stream, in order, and the range of positions that they cover.
///
/// The ranges of a connection are contiguous: `from_seq` is one more than the previous `to_seq` (or
/// than `welcome.seq`). Positions in the range without a comment were sampled out (if `sample_rate`
/// is below 1), were deleted, or belong to other streams. A gap between ranges is a loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommentsBatch {
    pub epoch: Epoch,
    pub from_seq: Seq,
    pub to_seq: Seq,
    #[serde(default = "all", skip_serializing_if = "is_all")]
    pub sample_rate: SampleRate,
    pub comments: Vec<SequencedComment>,
    /// True if this is the viewer's own comment, which sampling left out. It is outside the ranges
    /// and does not change the viewer's position.
    #[serde(default, skip_serializing_if = "is_false")]
    pub echo: bool,
}

impl CommentsBatch {
    /// Returns the part of the batch for a viewer that has everything before `from_seq`.
    pub fn rest_from(&self, from_seq: Seq) -> Self {
        let Self { epoch, to_seq, sample_rate, echo, .. } = *self;
        let is_left = |comment: &&SequencedComment| comment.seq >= from_seq;
        let comments = self.comments.iter().filter(is_left).cloned().collect();
        Self { epoch, from_seq, to_seq, sample_rate, comments, echo }
    }
}

fn no_names(names: &Arc<[Arc<str>]>) -> bool {
    names.is_empty()
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn all() -> SampleRate {
    SampleRate::ALL
}

fn is_all(rate: &SampleRate) -> bool {
    rate.is_all()
}
