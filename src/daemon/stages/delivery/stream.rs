//! A stream on one worker: its rings, its viewers, what newcomers are told.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::egress::Meter;
use super::frame::{Frame, Lane};
use super::mailbox::StreamStart;
use super::members::Members;
use super::ring::Ring;
use super::viewer::MAX_SLICES;
use super::worker::coalescing::Coalescing;
use super::worker::fan_out::FanOut;
use crate::daemon::base::config::DeliveryConfig;
use crate::protocol::message::{CommentsBatch, ServerMessage};
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
    pub(super) members: Members,
    pub(super) sample_rate: SampleRate,
    /// What its viewers were sent, by all workers together.
    pub(super) meter: Arc<Meter>,
    pub(super) viewers: u64,
    pub(super) coalescing: Coalescing,
    /// It stands in its worker's queue of streams with something to fan out.
    pub(super) dirty: bool,
    reactions: BTreeMap<Arc<str>, u64>,
    echoes: VecDeque<Echo>,
    /// The fan-out that other work has interrupted.
    fan_out: Option<FanOut>,
    /// What was pushed since the last fan-out began.
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

/// Frames pushed since the last fan-out began, and whether a viewer that was up to date can be sent all of
/// them as they are.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) ordered: Range<u64>,
    pub(super) control: Range<u64>,
    pub(super) seq_before: Seq,
    pub(super) seq_after: Seq,
    pub(super) comments: u64,
    pub(super) joins: bool,
    ordered_bytes: usize,
    control_bytes: usize,
}

impl Run {
    pub(super) fn frames(&self) -> u64 {
        self.ordered_size().0 + self.control_size().0
    }

    fn ordered_size(&self) -> (u64, usize) {
        (self.ordered.end - self.ordered.start, self.ordered_bytes)
    }

    fn control_size(&self) -> (u64, usize) {
        (self.control.end - self.control.start, self.control_bytes)
    }
}

fn sum(sizes: impl Iterator<Item = (u64, usize)>) -> (u64, usize) {
    sizes.fold((0, 0), |(frames, bytes), (more, more_bytes)| (frames + more, bytes + more_bytes))
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
            members: Members::default(),
            sample_rate: SampleRate::ALL,
            meter: Arc::default(),
            viewers: 0,
            coalescing: Coalescing::default(),
            dirty: false,
            reactions: BTreeMap::new(),
            echoes: VecDeque::new(),
            fan_out: None,
            run: None,
        }
    }

    pub(super) fn start(&mut self, start: StreamStart) {
        self.ready = true;
        self.epoch = start.epoch;
        self.covered_to = start.covered_to;
        self.sample_rate = start.sample_rate;
        self.meter = start.meter;
        self.viewers = start.viewers;
        if let Some(ServerMessage::ReactionsUpdate { reactions }) = start.reactions {
            self.reactions = reactions;
        }
        for (seq, deletion) in start.deleted_ahead {
            self.control.push(Arc::new(Frame::deletion(seq, deletion)));
        }
    }

    /// Deletions that were sent out ahead of their place, for who has just come.
    pub(super) fn deletions_ahead(&self) -> impl Iterator<Item = &Arc<Frame>> {
        let all =
            (self.control.first()..self.control.end()).filter_map(|index| self.control.get(index));
        all.filter(|frame| frame.deletes_after(self.covered_to))
    }

    /// Where a viewer that has had everything up to `seq` goes on reading.
    pub(super) fn cursor_after(&self, seq: Seq) -> u64 {
        let had = |index: &u64| {
            let batch = self.ordered.get(*index).and_then(|frame| frame.batch());
            batch.is_some_and(|batch| batch.to_seq <= seq)
        };
        (self.ordered.first()..self.ordered.end())
            .rev()
            .find(had)
            .map_or(self.ordered.first(), |last| last + 1)
    }

    /// Whether what waits for fan-out must leave before this frame is taken in: one write takes no
    /// more, or the ring would drop what somebody has not been sent yet.
    pub(super) fn is_full_for(&self, frame: &Frame) -> bool {
        let under_way = self.fan_out.as_ref().map(FanOut::run);
        let mut unsent = under_way.into_iter().chain(&self.run).peekable();
        if unsent.peek().is_none() {
            return false;
        }
        let (ring, (frames, bytes)) = match frame.lane() {
            Lane::Ordered => (&self.ordered, sum(unsent.map(Run::ordered_size))),
            Lane::Control => (&self.control, sum(unsent.map(Run::control_size))),
        };
        let writes_full = self.run.as_ref().is_some_and(|run| run.frames() >= MAX_SLICES as u64);
        writes_full || !ring.holds(frames, bytes, frame)
    }

    /// Takes in a frame.
    pub(super) fn push(&mut self, frame: Arc<Frame>) {
        let run = self.run.get_or_insert_with(|| Run {
            ordered: self.ordered.end()..self.ordered.end(),
            control: self.control.end()..self.control.end(),
            seq_before: self.covered_to,
            seq_after: self.covered_to,
            comments: 0,
            joins: true,
            ordered_bytes: 0,
            control_bytes: 0,
        });
        if let Some(batch) = frame.batch() {
            run.joins &= batch.from_seq == run.seq_after + 1;
            run.seq_after = batch.to_seq;
            run.comments += frame.comments();
            self.covered_to = batch.to_seq;
            // Not every small step is told in a notice; who comes now is told where it stands.
            self.sample_rate = batch.sample_rate;
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
                run.ordered_bytes += frame.weight_bytes();
                self.ordered.push(frame);
                run.ordered.end += 1;
            }
            Lane::Control => {
                run.control_bytes += frame.weight_bytes();
                self.control.push(frame);
                run.control.end += 1;
            }
        }
    }

    /// How long what waits for fan-out is to wait on. Deletions and announcements never do, nor does
    /// what has begun.
    pub(super) fn fan_out_wait(&self, now: Instant) -> Duration {
        let urgent = self.run.as_ref().is_none_or(|run| !run.control.is_empty());
        if urgent || self.fan_out.is_some() { Duration::ZERO } else { self.coalescing.wait(now) }
    }

    /// Whether there is anything to fan out, or to go on with.
    pub(super) fn awaits_fan_out(&self) -> bool {
        self.fan_out.is_some() || self.run.is_some()
    }

    /// The fan-out that was interrupted, or the next. A run never overtakes the one before.
    pub(super) fn go_on(&mut self, now: Instant) -> Option<FanOut> {
        self.fan_out.take().or_else(|| FanOut::begin(self, now))
    }

    /// Keeps a fan-out that is to go on.
    pub(super) fn interrupt(&mut self, fan_out: FanOut) {
        self.fan_out = Some(fan_out);
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
        left_out(&echo, batch).then_some(echo)
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

/// Whether sampling left a comment out. No rate leaves out staff, but where a hole was filled from the
/// history nobody knew that they are.
fn left_out(echo: &Echo, batch: &CommentsBatch) -> bool {
    let is_there = || batch.comments.binary_search_by_key(&echo.seq, |c| c.seq).is_ok();
    let is_shown = batch.sample_rate.keeps(echo.comment.comment_id) || (echo.staff && is_there());
    !is_shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::testing::comments::sample_comment;
    use crate::daemon::testing::frames::{deletion_frame, sampled_frame};

    fn stream(ring_frames: usize) -> Stream {
        let config = DeliveryConfig { ring_frames, ..DeliveryConfig::default() };
        Stream::new(StreamId(5), 1, &config)
    }

    fn echo(seq: Seq, staff: bool) -> Echo {
        Echo { seq, slot: 0, generation: 1, comment: Arc::new(sample_comment(seq)), staff }
    }

    fn due(stream: &mut Stream) -> Vec<Seq> {
        stream.due_echoes().iter().map(|echo| echo.seq).collect()
    }

    #[test]
    fn a_sender_is_shown_what_sampling_left_out_and_nothing_twice() {
        let mut stream = stream(16);
        assert!(stream.expect_echo(echo(1, false)).is_none());
        assert!(stream.expect_echo(echo(2, false)).is_none());
        stream.push(sampled_frame(1, 1, SampleRate::ALL));
        assert!(due(&mut stream).is_empty(), "the batch shows it");
        stream.push(sampled_frame(2, 2, SampleRate::NONE));
        assert_eq!(due(&mut stream), [2]);
        assert!(due(&mut stream).is_empty());
    }

    #[test]
    fn an_ack_after_its_batch_is_echoed_at_once() {
        let mut stream = stream(16);
        stream.push(sampled_frame(1, 3, SampleRate::NONE));
        stream.push(sampled_frame(4, 6, SampleRate::ALL));
        assert_eq!(stream.expect_echo(echo(2, false)).map(|echo| echo.seq), Some(2));
        assert!(stream.expect_echo(echo(5, false)).is_none());
    }

    #[test]
    fn staff_is_echoed_only_what_was_not_in_its_batch_after_all() {
        let mut stream = stream(16);
        let batch = CommentsBatch {
            epoch: Epoch(7),
            from_seq: 1,
            to_seq: 3,
            sample_rate: SampleRate::NONE,
            comments: vec![sample_comment(2).sequenced(2)],
            echo: false,
        };
        stream.push(Arc::new(Frame::new(Lane::Ordered, ServerMessage::Comments(batch))));
        assert!(stream.expect_echo(echo(2, true)).is_none());
        assert!(stream.expect_echo(echo(3, true)).is_some());
    }

    #[test]
    fn a_run_joins_until_a_hole() {
        let mut stream = stream(16);
        stream.push(sampled_frame(1, 2, SampleRate::ALL));
        stream.push(sampled_frame(3, 5, SampleRate::ALL));
        let run = stream.take_run().unwrap();
        assert!(run.joins);
        assert_eq!((run.seq_before, run.seq_after, run.comments), (0, 5, 5));
        assert_eq!((run.ordered, run.control), (0..2, 0..0));
        stream.push(sampled_frame(6, 6, SampleRate::ALL));
        stream.push(sampled_frame(9, 9, SampleRate::ALL));
        assert!(!stream.take_run().unwrap().joins);
        assert!(stream.take_run().is_none());
    }

    #[test]
    fn frames_of_a_costly_stream_gather_and_a_deletion_lets_all_leave() {
        let mut stream = stream(16);
        let (config, began) = (DeliveryConfig::default(), Instant::now());
        let took = Duration::from_millis(10);
        stream.coalescing.wrote(began, took, &config);
        stream.coalescing.wrote(began, took, &config);
        stream.push(sampled_frame(1, 2, SampleRate::ALL));
        assert_eq!(stream.fan_out_wait(began + took), Duration::from_millis(40));
        stream.push(deletion_frame(1));
        assert_eq!(stream.fan_out_wait(began + took), Duration::ZERO);
    }

    #[test]
    fn a_run_never_outgrows_its_ring() {
        let mut stream = stream(4);
        for seq in 1..=1000 {
            let frame = deletion_frame(seq);
            if stream.is_full_for(&frame) {
                let run = stream.take_run().unwrap();
                assert!(stream.control.first() <= run.control.start, "nothing of it is gone");
            }
            stream.push(frame);
        }
    }

    #[test]
    fn the_ring_keeps_what_a_fan_out_under_way_has_yet_to_write() {
        let mut stream = stream(4);
        stream.members.add(0);
        (1..=3).for_each(|seq| stream.push(deletion_frame(seq)));
        let now = Instant::now();
        let fan_out = stream.go_on(now).unwrap();
        stream.interrupt(fan_out);
        assert!(stream.awaits_fan_out() && stream.fan_out_wait(now).is_zero());
        assert!(!stream.is_full_for(&deletion_frame(4)));
        stream.push(deletion_frame(4));
        assert!(
            stream.is_full_for(&deletion_frame(5)),
            "it would push out what is still being written"
        );
        assert_eq!(stream.go_on(now).unwrap().run().control, 0..3, "the older before the newer");
        assert!(!stream.is_full_for(&deletion_frame(5)));
    }

    #[test]
    fn a_newcomer_is_told_of_deletions_ahead_of_its_place_alone() {
        let mut stream = stream(16);
        stream.push(sampled_frame(1, 5, SampleRate::ALL));
        stream.push(deletion_frame(4));
        stream.push(deletion_frame(7));
        let ahead: Vec<_> = stream.deletions_ahead().map(|frame| frame.message()).collect();
        assert_eq!(ahead, [deletion_frame(7).message()]);
    }

    #[test]
    fn a_cursor_stands_behind_what_was_had() {
        let mut stream = stream(3);
        for seq in 1..=5 {
            stream.push(sampled_frame(seq * 10 - 9, seq * 10, SampleRate::ALL));
        }
        for (seq, cursor) in [(0, 2), (25, 2), (30, 3), (39, 3), (40, 4), (50, 5), (u64::MAX, 5)] {
            assert_eq!(stream.cursor_after(seq), cursor, "after {seq}");
        }
    }
}
