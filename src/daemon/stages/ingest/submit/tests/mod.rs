//! Ingest on a log in memory, on a paused clock.

mod answers;
mod repeats;
mod rooms;
mod screening;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::*;
use crate::daemon::base::clock::TokioClock;
use crate::daemon::base::handoff::{ConnectionId, Held, Screen, Screened, Screening};
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
