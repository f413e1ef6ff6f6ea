//! The acknowledged comments of a run, in their stream's order. 40 bytes each, kept to the end.

use std::collections::BTreeMap;

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

/// Seqs of a page: what an ack that comes late moves at most.
const PAGE_SEQS: u64 = 512;

/// Sorted by `seq`, in pages: however late an ack comes, entering it takes about as long. (In one
/// sorted list a server that answers late would make the generator slow, which makes it look later.)
#[derive(Debug, Default)]
pub(super) struct Roll {
    /// By `seq / PAGE_SEQS`; none is empty.
    pages: BTreeMap<u64, Vec<AckedComment>>,
    deleted: AHashSet<CommentId>,
}

impl Roll {
    /// False if that place in the order is taken, which no sound server lets happen.
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
        self.parts(range).flatten()
    }

    pub(super) fn count(&self, range: SeqRange) -> u64 {
        self.parts(range).map(|part| part.len() as u64).sum()
    }

    pub(super) fn after(&self, seq: Seq) -> impl Iterator<Item = &AckedComment> {
        let range = seq.checked_add(1).and_then(|from| SeqRange::new(from, Seq::MAX));
        range.into_iter().flat_map(|range| self.within(range))
    }

    pub(super) fn up_to(&self, seq: Seq) -> impl Iterator<Item = &AckedComment> {
        self.within(SeqRange { from: 0, to: seq })
    }

    /// What each page has of a range.
    fn parts(&self, range: SeqRange) -> impl Iterator<Item = &[AckedComment]> {
        let pages = self.pages.range(range.from / PAGE_SEQS..=range.to / PAGE_SEQS);
        pages.map(move |(_, page)| {
            let from = page.partition_point(|acked| acked.seq < range.from);
            let to = page.partition_point(|acked| acked.seq <= range.to);
            &page[from..to]
        })
    }

    /// The server said that this comment was deleted.
    pub(super) fn delete(&mut self, comment_id: CommentId) {
        self.deleted.insert(comment_id);
    }

    pub(super) fn is_deleted(&self, comment_id: CommentId) -> bool {
        self.deleted.contains(&comment_id)
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
        fn acks_in_any_order_are_found_in_theirs(
            seqs in prop::collection::vec(0_u64..4 * PAGE_SEQS, 0..200),
            from in 0_u64..4 * PAGE_SEQS, length in 0_u64..4 * PAGE_SEQS,
        ) {
            let (mut roll, mut model) = (Roll::default(), BTreeMap::new());
            for seq in seqs {
                prop_assert_eq!(roll.insert(acked(seq)), model.insert(seq, acked(seq)).is_none());
            }
            let to = from + length;
            let range = SeqRange { from, to };
            let seqs = |found: Vec<&AckedComment>| -> Vec<Seq> {
                found.into_iter().map(|acked| acked.seq).collect()
            };
            prop_assert_eq!(
                seqs(roll.within(range).collect()), seqs(model.range(from..=to).map(|(_, a)| a).collect()));
            prop_assert_eq!(roll.count(range), model.range(from..=to).count() as u64);
            prop_assert_eq!(
                seqs(roll.after(from).collect()), seqs(model.range(from + 1..).map(|(_, a)| a).collect()));
            prop_assert_eq!(
                seqs(roll.up_to(from).collect()), seqs(model.range(..=from).map(|(_, a)| a).collect()));
            prop_assert_eq!(roll.get(from).is_some(), model.contains_key(&from));
            prop_assert_eq!(roll.after(Seq::MAX).count(), 0);
        }
    }
}
