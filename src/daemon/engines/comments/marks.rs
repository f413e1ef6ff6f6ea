//! The deletions and restorations of a batch, folded into one mark per comment.
//!
//! A store keeps the places of the last deletion of a comment, of the last decision to hide it from
//! others than its author, and of its last restoration. The comment is deleted while the first is
//! greater than the third, and hidden from others while the second is. All only grow, so writing a
//! batch again, late or in another order, results in the same rows.

use std::collections::BTreeMap;

use super::{ArchivedDeletion, ArchivedRestoration, Tombstone};
use crate::protocol::events::HiddenFrom;
use crate::protocol::{CommentId, Seq, StreamId};

/// Bytes of a place that compare as places do. Earlier versions stored no places: `0000`, which the
/// migrations give their deletions, comes after [`NO_PLACE`] and before every place.
pub(super) type PlaceKey = Vec<u8>;

/// Stands for a deletion or a restoration that there is not.
const NO_PLACE: [u8; 1] = [0];

/// The last mark of one comment in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommentMark<'a> {
    pub(super) stream_id: StreamId,
    pub(super) comment_id: CommentId,
    /// The deletion, for everybody or for others, that counts: the first that no restoration of
    /// the batch follows, or any if there is none.
    pub(super) tombstone: Option<&'a Tombstone>,
    /// The place of that one.
    counted: Option<Seq>,
    /// The place of the last deletion for everybody.
    pub(super) deleted: Option<Seq>,
    /// The place of the last deletion for others than the author.
    pub(super) hidden: Option<Seq>,
    /// The place of the last restoration.
    pub(super) restored: Option<Seq>,
}

impl<'a> CommentMark<'a> {
    fn of(stream_id: StreamId, comment_id: CommentId) -> Self {
        Self {
            stream_id,
            comment_id,
            tombstone: None,
            counted: None,
            deleted: None,
            hidden: None,
            restored: None,
        }
    }

    /// Adds a deletion. All restorations of the batch are known.
    fn delete(&mut self, tombstone: &'a Tombstone, seq: Seq) {
        let counts = Some(seq) > self.restored;
        let is_first = self.counted.is_none_or(|known| seq < known || Some(known) < self.restored);
        if self.counted.is_none() || (counts && is_first) {
            self.tombstone = Some(tombstone);
            self.counted = Some(seq);
        }
        let last = match tombstone.hidden_from {
            HiddenFrom::Everybody => &mut self.deleted,
            HiddenFrom::Others => &mut self.hidden,
        };
        *last = (*last).max(Some(seq));
    }

    /// Returns the reason to store: none with a restoration alone.
    pub(super) fn reason(&self) -> &str {
        self.tombstone.map_or("", |tombstone| &tombstone.reason)
    }

    /// Returns the time to store: 0 with a restoration alone.
    pub(super) fn deleted_at(&self) -> u64 {
        self.tombstone.map_or(0, |tombstone| tombstone.deleted_at)
    }

    /// Returns the place of the last deletion, in the log with this number.
    pub(super) fn deleted_place(&self, log: i64) -> PlaceKey {
        place_key(log, self.deleted)
    }

    pub(super) fn hidden_place(&self, log: i64) -> PlaceKey {
        place_key(log, self.hidden)
    }

    pub(super) fn restored_place(&self, log: i64) -> PlaceKey {
        place_key(log, self.restored)
    }
}

fn place_key(log: i64, seq: Option<Seq>) -> PlaceKey {
    let Some(seq) = seq else { return NO_PLACE.to_vec() };
    [log.to_be_bytes(), seq.to_be_bytes()].concat()
}

/// Returns the marks in the order of their keys, as every node writes them, so that two nodes with
/// the same batch never deadlock. Every comment is in it once.
pub(super) fn fold<'a>(
    deletions: impl Iterator<Item = &'a ArchivedDeletion>,
    restorations: impl Iterator<Item = &'a ArchivedRestoration>,
) -> Vec<CommentMark<'a>> {
    let mut marks: BTreeMap<(StreamId, [u8; 16]), CommentMark<'a>> = BTreeMap::new();
    for ArchivedRestoration { stream_id, comment_id, seq } in restorations {
        let key = (*stream_id, comment_id.sort_key());
        let mark = marks.entry(key).or_insert_with(|| CommentMark::of(*stream_id, *comment_id));
        mark.restored = mark.restored.max(Some(*seq));
    }
    for ArchivedDeletion { tombstone, seq, .. } in deletions {
        let Tombstone { stream_id, comment_id, .. } = tombstone;
        let key = (*stream_id, comment_id.sort_key());
        let mark = marks.entry(key).or_insert_with(|| CommentMark::of(*stream_id, *comment_id));
        mark.delete(tombstone, *seq);
    }
    marks.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::comments::conformance::{comment_id, tombstone};
    use crate::protocol::UserId;

    const STREAM: StreamId = StreamId(7);

    fn deletion(number: u64, seq: Seq) -> ArchivedDeletion {
        ArchivedDeletion {
            tombstone: Tombstone { deleted_at: seq, ..tombstone(STREAM, number) },
            seq,
            author: UserId(1),
        }
    }

    fn restoration(number: u64, seq: Seq) -> ArchivedRestoration {
        ArchivedRestoration { stream_id: STREAM, comment_id: comment_id(number), seq }
    }

    #[test]
    fn a_comment_has_one_mark_with_its_last_places() {
        let deletions = [deletion(2, 5), deletion(1, 6), deletion(2, 7), deletion(2, 20)];
        let restorations = [restoration(2, 10), restoration(3, 12)];
        let marks = fold(deletions.iter(), restorations.iter());
        let places: Vec<_> = marks.iter().map(|mark| (mark.deleted, mark.restored)).collect();
        assert_eq!(places, [(Some(6), None), (Some(20), Some(10)), (None, Some(12))]);
        let at: Vec<_> = marks.iter().map(|mark| mark.tombstone.map(|it| it.deleted_at)).collect();
        assert_eq!(at, [Some(6), Some(20), None], "the deletion that counts");
        for twice in [[deletion(1, 5), deletion(1, 7)], [deletion(1, 7), deletion(1, 5)]] {
            let first = fold(twice.iter(), [].iter())[0].tombstone;
            assert_eq!(first.map(|it| it.deleted_at), Some(5));
        }
    }

    #[test]
    fn places_compare_as_bytes() {
        let key = |log, seq| place_key(log, Some(seq));
        let sorted =
            [place_key(1, None), vec![0, 0], key(0, 0), key(1, 255), key(1, 256), key(2, 0)];
        assert!(sorted.is_sorted_by(|a, b| a < b), "{sorted:?}");
    }
}
