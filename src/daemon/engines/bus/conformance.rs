//! The promises of every engine of [`super::FanoutBus`]. `bus_suite!(open())` tests an engine
//! against them; see [`crate::daemon::testing::engine_suite`]. Engines differ in how long a message
//! takes, so no test expects one at once, and the absence of a message is shown by a later message
//! that arrives.

use std::sync::Arc;
use std::time::Duration;

use super::{BusEvent, BusListener, BusMessage, SharedBus};
use crate::protocol::admin::BusNodeState;
use crate::protocol::{NodeId, StreamId};

const PATIENCE: Duration = Duration::from_secs(10);
const A: StreamId = StreamId(901);
const B: StreamId = StreamId(902);

macro_rules! bus_suite {
    ($($engine:tt)*) => {
        $crate::daemon::testing::engine_suite! {
            engine: [$($engine)*],
            promises: [$crate::daemon::engines::bus::conformance],
                messages_arrive_in_order_at_every_subscriber,
                a_listener_receives_only_its_streams,
                subscribing_takes_effect_before_it_returns,
                subscribing_twice_delivers_once,
                unsubscribing_ends_only_one_listener,
                publishing_to_nobody_is_fine,
                receiving_is_cancel_safe,
                a_slow_listener_delays_nobody,
                servers_that_answer_are_told_once_sampled,
        }
    };
}
pub(crate) use bus_suite;

/// The bus under test, unused so far.
pub(crate) struct BusUnderTest {
    pub(crate) bus: SharedBus,
    /// The messages that a listener holds.
    pub(crate) capacity: usize,
}

fn node(name: &str) -> NodeId {
    NodeId::new(name)
}

/// Returns a message that carries a number.
pub(crate) fn number(number: u64) -> BusMessage {
    BusMessage::Reactions { totals: [("number".into(), number)].into() }
}

async fn next(listener: &mut Box<dyn BusListener>) -> (StreamId, BusMessage) {
    let received = tokio::time::timeout(PATIENCE, listener.receive()).await;
    match received.expect("a message comes in time").expect("the bus is open") {
        BusEvent::Message(stream_id, message) => (stream_id, message),
        other => panic!("a message was expected, not {other:?}"),
    }
}

async fn publish(bus: &SharedBus, stream_id: StreamId, numbers: impl Iterator<Item = u64>) {
    bus.publish(stream_id, numbers.map(number).collect()).await.expect("the bus is open");
}

pub(crate) async fn messages_arrive_in_order_at_every_subscriber(
    BusUnderTest { bus, .. }: &BusUnderTest,
) {
    let (subscriptions, mut first) = bus.listen(&node("first")).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    let (subscriptions, mut second) = bus.listen(&node("second")).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    let announcement = BusMessage::Announcement { message: Arc::from("hello") };
    publish(bus, A, 0..10).await;
    publish(bus, A, 10..20).await;
    bus.publish(A, vec![announcement.clone(), BusMessage::Ended]).await.unwrap();
    for listener in [&mut first, &mut second] {
        for n in 0..20 {
            assert_eq!(next(listener).await, (A, number(n)));
        }
        assert_eq!(next(listener).await, (A, announcement.clone()));
        assert_eq!(next(listener).await, (A, BusMessage::Ended));
        assert_eq!(listener.lost(), 0);
    }
}

pub(crate) async fn a_listener_receives_only_its_streams(BusUnderTest { bus, .. }: &BusUnderTest) {
    let (subscriptions, mut listener) = bus.listen(&node("n")).await.unwrap();
    publish(bus, A, 0..1).await;
    subscriptions.subscribe(A).await.unwrap();
    publish(bus, B, 1..2).await;
    publish(bus, A, 2..3).await;
    assert_eq!(next(&mut listener).await, (A, number(2)));
    subscriptions.subscribe(B).await.unwrap();
    publish(bus, B, 3..4).await;
    assert_eq!(next(&mut listener).await, (B, number(3)));
}

pub(crate) async fn subscribing_takes_effect_before_it_returns(
    BusUnderTest { bus, .. }: &BusUnderTest,
) {
    let (subscriptions, mut listener) = bus.listen(&node("n")).await.unwrap();
    for n in 0..20 {
        let stream_id = StreamId(1000 + n);
        subscriptions.subscribe(stream_id).await.unwrap();
        publish(bus, stream_id, n..n + 1).await;
        assert_eq!(next(&mut listener).await, (stream_id, number(n)));
    }
}

pub(crate) async fn subscribing_twice_delivers_once(BusUnderTest { bus, .. }: &BusUnderTest) {
    let (subscriptions, mut listener) = bus.listen(&node("n")).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    publish(bus, A, 0..3).await;
    for n in 0..3 {
        assert_eq!(next(&mut listener).await, (A, number(n)));
    }
}

pub(crate) async fn unsubscribing_ends_only_one_listener(BusUnderTest { bus, .. }: &BusUnderTest) {
    let (leaving, mut left) = bus.listen(&node("left")).await.unwrap();
    let (staying, mut stayed) = bus.listen(&node("stayed")).await.unwrap();
    leaving.subscribe(A).await.unwrap();
    leaving.subscribe(B).await.unwrap();
    staying.subscribe(A).await.unwrap();
    leaving.unsubscribe(A).await.unwrap();
    leaving.unsubscribe(A).await.unwrap();
    publish(bus, A, 1..2).await;
    publish(bus, B, 2..3).await;
    assert_eq!(next(&mut left).await, (B, number(2)));
    assert_eq!(next(&mut stayed).await, (A, number(1)));
    leaving.subscribe(A).await.unwrap();
    publish(bus, A, 3..4).await;
    assert_eq!(next(&mut left).await, (A, number(3)));
}

pub(crate) async fn publishing_to_nobody_is_fine(BusUnderTest { bus, .. }: &BusUnderTest) {
    publish(bus, A, 0..100).await;
    bus.publish(A, Vec::new()).await.unwrap();
}

pub(crate) async fn receiving_is_cancel_safe(BusUnderTest { bus, .. }: &BusUnderTest) {
    let (subscriptions, mut listener) = bus.listen(&node("n")).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    for n in 0..10 {
        let impatient = tokio::time::timeout(Duration::ZERO, listener.receive()).await;
        assert!(impatient.is_err(), "nothing was published yet");
        publish(bus, A, n..n + 1).await;
        assert_eq!(next(&mut listener).await, (A, number(n)));
    }
}

pub(crate) async fn a_slow_listener_delays_nobody(BusUnderTest { bus, capacity }: &BusUnderTest) {
    let (subscriptions, mut slow) = bus.listen(&node("slow")).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    let (subscriptions, mut quick) = bus.listen(&node("quick")).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    let total = *capacity as u64 * 4;
    for n in 0..total {
        publish(bus, A, n..n + 1).await;
        assert_eq!(next(&mut quick).await, (A, number(n)));
    }
    let mut received = Vec::new();
    while received.len() as u64 + slow.lost() < total {
        let (_, BusMessage::Reactions { totals }) = next(&mut slow).await else {
            panic!("only numbers were published")
        };
        received.extend(totals.into_values());
    }
    assert!(slow.lost() >= total - 2 * *capacity as u64, "lost {}", slow.lost());
    assert!(received.windows(2).all(|pair| pair[0] < pair[1]), "in order: {received:?}");
    assert_eq!(quick.lost(), 0);
}

pub(crate) async fn servers_that_answer_are_told_once_sampled(
    BusUnderTest { bus, .. }: &BusUnderTest,
) {
    let (subscriptions, _listener) = bus.listen(&node("n")).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    bus.sample().await;
    let servers = bus.servers();
    assert!(!servers.is_empty());
    assert!(servers.iter().all(|server| server.state == BusNodeState::Works), "{servers:?}");
    let changed = tokio::time::timeout(Duration::from_millis(50), bus.servers_changed()).await;
    assert!(changed.is_err(), "nothing has changed");
}
