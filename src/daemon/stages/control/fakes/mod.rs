//! Contracts in memory, for tests of control and of the admin socket: one node that is real down to
//! its sink, two more behind the registry, and a journal of what happened in which order.

mod nodes;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::daemon::base::clock::{SharedClock, TokioClock};
use crate::daemon::base::config::ReputationConfig;
use crate::daemon::base::handoff::ThrottleOrder;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::supervise::Supervisor;
use crate::daemon::engines::comments::in_memory::InMemoryComments;
use crate::daemon::engines::directory::{Grants, Sanctions, Streams};
use crate::daemon::engines::eventlog::Topic;
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
use crate::daemon::engines::registry::ConnectionRegistry as _;
use crate::daemon::stages::control::{Actor, Control, ControlError, ControlParts, LocalEndpoint};
use crate::daemon::testing::bus::TestBus;
use crate::daemon::testing::event_log::InMemoryLog;
use crate::daemon::testing::reactions::TestReactions;
use crate::daemon::testing::registry::TestRegistry;
use crate::protocol::admin::{Outcome, ReviewItem};
use crate::protocol::comment::Comment;
use crate::protocol::events::{CommentModerated, CommentSubmitted, Decision, Event};
use crate::protocol::stream::{ModerationMode, Stream};
use crate::protocol::{
    CommentId, Identity, ModerationAct, NodeId, Role, Standing, StreamId, UserId,
};

pub(crate) use nodes::FakeSink;

/// When the clock of a test starts: 2023-11-14, in milliseconds since the Unix epoch.
pub(crate) const STARTED_MS: u64 = 1_700_000_000_000;

/// The calls that were made, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// A cluster of the nodes `a` (this one), `b` and `c`; stream 1 is live, user 42 is `ann`, users 7
/// and 8 are both `twin`. Needs a paused tokio clock only where a test measures time.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) journal: Journal,
    pub(crate) metadata: Arc<InMemoryMetadata>,
    pub(crate) comments: Arc<InMemoryComments>,
    pub(crate) reactions: Arc<TestReactions>,
    pub(crate) log: Arc<InMemoryLog>,
    pub(crate) bus: Arc<TestBus>,
    pub(crate) registry: Arc<TestRegistry>,
    pub(crate) sanctions: Sanctions,
    pub(crate) grants: Grants,
    pub(crate) board: StatusBoard,
    pub(crate) supervisor: Supervisor,
    pub(crate) orders: mpsc::Receiver<ThrottleOrder>,
    pub(crate) control: Control,
}

/// A moderator with a token, of this id, with this role on all streams.
pub(crate) fn moderator((user_id, role): (u64, Role)) -> Identity {
    Identity {
        user_id: UserId(user_id),
        name: "mod".into(),
        role,
        everywhere: role,
        avatar: None,
        comments_per_minute: None,
        standing: Standing::default(),
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let journal = Journal::default();
        let clock: SharedClock =
            Arc::new(TokioClock::starting_at(Duration::from_millis(STARTED_MS)));
        let metadata = Arc::new(metadata(journal.clone()));
        let comments = Arc::new(InMemoryComments::default());
        let log = Arc::new(InMemoryLog::shaped(2, 0));
        let published = journal.clone();
        let bus = TestBus::observed(move |stream_id, message| {
            published.note(format!("bus {stream_id}: {message:?}"));
        });
        let bus = Arc::new(bus);
        let commanded = journal.clone();
        let registry = TestRegistry::new("a", &["b", "c"])
            .observed(move |node, command| commanded.note(format!("{node}: {command:?}")));
        let registry = Arc::new(registry);
        registry.report_viewers(&NodeId::new("a"), vec![(StreamId(1), 12)]).await.unwrap();
        let sink = Arc::new(FakeSink::new(journal.clone()));
        let board = StatusBoard::default();
        let supervisor = Supervisor::new(CancellationToken::new());
        let sanctions = Sanctions::load(metadata.clone(), clock.clone()).await.unwrap();
        let streams = Streams::load(metadata.clone()).await.unwrap();
        let grants = Grants::load(metadata.clone()).await.unwrap();
        let (throttle, orders) = mpsc::channel(4);
        let endpoint = LocalEndpoint {
            sink: sink.clone(),
            sanctions: sanctions.clone(),
            grants: grants.clone(),
            streams: streams.clone(),
            clock: clock.clone(),
            throttle,
            board: board.clone(),
            jitter: Duration::from_secs(5),
            supervisor: supervisor.clone(),
        };
        let control = Control::new(ControlParts {
            node: NodeId::new("a"),
            metadata: metadata.clone(),
            comments: comments.clone(),
            registry: registry.clone(),
            endpoint: Arc::new(endpoint),
            log: log.clone(),
            bus: bus.clone(),
            streams,
            grants: grants.clone(),
            clock: clock.clone(),
            problems: board.problems().clone(),
            reputation: ReputationConfig::default().rules(),
        });
        journal.0.lock().clear();
        Self {
            journal,
            metadata,
            comments,
            reactions: Arc::default(),
            log,
            bus,
            registry,
            sanctions,
            grants,
            board,
            supervisor,
            orders,
            control,
        }
    }

    /// All that a request could have changed, as one text to compare.
    pub(crate) fn state(&self) -> String {
        let metadata = self.metadata.dump();
        let (log, draining) =
            (Topic::ALL.map(|topic| self.log.records(topic)), self.board.is_draining());
        let changes: Vec<_> =
            self.journal.lines().into_iter().filter(|line| !line.contains("read")).collect();
        format!("{metadata}\n{log:?}\n{changes:?}\n{draining}")
    }

    /// Acts on a stream as the moderator of all streams with this id and role.
    pub(crate) async fn moderate(
        &self,
        own: (u64, Role),
        stream_id: StreamId,
        name: &str,
        fields: Value,
    ) -> Result<Outcome, ControlError> {
        let act = ModerationAct::named(name, fields).unwrap();
        self.control.moderate(&moderator(own), stream_id, &act).await
    }

    /// Acts on a stream as the moderator of only that stream with this id and role.
    pub(crate) async fn moderate_one(
        &self,
        own: (u64, Role),
        stream_id: StreamId,
        name: &str,
        fields: Value,
    ) -> Result<Outcome, ControlError> {
        let act = ModerationAct::named(name, fields).unwrap();
        let moderator = Identity { everywhere: Role::Viewer, ..moderator(own) };
        self.control.moderate(&moderator, stream_id, &act).await
    }

    /// A comment of user 42 on stream 1, appended to the log and not yet archived.
    pub(crate) fn comment(&self, number: u64, message: &str) -> CommentSubmitted {
        let event = submitted(StreamId(1), number, message);
        let payload = Event::CommentSubmitted(event.clone()).encode();
        self.log.put(Topic::CommentEvents, 1, STARTED_MS, payload);
        event
    }

    /// Rejects a comment of user 42 on stream 1, as the moderation worker does.
    pub(crate) fn reject_by_rules(&self, number: u64) {
        let rejected = CommentModerated {
            stream_id: StreamId(1),
            comment_id: comment_id(number),
            user_id: UserId(42),
            decision: Decision::Reject,
            reason: "link".into(),
            timestamp: STARTED_MS,
            decided_by: "rules".into(),
            text: None,
            was_hidden: false,
            in_bulk: false,
        };
        let payload = Event::CommentModerated(rejected).encode();
        self.log.put(Topic::CommentEvents, 1, STARTED_MS, payload);
    }

    /// Puts a comment of user 42 on stream 1 into the review queue.
    pub(crate) async fn queue_review(&self, number: u64, held: bool) {
        let item = ReviewItem {
            comment_id: comment_id(number),
            stream_id: StreamId(1),
            user_id: UserId(42),
            name: "ann".to_owned(),
            message: "hm".to_owned(),
            reason: "link".to_owned(),
            flagged_at: STARTED_MS,
            held,
            shadowed: false,
            badges: Default::default(),
            parent_id: None,
            evidence: Default::default(),
            claimed_by: None,
            claim_expires_at: None,
            claimed_by_you: false,
            alike: 0,
        };
        self.metadata.queue_review(item, 0).await.unwrap();
    }
}

/// Notes what matters for the order of things: sanctions as they are stored, directories as they
/// are read.
fn metadata(journal: Journal) -> InMemoryMetadata {
    let metadata = InMemoryMetadata::watched(move |call| match call {
        "ban" | "timeout" => journal.note(format!("{call} stored")),
        "streams" | "sanctions" => journal.note(format!("a: {call} read")),
        _ => {}
    });
    let title = "one".to_owned();
    let one = Stream { title, created_at: STARTED_MS, ..stream(1, ModerationMode::Async) };
    metadata.put_stream(one);
    for (user_id, name) in [(42, "ann"), (7, "twin"), (8, "twin")] {
        metadata.put_user(user_id, name, STARTED_MS);
    }
    metadata
}

pub(crate) fn operator() -> Actor {
    Actor::operator(Some("op"), 0)
}

pub(crate) fn comment_id(number: u64) -> CommentId {
    CommentId::from_unix_ticks(STARTED_MS * 10_000 + number, 1, [2; 6])
}

pub(crate) fn submitted(stream_id: StreamId, number: u64, message: &str) -> CommentSubmitted {
    let comment = Comment {
        stream_id,
        comment_id: comment_id(number),
        user_id: UserId(42),
        name: "ann".into(),
        message: message.into(),
        created_at: STARTED_MS,
        badges: Default::default(),
        parent_id: None,
    };
    CommentSubmitted {
        comment: Arc::new(comment),
        role: Role::Viewer,
        client_ref: None,
        shadow: false,
        screened: false,
    }
}
