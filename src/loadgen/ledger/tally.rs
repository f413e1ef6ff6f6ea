//! The account at the end.

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::{AckedComment, Ledger, Presence, Track};
use crate::client::viewer::SeqRange;

/// Deliveries, counted by comment and viewer, of acknowledged comments alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub expected: u64,
    pub delivered: u64,
    pub sampled_out: u64,
    /// Inside a gap that the viewer was told of.
    pub skipped: u64,
    /// Deleted before the viewer was shown it.
    pub deleted: u64,
    pub lost: u64,
}

impl Tally {
    /// Adds that of other viewers.
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
    /// Settles the account for the viewers as they stand now.
    pub(crate) fn settle(&self) -> Tally {
        let mut tally = Tally::default();
        for batch in &self.batches {
            if batch.receivers > 0 {
                self.count_part(batch, batch.range, batch.receivers, &mut tally);
            }
            for part in &batch.parts {
                self.count_part(batch, *part, 1, &mut tally);
            }
        }
        for (gap, viewers) in &self.gaps {
            tally.skipped += self.roll.count(*gap) * viewers;
        }
        for track in self.tracks.iter().flatten() {
            self.count_track(track, &mut tally);
        }
        tally
    }

    /// Whether a viewer that may still get something is owed something.
    pub(crate) fn outstanding(&self) -> bool {
        let owed = |track: &Track| {
            let mut rest = self.roll.after(track.position.seq());
            rest.any(|acked| self.is_owed(track, acked))
        };
        self.tracks.iter().flatten().any(|track| match track.presence {
            Presence::Connected => owed(track),
            Presence::Returning => true,
            Presence::Gone => false,
        })
    }

    fn count_part(&self, batch: &Batch, part: SeqRange, viewers: u64, tally: &mut Tally) {
        for acked in self.roll.within(part) {
            let count = if batch.shows(acked) {
                &mut tally.delivered
            } else if !batch.rate.keeps(acked.comment_id) {
                &mut tally.sampled_out
            } else if self.roll.is_deleted(acked.comment_id) {
                &mut tally.deleted
            } else {
                &mut tally.lost
            };
            *count += viewers;
        }
    }

    /// What is owed to a viewer, and what of it no message ever covered.
    fn count_track(&self, track: &Track, tally: &mut Tally) {
        // A welcome that claims to be past a comment which was sent only afterwards.
        let early = self.roll.up_to(track.start);
        let passed_over = early.filter(|acked| acked.intended_at >= track.joined_at);
        let passed_over = passed_over.count() as u64;
        tally.expected += passed_over;
        tally.lost += passed_over;
        for hole in &track.holes {
            tally.lost += self.roll.count(*hole);
        }
        let end = track.position.seq();
        let covered = SeqRange::new(track.start + 1, end);
        tally.expected += covered.map_or(0, |range| self.roll.count(range));
        if track.presence != Presence::Connected {
            return;
        }
        for acked in self.roll.after(end) {
            tally.expected += 1;
            if self.is_owed(track, acked) {
                tally.lost += 1;
            } else if track.rate.keeps(acked.comment_id) {
                tally.deleted += 1;
            } else {
                tally.sampled_out += 1;
            }
        }
    }

    /// Whether a comment beyond a viewer's position still has to come.
    fn is_owed(&self, track: &Track, acked: &AckedComment) -> bool {
        track.rate.keeps(acked.comment_id) && !self.roll.is_deleted(acked.comment_id)
    }
}
