//! Egress sampling: how many of the comments from the bus this node shows.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::{
    Arc, CommentsBatch, Feed, Frame, Hub, Lane, Seq, ServerMessage, StatusBoard, StreamId,
};
use crate::daemon::engines::bus::HeldBack;
use crate::daemon::stages::delivery::audience::ShownBefore;
use crate::daemon::stages::delivery::egress_meter::EgressMeter;
use crate::policy::egress::{EgressDecision, MeterReading, SocketLoad, StreamLoad, StreamPace};
use crate::protocol::admin::Egress;
use crate::protocol::comment::SequencedComment;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{Epoch, StreamPosition};

/// A range whose comments were all left out waits this long for the next comments. Then it is
/// sent by itself, which costs nearly as much as a comment, so that the senders are shown theirs.
const EMPTY_AFTER: Duration = Duration::from_millis(500);
/// Time between two notices when the rate has clearly changed.
const NOTICE_AFTER: Duration = Duration::from_secs(1);
/// Time between two notices when it has changed a little.
const MINOR_NOTICE_AFTER: Duration = Duration::from_secs(10);
/// Ratios of new to old rate that are a small change: up to two rungs of the ladder.
const MINOR_CHANGE: std::ops::RangeInclusive<f64> = 0.65..=1.55;

/// Sampling of one stream on this node.
#[derive(Debug)]
pub(super) struct StreamSampling {
    pace: StreamPace,
    /// Counts what the workers write of it.
    pub(super) meter: Arc<EgressMeter>,
    /// The meter at the last tick.
    last_reading: MeterReading,
    /// Comments since the last tick: offered by the broadcast stage, and shown of these.
    offered: u64,
    shown: u64,
    /// Comments left out that the status board has not been notified of.
    left_out: u64,
    /// The share that the status board knows.
    published: SampleRate,
    /// The rate in the last notice to viewers.
    notified: SampleRate,
    /// When that notice was sent.
    notified_at: Option<Instant>,
    /// A range without comments that waits for the next frame.
    waiting: Option<EmptyRange>,
}

/// A range whose comments were all left out.
#[derive(Debug, Clone, Copy)]
struct EmptyRange {
    sample_rate: SampleRate,
    since: Instant,
}

/// Comments from the bus or the history, to be sampled and sent.
#[derive(Debug)]
pub(super) struct IncomingComments {
    pub(super) epoch: Epoch,
    /// They cover everything up to here.
    pub(super) to_seq: Seq,
    /// The rate that they were sampled at before.
    pub(super) sample_rate: SampleRate,
    pub(super) comments: Vec<SequencedComment>,
    /// Comments that only their authors are shown.
    pub(super) own: Vec<SequencedComment>,
    /// Comments were left out at that rate.
    pub(super) sampled: bool,
    pub(super) held_back: HeldBack,
    /// Comments of these that were broadcast in an earlier epoch too, by their places here and
    /// there.
    pub(super) shown_before: Vec<(Seq, StreamPosition)>,
}

/// Takes the comments that were broadcast in an earlier epoch out of a list.
fn take_shown_before(
    comments: &mut Vec<SequencedComment>,
    places: &[(Seq, StreamPosition)],
    is_own: bool,
) -> Vec<ShownBefore> {
    if places.is_empty() {
        return Vec::new();
    }
    let place_of = |seq: Seq| places.iter().find(|(at, _)| *at == seq).map(|(_, place)| *place);
    let taken = comments.extract_if(.., |comment| place_of(comment.seq).is_some());
    let shown = taken.filter_map(|comment| {
        place_of(comment.seq).map(|place| ShownBefore { comment, place, is_own })
    });
    shown.collect()
}

impl StreamSampling {
    /// Starts the sampling of a stream whose joining viewers are told `notified`.
    pub(super) fn new(notified: SampleRate) -> Self {
        Self {
            pace: StreamPace::default(),
            meter: Arc::default(),
            last_reading: MeterReading::default(),
            offered: 0,
            shown: 0,
            left_out: 0,
            published: SampleRate::ALL,
            notified,
            notified_at: None,
            waiting: None,
        }
    }

    /// Returns the combined rate of a stream that was sampled at `upstream` before.
    pub(super) fn rate(&self, upstream: SampleRate) -> SampleRate {
        self.pace.share().of(upstream)
    }

    /// Removes comments that `rate` does not keep, except those of staff.
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

    /// Removes comments of authors that `rate` does not keep, as [`Self::sample`] does, and reports
    /// whether there were any.
    fn sample_own(&self, own: &mut Vec<SequencedComment>, staff: &[Seq], rate: SampleRate) -> bool {
        let offered = own.len();
        if !self.pace.share().is_all() {
            own.retain(|c| rate.keeps(c.comment_id) || staff.binary_search(&c.seq).is_ok());
        }
        own.len() < offered
    }

    /// Records the traffic since the last tick and returns what the workers wrote.
    fn record_tick(&mut self, elapsed: Duration) -> MeterReading {
        let now = self.meter.read();
        let read = now.since(std::mem::replace(&mut self.last_reading, now));
        let offered = std::mem::take(&mut self.offered);
        let shown = std::mem::take(&mut self.shown);
        self.pace.record(StreamLoad { sent_bytes: read.sent_bytes, offered, shown }, elapsed);
        read
    }

    fn publish_left_out(&mut self, stream_id: StreamId, share: SampleRate, board: &StatusBoard) {
        let left_out = std::mem::take(&mut self.left_out);
        board.metrics().comments_egress_sampled_out.inc_by(left_out);
        board.set_stream_egress(stream_id, share, left_out);
    }

    /// Reports whether viewers must be told the rate now.
    fn is_notice_due(&self, rate: SampleRate, now: Instant) -> bool {
        let is_minor = MINOR_CHANGE.contains(&(rate.share() / self.notified.share()));
        let after = if is_minor && !rate.is_all() { MINOR_NOTICE_AFTER } else { NOTICE_AFTER };
        rate != self.notified && self.notified_at.is_none_or(|at| now.duration_since(at) >= after)
    }
}

impl Hub {
    /// Samples comments and sends the rest in one frame.
    pub(super) fn send_comments(
        &mut self,
        stream_id: StreamId,
        incoming: IncomingComments,
        staff: &[Seq],
    ) {
        let Some(feed) = self.feeds.get(&stream_id) else { return };
        let IncomingComments { epoch, to_seq, sample_rate: upstream, .. } = incoming;
        let IncomingComments { mut comments, mut own, mut sampled, .. } = incoming;
        let IncomingComments { held_back, shown_before: places, .. } = incoming;
        let sample_rate = feed.sampling.rate(upstream);
        // A frame has one rate, from which senders see whether their comment was left out.
        if feed.sampling.waiting.is_some_and(|range| range.sample_rate != sample_rate) {
            self.send_empty_range(stream_id);
        }
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        sampled |= !comments.is_empty();
        feed.sampling.sample(&mut comments, staff, sample_rate);
        sampled |= feed.sampling.sample_own(&mut own, staff, sample_rate);
        feed.covered_to = to_seq;
        let mut again = take_shown_before(&mut comments, &places, false);
        again.extend(take_shown_before(&mut own, &places, true));
        let is_empty = comments.is_empty();
        let from_seq = feed.framed_to + 1;
        let batch = CommentsBatch { epoch, from_seq, to_seq, sample_rate, comments, echo: false };
        if !is_empty {
            feed.sampling.waiting = None;
            feed.framed_to = to_seq;
            let frame = Frame::with_own(batch, own).measured_without(&held_back);
            return self.send_frame(stream_id, frame.with_shown_before(again));
        }
        if sampled {
            let since = Instant::now();
            feed.sampling.waiting.get_or_insert(EmptyRange { sample_rate, since });
        }
        if !own.is_empty() || !again.is_empty() {
            // For all others the range waits for the next frame.
            let frame = Frame::for_authors_only(batch, own).with_shown_before(again);
            self.send_frame(stream_id, frame);
        }
    }

    /// Sends the waiting range without comments.
    pub(super) fn send_empty_range(&mut self, stream_id: StreamId) {
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        let Some(EmptyRange { sample_rate, .. }) = feed.sampling.waiting.take() else { return };
        let epoch = self.parts.log.epoch();
        let batch = CommentsBatch {
            epoch,
            from_seq: feed.framed_to + 1,
            to_seq: feed.covered_to,
            sample_rate,
            comments: Vec::new(),
            echo: false,
        };
        feed.framed_to = feed.covered_to;
        self.send(stream_id, Lane::Ordered, ServerMessage::Comments(batch));
    }

    /// Sends viewers the rate in force.
    pub(super) fn send_rate_notice(&mut self, stream_id: StreamId) {
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        let sample_rate = feed.sampling.rate(feed.sample_rate);
        feed.sampling.notified = sample_rate;
        feed.sampling.notified_at = Some(Instant::now());
        let message = sample_rate.notice();
        let notice = ServerMessage::ThrottleNotification { sample_rate, message };
        self.send(stream_id, Lane::Ordered, notice);
    }

    /// Adjusts the share of every stream, and sends waiting ranges and notices that are due.
    pub(super) fn adjust_egress(&mut self) {
        let now = Instant::now();
        let elapsed = now.duration_since(std::mem::replace(&mut self.ticked_at, now));
        let mut visits = MeterReading::default();
        for feed in self.feeds.values_mut() {
            let read = feed.sampling.record_tick(elapsed);
            visits.visits += read.visits;
            visits.held_up += read.held_up;
        }
        let mut paces: Vec<_> =
            self.feeds.values_mut().map(|feed| &mut feed.sampling.pace).collect();
        let sockets = SocketLoad { visits, held_up: self.parts.board.slow_viewers() };
        let decision = self.parts.egress.adjust(&mut paces, sockets, elapsed);
        self.publish_decision(&decision);
        let mut waiting = Vec::new();
        let mut unnotified = Vec::new();
        for (stream_id, feed) in &self.feeds {
            let sampling = &feed.sampling;
            let is_due = |range: EmptyRange| now.duration_since(range.since) >= EMPTY_AFTER;
            waiting.extend(sampling.waiting.is_some_and(is_due).then_some(*stream_id));
            let rate = sampling.rate(feed.sample_rate);
            unnotified.extend(sampling.is_notice_due(rate, now).then_some(*stream_id));
        }
        waiting.into_iter().for_each(|stream_id| self.send_empty_range(stream_id));
        unnotified.into_iter().for_each(|stream_id| self.send_rate_notice(stream_id));
    }

    /// Updates the status board.
    fn publish_decision(&mut self, decision: &EgressDecision) {
        let board = &self.parts.board;
        for (stream_id, feed) in &mut self.feeds {
            let sampling = &mut feed.sampling;
            let share = sampling.pace.share();
            if share != sampling.published || sampling.left_out > 0 {
                sampling.published = share;
                sampling.publish_left_out(*stream_id, share, board);
            }
        }
        let limited_by = decision.limit.map(|limit| limit.kind);
        if self.is_sampling != (decision.lowered > 0) {
            self.is_sampling = decision.lowered > 0;
            let sent = decision.sent as u64;
            let wanted = decision.wanted as u64;
            if self.is_sampling {
                info!(?limited_by, sent, wanted, "egress limit reached; comments are left out");
            } else {
                info!(sent, wanted, "below the egress limit; all comments are shown");
            }
        }
        board.set_egress(Egress {
            sent_bytes_per_second: decision.sent as u64,
            wanted_bytes_per_second: decision.wanted as u64,
            limited_by,
            limit_bytes_per_second: decision.limit.map(|limit| limit.limit as u64),
            streams_lowered: decision.lowered as u64,
        });
    }

    /// Publishes the final numbers of a stream that no viewer of this node watches any more.
    pub(super) fn close_sampling(&self, stream_id: StreamId, mut feed: Feed) {
        feed.sampling.publish_left_out(stream_id, SampleRate::ALL, &self.parts.board);
    }
}

#[cfg(test)]
mod tests;
