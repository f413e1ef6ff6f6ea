//! Echoes: a viewer is always shown its own comment, also if sampling left it out of the broadcast.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::protocol::message::CommentsBatch;
use crate::protocol::{Comment, Seq};

/// Bounds the comments whose batch has not come yet. The oldest are dropped; their senders have the
/// ack.
const MAX_WAITING: usize = 65_536;

/// An accepted comment whose sender must see it.
#[derive(Debug)]
pub(super) struct Echo {
    pub(super) seq: Seq,
    pub(super) slot: u32,
    pub(super) generation: u32,
    pub(super) comment: Arc<Comment>,
    pub(super) is_staff: bool,
}

impl Echo {
    /// Reports whether sampling left the comment out of the batch that covers it. No rate leaves
    /// out staff; but a batch that was read from the history to fill a hole does not say which
    /// senders are.
    pub(super) fn is_left_out_of(&self, batch: &CommentsBatch) -> bool {
        let is_there = || batch.comments.binary_search_by_key(&self.seq, |c| c.seq).is_ok();
        let is_shown =
            batch.sample_rate.keeps(self.comment.comment_id) || (self.is_staff && is_there());
        !is_shown
    }
}

/// Echoes that wait for the batch that covers them, in the order of their acks.
#[derive(Debug, Default)]
pub(super) struct WaitingEchoes(VecDeque<Echo>);

impl WaitingEchoes {
    pub(super) fn push(&mut self, echo: Echo) {
        if self.0.len() >= MAX_WAITING {
            self.0.pop_front();
        }
        self.0.push_back(echo);
    }

    /// Returns the first echo if its comment lies at or before `seq`.
    pub(super) fn pop_covered(&mut self, seq: Seq) -> Option<Echo> {
        self.0.pop_front_if(|echo| echo.seq <= seq)
    }
}
