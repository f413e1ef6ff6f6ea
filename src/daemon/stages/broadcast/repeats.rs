//! Comments that were appended twice under one id: sent again by a viewer whose node did not answer.

use std::collections::VecDeque;

use ahash::AHashMap;

use crate::protocol::events::CommentSubmitted;
use crate::protocol::{CommentId, Seq};

/// Comments remembered, of those sent with a `ref` (others cannot be repeated): at 5 000 a second,
/// those of the last 50 seconds; about 16 MB. An older repeat is shown again.
const REMEMBERED: usize = 1 << 18;

/// Where each of the newest comments has its place.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    places: AHashMap<CommentId, Seq>,
    order: VecDeque<CommentId>,
}

impl Repeats {
    /// Whether the comment has an earlier place already. Reading the same place again, after a
    /// take-over, is no repeat.
    pub(super) fn notice(&mut self, event: &CommentSubmitted, seq: Seq) -> bool {
        if event.client_ref.is_none() {
            return false;
        }
        let comment_id = event.comment.comment_id;
        if let Some(first) = self.places.get_mut(&comment_id) {
            *first = seq.min(*first);
            return *first < seq;
        }
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
        self.order.push_back(comment_id);
        self.places.insert(comment_id, seq);
        false
    }
}
