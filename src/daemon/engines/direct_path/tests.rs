use super::*;
use crate::daemon::base::clock::TokioClock;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::bus::conformance::{self, BusUnderTest, number};
use crate::daemon::engines::bus::in_process::InProcessBus;
use crate::daemon::engines::bus::{BusEvent, BusListener, FanoutBus as _};
use crate::daemon::engines::eventlog::EventLog as _;
use crate::daemon::engines::registry::ConnectionRegistry as _;
use crate::daemon::engines::registry::conformance::RecordingHandler;
use crate::daemon::engines::registry::in_process::InProcessRegistry;
use crate::daemon::testing::bus::TestBus;
use crate::daemon::testing::event_log::InMemoryLog;
use crate::protocol::admin::BreakerState;
use crate::protocol::{CloseCode, UserId};

const STREAM: StreamId = StreamId(7);

/// Starts the direct path of a node. It follows the log when this returns.
async fn path(log: &InMemoryLog, node: &str) -> (Arc<DirectPath>, CancellationToken) {
    let clock = Arc::new(TokioClock::starting_at(Duration::from_secs(1_700_000_000)));
    let path = DirectPath::new(NodeId::new(node), Arc::new(log.clone()), clock, Counter::default());
    let stop = CancellationToken::new();
    tokio::spawn(path.clone().run(stop.clone()));
    // The clock of these tests advances only when every task waits.
    tokio::time::sleep(Duration::from_millis(1)).await;
    (path, stop)
}

async fn heard(listener: &mut Box<dyn BusListener>) -> BusEvent {
    timeout(Duration::from_secs(60), listener.receive()).await.expect("in time").unwrap()
}

#[tokio::test(start_paused = true)]
async fn messages_use_the_log_while_the_bus_is_down() {
    let log = InMemoryLog::new();
    let bus = Arc::<TestBus>::default();
    let breaker = Arc::new(Breaker::new("fan-out bus"));
    let (edge, _stop) = path(&log, "edge").await;
    let (coordinator, _stop) = path(&log, "coordinator").await;
    let at_edge = FallbackBus::new(bus.clone(), edge, &Arc::new(Breaker::new("fan-out bus")));
    let at_coordinator = FallbackBus::new(bus.clone(), coordinator, &breaker);
    let (subscriptions, mut listener) = at_edge.listen(&NodeId::new("edge")).await.unwrap();
    subscriptions.subscribe(STREAM).await.unwrap();

    at_coordinator.publish(STREAM, vec![number(1)]).await.unwrap();
    assert_eq!(heard(&mut listener).await, BusEvent::Message(STREAM, number(1)));
    assert_eq!(
        log.bounds(Topic::WsMessages, 0).await.unwrap().end,
        1,
        "nothing went through the log"
    );

    bus.set_down(true);
    at_coordinator.publish(STREAM, vec![number(2), number(3)]).await.unwrap();
    assert_eq!(heard(&mut listener).await, BusEvent::Message(STREAM, number(2)));
    assert_eq!(heard(&mut listener).await, BusEvent::Message(STREAM, number(3)));
    assert_eq!(breaker.state(), BreakerState::Open);

    bus.set_down(false);
    at_coordinator.publish(STREAM, vec![number(4)]).await.unwrap();
    assert_eq!(heard(&mut listener).await, BusEvent::Message(STREAM, number(4)));
    assert_eq!(breaker.state(), BreakerState::Open, "still in its fallback period");
    tokio::time::advance(AFTER_FALLBACK).await;
    at_coordinator.publish(STREAM, vec![number(5)]).await.unwrap();
    assert_eq!(heard(&mut listener).await, BusEvent::Message(STREAM, number(5)));
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(listener.lost(), 0);
}

const AFTER_FALLBACK: Duration = Duration::from_secs(2);

mod fallback_bus {
    use super::*;

    async fn open() -> (BusUnderTest, ()) {
        let clock = Arc::new(TokioClock::starting_at(Duration::from_secs(1)));
        let log = Arc::new(InMemoryLog::new());
        let direct = DirectPath::new(NodeId::new("n"), log, clock, Counter::default());
        let breaker = Arc::new(Breaker::new("fan-out bus"));
        let bus = FallbackBus::new(Arc::new(InProcessBus::new(64)), direct, &breaker);
        (BusUnderTest { bus: Arc::new(bus), capacity: 64 }, ())
    }

    conformance::bus_suite!(open());
}

/// Creates the registry of `node`, which reaches no other node.
fn registry(
    node: &str,
    direct: Arc<DirectPath>,
    endpoint: &Arc<RecordingHandler>,
) -> FallbackRegistry {
    let alone = InProcessRegistry::new(NodeId::new(node));
    let registry = FallbackRegistry::new(Arc::new(alone), direct);
    registry.set_command_handler(endpoint.clone());
    registry
}

#[tokio::test(start_paused = true)]
async fn undeliverable_command_reaches_only_its_node() {
    let log = InMemoryLog::new();
    let endpoints: Vec<_> = (0..3).map(|_| Arc::new(RecordingHandler::default())).collect();
    let mut registries = Vec::new();
    let mut stops = Vec::new();
    for (name, endpoint) in ["a", "b", "c"].into_iter().zip(&endpoints) {
        let (path, stop) = path(&log, name).await;
        registries.push(registry(name, path, endpoint));
        stops.push(stop);
    }
    let command =
        NodeCommand::Disconnect { user_id: UserId(5), stream_id: None, code: CloseCode::Banned };
    let answer = registries[0].command(&NodeId::new("b"), command.clone()).await;
    assert_eq!(answer.unwrap(), 3, "as its handler answers");
    assert_eq!(endpoints[1].commands(), std::slice::from_ref(&command));
    assert!(endpoints[0].commands().is_empty() && endpoints[2].commands().is_empty());

    // Its answer would come with a report, which does not arrive either.
    let useless = NodeCommand::ReportTalkers { stream_id: STREAM };
    let answer = registries[0].command(&NodeId::new("b"), useless).await;
    assert!(matches!(answer, Err(RegistryError::Unreachable(_))), "{answer:?}");
    assert_eq!(endpoints[1].commands().len(), 1, "it is not sent through the log");

    stops[2].cancel();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let answer = registries[0].command(&NodeId::new("c"), command).await;
    assert!(matches!(answer, Err(RegistryError::Unreachable(node)) if node.as_str() == "c"));
}

#[tokio::test(start_paused = true)]
async fn a_node_cut_off_from_the_bus_is_served_at_once() {
    let log = InMemoryLog::new();
    let edge_bus = Arc::<TestBus>::default();
    let other_bus = Arc::<TestBus>::default();
    let breaker = Arc::new(Breaker::new("fan-out bus"));
    let (edge, _stop) = path(&log, "edge").await;
    let (other, _stop) = path(&log, "other").await;
    let (coordinator, _stop) = path(&log, "coordinator").await;
    // The edge's bus is not the one on which the coordinator publishes: nothing arrives there.
    let at_edge = FallbackBus::new(edge_bus.clone(), edge, &breaker);
    let shown = Arc::new(Breaker::new("fan-out bus"));
    let at_other = FallbackBus::new(other_bus.clone(), other, &shown);
    let at_coordinator = FallbackBus::new(other_bus, coordinator, &shown);
    let (subscriptions, mut cut_off) = at_edge.listen(&NodeId::new("edge")).await.unwrap();
    subscriptions.subscribe(STREAM).await.unwrap();
    let (subscriptions, mut healthy) = at_other.listen(&NodeId::new("other")).await.unwrap();
    subscriptions.subscribe(STREAM).await.unwrap();

    edge_bus.report_outage(BusEvent::Interrupted);
    assert_eq!(heard(&mut cut_off).await, BusEvent::Interrupted);
    assert_eq!(breaker.state(), BreakerState::Open);
    at_edge.publish(STREAM, vec![number(7)]).await.unwrap();
    assert_eq!(heard(&mut cut_off).await, BusEvent::Message(STREAM, number(7)));
    assert_eq!(breaker.state(), BreakerState::Open, "publishing does not close the other half");

    // Receiving is what tells the publishers; then they send what follows on both ways.
    let told = timeout(Duration::from_millis(10), cut_off.receive()).await;
    assert!(told.is_err(), "nothing was published meanwhile");
    let welcome = BusMessage::Announcement { message: "welcome".into() };
    at_coordinator.publish(STREAM, vec![number(1), welcome.clone()]).await.unwrap();
    for listener in [&mut cut_off, &mut healthy] {
        assert_eq!(heard(listener).await, BusEvent::Message(STREAM, number(1)));
        assert_eq!(heard(listener).await, BusEvent::Message(STREAM, welcome.clone()));
    }
    let again = timeout(Duration::from_millis(10), healthy.receive()).await;
    assert!(again.is_err(), "the others receive it once: {again:?}");
    assert_eq!(shown.state(), BreakerState::Closed, "their bus works");

    edge_bus.report_outage(BusEvent::Restored);
    assert_eq!(heard(&mut cut_off).await, BusEvent::Restored);
    assert_eq!(breaker.state(), BreakerState::Closed);
    tokio::time::advance(CUT_OFF_FOR).await;
    let before = log.bounds(Topic::WsMessages, 0).await.unwrap().end;
    at_coordinator.publish(STREAM, vec![number(2)]).await.unwrap();
    let after = log.bounds(Topic::WsMessages, 0).await.unwrap().end;
    assert_eq!(after, before, "the detour ends with the outage");
}

#[tokio::test(start_paused = true)]
async fn a_slow_log_delays_only_the_nodes_that_need_it() {
    let log = InMemoryLog::new();
    log.fall_silent();
    let (direct, _stop) = path(&log, "coordinator").await;
    let bus = Arc::<TestBus>::default();
    let breaker = Arc::new(Breaker::new("fan-out bus"));
    let fallback = FallbackBus::new(bus.clone(), direct.clone(), &breaker);
    direct.cut_off.lock().insert(NodeId::new("edge"), Instant::now());
    let publish = async |n| {
        let published = fallback.publish(STREAM, vec![number(n)]);
        timeout(Duration::from_secs(1), published).await.expect("at once").unwrap();
        direct.cut_off.lock().insert(NodeId::new("edge"), Instant::now());
    };
    publish(0).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(log.appends(Topic::WsMessages), [1], "sent to the node that needs it");
    let mut sent = 1;
    while direct.sender.dropped() == 0 {
        publish(sent).await;
        sent += 1;
        assert!(sent < 10_000, "the queue has an end");
    }
    assert_eq!(log.appends(Topic::WsMessages), [1], "one append at a time");
    bus.set_down(true);
    let published = timeout(Duration::from_secs(1), fallback.publish(STREAM, vec![number(4)]));
    assert!(published.await.is_err(), "only the log has it, so its answer decides");
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_does_not_keep_the_breaker_open() {
    let log = InMemoryLog::new();
    let bus = Arc::<TestBus>::default();
    let breaker = Arc::new(Breaker::new("fan-out bus"));
    let (direct, _stop) = path(&log, "coordinator").await;
    let fallback = FallbackBus::new(bus.clone(), direct, &breaker);
    bus.set_down(true);
    fallback.publish(STREAM, vec![number(1)]).await.unwrap();
    assert_eq!(breaker.state(), BreakerState::Open);
    bus.set_down(false);
    fallback.probe().await.unwrap();
    assert_eq!(breaker.state(), BreakerState::Open, "the stream may be about to try again");
    tokio::time::advance(AFTER_FALLBACK).await;
    fallback.probe().await.unwrap();
    assert_eq!(breaker.state(), BreakerState::Closed, "all servers accept messages");
}

#[tokio::test(start_paused = true)]
async fn an_announcement_on_both_paths_is_shown_once() {
    let log = InMemoryLog::new();
    let bus = Arc::<TestBus>::default();
    let (direct, _stop) = path(&log, "edge").await;
    let breaker = Arc::new(Breaker::new("fan-out bus"));
    let both = FallbackBus::new(bus.clone(), direct.clone(), &breaker);
    let (subscriptions, mut listener) = both.listen(&NodeId::new("edge")).await.unwrap();
    subscriptions.subscribe(STREAM).await.unwrap();
    let hello = BusMessage::Announcement { message: "hello".into() };
    for _ in 0..2 {
        // Said twice by the operator, each time on both paths.
        direct.publish(STREAM, vec![hello.clone()]).await.unwrap();
        assert_eq!(heard(&mut listener).await, BusEvent::Message(STREAM, hello.clone()));
        both.publish(STREAM, vec![hello.clone()]).await.unwrap();
        let again = timeout(Duration::from_millis(10), listener.receive()).await;
        assert!(again.is_err(), "{again:?}");
    }
}
