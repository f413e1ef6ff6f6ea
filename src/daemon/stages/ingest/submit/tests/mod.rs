//! Ingest on a log in memory, on a paused clock.

mod rooms;
mod screening;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::daemon::base::clock::TokioClock;
use crate::daemon::base::handoff::{ConnectionId, Held, Screen, Screened, Screening};
use crate::daemon::base::supervise::breaker::TRIAL_INTERVAL;
use crate::daemon::engines::eventlog::EventLog as _;
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, sanction, stream};
use crate::daemon::engines::reservations::{Claim, Claimed, Proposal, Reservations, Reserved};
use crate::daemon::stages::ingest::screening::{ScreeningParts, ScreeningThreads};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::protocol::admin::{BreakerState, SanctionKind, Shadow};
use crate::protocol::events::{CommentModerated, Evidence};
use crate::protocol::stream::{ModerationMode, StreamState};
use crate::protocol::{Comment, CommentId, Identity, Role, Standing, StreamId, UserId};

const LIVE: StreamId = StreamId(1);
const SCREENED: StreamId = StreamId(2);
const CONNECTION: ConnectionId = ConnectionId { worker: 0, generation: 1, slot: 4 };
/// Comments that may wait for moderation.
const MAX_WAITING: usize = 16;
const BANNED: UserId = UserId(66);
const SHADOWED: UserId = UserId(67);

#[derive(Debug)]
struct Replies(UnboundedSender<Reply>);

impl ReplySink for Replies {
    fn reply(&self, replies: Vec<Reply>) {
        replies.into_iter().for_each(|reply| self.0.send(reply).unwrap());
    }
}

/// Decides by the comment's text.
#[derive(Debug, Default)]
struct ByText {
    asked: AtomicU32,
    held: AtomicU32,
    /// The time that a look-up takes.
    look_up_ms: AtomicU32,
    /// The time until the points of one comment are stored.
    record_ms: AtomicU32,
    recorded: AtomicU32,
    roles: parking_lot::Mutex<Vec<Role>>,
    /// Of held comments.
    reasons: parking_lot::Mutex<Vec<Arc<str>>>,
    /// The ids that the review queue has, each once.
    queued: parking_lot::Mutex<BTreeSet<[u8; 16]>>,
    /// The time that its answer takes, after it has stored a comment.
    hold_ms: AtomicU32,
}

#[async_trait]
impl Screen for ByText {
    async fn prepare(&self, _: &[UserId]) {
        let ms = self.look_up_ms.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
    }

    async fn screen(
        &self,
        comment: &Comment,
        role: Role,
        _: Instant,
    ) -> Result<Option<Screened>, ErrorBody> {
        self.roles.lock().push(role);
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(ms) = comment.message.strip_prefix("slow ") {
            let ms = ms.split(' ').next().unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        let screening = match &*comment.message {
            "bad" => Screening::Reject("blocked_word".into()),
            "odd" => {
                let evidence = Evidence::default();
                Screening::Hold(Held { reason: "link".into(), evidence })
            }
            "troll" => Screening::Shadow("repeat".into()),
            "fails" => return Ok(None),
            _ => Screening::Accept,
        };
        let has_points = &*comment.message == "troll";
        Ok(Some(Screened { screening, decided: None, has_points }))
    }

    async fn record(&self, _: Option<CommentModerated>) {
        let ms = self.record_ms.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
        self.recorded.fetch_add(1, Ordering::SeqCst);
    }

    async fn hold(&self, comment: Arc<Comment>, held: Held) -> Result<(), ErrorBody> {
        self.held.fetch_add(1, Ordering::SeqCst);
        self.reasons.lock().push(held.reason);
        self.queued.lock().insert(comment.comment_id.sort_key());
        let ms = self.hold_ms.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
        Ok(())
    }
}

#[derive(Debug)]
struct LinkIfHttp;

impl LinkFinder for LinkIfHttp {
    fn has_link(&self, text: &str) -> bool {
        text.contains("http")
    }
}

struct Stage {
    log: InMemoryLog,
    store: Arc<InMemoryMetadata>,
    streams: Streams,
    sanctions: Sanctions,
    board: StatusBoard,
    screen: Arc<ByText>,
    moderation: ModerationState,
    queue: mpsc::Sender<Submission>,
    replies: UnboundedReceiver<Reply>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Stage {
    async fn start() -> Self {
        Self::start_with(InMemoryLog::new(), None).await
    }

    async fn start_with(log: InMemoryLog, reservations: Option<SharedReservations>) -> Self {
        let store = Arc::new(InMemoryMetadata::default());
        store.put_stream(stream(LIVE.0, ModerationMode::Async));
        store.put_stream(stream(SCREENED.0, ModerationMode::Sync));
        store.put_sanction(sanction(BANNED.0, SanctionKind::Ban, None));
        store.put_shadow(Shadow {
            user_id: SHADOWED,
            stream_id: Some(LIVE),
            name: None,
            created_by: "test".to_owned(),
            created_at: 1,
            expires_at: None,
        });
        let clock: SharedClock = Arc::new(TokioClock::starting_at(Duration::from_secs(1_700_000)));
        let config = Arc::new(IngestConfig::default());
        let (sink, replies) = unbounded_channel();
        let board = StatusBoard::default();
        let screen = Arc::<ByText>::default();
        let moderation = ModerationState::default();
        let streams = Streams::load(store.clone()).await.unwrap();
        let sanctions = Sanctions::load(store.clone(), clock.clone()).await.unwrap();
        let ingest = Ingest::new(IngestParts {
            log: Arc::new(log.clone()),
            clock,
            config: config.clone(),
            streams: streams.clone(),
            sanctions: sanctions.clone(),
            refs: Refs::new(&config),
            said: RoomMemory::default(),
            links: Arc::new(LinkIfHttp),
            reservations: reservations.clone(),
            screening: ScreeningQueues::new(ScreeningParts {
                reservations,
                screen: screen.clone(),
                threads: ScreeningThreads::of_this_runtime(),
                max_waiting: MAX_WAITING,
                metrics: board.metrics().clone(),
                problems: board.problems().clone(),
            }),
            moderation: moderation.clone(),
            replies: Arc::new(Replies(sink)),
            board: board.clone(),
        });
        let (queue, receiver) = queue(&config);
        let stop = CancellationToken::new();
        let task = tokio::spawn(ingest.run(receiver, stop.clone()));
        Self {
            log,
            store,
            streams,
            sanctions,
            board,
            screen,
            moderation,
            queue,
            replies,
            stop,
            task,
        }
    }

    async fn send(&self, submissions: Vec<Submission>) {
        for submission in submissions {
            self.queue.send(submission).await.unwrap();
        }
    }

    async fn outcome(&mut self) -> Result<Accepted, ErrorCode> {
        self.replies.recv().await.unwrap().outcome.map_err(|error| error.code)
    }

    async fn ask(&mut self, submission: Submission) -> Result<Accepted, ErrorCode> {
        self.send(vec![submission]).await;
        self.outcome().await
    }

    async fn stored(&self) -> Vec<CommentSubmitted> {
        let page = self.log.read_partition(Topic::CommentEvents, 0, 1, 10_000).await.unwrap();
        let event = |payload: &[u8]| match Event::decode(payload).unwrap() {
            Event::CommentSubmitted(event) => event,
            Event::CommentModerated(_) | Event::CommentRestored(_) => {
                panic!("ingest decides nothing")
            }
        };
        page.records.iter().map(|record| event(&record.payload)).collect()
    }

    fn breaker(&self) -> BreakerState {
        self.board.breakers()[0].state
    }
}

fn identity(user_id: UserId, role: Role) -> Arc<Identity> {
    let name = "ann".into();
    let standing = Standing::default();
    let comments_per_minute = Some(0);
    let everywhere = role;
    let avatar = None;
    Arc::new(Identity { user_id, name, role, everywhere, avatar, comments_per_minute, standing })
}

fn submission(stream_id: StreamId, message: &str, client_ref: Option<&str>) -> Submission {
    Submission {
        stream_id,
        identity: identity(UserId(7), Role::Viewer),
        message: message.to_owned(),
        client_ref: client_ref.map(Arc::from),
        parent_id: None,
        reply_to: ReplyTo::Connection(CONNECTION),
    }
}

fn down() -> Option<LogError> {
    Some(LogError::Unavailable("down for the test".into()))
}

#[tokio::test(start_paused = true)]
async fn replies_keep_the_order_of_submissions() {
    let mut stage = Stage::start().await;
    let texts = ["one", "", "two", "\u{7}", "three"];
    let numbered = |(n, text): (usize, &&str)| submission(LIVE, text, Some(&format!("r{n}")));
    stage.send(texts.iter().enumerate().map(numbered).collect()).await;
    for (n, expected) in
        [None, Some(ErrorCode::CommentEmpty), None, Some(ErrorCode::ControlCharacters), None]
            .into_iter()
            .enumerate()
    {
        let reply = stage.replies.recv().await.unwrap();
        assert_eq!(reply.client_ref.as_deref(), Some(&*format!("r{n}")));
        assert_eq!(reply.outcome.err().map(|error| error.code), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_counted_if_the_user_caused_them() {
    let mut stage = Stage::start().await;
    for (stream_id, text) in
        [(LIVE, ""), (LIVE, "good"), (LIVE, "\u{7}"), (SCREENED, "bad"), (StreamId(404), "good")]
    {
        let _ = stage.ask(submission(stream_id, text, None)).await;
    }
    let rows = stage.board.telemetry().talkers().refused_users(Instant::now());
    let rows: Vec<_> = rows.iter().map(|row| (row.stream_id, row.user_id.0, row.refused)).collect();
    assert_eq!(rows, [(LIVE, 7, 2), (SCREENED, 7, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_ref_is_one_comment_even_in_flight() {
    let mut stage = Stage::start().await;
    let twice = || submission(LIVE, "hi", Some("r"));
    stage.send(vec![twice(), twice()]).await;
    let first = stage.outcome().await.unwrap();
    let on_its_way = stage.outcome().await.unwrap();
    let later = stage.ask(twice()).await.unwrap();
    for repeated in [on_its_way, later] {
        assert_eq!((repeated.comment_id, repeated.seq), (first.comment_id, first.seq));
        assert_eq!(repeated.comment, None, "its sender has been shown it");
    }
    assert_eq!(stage.stored().await.len(), 1);
    let mut other = submission(LIVE, "hi", Some("r"));
    other.identity = identity(UserId(8), Role::Viewer);
    assert_ne!(stage.ask(other).await.unwrap().comment_id, first.comment_id);
}

/// The first proposal sets the id of the comment.
#[derive(Debug, Default)]
struct FirstProposalWins(parking_lot::Mutex<AHashMap<RefKey, CommentId>>);

#[async_trait]
impl Reservations for FirstProposalWins {
    async fn reserve(&self, proposals: Vec<Proposal>) -> Vec<Reserved> {
        let mut names = self.0.lock();
        let name = |Proposal { user_id, stream_id, client_ref, comment_id }| {
            *names.entry((user_id, stream_id, client_ref)).or_insert(comment_id)
        };
        let reserved = |comment_id| Reserved { comment_id, certain: true };
        proposals.into_iter().map(name).map(reserved).collect()
    }

    async fn claim(&self, claims: Vec<Claim>) -> Vec<Claimed> {
        vec![Claimed::Unknown; claims.len()]
    }

    async fn release(&self, _: Vec<Claim>) {}
}

/// Reservations that have forgotten everything; the field says whether they know that.
#[derive(Debug)]
struct Forgotten {
    certain: bool,
}

#[async_trait]
impl Reservations for Forgotten {
    async fn reserve(&self, proposals: Vec<Proposal>) -> Vec<Reserved> {
        let certain = self.certain;
        let reserved = |proposal: Proposal| Reserved { comment_id: proposal.comment_id, certain };
        proposals.into_iter().map(reserved).collect()
    }

    async fn claim(&self, claims: Vec<Claim>) -> Vec<Claimed> {
        vec![Claimed::Unknown; claims.len()]
    }

    async fn release(&self, _: Vec<Claim>) {}
}

/// Accepts a comment on one node, and the same one, between others, on a second node.
async fn repeat_on_another_node(certain: bool) -> (Accepted, Vec<Accepted>, Vec<CommentSubmitted>) {
    let log = InMemoryLog::new();
    let forgotten = || Some(Arc::new(Forgotten { certain }) as SharedReservations);
    let mut first = Stage::start_with(log.clone(), forgotten()).await;
    let original = first.ask(submission(LIVE, "hi", Some("r"))).await.unwrap();
    let mut second = Stage::start_with(log, forgotten()).await;
    let batch = [Some("q"), Some("r"), None, Some("s"), Some("r")];
    second.send(batch.map(|name| submission(LIVE, "hi", name)).into()).await;
    let mut outcomes = Vec::new();
    for _ in 0..batch.len() {
        outcomes.push(second.outcome().await.unwrap());
    }
    let stored = second.stored().await;
    (original, outcomes, stored)
}

#[tokio::test(start_paused = true)]
async fn a_lost_reservation_is_read_back_from_the_log() {
    let (original, outcomes, stored) = repeat_on_another_node(false).await;
    for repeat in [&outcomes[1], &outcomes[4]] {
        assert_eq!((repeat.comment_id, repeat.seq), (original.comment_id, original.seq));
    }
    let ids: Vec<_> = stored.iter().map(|event| event.comment.comment_id).collect();
    let expected = [&original, &outcomes[0], &outcomes[2], &outcomes[3]];
    assert_eq!(ids, expected.map(|accepted| accepted.comment_id), "each is appended once");
}

/// The reservations are uncertain and the log answers too slowly. Comments of all streams wait
/// behind each other, so they wait for it once, not once per batch.
#[tokio::test(start_paused = true)]
async fn a_slow_log_is_waited_for_once_in_a_while() {
    let log = InMemoryLog::new();
    let forgotten = Some(Arc::new(Forgotten { certain: false }) as SharedReservations);
    let mut stage = Stage::start_with(log.clone(), forgotten).await;
    log.delay_bounds(Duration::from_secs(60));
    let started = tokio::time::Instant::now();
    for n in 0..50 {
        stage.ask(submission(LIVE, "hi", Some(&format!("r{n}")))).await.unwrap();
    }
    let waited = started.elapsed();
    assert!(waited < Duration::from_millis(1_100), "{waited:?}");
    log.delay_bounds(Duration::ZERO);
    let mut other = Stage::start_with(log, None).await;
    let original = other.ask(submission(LIVE, "hi", Some("elsewhere"))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let repeat = stage.ask(submission(LIVE, "hi", Some("elsewhere"))).await.unwrap();
    assert_eq!(repeat.comment_id, original.comment_id, "it is read again");
}

#[tokio::test(start_paused = true)]
async fn an_unnoticed_loss_leaves_both_records_to_the_log() {
    let (original, outcomes, stored) = repeat_on_another_node(true).await;
    assert_ne!(outcomes[1].comment_id, original.comment_id);
    assert_eq!(outcomes[4].comment_id, outcomes[1].comment_id, "this node remembers it");
    let refs: Vec<_> = stored.iter().filter_map(|event| event.client_ref.as_deref()).collect();
    assert_eq!(refs, ["r", "q", "r", "s"], "readers keep the first of them");
}

#[tokio::test(start_paused = true)]
async fn a_ref_repeated_on_another_node_keeps_its_id() {
    let log = InMemoryLog::new();
    let reservations = Arc::<FirstProposalWins>::default();
    let mut first = Stage::start_with(log.clone(), Some(reservations.clone())).await;
    let original = first.ask(submission(LIVE, "hi", Some("r"))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut second = Stage::start_with(log, Some(reservations)).await;
    let batch = [None, Some("r"), Some("s")].map(|name| submission(LIVE, "hi", name));
    second.send(batch.into()).await;
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        outcomes.push(second.outcome().await.unwrap());
    }
    assert_eq!(outcomes[1].comment_id, original.comment_id);
    let stored = second.stored().await;
    let ids: Vec<_> = stored.iter().map(|event| event.comment.comment_id).collect();
    let expected: Vec<_> = outcomes.iter().map(|accepted| accepted.comment_id).collect();
    assert_eq!(ids[1..], expected, "what was acknowledged is what was stored");
    assert_eq!(stored[0].comment, stored[2].comment, "created when it was first sent");
    assert_ne!(ids[1], ids[3]);
}

/// A comment that was stored although its sender was told an error, with others behind it, is sent
/// again to `retried_on`. Every reader keeps the first record.
async fn assert_acknowledged_where_it_is_kept(log: &InMemoryLog, retried_on: &mut Stage) {
    let first = retried_on.stored().await.remove(0).comment;
    for _ in 0..3 {
        retried_on.ask(submission(LIVE, "another", None)).await.unwrap();
    }
    let end = log.bounds(Topic::CommentEvents, 0).await.unwrap().end;
    let retry = || submission(LIVE, "hi", Some("r"));
    let acked = retried_on.ask(retry()).await.unwrap();
    assert_eq!((acked.comment_id, acked.seq), (first.comment_id, 1));
    assert_eq!(acked.comment, None, "viewers were shown it at that place");
    let repeat = &retried_on.stored().await[end as usize - 1];
    assert_eq!(repeat.comment, first, "under its id");
    assert_eq!(retried_on.ask(retry()).await.unwrap(), acked, "known from now on");
}

#[tokio::test(start_paused = true)]
async fn a_retry_elsewhere_is_acked_at_its_first_record() {
    let log = InMemoryLog::new();
    let reservations = Arc::<FirstProposalWins>::default();
    let mut first = Stage::start_with(log.clone(), Some(reservations.clone())).await;
    log.lose_answers(true);
    let lost = first.ask(submission(LIVE, "hi", Some("r"))).await;
    assert_eq!(lost, Err(ErrorCode::LogUnavailable));
    log.lose_answers(false);
    let mut second = Stage::start_with(log.clone(), Some(reservations)).await;
    assert_acknowledged_where_it_is_kept(&log, &mut second).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_on_one_node_is_acked_at_its_first_record() {
    let mut stage = Stage::start().await;
    let log = stage.log.clone();
    log.lose_answers(true);
    let lost = stage.ask(submission(LIVE, "hi", Some("r"))).await;
    assert_eq!(lost, Err(ErrorCode::LogUnavailable));
    log.lose_answers(false);
    assert_acknowledged_where_it_is_kept(&log, &mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn retries_in_several_batches_are_read_at_once() {
    let mut stage = Stage::start().await;
    let each = || ["r1", "r2", "r3"].map(|name| submission(LIVE, "hi", Some(name)));
    stage.log.lose_answers(true);
    stage.send(each().into()).await;
    for _ in each() {
        assert_eq!(stage.outcome().await, Err(ErrorCode::LogUnavailable));
    }
    stage.log.lose_answers(false);
    stage.log.delay_bounds(Duration::from_millis(600));
    let started = tokio::time::Instant::now();
    for retry in each() {
        stage.send(vec![retry]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for seq in 1..=3 {
        assert_eq!(stage.outcome().await.unwrap().seq, seq, "in order, each at its first place");
    }
    let waited = started.elapsed();
    assert!(waited < Duration::from_millis(700), "{waited:?}");
    assert_eq!(stage.stored().await.len(), 6, "each was a batch of its own");
}

/// The first record reaches the log after the retry was taken, as from a node that still had it in
/// flight when a deleted topic was created again.
#[tokio::test(start_paused = true)]
async fn a_record_in_flight_before_its_retry_is_found() {
    let log = InMemoryLog::new();
    let reservations = Arc::<FirstProposalWins>::default();
    let mut first = Stage::start_with(log.clone(), Some(reservations.clone())).await;
    log.fail_appends_with(down());
    first.ask(submission(LIVE, "hi", Some("r"))).await.unwrap_err();
    log.fail_appends_with(None);
    let mut second = Stage::start_with(log.clone(), Some(reservations.clone())).await;
    // It was not there when the second node began to read the partition.
    let other = || submission(LIVE, "other", Some("other"));
    log.lose_answers(true);
    first.ask(other()).await.unwrap_err();
    log.lose_answers(false);
    assert_eq!(second.ask(other()).await.unwrap().seq, 1);
    let key = (UserId(7), LIVE, Arc::from("r"));
    let comment_id = reservations.0.lock()[&key];
    let comment =
        Arc::new(Comment { comment_id, ..Comment::clone(&second.stored().await[0].comment) });
    let late = CommentSubmitted {
        comment,
        client_ref: Some("r".into()),
        ..second.stored().await[0].clone()
    };
    let now_ms = 1_700_000_000;
    log.put(Topic::CommentEvents, LIVE.0, now_ms, Event::CommentSubmitted(late).encode());
    let acked = second.ask(submission(LIVE, "hi", Some("r"))).await.unwrap();
    assert_eq!((acked.comment_id, acked.seq), (comment_id, 3));
    assert_eq!(second.stored().await.len(), 4, "readers drop the last");
}

#[tokio::test(start_paused = true)]
async fn a_failed_original_fails_its_repeat_and_frees_ref() {
    let mut stage = Stage::start().await;
    stage.log.fail_appends_with(down());
    let twice = || submission(LIVE, "hi", Some("r"));
    stage.send(vec![twice(), twice()]).await;
    assert_eq!(stage.outcome().await, Err(ErrorCode::LogUnavailable));
    assert_eq!(stage.outcome().await, Err(ErrorCode::LogUnavailable));
    stage.log.fail_appends_with(None);
    assert!(stage.ask(twice()).await.unwrap().comment.is_some(), "a comment of its own");
    assert_eq!(stage.stored().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_named_even_with_the_breaker_open() {
    let mut stage = Stage::start().await;
    stage.log.fail_appends_with(Some(LogError::Full("no space left".into())));
    for _ in 0..10 {
        let refused = stage.ask(submission(LIVE, "hi", None)).await;
        assert_eq!(refused, Err(ErrorCode::StorageFull));
    }
    assert_eq!(stage.breaker(), BreakerState::Open);
    stage.log.fail_appends_with(None);
    tokio::time::sleep(TRIAL_INTERVAL).await;
    stage.ask(submission(LIVE, "hi", None)).await.unwrap();
    assert_eq!(stage.breaker(), BreakerState::Closed);
    stage.ask(submission(LIVE, "hi", None)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_open_breaker_refuses_and_lets_one_probe_pass() {
    let mut stage = Stage::start().await;
    stage.log.fail_appends_with(down());
    for _ in 0..3 {
        stage.ask(submission(LIVE, "hi", None)).await.unwrap_err();
    }
    assert_eq!(stage.breaker(), BreakerState::Open);
    stage.log.fail_appends_with(None);
    let refused = stage.ask(submission(LIVE, "hi", None)).await;
    assert_eq!(refused, Err(ErrorCode::LogUnavailable));
    assert!(stage.stored().await.is_empty());
    tokio::time::sleep(TRIAL_INTERVAL).await;
    stage.send((0..3).map(|_| submission(LIVE, "hi", None)).collect()).await;
    assert!(stage.outcome().await.is_ok(), "the trial");
    assert_eq!(stage.outcome().await, Err(ErrorCode::LogUnavailable));
    assert_eq!(stage.outcome().await, Err(ErrorCode::LogUnavailable));
    assert!(stage.ask(submission(LIVE, "hi", None)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_asks_nothing_of_the_log_does_not_vouch_for_it() {
    let mut stage = Stage::start().await;
    stage.ask(submission(LIVE, "known", Some("r"))).await.unwrap();
    stage.log.fail_appends_with(down());
    for _ in 0..3 {
        stage.ask(submission(LIVE, "hi", None)).await.unwrap_err();
        stage.ask(submission(LIVE, "known", Some("r"))).await.unwrap();
        stage.ask(submission(LIVE, "", None)).await.unwrap_err();
    }
    assert_eq!(stage.breaker(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_shadowed_user_is_answered_like_others() {
    let mut stage = Stage::start().await;
    let by = |user_id, stream_id| {
        let identity = identity(user_id, Role::Viewer);
        Submission { identity, ..submission(stream_id, "hi", None) }
    };
    let shadowed = stage.ask(by(SHADOWED, LIVE)).await.unwrap();
    let other = stage.ask(by(UserId(7), LIVE)).await.unwrap();
    assert!(shadowed.comment.is_some() && other.comment.is_some());
    stage.ask(by(SHADOWED, SCREENED)).await.unwrap();
    let shadows: Vec<_> = stage.stored().await.iter().map(|event| event.shadow).collect();
    assert_eq!(shadows, [true, false, false], "on that stream only");
}

#[tokio::test(start_paused = true)]
async fn a_screened_stream_stores_only_what_may_be_shown() {
    let mut stage = Stage::start().await;
    let refused = stage.ask(submission(SCREENED, "bad", None)).await;
    assert_eq!(refused, Err(ErrorCode::ModerationRejected));
    let held = stage.ask(submission(SCREENED, "odd", None)).await;
    assert_eq!(held, Err(ErrorCode::HeldForReview));
    assert_eq!(stage.screen.held.load(Ordering::SeqCst), 1);
    let troll = stage.ask(submission(SCREENED, "troll", None)).await.unwrap();
    let fine = stage.ask(submission(SCREENED, "fine", None)).await.unwrap();
    assert!(troll.comment.is_some() && fine.comment.is_some(), "the answers are alike");
    let stored = stage.stored().await;
    let seen: Vec<_> = stored.iter().map(|e| (&*e.comment.message, e.shadow, e.screened)).collect();
    assert_eq!(seen, [("troll", true, true), ("fine", false, true)]);
    let asked = stage.screen.asked.load(Ordering::SeqCst);
    stage.ask(submission(LIVE, "bad", None)).await.unwrap();
    let mut staff = submission(SCREENED, "bad", None);
    staff.identity = identity(UserId(9), Role::Moderator);
    stage.ask(staff).await.unwrap();
    assert_eq!(stage.screen.asked.load(Ordering::SeqCst), asked, "neither is screened");
    assert!(stage.screen.roles.lock().iter().all(|role| *role == Role::Viewer));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_comment_and_where_nobody_may_are_told() {
    let mut stage = Stage::start().await;
    let mut banned = submission(LIVE, "hi", None);
    banned.identity = identity(BANNED, Role::Viewer);
    assert_eq!(stage.ask(banned).await, Err(ErrorCode::Banned));
    let nowhere = stage.ask(submission(StreamId(99), "hi", None)).await;
    assert_eq!(nowhere, Err(ErrorCode::UnknownStream));
    assert!(stage.stored().await.is_empty());
}

#[test]
fn the_queue_holds_the_configured_number_of_comments() {
    let config = IngestConfig { queue_comments: 1000, ..IngestConfig::default() };
    let (queue, _waiting) = queue(&config);
    for _ in 0..1000 {
        queue.try_send(submission(LIVE, "hi", None)).unwrap();
    }
    assert!(queue.try_send(submission(LIVE, "hi", None)).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stop_under_load_answers_everything_taken() {
    let mut stage = Stage::start().await;
    let queue = stage.queue.clone();
    let flood = tokio::spawn(async move {
        let mut sent = 0;
        while queue.send(submission(LIVE, "hi", None)).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let (caller, answer) = oneshot::channel();
    let mut asked = submission(LIVE, "hi", None);
    asked.reply_to = ReplyTo::Caller(caller);
    stage.send(vec![asked]).await;
    assert!(answer.await.unwrap().is_ok());
    stage.stop.cancel();
    stage.task.await.unwrap();
    let sent = flood.await.unwrap();
    let mut answered = 0;
    while stage.replies.try_recv().is_ok() {
        answered += 1;
    }
    assert_eq!(answered, sent, "every submission gets exactly one reply");
    assert_eq!(stage.log.bounds(Topic::CommentEvents, 0).await.unwrap().end, sent + 2);
}
