use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::daemon::base::clock::TokioClock;
use crate::daemon::base::config::{RuleAction, RulesConfig};
use crate::daemon::engines::eventlog::ConsumerGroup;
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
use crate::daemon::stages::moderation::pipeline::{Finding, Stage};
use crate::daemon::stages::moderation::rules::{RulesStage, reason};
use crate::daemon::stages::moderation::samples::{self, comment, moderated};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::protocol::{CommentId, Role};

/// Streams 1, 2 and 3 are moderated asynchronously, synchronously and not at all.
struct Bench {
    log: InMemoryLog,
    store: Arc<InMemoryMetadata>,
    state: ModerationState,
    metrics: Metrics,
    worker: Arc<ModerationWorker>,
    stop: CancellationToken,
}

/// `badword` is rejected, links are flagged.
async fn bench() -> Bench {
    let rules = RulesConfig {
        blocked_words: vec!["badword".into()],
        link_action: RuleAction::Flag,
        ..RulesConfig::default()
    };
    bench_of(vec![Arc::new(RulesStage::new(&rules).unwrap())]).await
}

async fn bench_of(stages: Vec<Arc<dyn Stage>>) -> Bench {
    let pipeline = Arc::new(Pipeline::new(stages));
    let store = Arc::new(InMemoryMetadata::default());
    store.put_stream(stream(1, ModerationMode::Async));
    store.put_stream(stream(2, ModerationMode::Sync));
    store.put_stream(stream(3, ModerationMode::Off));
    let streams = Streams::load(store.clone()).await.unwrap();
    let log = InMemoryLog::shaped(1, 0);
    let metrics = Metrics::default();
    let clock = Arc::new(TokioClock::starting_at(Duration::from_secs(100)));
    let metadata_breaker = Arc::new(Breaker::new("metadata"));
    let state = ModerationState::default();
    let worker = ModerationWorker::new(ModerationWorkerParts {
        log: Arc::new(log.clone()),
        streams,
        pipeline,
        context: samples::context(store.clone(), clock.clone()),
        metadata: store.clone(),
        metadata_breaker,
        state: state.clone(),
        metrics: metrics.clone(),
        meter: Arc::default(),
        clock,
        batch_comments: 100,
    });
    let stop = CancellationToken::new();
    Bench { log, store, state, metrics, worker: Arc::new(worker), stop }
}

impl Bench {
    fn submit(&self, comment: Comment) -> CommentId {
        self.submit_with(comment, |_| {})
    }

    fn submit_with(
        &self,
        comment: Comment,
        change: impl FnOnce(&mut CommentSubmitted),
    ) -> CommentId {
        let comment_id = comment.comment_id;
        let key = comment.stream_id.0;
        let mut event = CommentSubmitted {
            comment: Arc::new(comment),
            role: Role::Viewer,
            client_ref: None,
            shadow: false,
            screened: false,
        };
        change(&mut event);
        self.log.put(Topic::CommentEvents, key, 0, Event::CommentSubmitted(event).encode());
        comment_id
    }

    fn start(&self) -> tokio::task::JoinHandle<Result<(), LogError>> {
        let worker = self.worker.clone();
        let stop = self.stop.clone();
        tokio::spawn(async move { worker.run(stop).await })
    }

    /// Lets the worker run until it waits, for this long.
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn run_until_idle(&self) {
        let task = self.start();
        self.pass(Duration::from_secs(2)).await;
        self.stop.cancel();
        task.await.unwrap().unwrap();
    }

    fn deleted(&self) -> BTreeSet<String> {
        let events = moderated(&self.log, Topic::CommentEvents).into_iter();
        events.map(|(_, event)| event.comment_id.to_string()).collect()
    }
}

fn ids(ids: &[CommentId]) -> BTreeSet<String> {
    ids.iter().map(CommentId::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn bad_comments_are_deleted_and_good_ones_pass() {
    let bench = bench().await;
    bench.submit(comment(1, 5, "hello"));
    let bad = bench.submit(comment(1, 6, "b a d w o r d"));
    let worse = bench.submit(comment(1, 7, "BADWORD"));
    bench.run_until_idle().await;
    assert_eq!(bench.deleted(), ids(&[bad, worse]));
    let (key, event) = moderated(&bench.log, Topic::CommentEvents)[0].clone();
    assert_eq!((key, event.decision), (1, Decision::Reject));
    assert_eq!((&*event.reason, &*event.decided_by), (reason::BLOCKED_WORD, "rules"));
    assert_eq!(event.timestamp, 100_000);
    assert_eq!(event.text, None, "each reader of the topic has the comment");
    let decisions = moderated(&bench.log, Topic::ModerationEvents);
    let by_user: Vec<u64> = decisions.iter().map(|(key, _)| *key).collect();
    assert_eq!(by_user, [6, 7]);
    let text = decisions[0].1.text.clone().unwrap();
    assert_eq!(&*text.message, "b a d w o r d");
    assert_eq!(bench.log.appends(Topic::CommentEvents), [2], "one append for the whole batch");
    assert_eq!(bench.metrics.moderation_checked.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn flagged_comments_stay_and_wait_for_a_person() {
    let bench = bench().await;
    let flagged = bench.submit(comment(1, 6, "see evil.net"));
    bench.run_until_idle().await;
    assert!(bench.deleted().is_empty());
    let reviews = bench.store.reviews();
    assert_eq!(reviews.len(), 1);
    assert_eq!((reviews[0].comment_id, reviews[0].held), (flagged, false));
    assert_eq!((&*reviews[0].reason, &*reviews[0].message), (reason::LINK, "see evil.net"));
    let decisions = moderated(&bench.log, Topic::ModerationEvents);
    assert_eq!(decisions[0].1.decision, Decision::Flag);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_workers_to_check_is_left_alone() {
    let bench = bench().await;
    bench.submit(comment(3, 5, "badword in a stream without moderation"));
    bench.submit_with(comment(2, 5, "badword, screened"), |event| event.screened = true);
    bench.submit_with(comment(1, 5, "badword, screened"), |event| event.screened = true);
    bench.submit_with(comment(1, 5, "badword by staff"), |event| event.role = Role::Moderator);
    let before_sync = bench.submit(comment(2, 5, "badword from before the mode was changed"));
    let unknown = bench.submit(comment(77, 5, "badword in a stream not yet known here"));
    bench.run_until_idle().await;
    assert_eq!(bench.deleted(), ids(&[before_sync, unknown]));
}

#[tokio::test(start_paused = true)]
async fn the_position_is_committed_and_taken_up_again() {
    let bench = bench().await;
    bench.submit(comment(1, 5, "badword"));
    bench.run_until_idle().await;
    assert_eq!(
        bench.log.committed_offset(Topic::CommentEvents, ConsumerGroup::Moderator),
        Some(2),
        "the comment and the decision about it"
    );
    let again = Bench { stop: CancellationToken::new(), ..bench };
    let later = again.submit(comment(1, 6, "badword again"));
    again.run_until_idle().await;
    assert_eq!(again.log.appends(Topic::CommentEvents), [1, 1]);
    assert!(again.deleted().contains(&later.to_string()));
}

#[tokio::test(start_paused = true)]
async fn undecodable_records_become_dead_letters() {
    let bench = bench().await;
    bench.log.put(Topic::CommentEvents, 1, 0, b"\xc1 not an event".to_vec());
    let bad = bench.submit(comment(1, 5, "badword"));
    bench.run_until_idle().await;
    assert_eq!(bench.deleted(), ids(&[bad]));
    let letters = bench.log.records(Topic::DeadLetters);
    let letter = DeadLetter::decode(&letters[0].payload).unwrap();
    assert_eq!(
        (letters.len(), letter.offset, &*letter.group),
        (1, 0, ConsumerGroup::Moderator.as_str())
    );
    assert_eq!(&letter.payload[..], b"\xc1 not an event");
    assert!(!letter.reason.is_empty());
    assert_eq!(bench.metrics.dead_letters.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn deletions_continue_while_the_store_is_down() {
    let bench = bench().await;
    bench.store.set_down(true);
    let before = bench.store.calls();
    let task = bench.start();
    let flagged = bench.submit(comment(1, 6, "see evil.net"));
    bench.pass(Duration::from_secs(2)).await;
    let bad = bench.submit(comment(1, 7, "badword"));
    bench.pass(Duration::from_secs(10)).await;
    assert_eq!(bench.deleted(), ids(&[bad]));
    assert_eq!(bench.log.committed_offset(Topic::CommentEvents, ConsumerGroup::Moderator), None);
    let calls = bench.store.calls() - before;
    assert!(calls < 10, "the breaker spares the store: {calls}");
    assert!(!bench.state.is_stopped());
    bench.store.set_down(false);
    bench.pass(Duration::from_secs(6)).await;
    assert_eq!(bench.store.reviews()[0].comment_id, flagged);
    assert_eq!(bench.log.committed_offset(Topic::CommentEvents, ConsumerGroup::Moderator), Some(3));
    bench.stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn pending_reviews_are_bounded() {
    let bench = bench().await;
    bench.store.set_down(true);
    let total = MAX_WAITING_REVIEWS as u64 * 2;
    for user in 0..total {
        bench.submit(comment(1, user + 1, "see evil.net"));
    }
    let task = bench.start();
    bench.pass(Duration::from_secs(60)).await;
    let checked = bench.metrics.moderation_checked.get();
    assert!(checked < MAX_WAITING_REVIEWS as u64 + 100, "{checked} were read");
    assert!(bench.state.is_stopped(), "the watch is told");
    bench.store.set_down(false);
    bench.pass(Duration::from_secs(60)).await;
    assert!(!bench.state.is_stopped(), "it has caught up");
    assert_eq!(bench.store.reviews().len() as u64, total);
    assert_eq!(
        bench.log.committed_offset(Topic::CommentEvents, ConsumerGroup::Moderator),
        Some(total)
    );
    bench.stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn flagged_comments_are_queued_in_batches() {
    let bench = bench().await;
    for user in 1..=600 {
        bench.submit(comment(1, user, "see evil.net"));
    }
    let before = bench.store.calls();
    bench.run_until_idle().await;
    assert_eq!(bench.store.reviews().len(), 600);
    let calls = bench.store.calls() - before;
    // Each poll of 100 comments looks up their users, stores their points and queues them.
    assert!(calls <= 3 * 6, "{calls} calls");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_while_the_log_refuses_appends() {
    let bench = bench().await;
    let bad = bench.submit(comment(1, 5, "badword"));
    bench.log.set_down(true);
    let task = bench.start();
    bench.pass(Duration::from_secs(30)).await;
    assert_eq!(bench.log.committed_offset(Topic::CommentEvents, ConsumerGroup::Moderator), None);
    bench.log.set_down(false);
    bench.pass(Duration::from_secs(6)).await;
    assert_eq!(bench.deleted(), ids(&[bad]));
    assert_eq!(bench.log.committed_offset(Topic::CommentEvents, ConsumerGroup::Moderator), Some(2));
    assert_eq!(bench.metrics.moderation_checked.get(), 1, "decided once");
    bench.stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn stored_deletions_are_not_appended_again() {
    let bench = bench().await;
    let bad = bench.submit(comment(1, 5, "badword"));
    bench.log.refuse_topic(Some(Topic::ModerationEvents));
    let task = bench.start();
    bench.pass(Duration::from_secs(60)).await;
    assert_eq!(bench.deleted(), ids(&[bad]));
    assert_eq!(bench.log.appends(Topic::CommentEvents), [1]);
    bench.log.refuse_topic(None);
    bench.pass(Duration::from_secs(6)).await;
    assert_eq!(bench.log.appends(Topic::CommentEvents), [1]);
    assert_eq!(bench.log.appends(Topic::ModerationEvents), [1]);
    assert_eq!(bench.log.committed_offset(Topic::CommentEvents, ConsumerGroup::Moderator), Some(2));
    bench.stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_a_log_that_is_down() {
    let bench = bench().await;
    let bad = bench.submit(comment(1, 5, "badword"));
    bench.log.set_down(true);
    let task = bench.start();
    bench.pass(Duration::from_secs(1)).await;
    bench.stop.cancel();
    tokio::time::timeout(Duration::from_secs(1), task).await.unwrap().unwrap().unwrap();
    bench.log.set_down(false);
    let again = Bench { stop: CancellationToken::new(), ..bench };
    again.run_until_idle().await;
    assert_eq!(again.deleted(), ids(&[bad]));
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_the_commit_repeats_the_decision() {
    let bench = bench().await;
    let bad = bench.submit(comment(1, 5, "badword"));
    bench.store.set_down(true);
    bench.submit(comment(1, 6, "see evil.net"));
    let task = bench.start();
    bench.pass(Duration::from_secs(1)).await;
    assert_eq!(
        bench.log.committed_offset(Topic::CommentEvents, ConsumerGroup::Moderator),
        None,
        "the review has not been queued"
    );
    task.abort();
    bench.store.set_down(false);
    let again = Bench { stop: CancellationToken::new(), ..bench };
    let task = again.start();
    again.pass(Duration::from_secs(10)).await;
    again.stop.cancel();
    task.await.unwrap().unwrap();
    assert_eq!(again.deleted(), ids(&[bad]));
    assert_eq!(moderated(&again.log, Topic::CommentEvents).len(), 2);
    assert_eq!(again.store.reviews().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn comment_that_is_in_the_log_twice_is_checked_once() {
    let bench = bench().await;
    let sent = |text: &str| {
        let with_ref = |event: &mut CommentSubmitted| event.client_ref = Some("r".into());
        bench.submit_with(comment(1, 5, text), with_ref)
    };
    let first = sent("badword");
    sent("badword again, under another id");
    bench.run_until_idle().await;
    assert_eq!(bench.deleted(), ids(&[first]), "nobody was shown the other");
    assert_eq!(bench.metrics.moderation_checked.get(), 1);
}

/// A stage that only computes, and remembers the order of the comments.
#[derive(Debug, Default)]
struct InOrder {
    texts: Mutex<Vec<String>>,
}

#[async_trait]
impl Stage for InOrder {
    fn name(&self) -> &'static str {
        "in order"
    }

    async fn check(&self, subject: &Subject<'_>) -> Finding {
        let text = subject.comment.message.to_string();
        let is_bad = text.contains("bad");
        self.texts.lock().push(text);
        let decision = if is_bad { Decision::Reject } else { Decision::Accept };
        Finding::new(decision, "bad")
    }
}

/// A stage that waits: the later a comment, the shorter. It rejects every seventh comment.
#[derive(Debug, Default)]
struct Waiting {
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    checks: AtomicUsize,
}

#[async_trait]
impl Stage for Waiting {
    fn name(&self) -> &'static str {
        "waiting"
    }

    async fn check(&self, subject: &Subject<'_>) -> Finding {
        self.checks.fetch_add(1, Ordering::Relaxed);
        let number: u64 = subject.comment.message.parse().expect("no other comment is asked about");
        let now = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_under_way.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100 - number)).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        assert_ne!(number, 50, "a comment that makes the stage panic");
        let decision = if number.is_multiple_of(7) { Decision::Reject } else { Decision::Accept };
        Finding::new(decision, "seventh")
    }

    fn concurrent_checks(&self) -> Option<usize> {
        Some(8)
    }
}

#[tokio::test(start_paused = true)]
async fn stages_that_wait_check_a_batch_at_once() {
    let in_order = Arc::new(InOrder::default());
    let waiting = Arc::new(Waiting::default());
    // Stages that wait come last, wherever they were named.
    let bench = bench_of(vec![waiting.clone(), in_order.clone()]).await;
    let mut texts: Vec<String> = (0..90).map(|number: u32| number.to_string()).collect();
    texts.insert(40, "bad".to_owned());
    let ids: Vec<_> = texts.iter().map(|text| bench.submit(comment(1, 5, text))).collect();
    let began = Instant::now();
    let task = bench.start();
    while bench.deleted().is_empty() {
        bench.pass(Duration::from_millis(1)).await;
    }
    // One after the other they take more than five seconds.
    assert!(began.elapsed() < Duration::from_millis(800), "{:?}", began.elapsed());
    bench.stop.cancel();
    task.await.unwrap().unwrap();
    assert_eq!(*in_order.texts.lock(), texts);
    assert_eq!(waiting.most_under_way.load(Ordering::Relaxed), 8);
    assert_eq!(waiting.checks.load(Ordering::Relaxed), 90, "not of the one that is removed");
    let numbers = texts.iter().map(|text| text.parse::<u32>().unwrap_or_default());
    let expected = ids.iter().zip(numbers).filter(|(_, number)| number.is_multiple_of(7));
    let expected: Vec<_> = expected.map(|(id, _)| id.to_string()).collect();
    let decisions = moderated(&bench.log, Topic::ModerationEvents).into_iter();
    let decided: Vec<_> = decisions.map(|(_, event)| event.comment_id.to_string()).collect();
    assert_eq!(decided, expected, "in the order of the log");
    assert_eq!(bench.metrics.moderation_checked.get(), 91);
}
