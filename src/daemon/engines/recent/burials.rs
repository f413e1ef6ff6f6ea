//! Burials that the recent cache did not take, until it does.
//!
//! Always holds: each is kept until it was taken, or the cache has to be marked incomplete, which
//! calls for reading all of them back.
//!
//! When full: beyond [`MAX_BURIALS`] none is kept, and everything depends on the mark.

use ahash::{AHashMap, AHashSet};
use parking_lot::{Mutex, MutexGuard};

use crate::protocol::{CommentId, StreamId};

/// Burials remembered: about 6 MB when full.
const MAX_BURIALS: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct UntakenBurials(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    by_stream: AHashMap<StreamId, AHashSet<CommentId>>,
    count: usize,
    /// Counts overflows: one that comes while the mark is being cleared calls for another.
    overflows: u64,
    handled: u64,
}

impl UntakenBurials {
    pub(super) fn remember(&self, stream_id: StreamId, comment_id: CommentId) {
        self.remember_within(stream_id, comment_id, MAX_BURIALS);
    }

    fn remember_within(&self, stream_id: StreamId, comment_id: CommentId, max: usize) {
        let mut state = self.lock();
        if state.by_stream.entry(stream_id).or_default().insert(comment_id) {
            state.count += 1;
        }
        if state.count > max {
            state.by_stream = AHashMap::new();
            state.count = 0;
            state.overflows += 1;
        }
    }

    pub(super) fn of(&self, stream_id: StreamId) -> Vec<CommentId> {
        let state = self.lock();
        state.by_stream.get(&stream_id).into_iter().flatten().copied().collect()
    }

    pub(super) fn streams(&self) -> Vec<StreamId> {
        self.lock().by_stream.keys().copied().collect()
    }

    pub(super) fn taken(&self, stream_id: StreamId, comment_id: CommentId) {
        let mut state = self.lock();
        let Some(ids) = state.by_stream.get_mut(&stream_id) else { return };
        let was_there = ids.remove(&comment_id);
        if ids.is_empty() {
            state.by_stream.remove(&stream_id);
        }
        state.count -= usize::from(was_there);
    }

    /// The overflow for which the cache has yet to be marked incomplete.
    pub(super) fn overflow(&self) -> Option<u64> {
        let state = self.lock();
        (state.overflows > state.handled).then_some(state.overflows)
    }

    pub(super) fn marked_for(&self, overflow: u64) {
        let mut state = self.lock();
        state.handled = state.handled.max(overflow);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No method leaves half a change behind at a point that can panic.
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::recent::conformance::comment_id;

    const A: StreamId = StreamId(1);
    const B: StreamId = StreamId(2);

    #[test]
    fn each_is_kept_once_until_it_is_taken() {
        let burials = UntakenBurials::default();
        for (stream_id, which) in [(A, 1), (A, 1), (A, 2), (B, 3)] {
            burials.remember(stream_id, comment_id(which));
        }
        assert_eq!(burials.of(A).len(), 2);
        burials.taken(A, comment_id(1));
        burials.taken(A, comment_id(1));
        assert_eq!(burials.of(A), [comment_id(2)]);
        burials.taken(A, comment_id(2));
        assert_eq!(burials.streams(), [B]);
        assert_eq!(burials.lock().count, 1);
        assert_eq!(burials.overflow(), None);
    }

    #[test]
    fn too_many_call_for_the_mark_instead() {
        let burials = UntakenBurials::default();
        (0..=10).for_each(|which| burials.remember_within(A, comment_id(which), 10));
        let first = burials.overflow().expect("one too many");
        assert!(burials.of(A).is_empty(), "bounded");
        (0..=10).for_each(|which| burials.remember_within(A, comment_id(which), 10));
        burials.marked_for(first);
        let second = burials.overflow().expect("again, while the mark was being cleared");
        burials.marked_for(second);
        assert_eq!(burials.overflow(), None);
    }
}
