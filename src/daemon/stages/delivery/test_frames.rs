//! Comments and frames that tests of this room send.

use std::sync::Arc;

use super::frame::{Frame, Lane};
use crate::protocol::comment::Deletion;
use crate::protocol::message::{CommentsBatch, ServerMessage};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{Comment, CommentId, Epoch, Seq, StreamId, UserId};

pub(super) fn comment(seq: Seq) -> Arc<Comment> {
    Arc::new(Comment {
        stream_id: StreamId(5),
        comment_id: CommentId::from_unix_ticks(17_000_000_000_000_000 + seq, 1, [3; 6]),
        user_id: UserId(1),
        name: "ann".into(),
        message: "hi".into(),
        created_at: 1,
    })
}

/// A batch of all that the rate keeps.
pub(super) fn batch(from_seq: Seq, to_seq: Seq, sample_rate: SampleRate) -> Arc<Frame> {
    let all = (from_seq..=to_seq).map(|seq| comment(seq).sequenced(seq));
    let comments = all.filter(|comment| sample_rate.keeps(comment.comment_id)).collect();
    let (epoch, echo) = (Epoch(7), false);
    let batch = CommentsBatch { epoch, from_seq, to_seq, sample_rate, comments, echo };
    Arc::new(Frame::new(Lane::Ordered, ServerMessage::Comments(batch)))
}

pub(super) fn range(from_seq: Seq, to_seq: Seq) -> Arc<Frame> {
    batch(from_seq, to_seq, SampleRate::ALL)
}

pub(super) fn deletion(seq: Seq) -> Arc<Frame> {
    let comment_id = comment(seq).comment_id;
    let deletion = Deletion { comment_id, reason: "moderator".into(), timestamp: 1 };
    Arc::new(Frame::deletion(seq, deletion))
}
