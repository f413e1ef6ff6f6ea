//! Sample frames of delivery, made of sample comments: the comment at log offset `seq` is
//! [`sample_comment`] `seq`.

use std::sync::Arc;

use crate::daemon::stages::delivery::{Frame, Lane};
use crate::daemon::testing::comments::{sample_comment, sample_deletion};
use crate::protocol::message::{CommentsBatch, ServerMessage};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{Epoch, Seq};

/// Returns a frame with one comment at each offset of the range.
pub(crate) fn comments_frame(from_seq: Seq, to_seq: Seq) -> Arc<Frame> {
    sampled_frame(from_seq, to_seq, SampleRate::ALL)
}

/// Returns a frame with those comments of the range that `sample_rate` keeps.
pub(crate) fn sampled_frame(from_seq: Seq, to_seq: Seq, sample_rate: SampleRate) -> Arc<Frame> {
    let comments = (from_seq..=to_seq)
        .map(|seq| sample_comment(seq).sequenced(seq))
        .filter(|comment| sample_rate.keeps(comment.comment_id))
        .collect();
    let batch =
        CommentsBatch { epoch: Epoch(7), from_seq, to_seq, sample_rate, comments, echo: false };
    Arc::new(Frame::new(Lane::Ordered, ServerMessage::Comments(batch)))
}

/// Returns the frame that deletes the comment at `seq`.
pub(crate) fn deletion_frame(seq: Seq) -> Arc<Frame> {
    Arc::new(Frame::deletion(seq, &sample_deletion(seq)))
}
