//! The check of held comments, with a queue in memory.

use std::collections::VecDeque;

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
use crate::protocol::error_code::RETRY_AFTER_MS;
use crate::protocol::events::CommentModerated;
use crate::protocol::{ErrorCode, StreamId, UserId};

/// A queue that records decisions. A decision about a comment that says `fails` is recorded, but
/// its event does not get into the log until the test says so.
#[derive(Debug, Default)]
struct FakeQueue {
    waiting: Mutex<VecDeque<Comment>>,
    decided: Mutex<Vec<(String, Decision)>>,
    pending: Mutex<HashSet<StreamId>>,
    expired_before: Mutex<Vec<u64>>,
}

impl FakeQueue {
    fn decided(&self) -> Vec<(String, Decision)> {
        std::mem::take(&mut *self.decided.lock())
    }
}

#[async_trait]
impl HeldComments for FakeQueue {
    async fn unchecked(&self, limit: usize) -> Result<Vec<Comment>, ErrorBody> {
        Ok(self.waiting.lock().iter().take(limit).cloned().collect())
    }

    async fn is_stream_pending(&self, stream_id: StreamId) -> Result<bool, ErrorBody> {
        Ok(self.pending.lock().contains(&stream_id))
    }

    async fn decide(&self, decided: CommentModerated) -> Result<bool, ErrorBody> {
        let mut waiting = self.waiting.lock();
        let Some(index) = waiting.iter().position(|held| held.comment_id == decided.comment_id)
        else {
            return Ok(false);
        };
        let comment = waiting.remove(index).unwrap();
        self.decided.lock().push((comment.message.to_string(), decided.decision));
        if &*comment.message == "fails" {
            self.pending.lock().insert(comment.stream_id);
            let error = ErrorBody::new(ErrorCode::LogUnavailable, "the log is away");
            return Err(error.retry_after_ms(RETRY_AFTER_MS));
        }
        Ok(true)
    }

    async fn expire(&self, before_ms: u64, _: usize) -> Result<usize, ErrorBody> {
        self.expired_before.lock().push(before_ms);
        Ok(0)
    }
}

struct Bench {
    queue: Arc<FakeQueue>,
    store: Arc<InMemoryMetadata>,
    state: ModerationState,
    stop: CancellationToken,
}

fn start(comments: Vec<Comment>) -> Bench {
    let rules = RulesConfig {
        blocked_words: vec!["badword".into()],
        blocked_word_action: RuleAction::Reject,
        ..RulesConfig::default()
    };
    start_with(Pipeline::new(vec![Arc::new(RulesStage::new(&rules).unwrap())]), comments)
}

fn start_with(pipeline: Pipeline, comments: Vec<Comment>) -> Bench {
    let queue = Arc::new(FakeQueue::default());
    queue.waiting.lock().extend(comments);
    let state = ModerationState::default();
    let store = Arc::new(InMemoryMetadata::default());
    let clock: SharedClock = Arc::new(TokioClock::starting_at(Duration::from_secs(100_000)));
    let checker = HeldChecker::new(HeldCheckerParts {
        pipeline: Arc::new(pipeline),
        context: samples::context(store.clone(), clock.clone()),
        held: queue.clone(),
        state: state.clone(),
        metrics: Metrics::default(),
        clock,
        config: HeldConfig::default(),
    });
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move { checker.run(stopped).await });
    Bench { queue, store, state, stop }
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
    let first = [decision("fails", Decision::Accept), decision("elsewhere", Decision::Accept)];
    assert_eq!(bench.queue.decided(), first);
    bench.queue.pending.lock().clear();
    seconds(2).await;
    let rest = [decision("second", Decision::Accept), decision("third", Decision::Accept)];
    assert_eq!(bench.queue.decided(), rest);
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
    let bench = start_with(Pipeline::new(vec![Arc::new(Panics)]), vec![comment(1, 2, "hi")]);
    seconds(2).await;
    assert_eq!(bench.queue.decided(), [decision("hi", Decision::Flag)]);
    bench.stop.cancel();
}
