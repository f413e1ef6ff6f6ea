//! How much of what comes on the streams is shown: the hub's part in egress control.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::{Arc, CommentsBatch, Feed, Hub, Lane, Seq, ServerMessage, StatusBoard, StreamId};
use crate::daemon::stages::delivery::egress::{Load, Meter, Reading, StreamPace, Verdict};
use crate::protocol::Epoch;
use crate::protocol::admin::Egress;
use crate::protocol::comment::SequencedComment;
use crate::protocol::throttle::SampleRate;

/// A range without comments waits at most this long for some, so that who sent one that was left out
/// is shown it; and then leaves alone, which costs nearly as much as a comment.
const EMPTY_AFTER: Duration = Duration::from_millis(500);
/// Viewers are told of a rate that has clearly changed this long after the last notice, and of one
/// that has hardly changed after the other time.
const TELL_CHANGED_AFTER: Duration = Duration::from_secs(1);
const TELL_ANY_AFTER: Duration = Duration::from_secs(10);
/// A change by less is hardly one: two rungs of the ladder.
const HARDLY: std::ops::RangeInclusive<f64> = 0.65..=1.55;

/// What of one stream is shown on this node.
#[derive(Debug)]
pub(super) struct Display {
    pace: StreamPace,
    /// What the workers write of it.
    pub(super) meter: Arc<Meter>,
    read: Reading,
    /// Since the last tick.
    offered: u64,
    shown: u64,
    /// Of these the board does not know yet.
    left_out: u64,
    /// The share the board knows of.
    posted: SampleRate,
    /// The rate viewers were told, and when.
    told: SampleRate,
    told_at: Option<Instant>,
    /// Comments were left out of the range that waits for the next frame: at which rate, since when.
    waiting: Option<(SampleRate, Instant)>,
}

/// Comments that come to be shown.
#[derive(Debug)]
pub(super) struct Arrivals {
    pub(super) epoch: Epoch,
    /// They cover everything up to here.
    pub(super) to_seq: Seq,
    /// At which they were sampled before.
    pub(super) sample_rate: SampleRate,
    pub(super) comments: Vec<SequencedComment>,
    /// Comments were left out at that rate.
    pub(super) sampled: bool,
}

impl Display {
    /// Of a stream whose viewers are told `told` when they come.
    pub(super) fn new(told: SampleRate) -> Self {
        Self {
            pace: StreamPace::default(),
            meter: Arc::default(),
            read: Reading::default(),
            offered: 0,
            shown: 0,
            left_out: 0,
            posted: SampleRate::ALL,
            told,
            told_at: None,
            waiting: None,
        }
    }

    /// What is shown of a stream that was sampled at `upstream` before.
    pub(super) fn rate(&self, upstream: SampleRate) -> SampleRate {
        self.pace.share().of(upstream)
    }

    /// Leaves out what `rate` does not keep, but for staff.
    fn sample(&mut self, comments: &mut Vec<SequencedComment>, staff: &[Seq], rate: SampleRate) {
        let offered = comments.len();
        if !self.pace.share().is_all() {
            let is_staff = |seq: Seq| staff.binary_search(&seq).is_ok();
            comments.retain(|c| rate.keeps(c.comment_id) || is_staff(c.seq));
        }
        self.offered += offered as u64;
        self.shown += comments.len() as u64;
        self.left_out += (offered - comments.len()) as u64;
    }

    /// Takes note of what happened since the last tick.
    fn note(&mut self, elapsed: Duration) -> Reading {
        let now = self.meter.read();
        let read = now.since(std::mem::replace(&mut self.read, now));
        let (offered, shown) = (std::mem::take(&mut self.offered), std::mem::take(&mut self.shown));
        self.pace.note(Load { sent_bytes: read.sent_bytes, offered, shown }, elapsed);
        read
    }

    fn post_left_out(&mut self, stream_id: StreamId, share: SampleRate, board: &StatusBoard) {
        let left_out = std::mem::take(&mut self.left_out);
        board.metrics().comments_egress_sampled_out.inc_by(left_out);
        board.set_stream_egress(stream_id, share, left_out);
    }

    fn must_tell(&self, rate: SampleRate, now: Instant) -> bool {
        let after = match HARDLY.contains(&(rate.share() / self.told.share())) {
            true if !rate.is_all() => TELL_ANY_AFTER,
            _ => TELL_CHANGED_AFTER,
        };
        rate != self.told && self.told_at.is_none_or(|at| now.duration_since(at) >= after)
    }
}

impl Hub {
    /// Sends comments, as many as this node shows, in one frame.
    pub(super) fn show(&mut self, stream_id: StreamId, arrivals: Arrivals, staff: &[Seq]) {
        let Some(feed) = self.feeds.get(&stream_id) else { return };
        let Arrivals { epoch, to_seq, sample_rate: upstream, mut comments, sampled } = arrivals;
        let sample_rate = feed.display.rate(upstream);
        // A frame says one rate: its senders know from it whether theirs was left out.
        if feed.display.waiting.is_some_and(|(waiting, _)| waiting != sample_rate) {
            self.send_waiting(stream_id);
        }
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        let offered = comments.len();
        feed.display.sample(&mut comments, staff, sample_rate);
        feed.covered_to = to_seq;
        if comments.is_empty() {
            if sampled || offered > 0 {
                feed.display.waiting.get_or_insert((sample_rate, Instant::now()));
            }
            return;
        }
        feed.display.waiting = None;
        let from_seq = feed.framed_to + 1;
        feed.framed_to = to_seq;
        let batch = CommentsBatch { epoch, from_seq, to_seq, sample_rate, comments, echo: false };
        self.send(stream_id, Lane::Ordered, ServerMessage::Comments(batch));
    }

    /// Sends the range that waits because all its comments were left out.
    pub(super) fn send_waiting(&mut self, stream_id: StreamId) {
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        let Some((sample_rate, _)) = feed.display.waiting.take() else { return };
        let epoch = self.parts.log.epoch();
        let (from_seq, to_seq) = (feed.framed_to + 1, feed.covered_to);
        feed.framed_to = to_seq;
        let comments = Vec::new();
        let batch = CommentsBatch { epoch, from_seq, to_seq, sample_rate, comments, echo: false };
        self.send(stream_id, Lane::Ordered, ServerMessage::Comments(batch));
    }

    /// Tells viewers the rate that is in force.
    pub(super) fn tell_rate(&mut self, stream_id: StreamId) {
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        let sample_rate = feed.display.rate(feed.sample_rate);
        (feed.display.told, feed.display.told_at) = (sample_rate, Some(Instant::now()));
        let message = sample_rate.notice();
        let notice = ServerMessage::ThrottleNotification { sample_rate, message };
        self.send(stream_id, Lane::Ordered, notice);
    }

    /// Looks at what was sent, sets every stream's pace, and tells who must know.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        let elapsed = now.duration_since(std::mem::replace(&mut self.ticked_at, now));
        let mut turns = Reading::default();
        for feed in self.feeds.values_mut() {
            let read = feed.display.note(elapsed);
            turns.turns += read.turns;
            turns.held_up += read.held_up;
        }
        let mut paces: Vec<_> =
            self.feeds.values_mut().map(|feed| &mut feed.display.pace).collect();
        let held_up = self.parts.board.slow_viewers();
        let verdict = self.parts.egress.observe(&mut paces, turns, held_up, elapsed);
        self.post(&verdict);
        let (mut waiting, mut untold) = (Vec::new(), Vec::new());
        for (stream_id, feed) in &self.feeds {
            let display = &feed.display;
            let waits = |(_, since): (_, Instant)| now.duration_since(since) >= EMPTY_AFTER;
            waiting.extend(display.waiting.is_some_and(waits).then_some(*stream_id));
            let rate = display.rate(feed.sample_rate);
            untold.extend(display.must_tell(rate, now).then_some(*stream_id));
        }
        waiting.into_iter().for_each(|stream_id| self.send_waiting(stream_id));
        untold.into_iter().for_each(|stream_id| self.tell_rate(stream_id));
    }

    /// Pins up what operators should see.
    fn post(&mut self, verdict: &Verdict) {
        let board = &self.parts.board;
        for (stream_id, feed) in &mut self.feeds {
            let display = &mut feed.display;
            let share = display.pace.share();
            if share != display.posted || display.left_out > 0 {
                display.posted = share;
                display.post_left_out(*stream_id, share, board);
            }
        }
        let limited_by = verdict.limit.map(|(kind, _)| kind);
        if self.shows_part != (verdict.lowered > 0) {
            self.shows_part = verdict.lowered > 0;
            let (sent, wanted) = (verdict.sent as u64, verdict.wanted as u64);
            match self.shows_part {
                true => info!(?limited_by, sent, wanted, "at the egress limit: shown in part"),
                false => info!(sent, wanted, "no longer at the egress limit: all is shown"),
            }
        }
        board.set_egress(Egress {
            sent_bytes_per_second: verdict.sent as u64,
            wanted_bytes_per_second: verdict.wanted as u64,
            limited_by,
            limit_bytes_per_second: verdict.limit.map(|(_, limit)| limit as u64),
            streams_lowered: verdict.lowered as u64,
        });
    }

    /// The board's last word on a stream that nobody on this node watches any more.
    pub(super) fn close_display(&self, stream_id: StreamId, mut feed: Feed) {
        feed.display.post_left_out(stream_id, SampleRate::ALL, &self.parts.board);
    }
}

#[cfg(test)]
mod tests;
