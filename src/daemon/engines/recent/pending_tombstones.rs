//! Tombstones and restorations that the recent cache did not accept yet.
//!
//! Always holds: the last of each comment is kept until the cache accepts it or a later one. If
//! there are too many to keep, the cache must be marked incomplete instead, so that all tombstones
//! are restored from the stores.
//!
//! When full: more than [`MAX_PENDING`] are dropped and replaced by that mark.

use ahash::AHashMap;
use parking_lot::Mutex;

use crate::protocol::{CommentId, Seq, StreamId};

/// Marks kept: about 8 MB when full.
const MAX_PENDING: usize = 100_000;

/// News of a comment that the cache must still be told, with its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingMark {
    Deleted(Seq),
    /// Hidden from all but its author.
    Hidden(Seq),
    Restored(Seq),
}

impl PendingMark {
    fn seq(self) -> Seq {
        match self {
            Self::Deleted(seq) | Self::Hidden(seq) | Self::Restored(seq) => seq,
        }
    }

    /// Returns what the cache must be told after this mark and a later one.
    fn then(self, later: Self) -> Self {
        match (self, later) {
            // It stays deleted for everybody.
            (Self::Deleted(_), Self::Hidden(seq)) => Self::Deleted(seq),
            _ => later,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct PendingTombstones(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    by_stream: AHashMap<StreamId, AHashMap<CommentId, PendingMark>>,
    count: usize,
    /// Number of overflows. One that happens while the cache is being marked needs another mark.
    overflows: u64,
    handled_overflows: u64,
}

impl PendingTombstones {
    pub(super) fn add(&self, stream_id: StreamId, comment_id: CommentId, mark: PendingMark) {
        self.add_within(stream_id, comment_id, mark, MAX_PENDING);
    }

    fn add_within(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        mark: PendingMark,
        max: usize,
    ) {
        let mut state = self.0.lock();
        let marks = state.by_stream.entry(stream_id).or_default();
        match marks.get_mut(&comment_id) {
            Some(known) if known.seq() > mark.seq() => {}
            Some(known) => *known = known.then(mark),
            None => {
                marks.insert(comment_id, mark);
                state.count += 1;
            }
        }
        if state.count > max {
            state.by_stream = AHashMap::new();
            state.count = 0;
            state.overflows += 1;
        }
    }

    pub(super) fn of_stream(&self, stream_id: StreamId) -> Vec<(CommentId, PendingMark)> {
        let state = self.0.lock();
        let marks = state.by_stream.get(&stream_id).into_iter().flatten();
        marks.map(|(comment_id, mark)| (*comment_id, *mark)).collect()
    }

    pub(super) fn streams(&self) -> Vec<StreamId> {
        self.0.lock().by_stream.keys().copied().collect()
    }

    /// Removes what the cache need not be told any more, because it accepted this mark.
    pub(super) fn remove(&self, stream_id: StreamId, comment_id: CommentId, accepted: PendingMark) {
        let mut state = self.0.lock();
        let Some(marks) = state.by_stream.get_mut(&stream_id) else { return };
        if marks.get(&comment_id).is_none_or(|mark| mark.seq() > accepted.seq()) {
            return;
        }
        marks.remove(&comment_id);
        if marks.is_empty() {
            state.by_stream.remove(&stream_id);
        }
        state.count -= 1;
    }

    /// Returns the overflow for which the cache must still be marked incomplete.
    pub(super) fn unhandled_overflow(&self) -> Option<u64> {
        let state = self.0.lock();
        (state.overflows > state.handled_overflows).then_some(state.overflows)
    }

    /// Records that the cache was marked incomplete for this overflow.
    pub(super) fn handle_overflow(&self, overflow: u64) {
        let mut state = self.0.lock();
        state.handled_overflows = state.handled_overflows.max(overflow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::recent::conformance::comment_id;

    const A: StreamId = StreamId(1);
    const B: StreamId = StreamId(2);

    #[test]
    fn each_is_kept_once_until_it_is_accepted() {
        let pending = PendingTombstones::default();
        let first = PendingMark::Deleted(5);
        for (stream_id, number) in [(A, 1), (A, 1), (A, 2), (B, 3)] {
            pending.add(stream_id, comment_id(number), first);
        }
        assert_eq!(pending.of_stream(A).len(), 2);
        pending.remove(A, comment_id(1), first);
        pending.remove(A, comment_id(1), first);
        assert_eq!(pending.of_stream(A), [(comment_id(2), first)]);
        pending.remove(A, comment_id(2), first);
        assert_eq!(pending.streams(), [B]);
        assert_eq!(pending.0.lock().count, 1);
        assert_eq!(pending.unhandled_overflow(), None);
    }

    #[test]
    fn the_last_mark_of_a_comment_is_kept() {
        let pending = PendingTombstones::default();
        let restored = PendingMark::Restored(7);
        for mark in [PendingMark::Deleted(5), restored, PendingMark::Deleted(6)] {
            pending.add(A, comment_id(1), mark);
        }
        assert_eq!(pending.of_stream(A), [(comment_id(1), restored)]);
        pending.remove(A, comment_id(1), PendingMark::Deleted(6));
        assert_eq!(pending.of_stream(A), [(comment_id(1), restored)], "an earlier one is no more");
        pending.remove(A, comment_id(1), PendingMark::Deleted(9));
        assert!(pending.of_stream(A).is_empty(), "the cache knows a later one");
    }

    #[test]
    fn an_overflow_needs_the_mark_instead() {
        let pending = PendingTombstones::default();
        let add = |number| pending.add_within(A, comment_id(number), PendingMark::Deleted(1), 10);
        (0..=10).for_each(add);
        let first = pending.unhandled_overflow().expect("one too many");
        assert!(pending.of_stream(A).is_empty(), "bounded");
        (0..=10).for_each(add);
        pending.handle_overflow(first);
        let second = pending.unhandled_overflow().expect("one during the first mark");
        pending.handle_overflow(second);
        assert_eq!(pending.unhandled_overflow(), None);
    }
}
