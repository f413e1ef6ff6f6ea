//! The exact account of a run: which viewer received which comment.
//!
//! In: acks from senders; welcomes, payloads and disconnects from viewers. Out: latencies from the
//! intended send time, counters while the run continues, and [`DeliveryTotals`] at the end. Always
//! holds: `expected` is the sum of `delivered`, `sampled_out`, `skipped`, `deleted` and `lost`.
//! Comments beyond a viewer's last position are expected only if the viewer is connected at the
//! end. When full: memory grows with the comments of the run (about 40 bytes each, and as much
//! again for each distinct batch that shows one), never with comments × viewers; a deletion takes 8
//! bytes per viewer. A viewer is a position, and its holes if the server leaves any.
//!
//! A server writes the same bytes to many viewers, so each distinct payload is decoded once. Per
//! viewer only its range must be compared with the viewer's position.

mod acked_comments;
mod batch;
mod payload_cache;
mod shared;
mod totals;
mod viewer_account;

#[cfg(test)]
mod tests;

use std::ops::Range;

use ahash::AHashMap;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::clock::Micros;
use super::histogram::latency_histogram;
use crate::client::viewer::{SeqRange, Welcome};
use crate::protocol::message::CommentsBatch;
use crate::protocol::{CommentId, Epoch, Seq, ServerMessage, StreamPosition};

use acked_comments::AckedComments;
use batch::{Arrival, CommentOrigin, ReceivedBatch};
use payload_cache::{PayloadCache, PayloadMeaning};
use viewer_account::ViewerAccount;

pub(crate) use acked_comments::AckedComment;
pub(crate) use shared::{ReceivedPayload, SharedLedger};
pub(crate) use totals::DeliveryTotals;
pub(crate) use viewer_account::ViewerPresence;

/// Events counted while the run continues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LedgerCounters {
    /// Comments of this run shown to viewers so far, acked or not.
    pub shown: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
    /// `comment.deleted` messages received.
    pub deletions_seen: u64,
    /// `reactions_update` messages received.
    pub reaction_updates: u64,
    /// Viewers that reconnected to, or were moved to, another epoch.
    pub epoch_changes: u64,
    /// Messages that could not be decoded, or whose range ends before it begins.
    pub malformed: u64,
    /// Acks that name a `seq` which another comment has.
    pub conflicting_acks: u64,
    /// When the last comment of this run arrived.
    pub last_arrival: Micros,
}

impl LedgerCounters {
    /// Adds the counters of other viewers of the same run.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.shown += other.shown;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.deletions_seen += other.deletions_seen;
        self.reaction_updates += other.reaction_updates;
        self.epoch_changes += other.epoch_changes;
        self.malformed += other.malformed;
        // Every ledger of a run receives every ack.
        self.conflicting_acks = self.conflicting_acks.max(other.conflicting_acks);
        self.last_arrival = self.last_arrival.max(other.last_arrival);
    }
}

/// The account of the viewers of one pool. [`SharedLedger`] shares it.
#[derive(Debug)]
pub(crate) struct Ledger {
    own_users: Range<u64>,
    payloads: PayloadCache,
    batches: Vec<ReceivedBatch>,
    acked: AckedComments,
    /// Shown comments of this run without an ack: their batch and their id.
    awaiting_acks: AHashMap<Seq, Vec<(u32, CommentId)>>,
    accounts: Vec<Option<ViewerAccount>>,
    /// Parts of announced gaps that were new to a viewer, and the number of such viewers.
    gaps: AHashMap<SeqRange, u64>,
    latency: Histogram<u64>,
    counters: LedgerCounters,
}

impl Ledger {
    /// Creates the ledger. `own_users` are the user ids of the run's senders.
    pub(crate) fn new(viewers: usize, own_users: Range<u64>) -> Self {
        Self {
            own_users,
            payloads: PayloadCache::default(),
            batches: Vec::new(),
            acked: AckedComments::default(),
            awaiting_acks: AHashMap::new(),
            accounts: (0..viewers).map(|_| None).collect(),
            gaps: AHashMap::new(),
            latency: latency_histogram(),
            counters: LedgerCounters::default(),
        }
    }

    pub(crate) fn counters(&self) -> LedgerCounters {
        self.counters
    }

    /// Returns the latencies from the intended send time to the receipt by a viewer.
    pub(crate) fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }

    /// Returns the latencies from the intended send time of a deleted comment to the time at which
    /// a viewer was told of its deletion.
    pub(crate) fn deletion_latency(&self) -> Histogram<u64> {
        let mut histogram = latency_histogram();
        self.acked.deletion_latencies().for_each(|latency| histogram.saturating_record(latency));
        histogram
    }

    /// Records that a comment of this run is durable.
    pub(crate) fn record_ack(&mut self, comment: AckedComment) {
        if self.accounts.is_empty() {
            return;
        }
        if !self.acked.insert(comment) {
            self.counters.conflicting_acks += 1;
            return;
        }
        for (index, comment_id) in self.awaiting_acks.remove(&comment.seq).unwrap_or_default() {
            self.resolve(index, comment_id, &comment);
        }
    }

    /// Records the latencies of a comment that a batch showed before its ack arrived.
    fn resolve(&mut self, index: u32, shown_id: CommentId, acked: &AckedComment) {
        let batch = &mut self.batches[index as usize];
        let Ok(at) = batch.comments.binary_search_by_key(&acked.seq, |shown| shown.seq) else {
            return;
        };
        batch.awaiting_acks -= 1;
        if shown_id == acked.comment_id {
            batch.comments[at].origin = CommentOrigin::SentAt(acked.intended_at);
            for arrival in batch.arrivals.iter().filter(|a| a.part.contains(acked.seq)) {
                let latency = arrival.at.saturating_sub(acked.intended_at);
                self.latency.saturating_record(latency);
            }
        } else {
            batch.comments[at].origin = CommentOrigin::Foreign;
        }
        if batch.awaiting_acks == 0 {
            batch.arrivals = Vec::new();
        }
    }

    /// Records a viewer's first welcome, or a welcome after a reconnect.
    pub(crate) fn record_welcome(&mut self, viewer: usize, welcome: &Welcome, at: Micros) {
        let slot = &mut self.accounts[viewer];
        match slot {
            None => {
                *slot =
                    Some(ViewerAccount::new(welcome.epoch, welcome.seq, welcome.sample_rate, at));
            }
            Some(account) if account.position.epoch() == welcome.epoch => {
                account.presence = ViewerPresence::Connected;
                account.rate = welcome.sample_rate;
            }
            Some(account) => {
                account.presence = ViewerPresence::Gone;
                self.counters.epoch_changes += 1;
            }
        }
    }

    /// Records that a viewer's connection ended.
    pub(crate) fn record_disconnect(&mut self, viewer: usize, presence: ViewerPresence) {
        if let Some(account) = &mut self.accounts[viewer]
            && account.presence != ViewerPresence::Gone
        {
            account.presence = presence;
        }
    }

    /// Returns the position from which a viewer resumes.
    pub(crate) fn position(&self, viewer: usize) -> Option<StreamPosition> {
        self.accounts[viewer].as_ref().map(|account| account.position.resume())
    }

    /// Returns the meaning of a decoded message. Adds a batch to the ledger.
    fn interpret(&mut self, message: &ServerMessage) -> PayloadMeaning {
        match message {
            // A sender's own comment, outside the ranges.
            ServerMessage::Comments(batch) if batch.echo => PayloadMeaning::Other,
            ServerMessage::Comments(batch) => self.add_batch(batch),
            ServerMessage::Gap { from_seq, to_seq, .. } => {
                match SeqRange::new(*from_seq, *to_seq) {
                    Some(range) => PayloadMeaning::Gap(range),
                    None => PayloadMeaning::Malformed(format!("gap from {from_seq} to {to_seq}")),
                }
            }
            ServerMessage::CommentDeleted(deletion) => {
                self.acked.mark_deleted(deletion.comment_id);
                PayloadMeaning::Deletion(deletion.comment_id)
            }
            ServerMessage::ThrottleNotification { sample_rate, .. } => {
                PayloadMeaning::Rate(*sample_rate)
            }
            ServerMessage::ReactionsUpdate { .. } => PayloadMeaning::Reactions,
            ServerMessage::Bye { reconnect_after_ms, .. } => {
                PayloadMeaning::Bye(*reconnect_after_ms)
            }
            _ => PayloadMeaning::Other,
        }
    }

    fn add_batch(&mut self, message: &CommentsBatch) -> PayloadMeaning {
        let all_acked = &self.acked;
        let own_users = &self.own_users;
        let origin = |user, seq, comment_id| {
            if !own_users.contains(&user) {
                return CommentOrigin::Foreign;
            }
            match all_acked.get(seq) {
                Some(acked) if acked.comment_id == comment_id => {
                    CommentOrigin::SentAt(acked.intended_at)
                }
                Some(_) => CommentOrigin::Foreign,
                None => CommentOrigin::AwaitingAck,
            }
        };
        let Some(batch) = ReceivedBatch::new(message, origin) else {
            let CommentsBatch { from_seq: from, to_seq: to, .. } = message;
            return if message.comments.is_empty() && *from == to + 1 {
                PayloadMeaning::Empty
            } else {
                PayloadMeaning::Malformed(format!("comments from {from} to {to}"))
            };
        };
        let index = self.batches.len() as u32;
        let awaiting = |shown: &&batch::ShownComment| shown.origin == CommentOrigin::AwaitingAck;
        for shown in batch.comments.iter().filter(awaiting) {
            self.awaiting_acks.entry(shown.seq).or_default().push((index, shown.comment_id));
        }
        self.batches.push(batch);
        PayloadMeaning::Batch(index)
    }

    /// Records that a viewer received a payload of this meaning.
    fn record_receipt(&mut self, viewer: usize, meaning: &PayloadMeaning, at: Micros) {
        let Some(account) = &mut self.accounts[viewer] else { return };
        if account.presence == ViewerPresence::Gone {
            return;
        }
        match meaning {
            PayloadMeaning::Batch(index) => self.record_batch(viewer, *index as usize, at),
            PayloadMeaning::Gap(range) => {
                let split = account.receive(*range);
                for part in split.new.into_iter().chain(split.late) {
                    *self.gaps.entry(part).or_default() += 1;
                }
            }
            PayloadMeaning::Rate(rate) => account.rate = *rate,
            PayloadMeaning::Deletion(comment_id) => {
                self.counters.deletions_seen += 1;
                self.acked.record_deletion(*comment_id, at);
            }
            PayloadMeaning::Reactions => self.counters.reaction_updates += 1,
            PayloadMeaning::Malformed(_) => self.counters.malformed += 1,
            PayloadMeaning::Empty | PayloadMeaning::Bye(_) | PayloadMeaning::Other => {}
        }
    }

    fn record_batch(&mut self, viewer: usize, index: usize, at: Micros) {
        let batch = &mut self.batches[index];
        let Some(account) = &mut self.accounts[viewer] else { return };
        if !stays_in_epoch(account, batch.epoch, &mut self.counters) {
            return;
        }
        account.rate = batch.rate;
        self.counters.out_of_order += batch.out_of_order;
        self.counters.duplicated += batch.repeated;
        if account.continues_with(batch.range) {
            account.position.advance(batch.range);
            batch.receivers += 1;
            let arrival = Arrival { at, part: batch.range };
            record_arrival(batch, arrival, &mut self.latency, &mut self.counters);
            return;
        }
        let split = account.receive(batch.range);
        for part in split.late.iter().copied().chain(split.new) {
            batch.parts.push(part);
            record_arrival(batch, Arrival { at, part }, &mut self.latency, &mut self.counters);
        }
        let comments = |parts: &[SeqRange]| -> u64 {
            parts.iter().map(|part| batch.within(*part).len() as u64).sum()
        };
        self.counters.out_of_order += comments(&split.late);
        self.counters.duplicated += comments(&split.repeated);
    }
}

/// Ends the account of a viewer that receives a batch of another epoch.
fn stays_in_epoch(
    account: &mut ViewerAccount,
    epoch: Epoch,
    counters: &mut LedgerCounters,
) -> bool {
    if account.position.epoch() == epoch {
        return true;
    }
    account.presence = ViewerPresence::Gone;
    counters.epoch_changes += 1;
    false
}

/// Records the latencies of a part of a batch at one viewer, now or when the acks arrive.
fn record_arrival(
    batch: &mut ReceivedBatch,
    arrival: Arrival,
    latency: &mut Histogram<u64>,
    counters: &mut LedgerCounters,
) {
    let mut own = 0;
    for shown in batch.within(arrival.part) {
        own += u64::from(shown.origin != CommentOrigin::Foreign);
        if let CommentOrigin::SentAt(intended_at) = shown.origin {
            latency.saturating_record(arrival.at.saturating_sub(intended_at));
        }
    }
    if own > 0 {
        counters.shown += own;
        counters.last_arrival = counters.last_arrival.max(arrival.at);
    }
    if batch.awaiting_acks > 0 {
        batch.arrivals.push(arrival);
    }
}
