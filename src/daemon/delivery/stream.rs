//! A stream on one worker: its rings, its viewers, what newcomers are told.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::frame::{Frame, Lane};
use super::mailbox::StreamStart;
use super::ring::Ring;
use crate::daemon::config::DeliveryConfig;
use crate::protocol::message::ServerMessage;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{Comment, Epoch, Seq, StreamId};

/// Own comments that may wait to be seen in the broadcast; the oldest are forgotten (their senders
/// have the ack).
const MAX_ECHOES: usize = 65_536;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) stream_id: StreamId,
    /// Distinguishes this life of the stream on the worker from earlier ones.
    pub(super) activation: u64,
    /// The hub has said where the stream stands.
    pub(super) ready: bool,
    pub(super) epoch: Epoch,
    /// What was pushed so far reaches to here.
    pub(super) covered_to: Seq,
    pub(super) ordered: Ring,
    pub(super) control: Ring,
    /// Up to here comments in `ordered` may have been deleted since.
    pub(super) deleted_to: Seq,
    /// Slots of its viewers.
    pub(super) members: Vec<u32>,
    pub(super) sample_rate: SampleRate,
    pub(super) viewers: u64,
    reactions: BTreeMap<Arc<str>, u64>,
    echoes: VecDeque<Echo>,
    /// What was pushed since the last fan-out.
    run: Option<Run>,
}

/// A comment that its sender must see even if the broadcast leaves it out.
#[derive(Debug)]
pub(super) struct Echo {
    pub(super) seq: Seq,
    pub(super) slot: u32,
    pub(super) generation: u32,
    pub(super) comment: Arc<Comment>,
    pub(super) staff: bool,
}

/// Frames pushed since the last fan-out, and whether a viewer that was up to date can be sent all of
/// them as they are.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) ordered: Range<u64>,
    pub(super) control: Range<u64>,
    pub(super) seq_before: Seq,
    pub(super) seq_after: Seq,
    pub(super) comments: u64,
    pub(super) joins: bool,
}

impl Stream {
    pub(super) fn new(stream_id: StreamId, activation: u64, config: &DeliveryConfig) -> Self {
        let ring = || Ring::new(config.ring_frames, config.ring_bytes.as_u64() as usize);
        Self {
            stream_id,
            activation,
            ready: false,
            epoch: Epoch(0),
            covered_to: 0,
            ordered: ring(),
            control: ring(),
            deleted_to: 0,
            members: Vec::new(),
            sample_rate: SampleRate::ALL,
            viewers: 0,
            reactions: BTreeMap::new(),
            echoes: VecDeque::new(),
            run: None,
        }
    }

    pub(super) fn start(&mut self, start: StreamStart) {
        self.ready = true;
        self.epoch = start.epoch;
        self.covered_to = start.covered_to;
        self.deleted_to = start.deleted_to;
        self.sample_rate = start.sample_rate;
        self.viewers = start.viewers;
        if let Some(ServerMessage::ReactionsUpdate { reactions }) = start.reactions {
            self.reactions = reactions;
        }
    }

    /// Takes in a frame; true if nothing waited for fan-out before.
    pub(super) fn push(&mut self, frame: Arc<Frame>) -> bool {
        let first = self.run.is_none();
        let run = self.run.get_or_insert_with(|| Run {
            ordered: self.ordered.end()..self.ordered.end(),
            control: self.control.end()..self.control.end(),
            seq_before: self.covered_to,
            seq_after: self.covered_to,
            comments: 0,
            joins: true,
        });
        if let Some(batch) = frame.batch() {
            run.joins &= batch.from_seq == run.seq_after + 1;
            run.seq_after = batch.to_seq;
            run.comments += frame.comments();
            self.covered_to = batch.to_seq;
        }
        match frame.message() {
            ServerMessage::ThrottleNotification { sample_rate, .. } => {
                self.sample_rate = *sample_rate;
            }
            ServerMessage::Presence { viewers } => self.viewers = *viewers,
            ServerMessage::ReactionsUpdate { reactions } => {
                self.reactions.extend(reactions.iter().map(|(kind, total)| (kind.clone(), *total)));
            }
            _ => {}
        }
        match frame.lane() {
            Lane::Ordered => {
                self.ordered.push(frame);
                run.ordered.end += 1;
            }
            Lane::Control => {
                self.deleted_to = self.deleted_to.max(frame.deletion_seq().unwrap_or(0));
                self.control.push(frame);
                run.control.end += 1;
            }
        }
        first
    }

    /// What waits for fan-out.
    pub(super) fn take_run(&mut self) -> Option<Run> {
        self.run.take()
    }

    /// The reaction totals, for who has just come or skipped.
    pub(super) fn reactions_message(&self) -> Option<ServerMessage> {
        (!self.reactions.is_empty())
            .then(|| ServerMessage::ReactionsUpdate { reactions: self.reactions.clone() })
    }

    /// The deletions after a place, among frames of the control ring before an index.
    pub(super) fn deletions_after(&self, seq: Seq, before: u64) -> impl Iterator<Item = &Frame> {
        (self.control.first()..before)
            .filter_map(|index| self.control.get(index).map(|frame| &**frame))
            .filter(move |frame| frame.deletion_seq().is_some_and(|deleted| deleted > seq))
    }

    /// Where the oldest batch in the ring begins.
    pub(super) fn oldest_seq(&self) -> Option<Seq> {
        (self.ordered.first()..self.ordered.end())
            .filter_map(|index| self.ordered.get(index)?.batch())
            .map(|batch| batch.from_seq)
            .next()
    }

    /// Notes a sender's own comment. Returns it at once if the batch that covers it has left it out.
    pub(super) fn expect_echo(&mut self, echo: Echo) -> Option<Echo> {
        if echo.seq > self.covered_to {
            if self.echoes.len() >= MAX_ECHOES {
                self.echoes.pop_front();
            }
            self.echoes.push_back(echo);
            return None;
        }
        // The ack came after the batch: look it up. If it is gone from the ring the ack must do.
        let batch = self
            .ordered
            .iter_back()
            .filter_map(|frame| frame.batch())
            .find(|batch| (batch.from_seq..=batch.to_seq).contains(&echo.seq))?;
        left_out(&echo, batch.sample_rate).then_some(echo)
    }

    /// The own comments that the batches pushed so far have left out.
    pub(super) fn due_echoes(&mut self) -> Vec<Echo> {
        let mut due = Vec::new();
        while self.echoes.front().is_some_and(|echo| echo.seq <= self.covered_to) {
            let echo = self.echoes.pop_front();
            due.extend(echo.and_then(|echo| self.expect_echo(echo)));
        }
        due
    }
}

fn left_out(echo: &Echo, rate: SampleRate) -> bool {
    !echo.staff && !rate.keeps(echo.comment.comment_id)
}
