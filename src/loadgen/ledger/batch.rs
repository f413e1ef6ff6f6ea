//! A batch of comments, decoded once and received by many viewers.

use super::AckedComment;
use crate::client::viewer::SeqRange;
use crate::loadgen::clock::Micros;
use crate::protocol::message::CommentsBatch;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, Seq};

/// The origin of a comment: this run, with the time when it was due, or another sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommentOrigin {
    /// Sent by somebody else.
    Foreign,
    /// Sent by a sender of this run; its ack has not arrived yet.
    AwaitingAck,
    /// Acked; it was due at this time.
    SentAt(Micros),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ShownComment {
    pub seq: Seq,
    pub comment_id: CommentId,
    pub origin: CommentOrigin,
}

/// The time at which one viewer received this part of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub at: Micros,
    pub part: SeqRange,
}

#[derive(Debug)]
pub(super) struct ReceivedBatch {
    pub epoch: Epoch,
    pub range: SeqRange,
    pub rate: SampleRate,
    /// Sorted by `seq`, without repetitions, all within `range`.
    pub comments: Vec<ShownComment>,
    /// Comments that came after one with a larger `seq`, or lie outside the range.
    pub out_of_order: u64,
    /// Comments that the batch contains twice.
    pub repeated: u64,
    /// Viewers to which the whole batch was new.
    pub receivers: u64,
    /// Parts that were new to one viewer to which the whole batch was not.
    pub parts: Vec<SeqRange>,
    /// Number of comments with [`CommentOrigin::AwaitingAck`].
    pub awaiting_acks: usize,
    /// Kept only while `awaiting_acks` is not 0.
    pub arrivals: Vec<Arrival>,
}

impl ReceivedBatch {
    /// Returns `None` if the range ends before it begins.
    pub(super) fn new(
        message: &CommentsBatch,
        mut origin: impl FnMut(u64, Seq, CommentId) -> CommentOrigin,
    ) -> Option<Self> {
        let range = SeqRange::new(message.from_seq, message.to_seq)?;
        let mut batch = Self {
            epoch: message.epoch,
            range,
            rate: message.sample_rate,
            comments: Vec::with_capacity(message.comments.len()),
            out_of_order: 0,
            repeated: 0,
            receivers: 0,
            parts: Vec::new(),
            awaiting_acks: 0,
            arrivals: Vec::new(),
        };
        for comment in &message.comments {
            let seq = comment.seq;
            if !range.contains(seq) {
                batch.out_of_order += 1;
                continue;
            }
            let at = match batch.comments.binary_search_by_key(&seq, |shown| shown.seq) {
                Ok(_) => {
                    batch.repeated += 1;
                    continue;
                }
                Err(at) => at,
            };
            batch.out_of_order += u64::from(at < batch.comments.len());
            let comment_id = comment.comment_id;
            let origin = origin(comment.user_id.0, seq, comment_id);
            batch.awaiting_acks += usize::from(origin == CommentOrigin::AwaitingAck);
            batch.comments.insert(at, ShownComment { seq, comment_id, origin });
        }
        Some(batch)
    }

    pub(super) fn within(&self, part: SeqRange) -> &[ShownComment] {
        if part == self.range {
            return &self.comments;
        }
        let from = self.comments.partition_point(|shown| shown.seq < part.from);
        let to = self.comments.partition_point(|shown| shown.seq <= part.to);
        &self.comments[from..to]
    }

    /// Returns whether the batch shows this comment at the position named by its ack.
    pub(super) fn shows(&self, acked: &AckedComment) -> bool {
        match self.comments.binary_search_by_key(&acked.seq, |shown| shown.seq) {
            Ok(at) => self.comments[at].comment_id == acked.comment_id,
            Err(_) => false,
        }
    }
}
