//! Tombstones that the recent cache did not accept yet.
//!
//! Always holds: each is kept until the cache accepts it. If there are too many to keep, the cache
//! must be marked incomplete instead, so that all of them are restored from the stores.
//!
//! When full: more than [`MAX_PENDING`] are dropped and replaced by that mark.

use ahash::{AHashMap, AHashSet};
use parking_lot::Mutex;

use crate::protocol::{CommentId, StreamId};

/// Tombstones kept: about 6 MB when full.
const MAX_PENDING: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct PendingTombstones(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    by_stream: AHashMap<StreamId, AHashSet<CommentId>>,
    count: usize,
    /// Number of overflows. One that happens while the cache is being marked needs another mark.
    overflows: u64,
    handled_overflows: u64,
}

impl PendingTombstones {
    pub(super) fn add(&self, stream_id: StreamId, comment_id: CommentId) {
        self.add_within(stream_id, comment_id, MAX_PENDING);
    }

    fn add_within(&self, stream_id: StreamId, comment_id: CommentId, max: usize) {
        let mut state = self.0.lock();
        if state.by_stream.entry(stream_id).or_default().insert(comment_id) {
            state.count += 1;
        }
        if state.count > max {
            state.by_stream = AHashMap::new();
            state.count = 0;
            state.overflows += 1;
        }
    }

    pub(super) fn of_stream(&self, stream_id: StreamId) -> Vec<CommentId> {
        let state = self.0.lock();
        state.by_stream.get(&stream_id).into_iter().flatten().copied().collect()
    }

    pub(super) fn streams(&self) -> Vec<StreamId> {
        self.0.lock().by_stream.keys().copied().collect()
    }

    /// Removes a tombstone that the cache accepted.
    pub(super) fn remove(&self, stream_id: StreamId, comment_id: CommentId) {
        let mut state = self.0.lock();
        let Some(ids) = state.by_stream.get_mut(&stream_id) else { return };
        let was_pending = ids.remove(&comment_id);
        if ids.is_empty() {
            state.by_stream.remove(&stream_id);
        }
        state.count -= usize::from(was_pending);
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
        for (stream_id, number) in [(A, 1), (A, 1), (A, 2), (B, 3)] {
            pending.add(stream_id, comment_id(number));
        }
        assert_eq!(pending.of_stream(A).len(), 2);
        pending.remove(A, comment_id(1));
        pending.remove(A, comment_id(1));
        assert_eq!(pending.of_stream(A), [comment_id(2)]);
        pending.remove(A, comment_id(2));
        assert_eq!(pending.streams(), [B]);
        assert_eq!(pending.0.lock().count, 1);
        assert_eq!(pending.unhandled_overflow(), None);
    }

    #[test]
    fn an_overflow_needs_the_mark_instead() {
        let pending = PendingTombstones::default();
        (0..=10).for_each(|number| pending.add_within(A, comment_id(number), 10));
        let first = pending.unhandled_overflow().expect("one too many");
        assert!(pending.of_stream(A).is_empty(), "bounded");
        (0..=10).for_each(|number| pending.add_within(A, comment_id(number), 10));
        pending.handle_overflow(first);
        let second = pending.unhandled_overflow().expect("one during the first mark");
        pending.handle_overflow(second);
        assert_eq!(pending.unhandled_overflow(), None);
    }
}
