//! The hub between the real bus of one process, a real recent cache, a log in memory, and mailboxes
//! that the test reads in the workers' place.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::missed::MAX_HOLE_EVENTS;
use super::*;
use crate::daemon::base::clock::{SystemClock, TokioClock};
use crate::daemon::base::config::DeliveryConfig;
use crate::daemon::engines::bus::{BusMessage, FanoutBus as _, HeldBack};
use crate::daemon::engines::eventlog::{ConsumerGroup, EventLog as _, Position, StartAt};
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
use crate::daemon::engines::recent::{EarlierPlaces, RecentCache as _, RecentEvent};
use crate::daemon::stages::delivery::audience::{Audience, EARLIER_KEPT_FOR};
use crate::daemon::testing::bus::TestBus;
use crate::daemon::testing::comments::{
    comment_record, sample_comment, sample_comment_id, sample_deletion,
};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::daemon::testing::reactions::TestReactions;
use crate::daemon::testing::recent::TestRecent;
use crate::protocol::stream::{ModerationMode, Stream, StreamState};
use crate::protocol::{Comment, CommentId, Epoch, NodeId, PinnedComment, StreamPosition, UserId};

pub(super) const STREAM: StreamId = StreamId(5);
const OTHER: StreamId = StreamId(6);
/// The time at which the hub begins: that of the first sample comments.
const OPENED: Duration = Duration::from_secs(1_750_000_000);

pub(super) struct Rig {
    pub(super) board: StatusBoard,
    bus: TestBus,
    recent: Arc<TestRecent>,
    history: History,
    log: InMemoryLog,
    metadata: Arc<InMemoryMetadata>,
    streams: Streams,
    requests: mpsc::UnboundedSender<HubRequest>,
    mailboxes: Arc<[Arc<Mailbox>]>,
    polls: Vec<mio::Poll>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), HubError>>,
}

impl Rig {
    async fn start() -> Self {
        Self::start_with(DeliveryConfig::default()).await
    }

    pub(super) async fn start_with(config: DeliveryConfig) -> Self {
        let bus = TestBus::default();
        let recent = Arc::<TestRecent>::default();
        let log = InMemoryLog::new();
        let (subscriptions, listener) = bus.listen(&NodeId::new("a")).await.unwrap();
        let (requests, receiver) = mpsc::unbounded_channel();
        let polls: Vec<_> = (0..2).map(|_| mio::Poll::new().unwrap()).collect();
        let mailbox = |poll: &mio::Poll| {
            let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
            Arc::new(Mailbox::new(waker))
        };
        let mailboxes: Arc<[Arc<Mailbox>]> = polls.iter().map(mailbox).collect();
        let board = StatusBoard::default();
        let shared_log: SharedLog = Arc::new(log.clone());
        let metadata = Arc::new(InMemoryMetadata::default());
        metadata.put_stream(stream(STREAM.0, ModerationMode::Async));
        let streams = Streams::load(metadata.clone()).await.unwrap();
        let history = History::new(recent.clone(), shared_log.clone());
        let hub = Hub::new(HubParts {
            listener,
            subscriptions,
            requests: receiver,
            mailboxes: mailboxes.clone(),
            history: history.clone(),
            recent: recent.clone(),
            log: shared_log,
            totals: Arc::new(TestReactions::default()),
            compressors: Compressors::new(&DeliveryConfig::default()),
            egress: EgressPolicy::new(config.egress_rules()),
            board: board.clone(),
            streams: streams.clone(),
            polls: RoomPolls::new(metadata.clone(), streams.clone(), Arc::new(SystemClock)),
            clock: Arc::new(TokioClock::starting_at(OPENED)),
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(hub.run(stop.clone()));
        Self {
            board,
            bus,
            recent,
            history,
            log,
            metadata,
            streams,
            requests,
            mailboxes,
            polls,
            stop,
            task,
        }
    }

    /// Makes a worker watch the stream, and returns the start it is sent.
    pub(super) async fn watch(&self, worker: u16) -> StreamStart {
        let watch = HubRequest::Watch { stream_id: STREAM, worker, activation: 1 };
        self.requests.send(watch).unwrap();
        let ready = self.commands(worker).await.into_iter().find_map(|command| match command {
            Command::StreamReady { start, .. } => Some(*start),
            _ => None,
        });
        ready.expect("the stream is ready")
    }

    /// Publishes a message. A batch gets the epoch of the log.
    pub(super) async fn publish(&self, message: BusMessage) {
        let epoch = self.log.epoch();
        let message = match message {
            BusMessage::Batch(batch) => {
                BusMessage::Batch(Arc::new(Batch { epoch, ..batch.as_ref().clone() }))
            }
            other => other,
        };
        self.bus.publish(STREAM, vec![message]).await.unwrap();
    }

    /// Does what the broadcast stage does with a range: cache, then bus.
    pub(super) async fn broadcast(&self, batch: Batch) {
        self.cache(&batch).await;
        self.publish(BusMessage::Batch(Arc::new(batch))).await;
    }

    async fn cache(&self, batch: &Batch) {
        let mut events: Vec<_> = batch.comments.iter().cloned().map(RecentEvent::Comment).collect();
        let deletions = batch.deletions.iter().cloned();
        events.extend(deletions.map(|(seq, deletion)| RecentEvent::Deleted { seq, deletion }));
        events.sort_by_key(RecentEvent::seq);
        self.recent.append(STREAM, batch.from_seq, batch.to_seq, events).await.unwrap();
    }

    /// Appends comments of a stream to the log, one record each.
    async fn append(&self, stream_id: StreamId, count: u64) {
        let record = |n| comment_record(Comment { stream_id, ..sample_comment(n) });
        self.log.append(Topic::CommentEvents, (0..count).map(record).collect()).await.unwrap();
    }

    pub(super) async fn commands(&self, worker: u16) -> Vec<Command> {
        assert!(!self.task.is_finished(), "the hub runs");
        assert_eq!(self.polls.len(), self.mailboxes.len());
        // On the paused clock this passes once the hub has nothing left to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.mailboxes[usize::from(worker)].take(Vec::new())
    }

    async fn frames(&self, worker: u16) -> Vec<Shown> {
        let shown = |command| match command {
            Command::Frame { frame, .. } => Some(Shown::of(frame.message())),
            _ => None,
        };
        self.commands(worker).await.into_iter().filter_map(shown).collect()
    }
}

/// Content of a frame.
#[derive(Debug, PartialEq)]
enum Shown {
    /// A range and the places of its comments.
    Range(Seq, Seq, Vec<Seq>),
    Deleted(CommentId),
    Room(RoomRules),
    Stream(StreamState),
    Pinned(Option<CommentId>),
}

impl Shown {
    fn of(message: &ServerMessage) -> Self {
        match message {
            ServerMessage::Comments(batch) => {
                let seqs = batch.comments.iter().map(|comment| comment.seq).collect();
                Self::Range(batch.from_seq, batch.to_seq, seqs)
            }
            ServerMessage::CommentDeleted(deletion) => Self::Deleted(deletion.comment_id),
            ServerMessage::Room(rules) => Self::Room(*rules),
            ServerMessage::Stream(notice) => Self::Stream(notice.state),
            ServerMessage::Pinned { comment } => {
                Self::Pinned(comment.as_ref().map(|pinned| pinned.comment_id))
            }
            other => panic!("not expected: {other:?}"),
        }
    }
}

/// A range in which every place is a comment, but for deletions of the comment before.
pub(super) fn batch(from_seq: Seq, to_seq: Seq, deletions: &[Seq]) -> Batch {
    let seqs = (from_seq..=to_seq).filter(|seq| !deletions.contains(seq));
    Batch {
        epoch: Epoch(7),
        from_seq,
        to_seq,
        sample_rate: SampleRate::ALL,
        comments: seqs.map(|seq| sample_comment(seq).sequenced(seq)).collect(),
        sampled_out: 0,
        deletions: deletions.iter().map(|seq| (*seq, sample_deletion(seq - 1))).collect(),
        staff: Vec::new(),
        own: Vec::new(),
        held_back: HeldBack::default(),
    }
}

fn range(from_seq: Seq, to_seq: Seq) -> Shown {
    Shown::Range(from_seq, to_seq, (from_seq..=to_seq).collect())
}

/// Whoever publishes is stopped at the same time, which closes the bus. The hub sees one or the
/// other first.
#[tokio::test]
async fn a_bus_that_closes_at_the_stop_is_no_failure() {
    for _ in 0..20 {
        let rig = Rig::start().await;
        rig.stop.cancel();
        drop(rig.bus);
        rig.task.await.unwrap().unwrap();
    }
    let rig = Rig::start().await;
    drop(rig.bus);
    assert!(matches!(rig.task.await.unwrap(), Err(HubError::Bus(BusError::Closed))));
}

#[tokio::test(start_paused = true)]
async fn batch_of_another_epoch_is_not_shown() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    let other = Batch { epoch: Epoch(rig.log.epoch().0 + 1), ..batch(1, 2, &[]) };
    rig.bus.publish(STREAM, vec![BusMessage::Batch(Arc::new(other))]).await.unwrap();
    assert_eq!(rig.frames(0).await, []);
    rig.broadcast(batch(1, 2, &[])).await;
    assert_eq!(rig.frames(0).await, [range(1, 2)]);
}

#[tokio::test(start_paused = true)]
async fn batches_that_overlap_are_shown_once() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    for (from_seq, to_seq) in [(1, 3), (1, 3), (2, 5), (1, 4), (6, 6)] {
        rig.broadcast(batch(from_seq, to_seq, &[])).await;
    }
    assert_eq!(rig.frames(0).await, [range(1, 3), range(4, 5), range(6, 6)]);
}

#[tokio::test(start_paused = true)]
async fn hole_is_filled_from_the_cache_with_deletions() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    rig.cache(&batch(3, 6, &[5])).await;
    rig.broadcast(batch(7, 8, &[])).await;
    let filled = Shown::Range(3, 6, vec![3, 6]);
    let deleted = Shown::Deleted(sample_comment_id(4));
    assert_eq!(rig.frames(0).await, [range(1, 2), deleted, filled, range(7, 8)]);
}

#[tokio::test(start_paused = true)]
async fn hole_in_the_cache_is_filled_from_the_log() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.append(STREAM, 4).await;
    rig.broadcast(batch(1, 2, &[])).await;
    rig.broadcast(batch(5, 6, &[])).await;
    assert_eq!(rig.frames(0).await, [range(1, 2), range(3, 4), range(5, 6)]);
}

#[tokio::test(start_paused = true)]
async fn places_of_other_streams_are_no_hole() {
    let rig = Rig::start().await;
    rig.append(STREAM, 2).await;
    rig.cache(&batch(1, 2, &[])).await;
    assert_eq!(rig.watch(0).await.covered_to, 2);
    // The broadcast stage begins again behind what others wrote meanwhile.
    rig.append(OTHER, 50).await;
    rig.publish(BusMessage::Batch(Arc::new(batch(50, 53, &[])))).await;
    let frames = rig.frames(0).await;
    assert_eq!(frames, [Shown::Range(3, 53, vec![50, 51, 52, 53])]);
}

#[tokio::test(start_paused = true)]
async fn unfillable_hole_stays_visible() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    rig.publish(BusMessage::Batch(Arc::new(batch(50, 51, &[])))).await;
    assert_eq!(rig.frames(0).await, [range(1, 2), range(50, 51)]);
}

#[tokio::test(start_paused = true)]
async fn of_a_huge_hole_the_deletions_are_sent() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    let end = 3 * MAX_HOLE_EVENTS as u64;
    rig.append(STREAM, end + 100).await;
    rig.cache(&batch(3, end - 1, &[])).await;
    rig.cache(&batch(end, end + 9, &[end + 5])).await;
    rig.publish(BusMessage::Batch(Arc::new(batch(end + 10, end + 11, &[])))).await;
    let frames = rig.frames(0).await;
    assert!(frames.contains(&Shown::Deleted(sample_comment_id(end + 4))));
    assert_eq!(frames.last(), Some(&range(end + 10, end + 11)), "and a gap before it");
    let shown = |frame: &Shown| match frame {
        Shown::Range(_, _, seqs) => seqs.len(),
        Shown::Deleted(_) | Shown::Room(_) | Shown::Stream(_) | Shown::Pinned(_) => 0,
    };
    assert!(frames.iter().map(shown).sum::<usize>() < 2 * MAX_HOLE_EVENTS);
}

#[tokio::test(start_paused = true)]
async fn deletion_ahead_of_its_batch_is_sent_once() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    let ahead = || BusMessage::Deleted { seq: 3, deletion: sample_deletion(2) };
    rig.publish(ahead()).await;
    rig.publish(ahead()).await;
    rig.broadcast(batch(3, 4, &[3])).await;
    rig.publish(ahead()).await;
    let deleted = Shown::Deleted(sample_comment_id(2));
    assert_eq!(rig.frames(0).await, [range(1, 2), deleted, Shown::Range(3, 4, vec![4])]);
}

#[tokio::test(start_paused = true)]
async fn a_restoration_is_kept_from_viewers() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    rig.publish(BusMessage::Deleted { seq: 3, deletion: sample_deletion(2) }).await;
    rig.frames(0).await;
    let changes = rig.history.changes();
    rig.publish(BusMessage::Restored { comment_id: sample_comment_id(2) }).await;
    let sent = rig.commands(0).await;
    let is_restoration = |command: &Command| match command {
        Command::Restored { comment_id, .. } => *comment_id == sample_comment_id(2),
        _ => false,
    };
    assert!(sent.len() == 1 && is_restoration(&sent[0]), "viewers must reload: {sent:?}");
    assert_eq!(rig.history.changes(), changes + 1, "pages without it are not shared any more");
    assert!(rig.watch(1).await.deleted_ahead.is_empty(), "later viewers see the comment");
}

#[tokio::test(start_paused = true)]
async fn unnumbered_deletions_are_all_sent() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    for of in [8, 9] {
        rig.publish(BusMessage::Deleted { seq: UNNUMBERED, deletion: sample_deletion(of) }).await;
    }
    rig.broadcast(batch(3, 3, &[])).await;
    let deleted = |of| Shown::Deleted(sample_comment_id(of));
    assert_eq!(rig.frames(0).await, [range(1, 2), deleted(8), deleted(9), range(3, 3)]);
    assert!(rig.watch(1).await.deleted_ahead.is_empty(), "later viewers never saw the comment");
}

#[tokio::test(start_paused = true)]
async fn lost_deletion_comes_with_its_batch() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 3, &[2])).await;
    let frames = rig.frames(0).await;
    assert_eq!(frames, [Shown::Deleted(sample_comment_id(1)), Shown::Range(1, 3, vec![1, 3])]);
}

#[tokio::test(start_paused = true)]
async fn later_worker_gets_deletions_ahead_and_joins() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    rig.publish(BusMessage::Deleted { seq: 4, deletion: sample_deletion(3) }).await;
    rig.frames(0).await;
    let start = rig.watch(1).await;
    assert_eq!(start.covered_to, 2);
    assert_eq!(start.deleted_ahead.into_iter().collect::<Vec<_>>(), [(4, sample_deletion(3))]);
    rig.broadcast(batch(3, 3, &[])).await;
    assert_eq!(rig.frames(0).await, [range(3, 3)]);
    assert_eq!(rig.frames(1).await, [range(3, 3)]);
}

#[tokio::test(start_paused = true)]
async fn empty_range_joins_the_next_frame() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    rig.broadcast(Batch { comments: Vec::new(), ..batch(3, 9, &[]) }).await;
    rig.broadcast(batch(10, 10, &[])).await;
    assert_eq!(rig.frames(0).await, [range(1, 2), Shown::Range(3, 10, vec![10])]);
}

#[tokio::test(start_paused = true)]
async fn hidden_comment_alone_covers_no_range_for_others() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    let own = vec![sample_comment(1).sequenced(1)];
    rig.broadcast(Batch { comments: Vec::new(), own: own.clone(), ..batch(1, 1, &[]) }).await;
    rig.broadcast(batch(2, 2, &[])).await;
    let comments = vec![sample_comment(3).sequenced(3)];
    let both = vec![sample_comment(4).sequenced(4)];
    rig.broadcast(Batch { comments, own: both, ..batch(3, 4, &[]) }).await;
    let frame_of = |command| match command {
        Command::Frame { frame, .. } => Some(frame),
        _ => None,
    };
    let frames: Vec<_> = rig.commands(0).await.into_iter().filter_map(frame_of).collect();
    let ranges = |user: Option<UserId>| -> Vec<_> {
        let sent = frames.iter().filter_map(|frame| frame.batch_for(user.into()));
        sent.map(|batch| (batch.from_seq, batch.to_seq, batch.comments.len())).collect()
    };
    let author = own[0].user_id;
    assert_eq!(ranges(Some(author)), [(1, 1, 1), (1, 2, 1), (3, 4, 2)]);
    assert_eq!(ranges(None), [(1, 2, 1), (3, 4, 1)]);
}

/// An append whose answer was lost with the log is repeated into the next one. Viewers that saw the
/// comment before are not sent it again; those that were not told of it are.
#[tokio::test(start_paused = true)]
async fn comment_shown_in_an_earlier_epoch_is_not_again() {
    const BEFORE: Epoch = Epoch(6);
    let rig = Rig::start().await;
    rig.watch(0).await;
    let places = [(2, 242), (4, 244)].map(|(seq, place)| (sample_comment_id(seq), place));
    rig.recent.set_earlier(EarlierPlaces { epoch: BEFORE, places: places.into_iter().collect() });
    for (from_seq, to_seq) in [(1, 3), (4, 4), (5, 5)] {
        rig.broadcast(batch(from_seq, to_seq, &[])).await;
    }
    let frame_of = |command| match command {
        Command::Frame { frame, .. } => Some(frame),
        _ => None,
    };
    let frames: Vec<_> = rig.commands(0).await.into_iter().filter_map(frame_of).collect();
    let sent = |came_from: Option<StreamPosition>| -> Vec<_> {
        let audience = Audience { user: None, came_from };
        let sent = frames.iter().filter_map(|frame| frame.batch_for(audience));
        sent.map(|batch| Shown::of(&ServerMessage::Comments(batch.into_owned()))).collect()
    };
    let from = |seq| Some(StreamPosition { epoch: BEFORE, seq });
    assert_eq!(sent(from(244)), [Shown::Range(1, 3, vec![1, 3]), Shown::Range(4, 5, vec![5])]);
    let again = || Shown::Range(4, 4, vec![4]);
    let last = || Shown::Range(4, 5, vec![5]);
    assert_eq!(sent(from(243)), [Shown::Range(1, 3, vec![1, 3]), again(), last()]);
    let other = Some(StreamPosition { epoch: Epoch(5), seq: 300 });
    for unseen in [from(241), other, None] {
        assert_eq!(sent(unseen), [range(1, 3), again(), last()], "{unseen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn holes_are_filled_without_what_was_shown_before() {
    const BEFORE: Epoch = Epoch(6);
    let rig = Rig::start().await;
    rig.watch(0).await;
    let places = [(sample_comment_id(2), 242)].into_iter().collect();
    rig.recent.set_earlier(EarlierPlaces { epoch: BEFORE, places });
    rig.cache(&batch(1, 2, &[])).await;
    rig.broadcast(batch(3, 3, &[])).await;
    let sent = [Shown::Range(1, 2, vec![1]), range(3, 3)];
    assert_eq!(rig.frames(0).await, sent, "to viewers that saw it");
}

#[tokio::test(start_paused = true)]
async fn new_comments_are_not_looked_up() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    let places = [(sample_comment_id(1), 242)].into_iter().collect();
    rig.recent.set_earlier(EarlierPlaces { epoch: Epoch(6), places });
    let created_at = OPENED.as_millis() as u64 + 5_000;
    let new = SequencedComment { created_at, ..sample_comment(1).sequenced(1) };
    rig.broadcast(Batch { comments: vec![new], ..batch(1, 1, &[]) }).await;
    assert_eq!(rig.frames(0).await, [range(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn places_of_an_earlier_epoch_are_dropped_in_time() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    let opened_ms = OPENED.as_millis() as u64;
    let kept_ms = EARLIER_KEPT_FOR.as_millis() as u64;
    let old = CommentId::from_unix_ticks((opened_ms - kept_ms - 1_000) * 10_000, 1, [3; 6]);
    let places = [(old, 241), (sample_comment_id(2), 242), (sample_comment_id(3), 243)];
    let places = places.into_iter().collect();
    rig.recent.set_earlier(EarlierPlaces { epoch: Epoch(6), places });
    let comment = SequencedComment { comment_id: old, ..sample_comment(1).sequenced(1) };
    rig.broadcast(Batch { comments: vec![comment], ..batch(1, 1, &[]) }).await;
    assert_eq!(rig.frames(0).await, [range(1, 1)], "its place is not kept");
    rig.broadcast(batch(2, 2, &[])).await;
    tokio::time::sleep(EARLIER_KEPT_FOR).await;
    rig.broadcast(batch(3, 3, &[])).await;
    let frames = rig.frames(0).await;
    assert!(!frames.contains(&range(2, 2)), "it was shown before: {frames:?}");
    assert_eq!(frames.last(), Some(&range(3, 3)), "nothing is looked up any more");
}

#[tokio::test(start_paused = true)]
async fn unwatched_stream_sends_no_frames() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.watch(1).await;
    rig.requests.send(HubRequest::Unwatch { stream_id: STREAM, worker: 0 }).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    rig.broadcast(batch(1, 1, &[])).await;
    assert_eq!(rig.frames(0).await, []);
    assert_eq!(rig.frames(1).await, [range(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn viewers_are_told_rules_that_changed() {
    let rig = Rig::start().await;
    assert_eq!(rig.watch(0).await.room, RoomRules::default());
    rig.streams.reload().await.unwrap();
    assert_eq!(rig.frames(0).await, [], "nothing has changed");
    let slow = RoomRules { slow_ms: Some(5_000), ..RoomRules::default() };
    let mut changed = stream(STREAM.0, ModerationMode::Async);
    changed.room.rules = slow;
    rig.metadata.put_stream(changed);
    for told in [vec![Shown::Room(slow)], vec![]] {
        rig.streams.reload().await.unwrap();
        assert_eq!(rig.frames(0).await, told, "once");
    }
    assert_eq!(rig.watch(1).await.room, slow, "a worker that begins later knows them");
}

#[tokio::test(start_paused = true)]
async fn viewers_are_told_that_a_stream_starts() {
    let rig = Rig::start().await;
    let mut scheduled = stream(STREAM.0, ModerationMode::Async);
    scheduled.state = StreamState::Scheduled;
    scheduled.starts_at = Some(9_000);
    rig.metadata.put_stream(scheduled.clone());
    rig.streams.reload().await.unwrap();
    let schedule = rig.watch(0).await.schedule;
    assert_eq!((schedule.state, schedule.starts_at), (StreamState::Scheduled, Some(9_000)));
    scheduled.state = StreamState::Live;
    rig.metadata.put_stream(scheduled.clone());
    for told in [vec![Shown::Stream(StreamState::Live)], vec![]] {
        rig.streams.reload().await.unwrap();
        assert_eq!(rig.frames(0).await, told, "once");
    }
    assert!(rig.watch(1).await.schedule.is_plain(), "a worker that begins later knows it");
    scheduled.state = StreamState::Ended;
    rig.metadata.put_stream(scheduled);
    rig.streams.reload().await.unwrap();
    assert_eq!(rig.frames(0).await, [], "the end comes behind the last comments");
}

#[tokio::test(start_paused = true)]
async fn a_restored_comment_is_not_pinned_again() {
    let rig = Rig::start().await;
    let id = Some(sample_comment_id(2));
    pin(&rig, 1).await;
    assert_eq!(rig.watch(0).await.pinned.map(|pinned| pinned.comment_id), id);
    rig.publish(BusMessage::Deleted { seq: 3, deletion: sample_deletion(2) }).await;
    let told = [Shown::Pinned(None), Shown::Deleted(sample_comment_id(2))];
    assert_eq!(rig.frames(0).await, told);
    let hidden = timeout(Duration::from_secs(1), rig.streams.hidden_pins()).await.unwrap();
    let hidden = hidden.get(&STREAM).map(|pinned| (pinned.comment_id, pinned.pinned_at));
    assert_eq!(hidden, id.map(|id| (id, 1)), "this very pin is to be taken down");
    rig.publish(BusMessage::Restored { comment_id: sample_comment_id(2) }).await;
    rig.streams.reload().await.unwrap();
    assert_eq!(rig.frames(0).await, []);
    assert_eq!(rig.watch(1).await.pinned, None);
    pin(&rig, 2).await;
    assert_eq!(rig.frames(0).await, [Shown::Pinned(id)], "somebody has pinned it again");
}

/// The hub may learn of the second pin before or after the deletion.
#[tokio::test(start_paused = true)]
async fn a_comment_pinned_again_is_taken_down() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    for first in [1, 3, 5, 7, 9, 11, 13, 15, 17, 19] {
        pin(&rig, first).await;
        assert_eq!(rig.frames(0).await, [Shown::Pinned(Some(sample_comment_id(2)))]);
        pin(&rig, first + 1).await;
        rig.publish(BusMessage::Deleted { seq: UNNUMBERED, deletion: sample_deletion(2) }).await;
        let frames = rig.frames(0).await;
        let last = frames.iter().rfind(|frame| matches!(frame, Shown::Pinned(_)));
        assert_eq!(last, Some(&Shown::Pinned(None)), "{frames:?}");
        let hidden = timeout(Duration::from_secs(1), rig.streams.hidden_pins()).await.unwrap();
        let hidden = hidden.get(&STREAM).map(|pinned| pinned.pinned_at);
        assert_eq!(hidden, Some(first + 1), "the pin that is stored");
    }
}

/// Stores a pin of the second sample comment, and lets the node know it.
async fn pin(rig: &Rig, pinned_at: u64) {
    let SequencedComment { comment_id, user_id, name, message, created_at, badges, .. } =
        sample_comment(2).sequenced(2);
    let pinned =
        PinnedComment { comment_id, user_id, name, message, created_at, badges, pinned_at };
    let stream = stream(STREAM.0, ModerationMode::Async);
    rig.metadata.put_stream(Stream { pinned: Some(pinned.into()), ..stream });
    rig.streams.reload().await.unwrap();
}

/// Says that the broadcast stage has shown everything below `next`.
async fn commit_broadcast(rig: &Rig, next: u64) {
    let topic = Topic::CommentEvents;
    let mut consumer =
        rig.log.consume(topic, ConsumerGroup::Coordinator, StartAt::Earliest).await.unwrap();
    consumer.poll(0, Duration::ZERO).await.unwrap();
    consumer.commit(&[Position { partition: 0, offset: next }]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bus_outage_is_bridged_from_the_log_once() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    assert_eq!(rig.frames(0).await, [range(1, 2)]);
    rig.append(STREAM, 9).await;
    rig.bus.report_outage(BusEvent::Interrupted);
    commit_broadcast(&rig, 5).await;
    tokio::time::sleep(2 * LOG_READ_INTERVAL).await;
    assert_eq!(rig.frames(0).await, [range(3, 4)], "and no further than it was broadcast");
    commit_broadcast(&rig, 7).await;
    rig.bus.report_outage(BusEvent::Restored);
    tokio::time::sleep(2 * LOG_READ_INTERVAL).await;
    assert_eq!(rig.frames(0).await, [range(5, 6)], "what was published while it came back");
    rig.broadcast(batch(6, 8, &[])).await;
    assert_eq!(rig.frames(0).await, [range(7, 8)]);
    commit_broadcast(&rig, 10).await;
    tokio::time::sleep(4 * LOG_READ_INTERVAL).await;
    assert_eq!(rig.frames(0).await, [], "with the bus back the log is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_delayed_room_delays_no_other_in_an_outage() {
    let rig = Rig::start().await;
    let mut delayed = stream(OTHER.0, ModerationMode::Async);
    delayed.room.delay_ms = Some(30_000);
    rig.metadata.put_stream(delayed);
    rig.streams.reload().await.unwrap();
    rig.watch(0).await;
    rig.bus.report_outage(BusEvent::Interrupted);
    rig.append(STREAM, 3).await;
    rig.cache(&batch(1, 3, &[])).await;
    // The oldest comment that is held back is the first.
    commit_broadcast(&rig, 1).await;
    tokio::time::sleep(2 * LOG_READ_INTERVAL).await;
    assert_eq!(rig.frames(0).await, [range(1, 3)]);
}
