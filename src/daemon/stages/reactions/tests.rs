//! The window on test doubles of the totals and the bus, on a paused clock.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::*;
use crate::daemon::base::supervise::breaker::TRIAL_INTERVAL;
use crate::daemon::engines::reactions::ReactionTotals as _;
use crate::daemon::engines::reactions::conformance::totals;
use crate::daemon::testing::bus::TestBus;
use crate::daemon::testing::reactions::TestReactions;

const A: StreamId = StreamId(1);
const B: StreamId = StreamId(2);
const WINDOW: Duration = Duration::from_millis(500);
const LIKE: u16 = 0;
const HEART: u16 = 1;

struct Bench {
    store: Arc<TestReactions>,
    bus: Arc<TestBus>,
    reports: mpsc::Sender<Vec<ReactionCounts>>,
    stop: CancellationToken,
    metrics: Metrics,
    running: JoinHandle<()>,
}

fn start() -> Bench {
    let store = Arc::<TestReactions>::default();
    let bus = Arc::<TestBus>::default();
    let (reports, receiver) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let metrics = Metrics::default();
    let window = ReactionWindow::new(
        &ReactionsConfig::default(),
        store.clone(),
        Arc::new(Breaker::new("reaction totals")),
        bus.clone(),
        metrics.clone(),
    );
    let running = tokio::spawn(window.run(receiver, stop.clone()));
    Bench { store, bus, reports, stop, metrics, running }
}

fn published_totals(bus: &TestBus) -> Vec<(StreamId, Totals)> {
    let totals = |(stream_id, message)| match message {
        BusMessage::Reactions { totals } => (stream_id, totals),
        other => panic!("{other:?}"),
    };
    bus.take_published().into_iter().map(totals).collect()
}

impl Bench {
    async fn count(&self, stream_id: StreamId, counts: &[(u16, u32)]) {
        let report = vec![ReactionCounts { stream_id, counts: counts.to_vec() }];
        self.reports.send(report).await.unwrap();
    }

    /// Returns the totals published since the last call.
    fn published(&self) -> Vec<(StreamId, Totals)> {
        published_totals(&self.bus)
    }

    /// Waits until this many windows have ended.
    async fn windows(&self, number: u32) {
        tokio::time::sleep(WINDOW * number + Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_publishes_the_totals_that_changed() {
    let bench = start();
    bench.windows(0).await;
    bench.count(A, &[(LIKE, 2), (HEART, 1)]).await;
    bench.count(A, &[(LIKE, 3)]).await;
    bench.count(B, &[(HEART, 1), (LIKE, 0)]).await;
    tokio::time::sleep(WINDOW - Duration::from_millis(10)).await;
    assert_eq!(bench.published(), [], "the window has not ended");
    bench.windows(1).await;
    let first = [(A, totals(&[("heart", 1), ("like", 5)])), (B, totals(&[("heart", 1)]))];
    assert_eq!(bench.published(), first);
    bench.count(A, &[(LIKE, 1)]).await;
    bench.windows(1).await;
    assert_eq!(bench.published(), [(A, totals(&[("like", 6)]))], "only what changed");
    bench.windows(5).await;
    assert_eq!(bench.published(), [], "an empty window publishes nothing");
    assert_eq!(bench.metrics.reactions.get(), 8);
}

#[tokio::test(start_paused = true)]
async fn reactions_add_up_while_the_store_is_down() {
    let bench = start();
    bench.store.set_down(true);
    for _ in 0..10 {
        bench.count(A, &[(LIKE, 1)]).await;
        bench.windows(1).await;
    }
    assert_eq!(bench.published(), [], "counts that are not stored are not published");
    bench.store.set_down(false);
    tokio::time::sleep(TRIAL_INTERVAL + WINDOW).await;
    assert_eq!(bench.published(), [(A, totals(&[("like", 10)]))]);
}

#[tokio::test(start_paused = true)]
async fn unpublished_totals_go_with_the_next_window() {
    let bench = start();
    bench.bus.set_down(true);
    bench.count(A, &[(LIKE, 1), (HEART, 1)]).await;
    bench.windows(1).await;
    bench.count(A, &[(LIKE, 1)]).await;
    bench.windows(1).await;
    bench.bus.set_down(false);
    bench.windows(1).await;
    assert_eq!(bench.published(), [(A, totals(&[("heart", 1), ("like", 2)]))]);
}

#[tokio::test(start_paused = true)]
async fn stopping_flushes_what_was_received() {
    let bench = start();
    bench.windows(0).await;
    bench.count(A, &[(LIKE, 1)]).await;
    bench.count(A, &[(LIKE, 1)]).await;
    bench.stop.cancel();
    let stopped = tokio::time::Instant::now();
    bench.running.await.unwrap();
    assert_eq!(stopped.elapsed(), Duration::ZERO);
    assert_eq!(bench.store.totals(A).await.unwrap(), totals(&[("like", 2)]));
    assert_eq!(published_totals(&bench.bus), [(A, totals(&[("like", 2)]))]);
    assert!(bench.reports.send(Vec::new()).await.is_err(), "and takes no more");
}

#[tokio::test(start_paused = true)]
async fn it_flushes_when_every_worker_is_gone() {
    let bench = start();
    bench.count(B, &[(HEART, 4)]).await;
    drop(bench.reports);
    bench.running.await.unwrap();
    assert_eq!(bench.store.totals(B).await.unwrap(), totals(&[("heart", 4)]));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kind_is_not_counted() {
    let bench = start();
    bench.count(A, &[(99, 5), (LIKE, 1)]).await;
    bench.windows(1).await;
    assert_eq!(bench.published(), [(A, totals(&[("like", 1)]))]);
    assert_eq!(bench.metrics.reactions.get(), 1);
}
