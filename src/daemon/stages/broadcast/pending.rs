//! What has happened on one stream and is not published yet.

use std::sync::Arc;

use crate::daemon::engines::bus::Batch;
use crate::daemon::engines::recent::RecentEvent;
use crate::protocol::comment::{Deletion, SequencedComment};
use crate::protocol::events::CommentSubmitted;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, Seq};

/// Events that make a batch leave before its time, which bounds its frames.
pub(super) const MAX_EVENTS: usize = 2048;

/// The events of one stream since its last batch, in order.
#[derive(Debug)]
pub(super) struct Pending {
    from_seq: Seq,
    to_seq: Seq,
    events: Vec<RecentEvent>,
    shown: Vec<SequencedComment>,
    /// Of those shown, the places of comments by staff.
    staff: Vec<Seq>,
    sampled_out: u32,
}

impl Pending {
    /// Covers from just after `covered_to` on.
    pub(super) fn after(covered_to: Seq) -> Self {
        Self {
            from_seq: covered_to + 1,
            to_seq: covered_to,
            events: Vec::new(),
            shown: Vec::new(),
            staff: Vec::new(),
            sampled_out: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.to_seq < self.from_seq
    }

    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= MAX_EVENTS
    }

    /// Takes in a comment; what `rate` leaves out, and what only its sender may see, is not shown.
    pub(super) fn add_comment(&mut self, seq: Seq, event: &CommentSubmitted, rate: SampleRate) {
        self.to_seq = seq;
        if event.shadow {
            return;
        }
        let comment = event.comment.sequenced(seq);
        let is_staff = event.role.is_staff();
        if is_staff || rate.keeps(comment.comment_id) {
            self.shown.push(comment.clone());
            self.staff.extend(is_staff.then_some(seq));
        } else {
            self.sampled_out += 1;
        }
        self.events.push(RecentEvent::Comment(comment));
    }

    /// Takes in a deletion; its comment, if it still waits here, is never shown.
    pub(super) fn add_deletion(&mut self, seq: Seq, deletion: Deletion) {
        self.to_seq = seq;
        self.forget(deletion.comment_id);
        self.events.push(RecentEvent::Deleted { seq, deletion });
    }

    /// Covers a record that shows nothing.
    pub(super) fn pass(&mut self, seq: Seq) {
        self.to_seq = seq;
    }

    fn forget(&mut self, comment_id: CommentId) {
        self.shown.retain(|comment| comment.comment_id != comment_id);
        self.events.retain(
            |event| !matches!(event, RecentEvent::Comment(comment) if comment.comment_id == comment_id),
        );
    }

    /// The batch for the bus and the events for the cache; empties this.
    pub(super) fn take(
        &mut self,
        epoch: Epoch,
        rate: SampleRate,
    ) -> (Arc<Batch>, Vec<RecentEvent>) {
        let taken = std::mem::replace(self, Self::after(self.to_seq));
        let deletions = taken.events.iter().filter_map(|event| match event {
            RecentEvent::Deleted { seq, deletion } => Some((*seq, deletion.clone())),
            RecentEvent::Comment(_) => None,
        });
        let batch = Batch {
            epoch,
            from_seq: taken.from_seq,
            to_seq: taken.to_seq,
            sample_rate: rate,
            sampled_out: taken.sampled_out,
            deletions: deletions.collect(),
            comments: taken.shown,
            staff: taken.staff,
        };
        (Arc::new(batch), taken.events)
    }
}
