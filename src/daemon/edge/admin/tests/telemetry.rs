//! Rates, stages, the bus and the timeline over the socket.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::daemon::base::telemetry::StoreAbout;
use crate::daemon::base::telemetry::timeline::{Timeline, TimelineFrame};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::registry::ConnectionRegistry as _;
use crate::daemon::engines::timeline::TimelineBlocks;

/// Blocks in memory, behind a switch.
#[derive(Debug, Default)]
struct BlocksInMemory {
    stored: Mutex<BTreeMap<u64, Vec<u8>>>,
    is_down: AtomicBool,
}

impl BlocksInMemory {
    fn check(&self) -> Result<(), StoreError> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("down".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl TimelineBlocks for BlocksInMemory {
    async fn put(&self, interval: u64, block: Vec<u8>) -> Result<(), StoreError> {
        self.check()?;
        self.stored.lock().insert(interval, block);
        Ok(())
    }

    async fn get(&self, intervals: Range<u64>) -> Result<Vec<Vec<u8>>, StoreError> {
        self.check()?;
        Ok(self.stored.lock().range(intervals).map(|(_, block)| block.clone()).collect())
    }
}

/// Fills a timeline with so many seconds before `until_s`.
fn fill(timeline: &Timeline, until_s: u64, seconds: u64) {
    for second in until_s - seconds..until_s {
        let cluster = [("received".to_owned(), 24.0)].into_iter().collect();
        timeline.add(&TimelineFrame { second, cluster, ..TimelineFrame::default() });
    }
}

#[tokio::test]
async fn a_node_answers_from_the_keepers_blocks() {
    let blocks = Arc::new(BlocksInMemory::default());
    let served = Served::with_timeline(blocks.clone()).await;
    let now_s = served.world.control.parts().clock.now_ms() / 1_000;
    let keeper = Timeline::default();
    fill(&keeper, now_s, 60);
    for interval in now_s / 10 - 5..now_s / 10 {
        if let Some(block) = keeper.block(interval) {
            blocks.put(interval, block).await.unwrap();
        }
    }
    let from = (now_s - 40) * 1_000;
    let path = format!("/v1/timeline?series=received,no-such&step=10000&from={from}");
    let answer: TimelineAnswer = served.get(&path).await;
    assert!(answer.whole_cluster, "{answer:?}");
    assert_eq!((answer.node.as_str(), answer.step_ms, answer.series.len()), ("a", 10_000, 1));
    let known: Vec<f64> = answer.series[0].average.iter().flatten().copied().collect();
    assert!(known.len() >= 3 && known.iter().all(|rate| (rate - 24.0).abs() < 0.1), "{answer:?}");
    blocks.is_down.store(true, Ordering::Relaxed);
    let later = format!("/v1/timeline?series=received&from={}", (now_s - 3) * 1_000);
    // Everything up to now is read already, so another node is asked.
    let other = Served::with_timeline(blocks).await;
    fill(other.world.board.telemetry().timeline(), now_s, 3);
    let answer: TimelineAnswer = other.get(&later).await;
    assert!(!answer.whole_cluster, "its own figures, and it says so: {answer:?}");
    assert!(answer.series[0].average[0].is_some(), "{answer:?}");
}

#[tokio::test]
async fn a_wrong_time_is_refused() {
    let served = Served::new().await;
    let now_ms = served.world.control.parts().clock.now_ms();
    for query in [
        "from=5".to_owned(),
        format!("series=received&from={now_ms}&to=5"),
        "series=received&step=10".to_owned(),
        "series=received&until=5".to_owned(),
    ] {
        let path = format!("/v1/timeline?{query}");
        let (status, _) = served.send("GET", &path, "").await.whole().await;
        assert_eq!(status, 400, "{query}");
    }
}

#[tokio::test]
async fn the_bus_is_shown_with_the_nodes_it_fails() {
    let served = Served::new().await;
    let shard = BusShard {
        shard: 2,
        messages_per_second: 3.0,
        bytes_per_second: 300.0,
        messages: 30,
        bytes: 3_000,
        subscribers: 4,
        nodes: Vec::new(),
    };
    let silent = BusNode {
        state: BusNodeState::Fails,
        error: Some("broken pipe".to_owned()),
        ..BusNode::new("redis-2:6379".to_owned())
    };
    let works = BusNode { shards: vec![shard], ..BusNode::new("redis-1:6379".to_owned()) };
    served.world.bus.set_servers(vec![works, silent]);
    let bus: Cluster<BusNode> = served.get("/v1/bus").await;
    assert_eq!(bus.items[0].shards[0].nodes, [NodeId::new("a")]);
    assert!(bus.items[0].fails_for.is_empty());
    assert_eq!(bus.items[1].fails_for, [NodeId::new("a")]);
    assert_eq!(bus.items[1].error.as_deref(), Some("broken pipe"));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_bus_is_reported_out_of_turn() {
    let served = Served::new().await;
    let stop = CancellationToken::new();
    let reporter = served.reporter.clone();
    let until = stop.clone();
    let reporting = tokio::spawn(async move { reporter.run(until).await });
    let reported = async || {
        let known = served.world.registry.nodes().await.unwrap();
        let report = known.into_iter().find_map(|node| node.report).expect("a has reported");
        report.bus.iter().map(|server| server.fails_for.len()).sum::<usize>()
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(reported().await, 0);
    let failing =
        |address: &str| BusNode { state: BusNodeState::Fails, ..BusNode::new(address.to_owned()) };
    served.world.bus.set_servers(vec![failing("redis-1:6379")]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    // A further change does not put the report off.
    served.world.bus.set_servers(vec![failing("redis-1:6379"), failing("redis-2:6379")]);
    assert_eq!(reported().await, 0);
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(reported().await, 2, "the next one in turn is due after 550 ms more");
    stop.cancel();
    reporting.await.unwrap();
}

#[tokio::test]
async fn a_snapshot_has_rates_from_the_first_on() {
    let served = Served::new().await;
    let board = &served.world.board;
    board.telemetry().set_started_at(77);
    board.telemetry().stage(StageName::Log).pass(1, Duration::from_millis(4));
    board.sample(Path::new("/"));
    board.metrics().comments_accepted.inc_by(500);
    board.telemetry().add_worker().end_to_end.record(Duration::from_millis(20), 30);
    tokio::time::sleep(Duration::from_millis(50)).await;
    board.sample(Path::new("/"));
    let first: TopSnapshot = served.send("GET", "/v1/top", "").await.line().await.unwrap();
    assert!((1.0..=10_000.0).contains(&first.rates.accepted), "{:?}", first.rates);
    assert_eq!(first.rates.delivered, 0.0);
    let told = AlertThresholds { lag_growing_ms: 7_000, ..AlertThresholds::DEFAULT };
    assert_eq!(first.thresholds, told, "those of the configuration");
    assert_eq!((first.stages[0].name, first.stages[0].nodes), (StageName::Log, 1));
    let p50 = first.end_to_end.quantile_ms(0.5).unwrap();
    assert!((19.0..21.0).contains(&p50), "{p50}");
    let process = &first.nodes[0].process;
    assert_eq!(process.started_at, 77);
    assert!(process.rss_bytes.is_some() && process.cpu.is_some(), "{process:?}");
}

#[tokio::test]
async fn stores_are_shown_with_their_breakers() {
    let served = Served::new().await;
    let board = &served.world.board;
    let meter = board.telemetry().store("comment store");
    meter.set_about(StoreAbout { engine: "sqlite".into(), address: "comments.db".into() });
    board.sample(Path::new("/"));
    meter.begin().end(false);
    meter.begin().end(true);
    board.add_breaker("comment store").open(&"the disk is full");
    board.sample(Path::new("/"));
    let stores: Cluster<StoreStatus> = served.get("/v1/stores").await;
    let [store] = &stores.items[..] else { panic!("{stores:?}") };
    assert_eq!((store.contract.as_str(), store.engine.as_str()), ("comment store", "sqlite"));
    assert_eq!((store.nodes, store.calls, store.failed), (1, 2, 1));
    assert_eq!((store.latency.count(), store.state()), (1, "fails"));
    assert_eq!(stores.unreachable.len(), 2, "b and c sent no report");
    let first: TopSnapshot = served.send("GET", "/v1/top", "").await.line().await.unwrap();
    assert_eq!(first.stores.len(), 1);
}

#[tokio::test]
async fn readers_of_top_share_a_snapshot() {
    let served = Served::new().await;
    let before = served.world.metadata.calls();
    let read =
        async || served.send("GET", "/v1/top", "").await.line::<TopSnapshot>().await.unwrap();
    let read = futures_util::future::join_all((0..20).map(|_| read())).await;
    assert_eq!(read.len(), 20);
    // One, and more only if this machine takes seconds for twenty requests.
    let calls = served.world.metadata.calls() - before;
    assert!((1..=5).contains(&calls), "{calls} for 20 readers");
}

#[tokio::test]
async fn each_reload_is_one_event() {
    let served = Served::new().await;
    served.world.board.reloads().record("reload of moderation.rules: 2 words".to_owned());
    for _ in 0..2 {
        let report = served.reporter.0.report();
        served.reporter.0.record_differences(&report);
    }
    let events: Cluster<EventItem> = served.get("/v1/events?where=kind%3Dnode").await;
    let [event] = &events.items[..] else { panic!("{events:?}") };
    assert_eq!((&*event.subject, &*event.text), ("a", "reload of moderation.rules: 2 words"));
}
