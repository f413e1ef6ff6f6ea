//! The check of held comments, with a queue in memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::daemon::base::clock::TokioClock;
use crate::daemon::base::config::{RuleAction, RulesConfig};
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::daemon::engines::metadata::in_memory::InMemoryMetadata;
use crate::daemon::stages::moderation::pipeline::Stage;
use crate::daemon::stages::moderation::rules::RulesStage;
use crate::daemon::stages::moderation::samples::{self, comment};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::protocol::error_code::RETRY_AFTER_MS;
use crate::protocol::events::CommentModerated;
use crate::protocol::{ErrorCode, UserId};

/// A queue that records decisions. A decision about a comment that says `fails` is recorded, but
/// its event does not get into the log until the test says so. The author of one that says
/// `a badword of a banned` may not publish any more.
#[derive(Debug, Default)]
struct FakeQueue {
    waiting: Mutex<VecDeque<Comment>>,
    decided: Mutex<Vec<(String, Decision)>>,
    pending: Mutex<HashSet<StreamId>>,
    pages: AtomicUsize,
    expired_before: Mutex<Vec<u64>>,
}

impl FakeQueue {
    fn decided(&self) -> Vec<(String, Decision)> {
        std::mem::take(&mut *self.decided.lock())
    }
}

#[async_trait]
impl HeldComments for FakeQueue {
    async fn unchecked(
        &self,
        after: Option<CommentId>,
        limit: usize,
    ) -> Result<UncheckedPage, ErrorBody> {
        self.pages.fetch_add(1, Ordering::SeqCst);
        let after = after.map(CommentId::sort_key);
        let waiting = self.waiting.lock();
        let behind = waiting.iter().filter(|held| Some(held.comment_id.sort_key()) > after);
        let comments: Vec<_> = behind.take(limit).cloned().collect();
        let next = comments.last().filter(|_| comments.len() == limit).map(|last| last.comment_id);
        Ok(UncheckedPage { comments, next })
    }

    async fn is_stream_pending(&self, stream_id: StreamId) -> Result<bool, ErrorBody> {
        Ok(self.pending.lock().contains(&stream_id))
    }

    async fn decide(&self, decided: CommentModerated) -> Result<Option<Decision>, ErrorBody> {
        let mut waiting = self.waiting.lock();
        let Some(index) = waiting.iter().position(|held| held.comment_id == decided.comment_id)
        else {
            return Ok(None);
        };
        let comment = waiting.remove(index).unwrap();
        self.decided.lock().push((comment.message.to_string(), decided.decision));
        if &*comment.message == "fails" {
            self.pending.lock().insert(comment.stream_id);
            let error = ErrorBody::new(ErrorCode::LogUnavailable, "the log is away");
            return Err(error.retry_after_ms(RETRY_AFTER_MS));
        }
        let is_left = &*comment.message == "a badword of a banned";
        Ok(Some(if is_left { Decision::Flag } else { decided.decision }))
    }

    async fn expire(&self, before_ms: u64, _: usize) -> Result<usize, ErrorBody> {
        self.expired_before.lock().push(before_ms);
        Ok(0)
    }
}

/// A stage that waits one second for its answer, for at most four comments at once.
#[derive(Debug, Default)]
struct Slow {
    running: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Stage for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    async fn check(&self, subject: &Subject<'_>) -> Finding {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        // Later comments are answered sooner.
        let early: u64 = subject.comment.message.parse().unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(1_000 - early)).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        Finding::accept()
    }

    fn concurrent_checks(&self) -> Option<usize> {
        Some(4)
    }
}

struct Bench {
    queue: Arc<FakeQueue>,
    store: Arc<InMemoryMetadata>,
    meter: Arc<StageMeter>,
    state: ModerationState,
    stop: CancellationToken,
}

fn start(comments: Vec<Comment>) -> Bench {
    start_with(comments, Vec::new(), &[0, 1, 2, 3])
}

/// Starts a node whose worker reads these of four partitions.
fn start_with(comments: Vec<Comment>, others: Vec<Arc<dyn Stage>>, partitions: &[u32]) -> Bench {
    let queue = Arc::new(FakeQueue::default());
    // Ids have the order of the comments.
    let numbered = comments.into_iter().zip(1..).map(|(comment, number)| {
        let comment_id = CommentId::from_unix_ticks(10_000_000 + number, 1, [1; 6]);
        Comment { comment_id, ..comment }
    });
    queue.waiting.lock().extend(numbered);
    let rules = RulesConfig {
        blocked_words: vec!["badword".into()],
        blocked_word_action: RuleAction::Reject,
        ..RulesConfig::default()
    };
    let state = ModerationState::default();
    let store = Arc::new(InMemoryMetadata::default());
    let clock: SharedClock = Arc::new(TokioClock::starting_at(Duration::from_secs(100_000)));
    let mut stages: Vec<Arc<dyn Stage>> = vec![Arc::new(RulesStage::new(&rules).unwrap())];
    stages.extend(others);
    let meter = Arc::new(StageMeter::default());
    meter.follow_assignment(partitions.iter().copied(), &[]);
    let checker = HeldChecker::new(HeldCheckerParts {
        pipeline: Arc::new(Pipeline::new(stages)),
        context: samples::context(store.clone(), clock.clone()),
        held: queue.clone(),
        log: Arc::new(InMemoryLog::shaped(4, 0)),
        meter: meter.clone(),
        state: state.clone(),
        metrics: Metrics::default(),
        clock,
        config: HeldConfig::default(),
    });
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move { checker.run(stopped).await });
    Bench { queue, store, meter, state, stop }
}

async fn seconds(number: u64) {
    tokio::time::sleep(Duration::from_millis(number * 1_000 + 10)).await;
}

fn decision(text: &str, decision: Decision) -> (String, Decision) {
    (text.to_owned(), decision)
}

#[tokio::test(start_paused = true)]
async fn held_comments_are_checked_once_moderation_is_up() {
    let bench = start(vec![comment(1, 2, "fine"), comment(1, 2, "a badword")]);
    bench.state.set_down(true);
    seconds(3).await;
    assert_eq!(bench.queue.decided(), [], "nothing is decided while it is down");
    bench.state.set_down(false);
    seconds(2).await;
    let decided = [decision("fine", Decision::Accept), decision("a badword", Decision::Reject)];
    assert_eq!(bench.queue.decided(), decided);
    let known = bench.store.known_users(&[UserId(2)]).await.unwrap();
    assert!(known[0].reputation.since.is_some(), "a removed comment costs points");
    assert_eq!(bench.queue.expired_before.lock()[..], [100_000_000 - 24 * 3_600_000]);
    bench.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_stream_waits_for_its_earlier_comment_only() {
    let held = [(1, "fails"), (1, "second"), (2, "elsewhere"), (1, "third")];
    let bench = start(held.iter().map(|(stream, text)| comment(*stream, 2, text)).collect());
    seconds(3).await;
    let first = [decision("elsewhere", Decision::Accept), decision("fails", Decision::Accept)];
    let mut decided = bench.queue.decided();
    decided.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(decided, first);
    bench.queue.pending.lock().clear();
    seconds(2).await;
    let rest = [decision("second", Decision::Accept), decision("third", Decision::Accept)];
    assert_eq!(bench.queue.decided(), rest);
    bench.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_node_checks_the_streams_of_its_worker() {
    let held = [(1, "mine"), (2, "of another node"), (5, "mine, too")];
    let held = held.iter().map(|(stream, text)| comment(*stream, 2, text)).collect();
    let bench = start_with(held, Vec::new(), &[1]);
    seconds(3).await;
    let mut decided = bench.queue.decided();
    decided.sort_by(|one, other| one.0.cmp(&other.0));
    let mine = [decision("mine", Decision::Accept), decision("mine, too", Decision::Accept)];
    assert_eq!(decided, mine);
    bench.meter.follow_assignment([2], &[1]);
    seconds(2).await;
    assert_eq!(bench.queue.decided(), [decision("of another node", Decision::Accept)]);
    bench.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn several_are_checked_at_once_and_keep_order() {
    let slow = Arc::new(Slow::default());
    let texts: Vec<_> = (0..16).map(|number| (number * 20).to_string()).collect();
    let held = texts.iter().zip(1..).map(|(text, user)| comment(1, user, text)).collect();
    let bench = start_with(held, vec![slow.clone()], &[1]);
    // The look after one second, and four rounds of up to one second.
    seconds(6).await;
    let expected: Vec<_> = texts.iter().map(|text| decision(text, Decision::Accept)).collect();
    assert_eq!(bench.queue.decided(), expected);
    assert_eq!(slow.most.load(Ordering::SeqCst), 4);
    bench.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_leaves_pages_to_others() {
    let mut held = vec![comment(1, 2, "waits"); PAGE + 1];
    held.push(comment(2, 2, "elsewhere"));
    let bench = start(held);
    bench.queue.pending.lock().insert(StreamId(1));
    seconds(2).await;
    assert_eq!(bench.queue.decided(), [decision("elsewhere", Decision::Accept)]);
    bench.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_was_not_made_costs_no_points() {
    let bench = start(vec![comment(1, 2, "a badword of a banned")]);
    seconds(2).await;
    assert_eq!(bench.queue.decided().len(), 1);
    assert!(bench.store.known_users(&[UserId(2)]).await.unwrap().is_empty());
    bench.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_others_is_read_in_parts() {
    let mut held = vec![comment(2, 2, "of another node"); PAGE * IDLE_PAGES];
    held.extend(["one", "two"].map(|text| comment(1, 2, text)));
    let bench = start_with(held, Vec::new(), &[1]);
    seconds(1).await;
    assert_eq!(bench.queue.pages.load(Ordering::SeqCst), IDLE_PAGES);
    assert_eq!(bench.queue.decided(), []);
    seconds(1).await;
    assert_eq!(bench.queue.pages.load(Ordering::SeqCst), IDLE_PAGES + 1);
    let decided = [decision("one", Decision::Accept), decision("two", Decision::Accept)];
    assert_eq!(bench.queue.decided(), decided);
    bench.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_passed_over_waits() {
    let mut held = vec![comment(1, 2, "first")];
    held.extend(vec![comment(2, 2, "of another node"); PAGE * IDLE_PAGES]);
    held.push(comment(1, 2, "second"));
    let bench = start_with(held, Vec::new(), &[1]);
    bench.queue.pending.lock().insert(StreamId(1));
    seconds(1).await;
    bench.queue.pending.lock().clear();
    seconds(1).await;
    assert_eq!(bench.queue.decided(), [], "the first one is behind this pass");
    seconds(2).await;
    let decided = [decision("first", Decision::Accept), decision("second", Decision::Accept)];
    assert_eq!(bench.queue.decided(), decided);
    bench.stop.cancel();
}

#[derive(Debug)]
struct Panics;

#[async_trait]
impl Stage for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    async fn check(&self, _: &Subject<'_>) -> Finding {
        panic!("a stage fails")
    }
}

#[tokio::test(start_paused = true)]
async fn a_comment_no_stage_can_check_is_left_to_a_person() {
    let bench = start_with(vec![comment(1, 2, "hi")], vec![Arc::new(Panics)], &[0, 1, 2, 3]);
    seconds(2).await;
    assert_eq!(bench.queue.decided(), [decision("hi", Decision::Flag)]);
    bench.stop.cancel();
}
