//! The coordinator on an in-memory log and a bus that records its messages, on a paused clock.

mod delays;
mod deletions;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::deletions::deletion_of;
use super::{BroadcastError, Coordinator, CoordinatorParts, RateOverrides};
use crate::daemon::base::clock::TokioClock;
use crate::daemon::base::config::BroadcastConfig;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::bus::{Batch, BusMessage};
use crate::daemon::engines::directory::Delays;
use crate::daemon::engines::eventlog::{
    ConsumerGroup, EventLog as _, LogTelemetry, NewRecord, Topic,
};
use crate::daemon::engines::recent::{RecentCache as _, RecentEvent};
use crate::daemon::testing::bus::TestBus;
use crate::daemon::testing::event_log::InMemoryLog;
use crate::daemon::testing::recent::TestRecent;
use crate::protocol::events::{CommentSubmitted, Event};
use crate::protocol::throttle::{FixedRate, SampleRate};
use crate::protocol::{Comment, CommentId, Role, Seq, StreamId, UserId};

pub(super) const STREAM: StreamId = StreamId(5);
/// When the clock of a test starts, in milliseconds since the Unix epoch.
const STARTED_MS: u64 = 1_700_000_000_000;

/// Records the messages published and the ranges cached, in one order.
#[derive(Debug, Default)]
struct Journal(Mutex<Vec<Entry>>);

#[derive(Debug, Clone, PartialEq)]
enum Entry {
    Cached { from_seq: Seq, to_seq: Seq, events: usize },
    Published(BusMessage),
}

impl Journal {
    fn published(&self) -> Vec<BusMessage> {
        let published = |entry: &Entry| match entry {
            Entry::Published(message) => Some(message.clone()),
            Entry::Cached { .. } => None,
        };
        self.0.lock().iter().filter_map(published).collect()
    }

    fn batches(&self) -> Vec<Arc<Batch>> {
        let batch = |message| match message {
            BusMessage::Batch(batch) => Some(batch),
            _ => None,
        };
        self.published().into_iter().filter_map(batch).collect()
    }

    fn rates(&self) -> Vec<f64> {
        let rate = |message| match message {
            BusMessage::Throttle { sample_rate } => Some(sample_rate.share()),
            _ => None,
        };
        self.published().into_iter().filter_map(rate).collect()
    }
}

/// A bus and a cache that write to one journal.
struct Journaled {
    journal: Arc<Journal>,
    bus: Arc<TestBus>,
    recent: Arc<TestRecent>,
}

fn journaled() -> Journaled {
    let journal = Arc::<Journal>::default();
    let published = journal.clone();
    let bus = TestBus::observed(move |_, message| {
        published.0.lock().push(Entry::Published(message.clone()));
    });
    let cached = journal.clone();
    let recent = TestRecent::observed(move |range, events| {
        let (from_seq, to_seq) = range.into_inner();
        cached.0.lock().push(Entry::Cached { from_seq, to_seq, events });
    });
    Journaled { journal, bus: Arc::new(bus), recent: Arc::new(recent) }
}

fn overrides() -> RateOverrides {
    RateOverrides::new(Arc::new(TokioClock::starting_at(Duration::from_millis(STARTED_MS))))
}

struct Stage {
    log: InMemoryLog,
    journal: Arc<Journal>,
    bus: Arc<TestBus>,
    recent: Arc<TestRecent>,
    overrides: RateOverrides,
    board: StatusBoard,
    stop: CancellationToken,
    task: JoinHandle<Result<(), BroadcastError>>,
    next: u64,
}

impl Stage {
    fn start() -> Self {
        Self::start_on(InMemoryLog::new())
    }

    fn start_on(log: InMemoryLog) -> Self {
        Self::start_with(log, None)
    }

    fn start_with(log: InMemoryLog, delays: Option<Delays>) -> Self {
        let Journaled { journal, bus, recent } = journaled();
        let overrides = overrides();
        let board = StatusBoard::default();
        let stop = CancellationToken::new();
        let coordinator = Coordinator::new(CoordinatorParts {
            log: Arc::new(log.clone()),
            log_telemetry: LogTelemetry::new(&board),
            bus: bus.clone(),
            recent: recent.clone(),
            board: board.clone(),
            config: Arc::new(BroadcastConfig::default()),
            overrides: overrides.clone(),
            delays,
        });
        let task = tokio::spawn(coordinator.run(stop.clone()));
        Self { log, journal, bus, recent, overrides, board, stop, task, next: 0 }
    }

    async fn stop(self) -> (InMemoryLog, Arc<Journal>) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        (self.log, self.journal)
    }

    fn comment(&mut self, role: Role, shadow: bool) -> (NewRecord, CommentId) {
        self.next += 1;
        let event = submitted(STREAM, self.next, role, shadow);
        let comment_id = event.comment.comment_id;
        (record(&Event::CommentSubmitted(event)), comment_id)
    }

    /// Appends `count` comments and lets `time` pass.
    async fn comments(&mut self, count: usize, time: Duration) {
        let batch = (0..count).map(|_| self.comment(Role::Viewer, false).0).collect();
        self.log.append(Topic::CommentEvents, batch).await.unwrap();
        tokio::time::sleep(time).await;
    }

    /// A steady rate for some seconds, in steps of 50 ms.
    async fn rate(&mut self, per_second: usize, seconds: usize) {
        for _ in 0..seconds * 20 {
            self.comments(per_second / 20, Duration::from_millis(50)).await;
        }
    }
}

pub(super) fn submitted(
    stream_id: StreamId,
    number: u64,
    role: Role,
    shadow: bool,
) -> CommentSubmitted {
    let comment_id = CommentId::from_unix_ticks(17_000_000_000_000_000 + number * 977, 1, [3; 6]);
    let comment = Arc::new(Comment {
        stream_id,
        comment_id,
        user_id: UserId(1),
        name: "ann".into(),
        message: "hi".into(),
        created_at: 1,
        badges: Default::default(),
        parent_id: None,
    });
    CommentSubmitted { comment, role, client_ref: None, shadow, screened: false }
}

pub(super) fn record(event: &Event) -> NewRecord {
    NewRecord { key: STREAM.0, timestamp_ms: 1, payload: event.encode().into() }
}

fn assert_ranges_join(batches: &[Arc<Batch>]) {
    for pair in batches.windows(2) {
        assert_eq!(pair[1].from_seq, pair[0].to_seq + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn single_comment_is_published_at_once() {
    let mut stage = Stage::start();
    tokio::time::sleep(Duration::from_secs(3)).await;
    stage.comments(1, Duration::from_millis(1)).await;
    assert_eq!(stage.journal.batches().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn comments_and_deletions_are_counted_by_user() {
    let mut stage = Stage::start();
    let (first, comment_id) = stage.comment(Role::Viewer, false);
    let records = vec![first, deletion_of(comment_id)];
    stage.log.append(Topic::CommentEvents, records).await.unwrap();
    stage.comments(2, Duration::from_secs(1)).await;
    let sketches = stage.board.telemetry().talkers();
    let talkers = sketches.of_stream(STREAM, tokio::time::Instant::now()).unwrap();
    let user = &talkers.talkers[0];
    assert_eq!((talkers.said, user.user_id, user.said, user.removed), (3, UserId(1), 3, 1));
    stage.board.forget_streams(&[STREAM]);
    assert_eq!(sketches.of_stream(STREAM, tokio::time::Instant::now()), None);
}

#[tokio::test(start_paused = true)]
async fn busy_stream_publishes_one_batch_per_interval() {
    let mut stage = Stage::start();
    for _ in 0..1000 {
        stage.comments(1, Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let batches = stage.journal.batches();
    assert!((35..=48).contains(&batches.len()), "{} batches in a second", batches.len());
    assert_eq!(batches.iter().map(|batch| batch.comments.len()).sum::<usize>(), 1000);
    assert_ranges_join(&batches);
}

#[tokio::test(start_paused = true)]
async fn range_is_cached_before_it_is_published() {
    let mut stage = Stage::start();
    stage.rate(200, 2).await;
    let (_, journal) = stage.stop().await;
    let entries = journal.0.lock().clone();
    let mut cached_to = 0;
    for entry in entries {
        match entry {
            Entry::Cached { from_seq, to_seq, .. } => {
                assert_eq!(from_seq, cached_to + 1);
                cached_to = to_seq;
            }
            Entry::Published(BusMessage::Batch(batch)) => assert_eq!(batch.to_seq, cached_to),
            Entry::Published(_) => {}
        }
    }
    assert_eq!(cached_to, 400);
}

#[tokio::test(start_paused = true)]
async fn each_threshold_changes_the_level_once() {
    let mut stage = Stage::start();
    for (per_second, seconds) in [(4_000, 3), (6_000, 4), (24_000, 4), (60_000, 4)] {
        stage.rate(per_second, seconds).await;
    }
    assert_eq!(stage.journal.rates(), [0.5, 0.1, 0.05]);
    assert_eq!(stage.board.stream(STREAM).unwrap().throttle_level, 3);
    stage.rate(1_000, 15).await;
    // The first calm period includes the end of the peak, so the rate steps down twice.
    assert_eq!(stage.journal.rates(), [0.5, 0.1, 0.05, 0.1, 1.0]);
    let batches = stage.journal.batches();
    assert_ranges_join(&batches);
    let shown: u64 = batches.iter().map(|batch| batch.comments.len() as u64).sum();
    let sampled_out: u64 = batches.iter().map(|batch| u64::from(batch.sampled_out)).sum();
    assert_eq!(shown + sampled_out, stage.next, "every comment is shown or counted");
    for batch in &batches {
        assert!(batch.comments.iter().all(|comment| batch.sample_rate.keeps(comment.comment_id)));
    }
}

#[tokio::test(start_paused = true)]
async fn rate_around_a_threshold_does_not_flap() {
    let mut stage = Stage::start();
    for _ in 0..30 {
        stage.rate(5_400, 1).await;
        stage.rate(4_600, 1).await;
    }
    assert_eq!(stage.journal.rates(), [0.5]);
}

#[tokio::test(start_paused = true)]
async fn operator_fixes_and_releases_the_rate() {
    let mut stage = Stage::start();
    stage.overrides.set(STREAM, SampleRate::from_share(0.25).map(FixedRate::from));
    stage.rate(1_000, 2).await;
    stage.overrides.set(STREAM, None);
    stage.rate(1_000, 2).await;
    assert_eq!(stage.journal.rates(), [0.25, 1.0]);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_rate_ends_by_itself() {
    let mut stage = Stage::start();
    let rate = SampleRate::from_share(0.25).unwrap();
    let until_ms = Some(STARTED_MS + 3_000);
    stage.overrides.set(STREAM, Some(FixedRate { rate, until_ms }));
    stage.rate(1_000, 2).await;
    assert_eq!(stage.journal.rates(), [0.25]);
    assert_eq!(stage.board.stream(STREAM).unwrap().throttle_until_ms, until_ms);
    stage.rate(1_000, 2).await;
    assert_eq!(stage.journal.rates(), [0.25, 1.0]);
    let gauges = stage.board.stream(STREAM).unwrap();
    assert_eq!((gauges.throttle_override, gauges.throttle_until_ms), (None, None));
}

#[tokio::test(start_paused = true)]
async fn staff_is_never_sampled_out() {
    let mut stage = Stage::start();
    stage.overrides.set(STREAM, Some(SampleRate::NONE.into()));
    stage.rate(100, 1).await;
    let (moderator, comment_id) = stage.comment(Role::Moderator, false);
    stage.log.append(Topic::CommentEvents, vec![moderator]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let last = stage.journal.batches().pop().unwrap();
    assert_eq!(last.comments.iter().map(|c| c.comment_id).collect::<Vec<_>>(), [comment_id]);
    assert_eq!(last.staff, [last.comments[0].seq], "edges see which comments are by staff");
}

#[tokio::test(start_paused = true)]
async fn shadowed_comment_is_for_its_author_only() {
    let mut stage = Stage::start();
    let (shadow, comment_id) = stage.comment(Role::Viewer, true);
    stage.log.append(Topic::CommentEvents, vec![shadow]).await.unwrap();
    stage.comments(1, Duration::from_secs(1)).await;
    let batches = stage.journal.batches();
    assert_eq!(batches.iter().map(|batch| batch.comments.len()).sum::<usize>(), 1);
    assert_eq!(batches.iter().map(|batch| batch.sampled_out).sum::<u32>(), 0);
    let own: Vec<_> = batches.iter().flat_map(|batch| &batch.own).collect();
    assert_eq!(own.iter().map(|comment| comment.comment_id).collect::<Vec<_>>(), [comment_id]);
    let page = stage.recent.after(STREAM, 0, 10).await.unwrap().unwrap();
    let is_own = |event: &RecentEvent| matches!(event, RecentEvent::Own(_));
    assert_eq!(page.events.iter().map(is_own).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn restart_numbers_everything_as_before() {
    let mut stage = Stage::start();
    stage.rate(500, 2).await;
    let (log, first) = stage.stop().await;
    assert_eq!(
        log.committed(Topic::CommentEvents, ConsumerGroup::Coordinator).await.unwrap()[0].offset,
        1001
    );
    let mut stage = Stage::start_on(log);
    stage.next = 5_000;
    stage.rate(500, 2).await;
    let (_, second) = stage.stop().await;
    let mut all = first.batches();
    all.extend(second.batches());
    assert_ranges_join(&all);
    let seqs: Vec<_> = all.iter().flat_map(|batch| &batch.comments).map(|c| c.seq).collect();
    assert_eq!(seqs, (1..=2000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn repeated_comment_is_shown_once() {
    let mut stage = Stage::start();
    let (plain, _) = stage.comment(Role::Viewer, false);
    let Ok(Event::CommentSubmitted(mut event)) = Event::decode(&plain.payload) else { panic!() };
    event.client_ref = Some("r".into());
    let sent = || record(&Event::CommentSubmitted(event.clone()));
    let between = stage.comment(Role::Viewer, false).0;
    stage.log.append(Topic::CommentEvents, vec![sent(), between, sent()]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    stage.log.append(Topic::CommentEvents, vec![sent()]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (_, journal) = stage.stop().await;
    let batches = journal.batches();
    let shown: Vec<_> = batches
        .iter()
        .flat_map(|batch| &batch.comments)
        .map(|comment| comment.comment_id)
        .collect();
    assert_eq!(shown.iter().filter(|id| **id == event.comment.comment_id).count(), 1);
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0], event.comment.comment_id);
    let ranges: Vec<_> = batches.iter().map(|batch| (batch.from_seq, batch.to_seq)).collect();
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
}

#[tokio::test(start_paused = true)]
async fn failed_commits_are_repeated() {
    let mut stage = Stage::start();
    let error = crate::daemon::engines::eventlog::LogError::Unavailable("outage".to_owned());
    stage.log.fail_commits_with(Some(error));
    stage.rate(100, 30).await;
    assert_eq!(stage.log.committed_offset(Topic::CommentEvents, ConsumerGroup::Coordinator), None);
    stage.log.fail_commits_with(None);
    stage.log.wait_for_commit(Topic::CommentEvents, ConsumerGroup::Coordinator, 3001).await;
    let (_, journal) = stage.stop().await;
    let batches = journal.batches();
    assert_ranges_join(&batches);
    let seqs: Vec<_> = batches.iter().flat_map(|batch| &batch.comments).map(|c| c.seq).collect();
    assert_eq!(seqs, (1..=3000).collect::<Vec<_>>(), "each comment once");
}

#[tokio::test(start_paused = true)]
async fn streams_do_not_wait_for_each_other() {
    let log = InMemoryLog::new();
    let coordinator = Coordinator::new(CoordinatorParts {
        log: Arc::new(log.clone()),
        log_telemetry: LogTelemetry::default(),
        // A batch of one stream is published only together with one of the other.
        bus: Arc::new(TestBus::with_barrier(2)),
        recent: Arc::new(TestRecent::default()),
        board: StatusBoard::default(),
        config: Arc::new(BroadcastConfig::default()),
        overrides: overrides(),
        delays: None,
    });
    let of = |number| submitted(StreamId(number), number, Role::Viewer, false);
    let both = [1, 2].map(|number| record(&Event::CommentSubmitted(of(number)))).to_vec();
    log.append(Topic::CommentEvents, both).await.unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(coordinator.run(stop.clone()));
    let committed = log.wait_for_commit(Topic::CommentEvents, ConsumerGroup::Coordinator, 3);
    tokio::time::timeout(Duration::from_secs(60), committed)
        .await
        .expect("both batches are published");
    stop.cancel();
    task.await.unwrap().unwrap();
}

/// A comment that its sender sends again until it is acknowledged, under an id made of `number`.
fn sent_with_ref(client_ref: &str, number: u64) -> NewRecord {
    let event = submitted(STREAM, number, Role::Viewer, false);
    record(&Event::CommentSubmitted(CommentSubmitted {
        client_ref: Some(client_ref.into()),
        ..event
    }))
}

#[tokio::test(start_paused = true)]
async fn repeat_after_a_take_over_is_not_shown() {
    let shown = |journal: &Journal| -> Vec<Seq> {
        journal.batches().iter().flat_map(|batch| &batch.comments).map(|shown| shown.seq).collect()
    };
    let first = Stage::start();
    let sent = vec![sent_with_ref("a", 1), sent_with_ref("b", 2)];
    first.log.append(Topic::CommentEvents, sent).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (log, journal) = first.stop().await;
    assert_eq!(shown(&journal), [1, 2]);

    // Again under the same id, and under one that another node has given it.
    let again = vec![sent_with_ref("b", 2), sent_with_ref("a", 7), sent_with_ref("c", 3)];
    log.append(Topic::CommentEvents, again).await.unwrap();
    let second = Stage::start_on(log);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (_, journal) = second.stop().await;
    assert_eq!(shown(&journal), [5]);
}
