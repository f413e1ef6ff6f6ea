//! A batch of comments as decoded once and received by many viewers.

use super::{AckedComment, Micros};
use crate::client::viewer::SeqRange;
use crate::protocol::message::CommentsBatch;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, Seq};

/// Whether a shown comment is ours, and when it was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Somebody else's.
    Foreign,
    /// Ours, but its ack has not come yet.
    Awaiting,
    At(Micros),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub seq: Seq,
    pub comment_id: CommentId,
    pub sent: Sent,
}

/// A viewer got this part of a batch at this time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub at: Micros,
    pub part: SeqRange,
}

#[derive(Debug)]
pub(super) struct Batch {
    pub epoch: Epoch,
    pub range: SeqRange,
    pub rate: SampleRate,
    /// By `seq`, each once, all within `range`.
    pub comments: Vec<Shown>,
    /// Comments that came before one with a smaller `seq`, or lay outside of the range.
    pub disordered: u64,
    /// Comments that the batch has twice.
    pub repeated: u64,
    /// Viewers for whom all of it was new.
    pub receivers: u64,
    /// Parts that were new to one viewer, where not all of it was.
    pub parts: Vec<SeqRange>,
    /// Comments in state [`Sent::Awaiting`].
    pub awaiting: usize,
    /// Kept only while `awaiting` is not 0.
    pub arrivals: Vec<Arrival>,
}

impl Batch {
    /// `None` where the range ends before it begins.
    pub(super) fn new(
        message: &CommentsBatch,
        mut sent: impl FnMut(u64, Seq, CommentId) -> Sent,
    ) -> Option<Self> {
        let range = SeqRange::new(message.from_seq, message.to_seq)?;
        let mut batch = Self {
            epoch: message.epoch,
            range,
            rate: message.sample_rate,
            comments: Vec::with_capacity(message.comments.len()),
            disordered: 0,
            repeated: 0,
            receivers: 0,
            parts: Vec::new(),
            awaiting: 0,
            arrivals: Vec::new(),
        };
        for comment in &message.comments {
            let (seq, comment_id) = (comment.seq, comment.comment_id);
            if !range.contains(seq) {
                batch.disordered += 1;
                continue;
            }
            let at = match batch.comments.binary_search_by_key(&seq, |shown| shown.seq) {
                Ok(_) => {
                    batch.repeated += 1;
                    continue;
                }
                Err(at) => at,
            };
            batch.disordered += u64::from(at < batch.comments.len());
            let sent = sent(comment.user_id.0, seq, comment_id);
            batch.awaiting += usize::from(sent == Sent::Awaiting);
            batch.comments.insert(at, Shown { seq, comment_id, sent });
        }
        Some(batch)
    }

    pub(super) fn within(&self, part: SeqRange) -> &[Shown] {
        if part == self.range {
            return &self.comments;
        }
        let from = self.comments.partition_point(|shown| shown.seq < part.from);
        let to = self.comments.partition_point(|shown| shown.seq <= part.to);
        &self.comments[from..to]
    }

    /// Whether the batch shows this comment at the place where its ack says it is.
    pub(super) fn shows(&self, acked: &AckedComment) -> bool {
        match self.comments.binary_search_by_key(&acked.seq, |shown| shown.seq) {
            Ok(at) => self.comments[at].comment_id == acked.comment_id,
            Err(_) => false,
        }
    }
}
