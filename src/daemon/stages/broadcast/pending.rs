//! The batch of one stream that has not been published yet.

use std::sync::Arc;

use tokio::time::Instant;

use super::held::CommentTimes;
use crate::daemon::engines::bus::{Batch, HeldBack};
use crate::daemon::engines::recent::RecentEvent;
use crate::protocol::comment::SequencedComment;
use crate::protocol::events::{CommentSubmitted, HiddenFrom, Removal};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, Seq};

/// A batch with this many events is published before it is due. Bounds the frames.
pub(super) const MAX_EVENTS: usize = 2048;

/// The events of one stream since its last batch, in order.
#[derive(Debug)]
pub(super) struct PendingBatch {
    from_seq: Seq,
    to_seq: Seq,
    events: Vec<RecentEvent>,
    shown: Vec<SequencedComment>,
    /// Comments that only their authors are shown. Sampled like the others.
    own: Vec<SequencedComment>,
    /// The `seq` of the shown comments by staff.
    staff: Vec<Seq>,
    sampled_out: u32,
    held_back: HeldBack,
    /// When its comments were ready to be shown, each with the number of that time.
    ready_at: Vec<(Instant, u64)>,
}

#[derive(Debug)]
pub(super) struct TakenBatch {
    /// For the bus.
    pub(super) batch: Arc<Batch>,
    /// For the recent cache.
    pub(super) events: Vec<RecentEvent>,
    /// When its comments were ready to be shown, each with the number of that time.
    pub(super) ready_at: Vec<(Instant, u64)>,
}

impl PendingBatch {
    /// Creates an empty batch whose range begins after `covered_to`.
    pub(super) fn after(covered_to: Seq) -> Self {
        Self {
            from_seq: covered_to + 1,
            to_seq: covered_to,
            events: Vec::new(),
            shown: Vec::new(),
            own: Vec::new(),
            staff: Vec::new(),
            sampled_out: 0,
            held_back: HeldBack::default(),
            ready_at: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.to_seq < self.from_seq
    }

    /// Returns the number of events that wait to be published.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= MAX_EVENTS
    }

    /// Adds a comment. It is not shown if `rate` samples it out, and only to
    /// its author if others may not see it.
    pub(super) fn add_comment(
        &mut self,
        seq: Seq,
        event: &CommentSubmitted,
        rate: SampleRate,
        times: CommentTimes,
    ) {
        self.to_seq = seq;
        let CommentTimes { ready_at, delay_ms } = times;
        match self.ready_at.last_mut() {
            Some((at, count)) if *at == ready_at => *count += 1,
            _ => self.ready_at.push((ready_at, 1)),
        }
        self.held_back.delay_ms = self.held_back.delay_ms.max(delay_ms);
        self.held_back.released.extend(event.is_released().then_some(seq));
        let comment = event.comment.sequenced(seq);
        let is_staff = event.role.is_staff();
        if is_staff || rate.keeps(comment.comment_id) {
            let shown = if event.shadow { &mut self.own } else { &mut self.shown };
            shown.push(comment.clone());
            self.staff.extend(is_staff.then_some(seq));
        } else {
            self.sampled_out += 1;
        }
        let of = if event.shadow { RecentEvent::Own } else { RecentEvent::Comment };
        self.events.push(of(comment));
    }

    /// Adds a deletion. If its comment is in this batch, it is never shown, except to an author
    /// that the deletion is kept from. The recent cache gets it, behind its tombstone, in case that
    /// is taken back.
    pub(super) fn add_deletion(&mut self, seq: Seq, deletion: Removal) {
        self.to_seq = seq;
        self.hide(&deletion);
        self.events.push(RecentEvent::Deleted { seq, deletion });
    }

    /// Hides a comment of this batch, as its deletion says.
    pub(super) fn hide(&mut self, deletion: &Removal) {
        let is_deleted = |comment: &SequencedComment| comment.comment_id == deletion.comment_id;
        let keeps_own = deletion.hidden_from() == HiddenFrom::Others;
        if !keeps_own {
            self.own.retain(|comment| !is_deleted(comment));
        }
        if let Some(at) = self.shown.iter().position(is_deleted) {
            let comment = self.shown.remove(at);
            self.own.extend(keeps_own.then_some(comment));
        }
    }

    /// Adds a restoration. Deletions of its comment in this batch are told nobody any more.
    pub(super) fn add_restoration(&mut self, seq: Seq, comment_id: CommentId) {
        self.to_seq = seq;
        self.remove_deletions(comment_id);
    }

    /// Removes the deletions of a comment from this batch.
    pub(super) fn remove_deletions(&mut self, comment_id: CommentId) {
        self.events.retain(|event| {
            !matches!(event, RecentEvent::Deleted { deletion, .. } if deletion.comment_id == comment_id)
        });
    }

    /// Extends the range over a record that shows nothing.
    pub(super) fn skip(&mut self, seq: Seq) {
        self.to_seq = seq;
    }

    /// Takes everything and begins the next batch after it.
    pub(super) fn take(&mut self, epoch: Epoch, rate: SampleRate) -> TakenBatch {
        let taken = std::mem::replace(self, Self::after(self.to_seq));
        let deletions = taken.events.iter().filter_map(|event| match event {
            RecentEvent::Deleted { seq, deletion } => Some((*seq, deletion.clone())),
            RecentEvent::Comment(_) | RecentEvent::Own(_) => None,
        });
        let deletions = deletions.collect();
        let mut own = taken.own;
        own.sort_by_key(|comment| comment.seq);
        let batch = Batch {
            epoch,
            from_seq: taken.from_seq,
            to_seq: taken.to_seq,
            sample_rate: rate,
            sampled_out: taken.sampled_out,
            deletions,
            comments: taken.shown,
            staff: taken.staff,
            own,
            held_back: taken.held_back,
        };
        TakenBatch { batch: Arc::new(batch), events: taken.events, ready_at: taken.ready_at }
    }
}
