//! The acked comments of a run in the order of the stream. 40 bytes each, kept until the end.

use std::collections::BTreeMap;

use ahash::AHashMap;
use serde::{Deserialize, Serialize};

use crate::client::viewer::SeqRange;
use crate::loadgen::clock::Micros;
use crate::protocol::{CommentId, Seq};

/// A comment of this run that the server has acked as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AckedComment {
    pub seq: Seq,
    pub comment_id: CommentId,
    /// When the comment was due.
    pub intended_at: Micros,
}

/// Size of a page in seqs. A late ack moves at most the comments of one page.
const PAGE_SEQS: u64 = 512;

/// Acked comments sorted by `seq`, in pages, so that inserting takes about as long however late an
/// ack is. In a single sorted list, late acks would slow down the generator, which would delay them
/// more.
#[derive(Debug, Default)]
pub(super) struct AckedComments {
    /// By `seq / PAGE_SEQS`. No page is empty.
    pages: BTreeMap<u64, Vec<AckedComment>>,
    /// When each viewer was told of a deletion, 8 bytes each.
    deleted: AHashMap<CommentId, Vec<Micros>>,
}

impl AckedComments {
    /// Returns false if another comment has this `seq`, which a correct server never lets happen.
    pub(super) fn insert(&mut self, comment: AckedComment) -> bool {
        let page = self.pages.entry(comment.seq / PAGE_SEQS).or_default();
        match page.binary_search_by_key(&comment.seq, |acked| acked.seq) {
            Ok(_) => return false,
            Err(at) => page.insert(at, comment),
        }
        true
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&AckedComment> {
        let page = self.pages.get(&(seq / PAGE_SEQS))?;
        let at = page.binary_search_by_key(&seq, |acked| acked.seq).ok()?;
        page.get(at)
    }

    pub(super) fn within(&self, range: SeqRange) -> impl Iterator<Item = &AckedComment> {
        self.page_parts(range).flatten()
    }

    pub(super) fn count(&self, range: SeqRange) -> u64 {
        self.page_parts(range).map(|part| part.len() as u64).sum()
    }

    pub(super) fn after(&self, seq: Seq) -> impl Iterator<Item = &AckedComment> {
        let range = seq.checked_add(1).and_then(|from| SeqRange::new(from, Seq::MAX));
        range.into_iter().flat_map(|range| self.within(range))
    }

    pub(super) fn up_to(&self, seq: Seq) -> impl Iterator<Item = &AckedComment> {
        self.within(SeqRange { from: 0, to: seq })
    }

    /// Returns the part of each page that lies within a range.
    fn page_parts(&self, range: SeqRange) -> impl Iterator<Item = &[AckedComment]> {
        let pages = self.pages.range(range.from / PAGE_SEQS..=range.to / PAGE_SEQS);
        pages.map(move |(_, page)| {
            let from = page.partition_point(|acked| acked.seq < range.from);
            let to = page.partition_point(|acked| acked.seq <= range.to);
            &page[from..to]
        })
    }

    /// Records that the server announced the deletion of this comment.
    pub(super) fn mark_deleted(&mut self, comment_id: CommentId) {
        self.deleted.entry(comment_id).or_default();
    }

    pub(super) fn is_deleted(&self, comment_id: CommentId) -> bool {
        self.deleted.contains_key(&comment_id)
    }

    /// Records that one viewer was told of a deletion.
    pub(super) fn record_deletion(&mut self, comment_id: CommentId, at: Micros) {
        self.deleted.entry(comment_id).or_default().push(at);
    }

    /// Returns the time from when a deleted comment was due to when a viewer was told of its
    /// deletion, for each comment and viewer.
    pub(super) fn deletion_latencies(&self) -> impl Iterator<Item = Micros> {
        self.pages.values().flatten().flat_map(|acked| {
            let told = self.deleted.get(&acked.comment_id).into_iter().flatten();
            told.map(|at| at.saturating_sub(acked.intended_at))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn acked(seq: Seq) -> AckedComment {
        let comment_id = CommentId::from_unix_ticks(17_000_000_000_000_000 + seq, 1, [3; 6]);
        AckedComment { seq, comment_id, intended_at: seq }
    }

    proptest! {
        #[test]
        fn acks_in_any_order_are_found_in_seq_order(
            seqs in prop::collection::vec(0_u64..4 * PAGE_SEQS, 0..200),
            from in 0_u64..4 * PAGE_SEQS, length in 0_u64..4 * PAGE_SEQS,
        ) {
            let mut comments = AckedComments::default();
            let mut model = BTreeMap::new();
            for seq in seqs {
                prop_assert_eq!(comments.insert(acked(seq)), model.insert(seq, acked(seq)).is_none());
            }
            let to = from + length;
            let range = SeqRange { from, to };
            let seqs = |found: Vec<&AckedComment>| -> Vec<Seq> {
                found.into_iter().map(|acked| acked.seq).collect()
            };
            prop_assert_eq!(
                seqs(comments.within(range).collect()), seqs(model.range(from..=to).map(|(_, a)| a).collect()));
            prop_assert_eq!(comments.count(range), model.range(from..=to).count() as u64);
            prop_assert_eq!(
                seqs(comments.after(from).collect()), seqs(model.range(from + 1..).map(|(_, a)| a).collect()));
            prop_assert_eq!(
                seqs(comments.up_to(from).collect()), seqs(model.range(..=from).map(|(_, a)| a).collect()));
            prop_assert_eq!(comments.get(from).is_some(), model.contains_key(&from));
            prop_assert_eq!(comments.after(Seq::MAX).count(), 0);
        }
    }
}
