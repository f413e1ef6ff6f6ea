//! The hub between the real bus of one process, a real recent cache, a log in memory, and mailboxes
//! that the test reads in the workers' place.

mod changes;
mod outages;
mod ranges;

use std::time::Duration;

use tokio::task::JoinHandle;

use super::*;
use crate::daemon::base::clock::{SystemClock, TokioClock};
use crate::daemon::base::config::DeliveryConfig;
use crate::daemon::engines::bus::{BusMessage, FanoutBus as _, HeldBack};
use crate::daemon::engines::eventlog::EventLog as _;
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
use crate::daemon::engines::recent::{RecentCache as _, RecentEvent};
use crate::daemon::testing::bus::TestBus;
use crate::daemon::testing::comments::{
    comment_record, sample_comment, sample_comment_id, sample_deletion,
};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::daemon::testing::reactions::TestReactions;
use crate::daemon::testing::recent::TestRecent;
use crate::protocol::stream::{ModerationMode, StreamState};
use crate::protocol::{Comment, CommentId, Epoch, NodeId};

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
