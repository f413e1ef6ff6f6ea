//! The queue of held comments, with a store in memory and a paused clock.

use std::pin::pin;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::daemon::base::supervise::breaker::TRIAL_INTERVAL;
use crate::daemon::engines::metadata::in_memory::InMemoryMetadata;
use crate::daemon::stages::moderation::reviews::review_item;
use crate::daemon::stages::moderation::samples::comment;
use crate::protocol::admin::BreakerState;
use crate::protocol::events::Evidence;

struct Bench {
    store: Arc<InMemoryMetadata>,
    breaker: Arc<Breaker>,
    queue: HoldQueue,
    writer: Option<HoldWriter>,
    stop: CancellationToken,
}

/// A queue whose task does not run yet.
fn bench(max_waiting: usize) -> Bench {
    let store = Arc::new(InMemoryMetadata::default());
    let breaker = Arc::new(Breaker::new("metadata"));
    let (queue, writer) = hold_queue(HoldWriterParts {
        metadata: store.clone(),
        metadata_breaker: breaker.clone(),
        max_waiting,
    });
    Bench { store, breaker, queue, writer: Some(writer), stop: CancellationToken::new() }
}

impl Bench {
    fn start(&mut self) -> JoinHandle<()> {
        tokio::spawn(self.writer.take().unwrap().run(self.stop.clone()))
    }

    /// Holds a comment of each user, all at once.
    fn hold(&self, users: std::ops::Range<u64>) -> Vec<JoinHandle<Result<(), StoreError>>> {
        users
            .map(|user| {
                let queue = self.queue.clone();
                tokio::spawn(async move { queue.store(item(user)).await })
            })
            .collect()
    }

    fn stored(&self) -> Vec<u64> {
        self.store.reviews().iter().map(|item| item.user_id.0).collect()
    }
}

fn item(user: u64) -> ReviewItem {
    let item = review_item(&comment(1, user, "hello"), "unchecked", &Evidence::default(), user);
    ReviewItem { held: true, ..item }
}

fn is_unavailable(outcome: &Result<(), StoreError>, text: &str) -> bool {
    matches!(outcome, Err(error @ StoreError::Unavailable(_)) if error.to_string().contains(text))
}

#[tokio::test(start_paused = true)]
async fn many_holds_share_few_transactions() {
    let mut bench = bench(8_192);
    let holds = bench.hold(0..1_000);
    bench.start();
    for outcome in join_all(holds).await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(bench.stored(), (0..1_000).collect::<Vec<_>>());
    let calls = bench.store.calls();
    assert!(calls <= 1_000 / MAX_BATCH as u32 + 2, "{calls} transactions");
}

#[tokio::test(start_paused = true)]
async fn a_lone_hold_is_stored_at_once() {
    let mut bench = bench(8);
    bench.start();
    let started = Instant::now();
    bench.queue.store(item(1)).await.unwrap();
    bench.queue.store(item(1)).await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!((bench.stored(), bench.store.calls()), (vec![1], 2));
}

#[tokio::test(start_paused = true)]
async fn success_is_told_only_after_the_transaction() {
    let mut bench = bench(8);
    bench.store.slow_reviews(Duration::from_secs(2));
    bench.start();
    let started = Instant::now();
    for outcome in join_all(bench.hold(0..5)).await {
        outcome.unwrap().unwrap();
        assert!(started.elapsed() >= Duration::from_secs(2));
        assert_eq!(bench.stored().len(), 5);
    }
    assert_eq!(bench.store.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_hold_is_told_that_the_store_is_away() {
    let mut bench = bench(64);
    bench.start();
    bench.store.set_down(true);
    for round in 0..6 {
        let outcomes = join_all(bench.hold(0..10)).await;
        assert!(outcomes.iter().all(|outcome| is_unavailable(outcome.as_ref().unwrap(), "")));
        assert_eq!(bench.breaker.state() == BreakerState::Open, round >= 2, "round {round}");
    }
    assert_eq!(bench.store.calls(), 3, "the breaker spares the store");
    assert!(bench.queue.retry_after() > Duration::ZERO);
    bench.store.set_down(false);
    tokio::time::advance(TRIAL_INTERVAL).await;
    bench.queue.store(item(1)).await.unwrap();
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
    assert_eq!(bench.stored(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_stores_nothing() {
    let mut bench = bench(2);
    let queue = bench.queue.clone();
    let mut waiting = pin!(join_all([queue.store(item(1)), queue.store(item(2))]));
    assert!(waiting.as_mut().now_or_never().is_none());
    let refused = queue.store(item(3)).await;
    assert!(is_unavailable(&refused, "too many held comments wait"), "{refused:?}");
    assert_eq!(bench.breaker.state(), BreakerState::Closed, "the store is not to blame");
    bench.start();
    assert!(waiting.await.iter().all(Result::is_ok));
    assert_eq!(bench.stored(), [1, 2]);
    queue.store(item(3)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_is_given_up_is_not_stored() {
    let mut bench = bench(8);
    let queue = bench.queue.clone();
    let mut kept = pin!(queue.store(item(1)));
    assert!(kept.as_mut().now_or_never().is_none());
    assert!(queue.store(item(2)).now_or_never().is_none());
    bench.start();
    kept.await.unwrap();
    assert_eq!((bench.stored(), bench.store.calls()), (vec![1], 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_opens_the_breaker() {
    let mut bench = bench(8);
    bench.store.slow_reviews(Duration::from_secs(3_600));
    bench.start();
    for _ in 0..3 {
        assert!(timeout(HOLD_TIME, bench.queue.store(item(1))).await.is_err());
    }
    bench.store.slow_reviews(Duration::ZERO);
    let refused = bench.queue.store(item(2)).await;
    assert!(is_unavailable(&refused, "waiting for the store"), "{refused:?}");
    assert_eq!(bench.breaker.state(), BreakerState::Open);
    assert_eq!(bench.stored(), Vec::<u64>::new());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_behind_a_trial_of_the_store() {
    let mut bench = bench(8);
    bench.start();
    bench.breaker.open(&"away");
    bench.store.slow_reviews(Duration::from_secs(2));
    tokio::time::advance(TRIAL_INTERVAL).await;
    let queue = bench.queue.clone();
    let mut trial = pin!(queue.store(item(1)));
    assert!(trial.as_mut().now_or_never().is_none());
    // The task begins the trial, which takes two seconds.
    tokio::task::yield_now().await;
    assert_eq!(bench.breaker.state(), BreakerState::HalfOpen);
    let refused = queue.store(item(2)).now_or_never().expect("it does not wait");
    assert!(is_unavailable(&refused, "waiting for the store"), "{refused:?}");
    trial.await.unwrap();
    assert_eq!((bench.breaker.state(), bench.stored()), (BreakerState::Closed, vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_refused_item_keeps_no_other_back() {
    let mut bench = bench(8);
    bench.store.refuse_reviews_of("bad");
    let bad = ReviewItem { message: "bad".to_owned(), ..item(2) };
    let queue = &bench.queue.clone();
    let mut holds = pin!(join_all([queue.store(item(1)), queue.store(bad), queue.store(item(3))]));
    assert!(holds.as_mut().now_or_never().is_none());
    bench.start();
    let outcomes = holds.await;
    assert!(matches!(outcomes[..], [Ok(()), Err(StoreError::Corrupt(_)), Ok(())]), "{outcomes:?}");
    assert_eq!(bench.stored(), [1, 3]);
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_is_stored_before_the_end() {
    let mut bench = bench(1_000);
    let queue = &bench.queue.clone();
    let mut holds = pin!(join_all((0..MAX_BATCH as u64 + 10).map(|user| queue.store(item(user)))));
    while bench.queue.pending.capacity() > 1_000 - MAX_BATCH - 10 {
        assert!(holds.as_mut().now_or_never().is_none());
    }
    bench.stop.cancel();
    bench.start().await.unwrap();
    assert!(holds.await.iter().all(Result::is_ok));
    assert_eq!(bench.stored().len(), MAX_BATCH + 10);
    let late = queue.store(item(9_999)).await;
    assert!(is_unavailable(&late, "the node stops"), "{late:?}");
}
