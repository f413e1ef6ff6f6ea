//! The ids of deleted comments, the oldest forgotten first.

use std::collections::VecDeque;

use ahash::AHashSet;

use crate::protocol::{CommentId, StreamId};

#[derive(Debug)]
pub(super) struct Buried {
    ids: AHashSet<CommentId>,
    in_order: VecDeque<(StreamId, CommentId)>,
    max: usize,
}

impl Buried {
    /// Remembers at most `max`.
    pub(super) fn new(max: usize) -> Self {
        Self { ids: AHashSet::new(), in_order: VecDeque::new(), max }
    }

    pub(super) fn contains(&self, comment_id: CommentId) -> bool {
        self.ids.contains(&comment_id)
    }

    /// Adds one, and returns the streams of those it had to forget for it: many at once, so that
    /// the caller seldom has to forget these streams.
    pub(super) fn insert(
        &mut self,
        stream_id: StreamId,
        comment_id: CommentId,
    ) -> AHashSet<StreamId> {
        let mut forgotten = AHashSet::new();
        if !self.ids.insert(comment_id) {
            return forgotten;
        }
        self.in_order.push_back((stream_id, comment_id));
        if self.in_order.len() > self.max {
            let oldest = (self.max / 8).max(1);
            for (stream_id, comment_id) in self.in_order.drain(..oldest) {
                self.ids.remove(&comment_id);
                forgotten.insert(stream_id);
            }
        }
        forgotten
    }
}
