//! A stream on one worker: its rings, its viewers, and the state that joining viewers are told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::coalescing::Coalescing;
use super::echo::{Echo, WaitingEchoes};
use super::fan_out::FanOut;
use super::outlet::MAX_SLICES;
use super::rejoined::Rejoined;
use super::ring::Ring;
use super::run::{RingShare, Run, RunBytes};
use super::stream_viewers::StreamViewers;
use super::viewer::Viewer;
use crate::daemon::base::config::DeliveryConfig;
use crate::daemon::stages::delivery::audience::Audience;
use crate::daemon::stages::delivery::egress_meter::EgressMeter;
use crate::daemon::stages::delivery::frame::{Frame, Lane};
use crate::daemon::stages::delivery::mailbox::StreamStart;
use crate::protocol::message::ServerMessage;
use crate::protocol::room::RoomRules;
use crate::protocol::stream::StreamSchedule;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, PinnedComment, PollState, Seq, StreamId};

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) stream_id: StreamId,
    /// Distinguishes this life of the stream on the worker from earlier ones.
    pub(super) activation: u64,
    /// The hub has sent the stream's position.
    pub(super) ready: bool,
    pub(super) epoch: Epoch,
    /// The frames pushed so far reach to here.
    pub(super) covered_to: Seq,
    /// Comments and everything else that a slow viewer may skip.
    pub(super) ordered: Ring,
    /// Deletions, announcements, the rules of the room, changes of the event, the pinned comment
    /// and polls.
    pub(super) control: Ring,
    pub(super) viewers: StreamViewers,
    pub(super) sample_rate: SampleRate,
    /// Counts what the viewers of the stream are sent, by all workers together.
    pub(super) meter: Arc<EgressMeter>,
    /// Viewers of the stream on all nodes.
    pub(super) viewer_count: u64,
    pub(super) room: RoomRules,
    pub(super) schedule: StreamSchedule,
    /// The comment above the chat.
    pub(super) pinned: Option<Arc<PinnedComment>>,
    /// The poll that is open.
    pub(super) poll: Option<Arc<PollState>>,
    pub(super) coalescing: Coalescing,
    /// The stream is in its worker's fan-out queue.
    pub(super) queued: bool,
    /// Viewers that came from an earlier epoch of the log.
    pub(super) rejoined: Rejoined,
    reactions: BTreeMap<Arc<str>, u64>,
    echoes: WaitingEchoes,
    /// The fan-out that other work has interrupted.
    suspended: Option<FanOut>,
    /// Frames pushed since the last fan-out began.
    run: Option<Run>,
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
            viewers: StreamViewers::default(),
            sample_rate: SampleRate::ALL,
            meter: Arc::default(),
            viewer_count: 0,
            room: RoomRules::default(),
            schedule: StreamSchedule::default(),
            pinned: None,
            poll: None,
            coalescing: Coalescing::default(),
            queued: false,
            rejoined: Rejoined::default(),
            reactions: BTreeMap::new(),
            echoes: WaitingEchoes::default(),
            suspended: None,
            run: None,
        }
    }

    /// Takes over the position that the hub has sent.
    pub(super) fn start(&mut self, start: StreamStart) {
        self.ready = true;
        self.epoch = start.epoch;
        self.covered_to = start.covered_to;
        self.sample_rate = start.sample_rate;
        self.meter = start.meter;
        self.viewer_count = start.viewers;
        self.room = start.room;
        self.schedule = start.schedule;
        self.pinned = start.pinned;
        self.poll = start.poll;
        if let Some(ServerMessage::ReactionsUpdate { reactions }) = start.reactions {
            self.reactions = reactions;
        }
        for (seq, deletion) in start.deleted_ahead {
            self.control.push(Arc::new(Frame::deletion(seq, &deletion)));
        }
    }

    /// Returns a viewer of the stream as frames see it.
    pub(super) fn audience(&self, viewer: &Viewer) -> Audience {
        let came_from = self.rejoined.position(viewer.generation);
        Audience { user: viewer.user_id(), came_from }
    }

    /// Returns the deletions whose log offset lies after `covered_to`. They were sent ahead of
    /// their place, so a joining viewer has to be sent them too.
    pub(super) fn deletions_ahead(&self) -> impl Iterator<Item = &Arc<Frame>> {
        let all =
            (self.control.first()..self.control.end()).filter_map(|index| self.control.get(index));
        all.filter(|frame| frame.deletes_after(self.covered_to))
    }

    /// Turns the deletions of a comment into frames that nobody is sent: neither viewers that join
    /// nor those that are behind.
    pub(super) fn take_deletions_back(&mut self, comment_id: CommentId) {
        self.control.replace(|frame| frame.taken_back(comment_id));
    }

    /// Returns the cursor of a viewer that was sent everything up to `seq`.
    pub(super) fn cursor_after(&self, seq: Seq) -> u64 {
        let was_sent = |index: &u64| {
            let batch = self.ordered.get(*index).and_then(|frame| frame.batch());
            batch.is_some_and(|batch| batch.to_seq <= seq)
        };
        (self.ordered.first()..self.ordered.end())
            .rev()
            .find(was_sent)
            .map_or(self.ordered.first(), |last| last + 1)
    }

    /// Reports whether the pending frames must be written before `frame` is pushed: either one
    /// write takes no more, or the ring would drop frames that some viewer has not been sent.
    pub(super) fn must_flush_before(&self, frame: &Frame) -> bool {
        let suspended = self.suspended.as_ref().map(FanOut::run);
        let mut unsent = suspended.into_iter().chain(&self.run).peekable();
        if unsent.peek().is_none() {
            return false;
        }
        let sum = |share_of: fn(&Run) -> RingShare| {
            unsent.map(share_of).fold(RingShare::default(), std::ops::Add::add)
        };
        let (ring, waiting) = match frame.lane() {
            Lane::Ordered => (&self.ordered, sum(Run::ordered_share)),
            Lane::Control => (&self.control, sum(Run::control_share)),
        };
        let run_is_full = self.run.as_ref().is_some_and(|run| run.frames() >= MAX_SLICES as u64);
        run_is_full || !ring.holds(waiting.frames, waiting.bytes, frame)
    }

    /// Appends a frame to its ring and to the run that the next fan-out writes.
    pub(super) fn push(&mut self, frame: Arc<Frame>) {
        let run = self.run.get_or_insert_with(|| Run {
            ordered: self.ordered.end()..self.ordered.end(),
            control: self.control.end()..self.control.end(),
            seq_before: self.covered_to,
            seq_after: self.covered_to,
            comments: 0,
            is_contiguous: true,
            ordered_bytes: 0,
            control_bytes: 0,
            is_urgent: false,
            personal_for: Vec::new(),
            has_shown_before: false,
        });
        run.personal_for.extend(frame.users());
        run.has_shown_before |= frame.has_shown_before();
        run.is_urgent |= frame.is_urgent();
        if let Some(batch) = frame.batch() {
            run.is_contiguous &= batch.from_seq == run.seq_after + 1;
            run.seq_after = batch.to_seq;
            run.comments += frame.comments();
            self.covered_to = batch.to_seq;
            // Small changes are not announced, but a joining viewer is told the current rate.
            self.sample_rate = batch.sample_rate;
        }
        match frame.message() {
            ServerMessage::ThrottleNotification { sample_rate, .. } => {
                self.sample_rate = *sample_rate;
            }
            ServerMessage::Presence { viewers } => self.viewer_count = *viewers,
            ServerMessage::Room(rules) => self.room = *rules,
            ServerMessage::Stream(notice) => self.schedule = notice.schedule(),
            ServerMessage::Pinned { comment } => self.pinned = comment.clone(),
            ServerMessage::Poll(state) => {
                self.poll = (!state.closed).then(|| state.clone());
            }
            ServerMessage::PollVotes { poll_id, votes } => {
                if let Some(state) = &mut self.poll
                    && state.poll.poll_id == *poll_id
                {
                    Arc::make_mut(state).votes.clone_from(votes);
                }
            }
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

    /// Returns how long the pending frames are still held back to be written together with later
    /// ones. Urgent frames and a suspended fan-out are never held back.
    pub(super) fn fan_out_delay(&self, now: Instant) -> Duration {
        let urgent = self.run.as_ref().is_none_or(|run| run.is_urgent);
        if urgent || self.suspended.is_some() { Duration::ZERO } else { self.coalescing.delay(now) }
    }

    /// Reports whether frames are pending or a fan-out is suspended.
    pub(super) fn has_pending_fan_out(&self) -> bool {
        self.suspended.is_some() || self.run.is_some()
    }

    /// Returns the suspended fan-out, or else a new one of the pending frames. So a run never
    /// overtakes an earlier one.
    pub(super) fn resume_fan_out(&mut self, now: Instant) -> Option<FanOut> {
        self.suspended.take().or_else(|| self.begin_fan_out(now))
    }

    fn begin_fan_out(&mut self, now: Instant) -> Option<FanOut> {
        self.rejoined.expire(now);
        let run = self.run.take()?;
        self.viewers.start_visits();
        let bytes = self.run_bytes(&run);
        Some(FanOut::new(run, bytes, self.due_echoes(), now))
    }

    pub(super) fn suspend_fan_out(&mut self, fan_out: FanOut) {
        self.suspended = Some(fan_out);
    }

    /// Collects the frames of a run, deletions first. Returns `None` if no viewer can be sent all
    /// of them unchanged.
    fn run_bytes(&self, run: &Run) -> Option<RunBytes> {
        if !run.is_contiguous || run.has_shown_before || run.frames() > MAX_SLICES as u64 {
            return None;
        }
        let control = run.control.clone().map(|index| self.control.get(index));
        let ordered = run.ordered.clone().map(|index| self.ordered.get(index));
        let frames: Option<Vec<_>> = control.chain(ordered).map(Option::<&_>::cloned).collect();
        frames.map(RunBytes::new)
    }

    /// Returns the reaction totals, for viewers that joined or skipped frames.
    pub(super) fn reactions_message(&self) -> Option<ServerMessage> {
        (!self.reactions.is_empty())
            .then(|| ServerMessage::ReactionsUpdate { reactions: self.reactions.clone() })
    }

    /// Returns where the oldest batch in the ring begins.
    pub(super) fn oldest_seq(&self) -> Option<Seq> {
        (self.ordered.first()..self.ordered.end())
            .filter_map(|index| self.ordered.get(index)?.batch())
            .map(|batch| batch.from_seq)
            .next()
    }

    /// Keeps the echo until the batch that covers its comment is pushed. If that has happened
    /// already, returns the echo when the batch left the comment out.
    pub(super) fn register_echo(&mut self, echo: Echo) -> Option<Echo> {
        if echo.seq > self.covered_to {
            self.echoes.push(echo);
            return None;
        }
        // A batch that has left the ring is not looked up elsewhere: the sender has the ack.
        let batch = self
            .ordered
            .iter_back()
            .filter_map(|frame| frame.batch())
            .find(|batch| (batch.from_seq..=batch.to_seq).contains(&echo.seq))?;
        // A shadow-banned member of staff was shown it as an own comment, which no rate leaves out.
        let is_own = || self.ordered.iter_back().any(|frame| frame.has_own(echo.seq));
        (echo.is_left_out_of(batch) && !(echo.is_staff && is_own())).then_some(echo)
    }

    /// Takes the echoes of comments that the batches pushed so far have left out.
    fn due_echoes(&mut self) -> Vec<Echo> {
        let mut due = Vec::new();
        while let Some(echo) = self.echoes.pop_covered(self.covered_to) {
            due.extend(self.register_echo(echo));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::testing::comments::sample_comment;
    use crate::daemon::testing::frames::{deletion_frame, sampled_frame};
    use crate::protocol::message::CommentsBatch;

    fn stream(ring_frames: usize) -> Stream {
        let config = DeliveryConfig { ring_frames, ..DeliveryConfig::default() };
        Stream::new(StreamId(5), 1, &config)
    }

    fn echo(seq: Seq, is_staff: bool) -> Echo {
        Echo { seq, slot: 0, generation: 1, comment: Arc::new(sample_comment(seq)), is_staff }
    }

    fn due(stream: &mut Stream) -> Vec<Seq> {
        stream.due_echoes().iter().map(|echo| echo.seq).collect()
    }

    #[test]
    fn sender_sees_its_sampled_out_comment_once() {
        let mut stream = stream(16);
        assert!(stream.register_echo(echo(1, false)).is_none());
        assert!(stream.register_echo(echo(2, false)).is_none());
        stream.push(sampled_frame(1, 1, SampleRate::ALL));
        assert!(due(&mut stream).is_empty(), "the batch shows it");
        stream.push(sampled_frame(2, 2, SampleRate::NONE));
        assert_eq!(due(&mut stream), [2]);
        assert!(due(&mut stream).is_empty());
    }

    #[test]
    fn ack_after_its_batch_is_echoed_at_once() {
        let mut stream = stream(16);
        stream.push(sampled_frame(1, 3, SampleRate::NONE));
        stream.push(sampled_frame(4, 6, SampleRate::ALL));
        assert_eq!(stream.register_echo(echo(2, false)).map(|echo| echo.seq), Some(2));
        assert!(stream.register_echo(echo(5, false)).is_none());
    }

    #[test]
    fn staff_echo_only_when_missing_from_its_batch() {
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
        assert!(stream.register_echo(echo(2, true)).is_none());
        assert!(stream.register_echo(echo(3, true)).is_some());
    }

    /// A member of staff that is shadow-banned is shown the comment as its own.
    #[test]
    fn hidden_staff_comment_is_not_echoed_again() {
        let batch = |from_seq, to_seq| CommentsBatch {
            epoch: Epoch(7),
            from_seq,
            to_seq,
            sample_rate: SampleRate::NONE,
            comments: Vec::new(),
            echo: false,
        };
        let own = |seq| vec![sample_comment(seq).sequenced(seq)];
        let mut stream = stream(16);
        stream.push(Arc::new(Frame::for_authors_only(batch(1, 1), own(1))));
        stream.push(Arc::new(Frame::with_own(batch(1, 3), own(3))));
        assert!([1, 3].into_iter().all(|seq| stream.register_echo(echo(seq, true)).is_none()));
        assert!(stream.register_echo(echo(2, true)).is_some());
    }

    #[test]
    fn run_is_contiguous_until_a_hole() {
        let mut stream = stream(16);
        stream.push(sampled_frame(1, 2, SampleRate::ALL));
        stream.push(sampled_frame(3, 5, SampleRate::ALL));
        let run = stream.run.take().unwrap();
        assert!(run.is_contiguous);
        assert_eq!((run.seq_before, run.seq_after, run.comments), (0, 5, 5));
        assert_eq!((run.ordered, run.control), (0..2, 0..0));
        stream.push(sampled_frame(6, 6, SampleRate::ALL));
        stream.push(sampled_frame(9, 9, SampleRate::ALL));
        assert!(!stream.run.take().unwrap().is_contiguous);
        assert!(stream.run.take().is_none());
    }

    #[test]
    fn deletion_ends_the_coalescing_delay() {
        let mut stream = stream(16);
        let config = DeliveryConfig::default();
        let began = Instant::now();
        let took = Duration::from_millis(10);
        stream.coalescing.record_fan_out(began, took, &config);
        stream.coalescing.record_fan_out(began, took, &config);
        stream.push(sampled_frame(1, 2, SampleRate::ALL));
        let votes = ServerMessage::PollVotes { poll_id: 1, votes: vec![0, 3] };
        stream.push(Arc::new(Frame::new(Lane::Control, votes)));
        assert_eq!(stream.fan_out_delay(began + took), Duration::from_millis(40));
        stream.push(deletion_frame(1));
        assert_eq!(stream.fan_out_delay(began + took), Duration::ZERO);
    }

    #[test]
    fn run_never_outgrows_its_ring() {
        let mut stream = stream(4);
        for seq in 1..=1000 {
            let frame = deletion_frame(seq);
            if stream.must_flush_before(&frame) {
                let run = stream.run.take().unwrap();
                assert!(stream.control.first() <= run.control.start, "nothing of it is gone");
            }
            stream.push(frame);
        }
    }

    #[test]
    fn ring_keeps_frames_of_a_suspended_fan_out() {
        let mut stream = stream(4);
        stream.viewers.add(0, false);
        (1..=3).for_each(|seq| stream.push(deletion_frame(seq)));
        let now = Instant::now();
        let fan_out = stream.resume_fan_out(now).unwrap();
        stream.suspend_fan_out(fan_out);
        assert!(stream.has_pending_fan_out() && stream.fan_out_delay(now).is_zero());
        assert!(!stream.must_flush_before(&deletion_frame(4)));
        stream.push(deletion_frame(4));
        assert!(
            stream.must_flush_before(&deletion_frame(5)),
            "it would push out what is still being written"
        );
        assert_eq!(
            stream.resume_fan_out(now).unwrap().run().control,
            0..3,
            "the older before the newer"
        );
        assert!(!stream.must_flush_before(&deletion_frame(5)));
    }

    #[test]
    fn joiner_is_sent_deletions_ahead_only() {
        let mut stream = stream(16);
        stream.push(sampled_frame(1, 5, SampleRate::ALL));
        stream.push(deletion_frame(4));
        stream.push(deletion_frame(7));
        let ahead: Vec<_> = stream.deletions_ahead().map(|frame| frame.message()).collect();
        assert_eq!(ahead, [deletion_frame(7).message()]);
    }

    #[test]
    fn cursor_is_behind_received_batches() {
        let mut stream = stream(3);
        for seq in 1..=5 {
            stream.push(sampled_frame(seq * 10 - 9, seq * 10, SampleRate::ALL));
        }
        for (seq, cursor) in [(0, 2), (25, 2), (30, 3), (39, 3), (40, 4), (50, 5), (u64::MAX, 5)] {
            assert_eq!(stream.cursor_after(seq), cursor, "after {seq}");
        }
    }
}
