//! The marks of comments that were deleted or restored; the oldest are dropped first.

use std::collections::VecDeque;

use ahash::{AHashMap, AHashSet};

use crate::daemon::engines::recent::DeletionState;
use crate::protocol::{CommentId, Seq, StreamId};

/// The last deletion or restoration of a comment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) seq: Seq,
    pub(super) state: DeletionState,
}

impl Mark {
    /// Returns the mark of both: the later one, but a deletion for everybody outlasts one that only
    /// hides the comment from others.
    fn merged_with(self, other: Self) -> Self {
        let (earlier, later) = if other.seq >= self.seq { (self, other) } else { (other, self) };
        match (earlier.state, later.state) {
            (DeletionState::Deleted, DeletionState::HiddenFromOthers) => {
                Self { state: DeletionState::Deleted, ..later }
            }
            _ => later,
        }
    }
}

#[derive(Debug)]
pub(super) struct TombstoneSet {
    marks: AHashMap<CommentId, Mark>,
    by_age: VecDeque<(StreamId, CommentId)>,
    max: usize,
}

impl TombstoneSet {
    /// A set of at most `max` marks.
    pub(super) fn new(max: usize) -> Self {
        Self { marks: AHashMap::new(), by_age: VecDeque::new(), max }
    }

    pub(super) fn state(&self, comment_id: CommentId) -> DeletionState {
        self.marks.get(&comment_id).map_or(DeletionState::NotDeleted, |mark| mark.state)
    }

    /// Returns whether a deletion at `seq` was taken back.
    pub(super) fn is_taken_back(&self, comment_id: CommentId, seq: Seq) -> bool {
        let mark = self.marks.get(&comment_id);
        mark.is_some_and(|mark| mark.state == DeletionState::Restored && mark.seq >= seq)
    }

    /// Adds a mark, unless a later one is known. Returns the streams whose marks were dropped to
    /// make room. An eighth is dropped at once, so that this happens seldom.
    pub(super) fn put(
        &mut self,
        stream_id: StreamId,
        comment_id: CommentId,
        mark: Mark,
    ) -> AHashSet<StreamId> {
        let mut dropped = AHashSet::new();
        if let Some(known) = self.marks.get_mut(&comment_id) {
            *known = known.merged_with(mark);
            return dropped;
        }
        self.marks.insert(comment_id, mark);
        self.by_age.push_back((stream_id, comment_id));
        if self.by_age.len() > self.max {
            let oldest = (self.max / 8).max(1);
            for (stream_id, comment_id) in self.by_age.drain(..oldest) {
                self.marks.remove(&comment_id);
                dropped.insert(stream_id);
            }
        }
        dropped
    }
}
