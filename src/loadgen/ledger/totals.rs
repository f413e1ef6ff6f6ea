//! The delivery totals of a run.

use serde::{Deserialize, Serialize};

use super::batch::ReceivedBatch;
use super::viewer_account::{ViewerAccount, ViewerPresence};
use super::{AckedComment, Ledger};
use crate::client::viewer::SeqRange;

/// Deliveries of acked comments, counted per comment and viewer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeliveryTotals {
    pub expected: u64,
    pub delivered: u64,
    pub sampled_out: u64,
    /// Inside a gap that the server announced to the viewer.
    pub skipped: u64,
    /// Deleted before the viewer was shown it.
    pub deleted: u64,
    pub lost: u64,
}

impl DeliveryTotals {
    /// Adds the totals of other viewers.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.sampled_out += other.sampled_out;
        self.skipped += other.skipped;
        self.deleted += other.deleted;
        self.lost += other.lost;
    }
}

impl Ledger {
    /// Computes the totals of all viewers as of now.
    pub(crate) fn totals(&self) -> DeliveryTotals {
        let mut totals = DeliveryTotals::default();
        for batch in &self.batches {
            if batch.receivers > 0 {
                self.add_part(batch, batch.range, batch.receivers, &mut totals);
            }
            for part in &batch.parts {
                self.add_part(batch, *part, 1, &mut totals);
            }
        }
        for (gap, viewers) in &self.gaps {
            totals.skipped += self.acked.count(*gap) * viewers;
        }
        for account in self.accounts.iter().flatten() {
            self.add_account(account, &mut totals);
        }
        totals
    }

    /// Returns whether a viewer still waits for a comment, or may come back and then wait for one.
    pub(crate) fn outstanding(&self) -> bool {
        let waits = |account: &ViewerAccount| {
            let mut rest = self.acked.after(account.position.seq());
            rest.any(|acked| self.is_due(account, acked))
        };
        self.accounts.iter().flatten().any(|account| match account.presence {
            ViewerPresence::Connected => waits(account),
            ViewerPresence::Returning => true,
            ViewerPresence::Gone => false,
        })
    }

    fn add_part(
        &self,
        batch: &ReceivedBatch,
        part: SeqRange,
        viewers: u64,
        totals: &mut DeliveryTotals,
    ) {
        for acked in self.acked.within(part) {
            let count = if batch.shows(acked) {
                &mut totals.delivered
            } else if !batch.rate.keeps(acked.comment_id) {
                &mut totals.sampled_out
            } else if self.acked.is_deleted(acked.comment_id) {
                &mut totals.deleted
            } else {
                &mut totals.lost
            };
            *count += viewers;
        }
    }

    /// Adds what one viewer should have received, and the part of it that no message covered.
    fn add_account(&self, account: &ViewerAccount, totals: &mut DeliveryTotals) {
        // The welcome named a position beyond a comment that was sent only after the welcome.
        let early = self.acked.up_to(account.start);
        let passed_over = early.filter(|acked| acked.intended_at >= account.joined_at);
        let passed_over = passed_over.count() as u64;
        totals.expected += passed_over;
        totals.lost += passed_over;
        for hole in &account.holes {
            totals.lost += self.acked.count(*hole);
        }
        let end = account.position.seq();
        let covered = SeqRange::new(account.start + 1, end);
        totals.expected += covered.map_or(0, |range| self.acked.count(range));
        if account.presence != ViewerPresence::Connected {
            return;
        }
        for acked in self.acked.after(end) {
            totals.expected += 1;
            if self.is_due(account, acked) {
                totals.lost += 1;
            } else if account.rate.keeps(acked.comment_id) {
                totals.deleted += 1;
            } else {
                totals.sampled_out += 1;
            }
        }
    }

    /// Returns whether a comment beyond the viewer's position still has to arrive.
    fn is_due(&self, account: &ViewerAccount, acked: &AckedComment) -> bool {
        account.rate.keeps(acked.comment_id) && !self.acked.is_deleted(acked.comment_id)
    }
}
