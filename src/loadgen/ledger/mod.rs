//! Who got what: the exact account of a run, by comment and viewer.
//!
//! In: acks from senders; welcomes, payloads and ends of connections from viewers. Out: latencies from
//! the intended send time, live figures, and at the end a [`tally::Tally`]. Always holds: for the viewers that
//! were there from before a comment was sent until the end, `expected` is the sum of `delivered`,
//! `sampled_out`, `skipped`, `deleted` and `lost`. When full: memory grows with the comments of the run
//! (some 40 bytes each, and as much again for each distinct batch that shows one), never with comments
//! × viewers; a viewer is a position, and its holes if the server makes any.
//!
//! The trick that makes a thousand viewers cheap: a server writes the same bytes to all of them, so
//! each distinct payload is decoded once, and per viewer it only remains to see that its range joins.

mod batch;
mod frames;
mod live;
mod roll;
mod tally;
mod track;

#[cfg(test)]
mod tests;

use std::ops::Range;

use ahash::AHashMap;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::client::viewer::{SeqRange, Welcome};
use crate::protocol::message::CommentsBatch;
use crate::protocol::{CommentId, Epoch, Seq, ServerMessage, StreamPosition};

use batch::{Arrival, Batch, Sent};
use frames::{Frames, Meaning};
use roll::Roll;
use track::Track;

pub(crate) use live::{LedgerHandle, Received};
pub(crate) use roll::AckedComment;
pub(crate) use tally::Tally;
pub(crate) use track::Presence;

/// Microseconds since the run began, by [`RunClock`](super::clock::RunClock).
pub(crate) type Micros = u64;

/// A histogram of microseconds, up to an hour, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("literal bounds that are in order")
}

/// What went wrong or was worth counting while it happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Comments of ours shown to viewers so far, acked or not yet.
    pub shown: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
    /// `comment.deleted` messages received.
    pub deletions_seen: u64,
    /// `reactions_update` messages received.
    pub reaction_updates: u64,
    /// Viewers that came back to, or were moved to, another epoch.
    pub epoch_changes: u64,
    /// Messages that did not decode, or whose range ends before it begins.
    pub malformed: u64,
    /// Acks that claim a place in the order which another comment has.
    pub conflicting_acks: u64,
    /// When the last comment of ours arrived.
    pub last_arrival: Micros,
}

impl Counts {
    /// Adds those of other viewers of the same run.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.shown += other.shown;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.deletions_seen += other.deletions_seen;
        self.reaction_updates += other.reaction_updates;
        self.epoch_changes += other.epoch_changes;
        self.malformed += other.malformed;
        // Every ledger of a run is told every ack.
        self.conflicting_acks = self.conflicting_acks.max(other.conflicting_acks);
        self.last_arrival = self.last_arrival.max(other.last_arrival);
    }
}

/// The books. One writer at a time; [`LedgerHandle`] shares it.
#[derive(Debug)]
pub(crate) struct Ledger {
    own_users: Range<u64>,
    frames: Frames,
    batches: Vec<Batch>,
    roll: Roll,
    /// Shown comments of ours whose ack has not come: where they are.
    awaiting: AHashMap<Seq, Vec<(u32, CommentId)>>,
    tracks: Vec<Option<Track>>,
    /// Parts of gaps that were new to a viewer, and to how many.
    gaps: AHashMap<SeqRange, u64>,
    latency: Histogram<u64>,
    counts: Counts,
}

impl Ledger {
    /// `own_users` are the ids of this run's senders.
    pub(crate) fn new(viewers: usize, own_users: Range<u64>) -> Self {
        Self {
            own_users,
            frames: Frames::new(),
            batches: Vec::new(),
            roll: Roll::default(),
            awaiting: AHashMap::new(),
            tracks: (0..viewers).map(|_| None).collect(),
            gaps: AHashMap::new(),
            latency: histogram(),
            counts: Counts::default(),
        }
    }

    /// What went wrong or was worth counting so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// From the intended send time to the receipt by a viewer.
    pub(crate) fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }

    /// A comment of ours is durable.
    pub(crate) fn acked(&mut self, comment: AckedComment) {
        if self.tracks.is_empty() {
            return;
        }
        if !self.roll.insert(comment) {
            self.counts.conflicting_acks += 1;
            return;
        }
        for (index, comment_id) in self.awaiting.remove(&comment.seq).unwrap_or_default() {
            self.resolve(index, comment_id, &comment);
        }
    }

    /// The ack of a comment that a batch showed before: now its latencies are known.
    fn resolve(&mut self, index: u32, shown_id: CommentId, acked: &AckedComment) {
        let batch = &mut self.batches[index as usize];
        let Ok(at) = batch.comments.binary_search_by_key(&acked.seq, |shown| shown.seq) else {
            return;
        };
        batch.awaiting -= 1;
        if shown_id == acked.comment_id {
            batch.comments[at].sent = Sent::At(acked.intended_at);
            for arrival in batch.arrivals.iter().filter(|a| a.part.contains(acked.seq)) {
                let latency = arrival.at.saturating_sub(acked.intended_at);
                self.latency.saturating_record(latency);
            }
        } else {
            batch.comments[at].sent = Sent::Foreign;
        }
        if batch.awaiting == 0 {
            batch.arrivals = Vec::new();
        }
    }

    /// A viewer's first welcome, or one after it came back.
    pub(crate) fn joined(&mut self, viewer: usize, welcome: &Welcome, at: Micros) {
        let slot = &mut self.tracks[viewer];
        match slot {
            None => {
                *slot = Some(Track::new(welcome.epoch, welcome.seq, welcome.sample_rate, at));
            }
            Some(track) if track.position.epoch() == welcome.epoch => {
                track.presence = Presence::Connected;
                track.rate = welcome.sample_rate;
            }
            Some(track) => {
                track.presence = Presence::Gone;
                self.counts.epoch_changes += 1;
            }
        }
    }

    /// A viewer's connection ended.
    pub(crate) fn left(&mut self, viewer: usize, presence: Presence) {
        if let Some(track) = &mut self.tracks[viewer]
            && track.presence != Presence::Gone
        {
            track.presence = presence;
        }
    }

    /// What a viewer resumes from.
    pub(crate) fn position(&self, viewer: usize) -> Option<StreamPosition> {
        self.tracks[viewer].as_ref().map(|track| track.position.resume())
    }

    /// Gives a decoded message its meaning, entering a batch into the books.
    fn learn(&mut self, message: &ServerMessage) -> Meaning {
        match message {
            // A sender's own comment, outside the ranges.
            ServerMessage::Comments(batch) if batch.echo => Meaning::Other,
            ServerMessage::Comments(batch) => self.learn_batch(batch),
            ServerMessage::Gap { from_seq, to_seq } => match SeqRange::new(*from_seq, *to_seq) {
                Some(range) => Meaning::Gap(range),
                None => Meaning::Malformed(format!("gap from {from_seq} to {to_seq}")),
            },
            ServerMessage::CommentDeleted(deletion) => {
                self.roll.delete(deletion.comment_id);
                Meaning::Deletion
            }
            ServerMessage::ThrottleNotification { sample_rate, .. } => Meaning::Rate(*sample_rate),
            ServerMessage::ReactionsUpdate { .. } => Meaning::Reactions,
            ServerMessage::Bye { reconnect_after_ms, .. } => Meaning::Bye(*reconnect_after_ms),
            _ => Meaning::Other,
        }
    }

    fn learn_batch(&mut self, message: &CommentsBatch) -> Meaning {
        let (roll, own) = (&self.roll, &self.own_users);
        let sent = |user, seq, comment_id| match roll.get(seq) {
            _ if !own.contains(&user) => Sent::Foreign,
            Some(acked) if acked.comment_id == comment_id => Sent::At(acked.intended_at),
            Some(_) => Sent::Foreign,
            None => Sent::Awaiting,
        };
        let Some(batch) = Batch::new(message, sent) else {
            let (from, to) = (message.from_seq, message.to_seq);
            return if message.comments.is_empty() && from == to + 1 {
                Meaning::Empty
            } else {
                Meaning::Malformed(format!("comments from {from} to {to}"))
            };
        };
        let index = self.batches.len() as u32;
        for shown in batch.comments.iter().filter(|shown| shown.sent == Sent::Awaiting) {
            self.awaiting.entry(shown.seq).or_default().push((index, shown.comment_id));
        }
        self.batches.push(batch);
        Meaning::Batch(index)
    }

    /// Enters that a viewer received a payload of this meaning.
    fn apply(&mut self, viewer: usize, meaning: &Meaning, at: Micros) {
        let Some(track) = &mut self.tracks[viewer] else { return };
        if track.presence == Presence::Gone {
            return;
        }
        match meaning {
            Meaning::Batch(index) => self.apply_batch(viewer, *index as usize, at),
            Meaning::Gap(range) => {
                let share = track.take(*range);
                for part in share.fresh.into_iter().chain(share.late) {
                    *self.gaps.entry(part).or_default() += 1;
                }
            }
            Meaning::Rate(rate) => track.rate = *rate,
            Meaning::Deletion => self.counts.deletions_seen += 1,
            Meaning::Reactions => self.counts.reaction_updates += 1,
            Meaning::Malformed(_) => self.counts.malformed += 1,
            Meaning::Empty | Meaning::Bye(_) | Meaning::Other => {}
        }
    }

    fn apply_batch(&mut self, viewer: usize, index: usize, at: Micros) {
        let batch = &mut self.batches[index];
        let Some(track) = &mut self.tracks[viewer] else { return };
        if !same_epoch(track, batch.epoch, &mut self.counts) {
            return;
        }
        track.rate = batch.rate;
        self.counts.out_of_order += batch.disordered;
        self.counts.duplicated += batch.repeated;
        if track.continues_with(batch.range) {
            track.position.advance(batch.range);
            batch.receivers += 1;
            arrive(batch, batch.range, at, &mut self.latency, &mut self.counts);
            return;
        }
        let share = track.take(batch.range);
        for part in share.late.iter().copied().chain(share.fresh) {
            batch.parts.push(part);
            arrive(batch, part, at, &mut self.latency, &mut self.counts);
        }
        let comments = |parts: &[SeqRange]| -> u64 {
            parts.iter().map(|part| batch.within(*part).len() as u64).sum()
        };
        self.counts.out_of_order += comments(&share.late);
        self.counts.duplicated += comments(&share.again);
    }
}

fn same_epoch(track: &mut Track, epoch: Epoch, counts: &mut Counts) -> bool {
    if track.position.epoch() != epoch {
        track.presence = Presence::Gone;
        counts.epoch_changes += 1;
        return false;
    }
    true
}

/// Records latencies of a part of a batch for one viewer, now or when the acks come.
fn arrive(
    batch: &mut Batch,
    part: SeqRange,
    at: Micros,
    latency: &mut Histogram<u64>,
    counts: &mut Counts,
) {
    let mut own = 0;
    for shown in batch.within(part) {
        own += u64::from(shown.sent != Sent::Foreign);
        if let Sent::At(intended_at) = shown.sent {
            latency.saturating_record(at.saturating_sub(intended_at));
        }
    }
    if own > 0 {
        counts.shown += own;
        counts.last_arrival = counts.last_arrival.max(at);
    }
    if batch.awaiting > 0 {
        batch.arrivals.push(Arrival { at, part });
    }
}
