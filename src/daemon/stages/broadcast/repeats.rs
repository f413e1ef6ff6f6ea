//! Finds comments that were appended twice under one id, because the viewer sent them again when
//! its node did not answer.

use std::collections::VecDeque;

use ahash::AHashMap;

use crate::protocol::events::CommentSubmitted;
use crate::protocol::{CommentId, Seq};

/// Comments remembered, of those sent with a `ref` (others cannot be repeated). About 16 MB; at
/// 5 000 comments/s it covers the last 50 seconds. An older repeat is shown twice.
const MAX_COMMENTS: usize = 1 << 18;

/// The first `seq` of each of the newest comments.
#[derive(Debug, Default)]
pub(super) struct RepeatFilter {
    first_seqs: AHashMap<CommentId, Seq>,
    order: VecDeque<CommentId>,
}

impl RepeatFilter {
    /// Remembers a comment. Returns whether it has an earlier `seq`; reading the same `seq` again
    /// after a take-over is no repeat.
    pub(super) fn is_repeat(&mut self, event: &CommentSubmitted, seq: Seq) -> bool {
        if event.client_ref.is_none() {
            return false;
        }
        let comment_id = event.comment.comment_id;
        if let Some(first) = self.first_seqs.get_mut(&comment_id) {
            *first = seq.min(*first);
            return *first < seq;
        }
        if self.order.len() == MAX_COMMENTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.first_seqs.remove(&oldest);
        }
        self.order.push_back(comment_id);
        self.first_seqs.insert(comment_id, seq);
        false
    }
}
