//! What a viewer is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::comment::{Deletion, SequencedComment};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, ErrorCode, Identity, Seq, StreamId};

/// A message to a viewer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The first message of a connection, and again after a later `auth`.
    Welcome {
        stream_id: StreamId,
        /// Absent for an anonymous viewer, who may only read.
        user: Option<Identity>,
        epoch: Epoch,
        /// What the next `comments` continues after. Reconnecting with `?epoch=…&seq=…` of the last
        /// `comments.to_seq` gets what was missed.
        seq: Seq,
        sample_rate: SampleRate,
        viewers: u64,
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
    /// Running totals of the reactions that changed.
    ReactionsUpdate {
        reactions: BTreeMap<Arc<str>, u64>,
    },
    Presence {
        viewers: u64,
    },
    /// A word from the operators to this user alone.
    Direct {
        from: Arc<str>,
        message: Arc<str>,
    },
    Announcement {
        message: Arc<str>,
    },
    /// The viewer has skipped this range, both ends included; history has it.
    Gap {
        from_seq: Seq,
        to_seq: Seq,
    },
    /// The connection is about to be closed.
    Bye {
        /// The name of the close code that follows.
        code: Arc<str>,
        /// When to come back; absent where coming back is of no use.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reconnect_after_ms: Option<u64>,
    },
    Pong,
}

/// Comments of one stream, in order, and the range of the sequence they stand for.
///
/// Ranges of a connection join without a hole: `from_seq` is one more than the `to_seq` before it
/// (or than `welcome.seq`). What lies in the range and not in `comments` was sampled out (if
/// `sample_rate` is below 1), deleted, or belonged to another stream. A hole is a loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommentsBatch {
    pub epoch: Epoch,
    pub from_seq: Seq,
    pub to_seq: Seq,
    #[serde(default = "all", skip_serializing_if = "is_all")]
    pub sample_rate: SampleRate,
    pub comments: Vec<SequencedComment>,
    /// The viewer's own comment, which the broadcast left out: it stands outside the ranges and
    /// leaves the viewer's position as it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub echo: bool,
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
