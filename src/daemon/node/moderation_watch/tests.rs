//! The watch beside a registry and a log in memory.

use std::sync::Arc;

use super::*;
use crate::daemon::engines::eventlog::{EventLog as _, NewRecord, Position, StartAt, Topic};
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
use crate::daemon::engines::registry::conformance::report;
use crate::daemon::testing::event_log::InMemoryLog;
use crate::daemon::testing::registry::TestRegistry;
use crate::protocol::NodeId;
use crate::protocol::admin::Problem;

struct Bench {
    watch: ModerationWatch,
    registry: Arc<TestRegistry>,
    log: InMemoryLog,
    breaker: Arc<Breaker>,
}

impl Bench {
    /// An edge beside the node `b`. Stream 1 passes comments, stream 2 holds them, 3 is checked
    /// before publication, and so is 4, which passes late comments unless moderation is down.
    async fn new() -> Self {
        let metadata = InMemoryMetadata::default();
        metadata.put_stream(stream(1, ModerationMode::Async));
        let mut holds = stream(2, ModerationMode::Async);
        holds.room.checks.down = WhenDown::Hold;
        metadata.put_stream(holds);
        metadata.put_stream(stream(3, ModerationMode::Sync));
        let mut passes_late = stream(4, ModerationMode::Sync);
        passes_late.room.checks.late = WhenLate::Pass;
        passes_late.room.checks.down = WhenDown::Hold;
        metadata.put_stream(passes_late);
        let registry = Arc::new(TestRegistry::new("a", &["b"]));
        let log = InMemoryLog::shaped(1, 0);
        let breaker = Arc::new(Breaker::new("metadata"));
        let watch = ModerationWatch {
            is_moderator: false,
            is_edge: true,
            registry: registry.clone(),
            log: Arc::new(log.clone()),
            streams: Streams::load(Arc::new(metadata)).await.unwrap(),
            state: ModerationState::default(),
            problems: Problems::default(),
            metadata: MetadataOutage::new(breaker.clone()),
            down_after: Duration::from_secs(10),
        };
        Self { watch, registry, log, breaker }
    }

    fn start_moderator(&self) {
        self.report_moderator(Vec::new());
    }

    fn report_moderator(&self, problems: Vec<Problem>) {
        let mut of_b: NodeReport = report(&NodeId::new("b"));
        of_b.node.roles = vec!["moderator".to_owned()];
        of_b.problems = problems;
        self.registry.set_report("b", of_b);
    }

    /// Returns the text of the problem after a look.
    async fn look(&self) -> Option<String> {
        self.watch.look().await;
        let problem = self.watch.problems.list().pop().map(|problem| problem.text);
        assert_eq!(problem.is_some(), self.watch.state.is_down());
        problem
    }
}

#[tokio::test]
async fn without_a_moderator_each_room_is_named() {
    let bench = Bench::new().await;
    let text = bench.look().await.unwrap();
    let effect = "comments of stream 2 are held for review, comments of stream 1 are shown \
                  unchecked, late comments of stream 4 are held for review; ";
    assert!(text.starts_with(effect), "{text}");
    assert!(text.contains("no node with the role moderator runs"), "{text}");
    bench.start_moderator();
    assert_eq!(bench.look().await, None);
    let itself = ModerationWatch { is_moderator: true, ..Bench::new().await.watch };
    itself.look().await;
    assert!(!itself.state.is_down());
}

#[tokio::test(start_paused = true)]
async fn a_moderator_that_is_behind_counts_as_down() {
    let bench = Bench::new().await;
    bench.start_moderator();
    let group = ConsumerGroup::Moderator;
    let mut consumer =
        bench.log.consume(Topic::CommentEvents, group, StartAt::Earliest).await.unwrap();
    consumer.poll(1, Duration::ZERO).await.unwrap();
    // A record of 1970, which nobody has read.
    let old = NewRecord { key: 1, timestamp_ms: 5, payload: vec![1].into() };
    let at = bench.log.append(Topic::CommentEvents, vec![old]).await.unwrap()[0];
    consumer.commit(&[at]).await.unwrap();
    bench.breaker.open(&"down");
    assert_eq!(bench.look().await, None, "its position waits for the metadata store");
    bench.breaker.succeeded();
    assert_eq!(bench.look().await, None, "it moves soon");
    tokio::time::sleep(CATCH_UP).await;
    assert!(bench.look().await.unwrap().contains("more than 10s behind"));
    let next = Position { offset: at.offset + 1, ..at };
    consumer.commit(&[next]).await.unwrap();
    assert_eq!(bench.look().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_moderator_is_down_on_every_node() {
    let stopping =
        ModerationWatch { is_moderator: true, is_edge: false, ..Bench::new().await.watch };
    let stopped = stopping.state.stop_worker();
    stopping.look().await;
    assert!(stopping.state.is_down());
    let bench = Bench::new().await;
    bench.breaker.open(&"down");
    bench.report_moderator(stopping.problems.list());
    let text = bench.look().await.expect("an outage of the metadata store does not hide it");
    assert!(text.contains("comments of stream 2 are held for review"), "{text}");
    assert!(text.contains("a moderator waits for the metadata store"), "{text}");
    drop(stopped);
    stopping.look().await;
    assert!(!stopping.state.is_down());
    bench.report_moderator(stopping.problems.list());
    assert_eq!(bench.look().await, None, "it checks again");
}

#[test]
fn many_streams_are_counted() {
    let ids: Vec<_> = (1..=8).map(StreamId).collect();
    assert_eq!(streams_text(&ids[..0]), None);
    assert_eq!(streams_text(&ids[..1]).unwrap(), "stream 1");
    assert_eq!(streams_text(&ids[..2]).unwrap(), "streams 1, 2");
    assert_eq!(streams_text(&ids).unwrap(), "streams 1, 2, 3, 4, 5 and 3 more");
}
