//! The acknowledged comments of a run, in their stream's order. 40 bytes each, kept to the end.

use ahash::AHashSet;
use serde::{Deserialize, Serialize};

use super::Micros;
use crate::client::viewer::SeqRange;
use crate::protocol::{CommentId, Seq};

/// A comment of ours that the server said is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AckedComment {
    pub seq: Seq,
    pub comment_id: CommentId,
    /// When it was to be sent.
    pub intended_at: Micros,
}

/// Sorted by `seq`. Acks come nearly in order, so inserting moves a few entries at the end.
#[derive(Debug, Default)]
pub(super) struct Roll {
    acked: Vec<AckedComment>,
    deleted: AHashSet<CommentId>,
}

impl Roll {
    /// False if that place in the order is taken, which no sound server lets happen.
    pub(super) fn insert(&mut self, comment: AckedComment) -> bool {
        let at = match self.acked.last() {
            Some(last) if last.seq >= comment.seq => {
                match self.acked.binary_search_by_key(&comment.seq, |acked| acked.seq) {
                    Ok(_) => return false,
                    Err(at) => at,
                }
            }
            _ => self.acked.len(),
        };
        self.acked.insert(at, comment);
        true
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&AckedComment> {
        let at = self.acked.binary_search_by_key(&seq, |acked| acked.seq).ok()?;
        self.acked.get(at)
    }

    pub(super) fn within(&self, range: SeqRange) -> &[AckedComment] {
        let from = self.acked.partition_point(|acked| acked.seq < range.from);
        let to = self.acked.partition_point(|acked| acked.seq <= range.to);
        &self.acked[from..to]
    }

    pub(super) fn after(&self, seq: Seq) -> &[AckedComment] {
        &self.acked[self.acked.partition_point(|acked| acked.seq <= seq)..]
    }

    pub(super) fn up_to(&self, seq: Seq) -> &[AckedComment] {
        &self.acked[..self.acked.partition_point(|acked| acked.seq <= seq)]
    }

    /// The server said that this comment was deleted.
    pub(super) fn delete(&mut self, comment_id: CommentId) {
        self.deleted.insert(comment_id);
    }

    pub(super) fn is_deleted(&self, comment_id: CommentId) -> bool {
        self.deleted.contains(&comment_id)
    }
}
