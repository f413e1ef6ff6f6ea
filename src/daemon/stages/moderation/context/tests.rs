use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reputations::FRESH_MS;
use super::*;
use crate::daemon::base::clock::TokioClock;
use crate::daemon::base::handoff::{Screen as _, Screening};
use crate::daemon::base::metrics::Metrics;
use crate::daemon::base::moderation_state::ModerationState;
use crate::daemon::engines::directory::Streams;
use crate::daemon::engines::eventlog::Topic;
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
use crate::daemon::engines::metadata::{MetadataStore as _, UserRecord};
use crate::daemon::stages::moderation::samples::{self, comment, moderated};
use crate::daemon::stages::moderation::{
    Finding, ModerationScreen, ModerationScreenParts, ModerationWorker, ModerationWorkerParts,
    Pipeline, Stage, Subject,
};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::policy::reputation::Thresholds;
use crate::protocol::events::{CommentSubmitted, Decision, Event};
use crate::protocol::stream::ModerationMode;

const OFFENDER: u64 = 5;
const NEWCOMER: u64 = 6;
/// When the clocks start, in milliseconds.
const START_MS: u64 = 100_000;

/// Flags from 0.5 and rejects from 0.7 on, by the number that a text ends with.
#[derive(Debug)]
struct Scored;

#[async_trait]
impl Stage for Scored {
    fn name(&self) -> &'static str {
        "scored"
    }

    async fn check(&self, subject: &Subject<'_>) -> Finding {
        let last = subject.comment.message.rsplit(' ').next();
        let score: f32 = last.and_then(|number| number.parse().ok()).unwrap_or(0.0);
        let thresholds =
            Thresholds { flag: 0.5, reject: 0.7 }.shifted(subject.lowered, subject.raised);
        let finding = match score {
            score if score >= thresholds.reject => Finding::new(Decision::Reject, "toxic"),
            score if score >= thresholds.flag => Finding::new(Decision::Flag, "toxic"),
            _ => Finding::accept(),
        };
        Finding { score: Some(score), scores: vec![("toxicity", score)], ..finding }
    }
}

/// A store that nodes share.
struct Cluster {
    store: Arc<InMemoryMetadata>,
    clock: SharedClock,
}

/// A node with a log of its own.
struct Node {
    log: InMemoryLog,
    context: Arc<ModerationContext>,
    streams: Streams,
    store: Arc<InMemoryMetadata>,
    clock: SharedClock,
}

impl Cluster {
    fn new() -> Self {
        let store = Arc::new(InMemoryMetadata::default());
        store.put_stream(stream(1, ModerationMode::Async));
        store.put_stream(stream(2, ModerationMode::Async));
        let clock = Arc::new(TokioClock::starting_at(Duration::from_millis(START_MS)));
        Self { store, clock }
    }

    async fn node(&self) -> Node {
        Node {
            log: InMemoryLog::shaped(1, 0),
            context: samples::context(self.store.clone(), self.clock.clone()),
            streams: Streams::load(self.store.clone()).await.unwrap(),
            store: self.store.clone(),
            clock: self.clock.clone(),
        }
    }

    async fn points(&self, user_id: u64) -> f64 {
        let half_life_ms = ReputationConfig::default().half_life.as_millis() as u64;
        let known = self.store.known_users(&[UserId(user_id)]).await.unwrap();
        let points = known.first().map(|known| &known.reputation);
        let points = points.map_or(0.0, |it| it.points_at(self.clock.now_ms(), half_life_ms));
        (points * 100.0).round() / 100.0
    }
}

impl Node {
    fn submit(&self, comment: Comment) {
        let event = CommentSubmitted {
            comment: Arc::new(comment),
            role: Role::Viewer,
            client_ref: None,
            shadow: false,
            screened: false,
        };
        self.log.put(Topic::CommentEvents, 1, 0, Event::CommentSubmitted(event).encode());
    }

    /// Runs a worker until it has read everything.
    async fn run(&self) {
        let worker = ModerationWorker::new(ModerationWorkerParts {
            log: Arc::new(self.log.clone()),
            streams: self.streams.clone(),
            pipeline: Arc::new(Pipeline::new(vec![Arc::new(Scored)])),
            context: self.context.clone(),
            metadata: self.store.clone(),
            metadata_breaker: Arc::new(Breaker::new("metadata")),
            state: ModerationState::default(),
            metrics: Metrics::default(),
            meter: Arc::default(),
            clock: self.clock.clone(),
            batch_comments: 100,
        });
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { worker.run(stopped).await });
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    /// Returns the decisions so far, by user.
    fn decisions(&self) -> Vec<(u64, Decision)> {
        let events = moderated(&self.log, Topic::ModerationEvents).into_iter();
        events.map(|(user, event)| (user, event.decision)).collect()
    }

    /// Submits three comments of the offender that anybody would be rejected for.
    fn submit_offences(&self) {
        for number in 1..=3 {
            self.submit(comment(1, OFFENDER, &format!("a bad comment {number} 0.9")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_offender_meets_lower_thresholds() {
    let cluster = Cluster::new();
    let node = cluster.node().await;
    node.submit_offences();
    for user in [OFFENDER, NEWCOMER] {
        node.submit(comment(1, user, "borderline 0.65"));
    }
    node.run().await;
    let last: Vec<_> = node.decisions().into_iter().skip(3).collect();
    assert_eq!(last, [(OFFENDER, Decision::Reject), (NEWCOMER, Decision::Flag)]);
    assert_eq!((cluster.points(OFFENDER).await, cluster.points(NEWCOMER).await), (4.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn two_workers_share_what_they_know() {
    let cluster = Cluster::new();
    let one = cluster.node().await;
    let other = cluster.node().await;
    other.submit(comment(1, OFFENDER, "nothing known 0.65"));
    other.run().await;
    one.submit_offences();
    one.run().await;
    tokio::time::sleep(Duration::from_millis(FRESH_MS)).await;
    other.submit(comment(1, OFFENDER, "now it is 0.65"));
    other.run().await;
    let decisions = [(OFFENDER, Decision::Flag), (OFFENDER, Decision::Reject)];
    assert_eq!(other.decisions(), decisions);
}

#[tokio::test(start_paused = true)]
async fn a_comment_that_is_read_again_costs_nothing() {
    let cluster = Cluster::new();
    for _ in 0..2 {
        // A worker that begins anew, as after a crash before its commit.
        let node = cluster.node().await;
        node.submit_offences();
        node.run().await;
        assert_eq!(node.decisions().len(), 3);
        assert_eq!(cluster.points(OFFENDER).await, 3.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_delays_nothing() {
    let cluster = Cluster::new();
    let node = cluster.node().await;
    cluster.store.set_down(true);
    node.submit_offences();
    node.submit(comment(1, NEWCOMER, "really bad 0.8"));
    node.run().await;
    assert_eq!(node.decisions().len(), 4, "decisions go on");
    cluster.store.set_down(false);
    assert_eq!(cluster.points(OFFENDER).await, 0.0);
    tokio::time::sleep(Duration::from_secs(10)).await;
    node.submit(comment(1, NEWCOMER, "hello"));
    node.run().await;
    assert_eq!(cluster.points(OFFENDER).await, 3.0, "nothing is lost");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_one_query() {
    let cluster = Cluster::new();
    let node = cluster.node().await;
    let before = cluster.store.calls();
    for user in 1..=90 {
        node.submit(comment(1, user, "hello"));
    }
    node.run().await;
    assert_eq!(cluster.store.calls() - before, 1);
    let before = cluster.store.calls();
    node.context.look_up(&[UserId(200), UserId(200)]).await;
    node.context.look_up(&[UserId(200)]).await;
    assert_eq!(cluster.store.calls() - before, 1, "known, also that nothing is");
}

#[tokio::test(start_paused = true)]
async fn repeating_a_removed_text_costs_points() {
    let cluster = Cluster::new();
    let node = cluster.node().await;
    node.submit(comment(1, OFFENDER, "cheap followers 0.9"));
    node.submit(comment(1, OFFENDER, "CHEAP followers!! 0.9"));
    node.submit(comment(2, OFFENDER, "cheap, followers 0.9"));
    node.run().await;
    assert_eq!(cluster.points(OFFENDER).await, 4.0, "1 + 1.5 + 1.5");
    let repeat = async |number: u64, role| {
        let comment_id = comment(1, number, "another id").comment_id;
        let comment = Comment { comment_id, ..comment(1, OFFENDER, "cheap followers 0.9") };
        let subject =
            Subject { comment: &comment, role, lowered: 0.0, raised: 0.0, deadline: None };
        let accepted = Pipeline::new(vec![]).check(&subject).await;
        node.context.record(&subject, &CommentContext::default(), &accepted);
        node.context.store_points().await;
        cluster.points(OFFENDER).await
    };
    assert_eq!(repeat(9, None).await, 4.5, "nobody removed it this time");
    assert_eq!(repeat(10, Some(Role::Moderator)).await, 4.5);
}

#[tokio::test(start_paused = true)]
async fn a_new_account_meets_lower_thresholds() {
    let cluster = Cluster::new();
    let seen = |user_id, account_created| UserRecord {
        user_id: UserId(user_id),
        name: "someone".into(),
        seen_at: START_MS,
        account_created,
    };
    let users = [seen(1, Some(START_MS)), seen(2, None), seen(3, Some(0))];
    cluster.store.remember_users(&users).await.unwrap();
    let node = cluster.node().await;
    node.context.look_up(&[UserId(1), UserId(2)]).await;
    let context = |user, role| node.context.of_comment(&comment(1, user, "hi"), role);
    let shift = context(1, None).explained();
    assert_eq!((shift.lowered, shift.by_account_age), (0.05, 0.05));
    assert_eq!(context(2, None).lowered(), 0.0, "no token says how old it is");
    assert_eq!(context(1, Some(Role::Moderator)).lowered(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_shouting_stream_flags_less_than_a_calm_one() {
    let cluster = Cluster::new();
    let node = cluster.node().await;
    for user in 100..200 {
        node.submit(comment(1, user, "GOOOOOAL YES 0.55"));
    }
    for (stream, user, text) in [
        (1, NEWCOMER, "WHAT A GOAL 0.55"),
        (2, NEWCOMER, "WHAT A GOAL 0.55"),
        (1, OFFENDER, "WHAT AN IDIOT 0.7"),
    ] {
        node.submit(comment(stream, user, text));
    }
    node.run().await;
    let decisions = node.decisions();
    let crowd = decisions.iter().filter(|(user, _)| *user >= 100).count();
    assert!((20..40).contains(&crowd), "{crowd} were flagged before it was a crowd");
    let others: Vec<_> = decisions.into_iter().filter(|(user, _)| *user < 100).collect();
    assert_eq!(others, [(NEWCOMER, Decision::Flag), (OFFENDER, Decision::Reject)]);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_excuses_no_repeat_offender() {
    let cluster = Cluster::new();
    let node = cluster.node().await;
    node.submit_offences();
    for user in 100..200 {
        node.submit(comment(1, user, "GOOOOOAL YES 0.55"));
    }
    // Three points lower the thresholds by 0.1: from 0.6 on the offender is rejected.
    for user in [OFFENDER, NEWCOMER] {
        node.submit(comment(1, user, "WHAT AN IDIOT 0.62"));
    }
    node.run().await;
    let decisions = node.decisions().into_iter().skip(3);
    let of_two: Vec<_> = decisions.filter(|(user, _)| *user < 100).collect();
    let flagged = (NEWCOMER, Decision::Flag);
    assert_eq!(of_two, [(OFFENDER, Decision::Reject), flagged]);
}

#[tokio::test(start_paused = true)]
async fn the_screen_knows_what_the_worker_counted() {
    let cluster = Cluster::new();
    let worker = cluster.node().await;
    let edge = cluster.node().await;
    worker.submit_offences();
    worker.run().await;
    let screen = ModerationScreen::new(ModerationScreenParts {
        pipeline: Arc::new(Pipeline::new(vec![Arc::new(Scored)])),
        context: edge.context.clone(),
        log: Arc::new(edge.log.clone()),
        holds: samples::holds(cluster.store.clone()),
        metrics: Metrics::default(),
        clock: cluster.clock.clone(),
    });
    let users = [UserId(OFFENDER), UserId(NEWCOMER)];
    let before = cluster.store.calls();
    screen.prepare(&users).await;
    for (user, is_refused) in [(OFFENDER, true), (NEWCOMER, false)] {
        let comment = comment(1, user, "borderline 0.65");
        let answer_by = Instant::now() + Duration::from_secs(1);
        let screened = screen.screen(&comment, Role::Viewer, answer_by).await.unwrap().unwrap();
        match screened.screening {
            Screening::Reject(reason) => assert!(is_refused && &*reason == "toxic"),
            Screening::Hold(held) => assert!(!is_refused && &*held.reason == "toxic"),
            other => panic!("{other:?}"),
        }
        assert_eq!(screened.has_points, user == OFFENDER);
        screen.record(screened.decided).await;
    }
    assert_eq!(cluster.store.calls() - before, 2, "one to look up, one to count");
    assert_eq!(cluster.points(OFFENDER).await, 4.0);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_spares_the_store() {
    let cluster = Cluster::new();
    let breaker = Arc::new(Breaker::new("metadata"));
    let context = ModerationContext::new(ModerationContextParts {
        metadata: cluster.store.clone(),
        metadata_breaker: breaker.clone(),
        clock: cluster.clock.clone(),
        config: ReputationConfig::default(),
    });
    breaker.open(&"down");
    let before = cluster.store.calls();
    tokio::time::sleep(Duration::from_secs(60)).await;
    context.look_up(&[UserId(OFFENDER)]).await;
    assert_eq!(cluster.store.calls(), before, "trial calls are for others");
    breaker.succeeded();
    context.look_up(&[UserId(OFFENDER)]).await;
    assert_eq!(cluster.store.calls(), before + 1);
}
