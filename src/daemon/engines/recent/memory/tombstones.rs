//! The ids of deleted comments; the oldest are dropped first.

use std::collections::VecDeque;

use ahash::AHashSet;

use crate::protocol::{CommentId, StreamId};

#[derive(Debug)]
pub(super) struct TombstoneSet {
    ids: AHashSet<CommentId>,
    by_age: VecDeque<(StreamId, CommentId)>,
    max: usize,
}

impl TombstoneSet {
    /// A set of at most `max` tombstones.
    pub(super) fn new(max: usize) -> Self {
        Self { ids: AHashSet::new(), by_age: VecDeque::new(), max }
    }

    pub(super) fn contains(&self, comment_id: CommentId) -> bool {
        self.ids.contains(&comment_id)
    }

    /// Adds a tombstone and returns the streams whose tombstones were dropped to make room. An
    /// eighth is dropped at once, so that this happens seldom.
    pub(super) fn insert(
        &mut self,
        stream_id: StreamId,
        comment_id: CommentId,
    ) -> AHashSet<StreamId> {
        let mut dropped = AHashSet::new();
        if !self.ids.insert(comment_id) {
            return dropped;
        }
        self.by_age.push_back((stream_id, comment_id));
        if self.by_age.len() > self.max {
            let oldest = (self.max / 8).max(1);
            for (stream_id, comment_id) in self.by_age.drain(..oldest) {
                self.ids.remove(&comment_id);
                dropped.insert(stream_id);
            }
        }
        dropped
    }
}
