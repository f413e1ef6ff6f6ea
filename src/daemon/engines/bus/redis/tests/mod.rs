//! Tests on the shared servers, and on private servers that they may break.

mod outages;
mod rates;

use std::time::{Duration, Instant};

use super::*;
use crate::daemon::engines::bus::conformance::{self, BusUnderTest, number};
use crate::daemon::testing::redis_server::{PATIENCE, RedisServer, SHORT_TIMEOUT, config_of};
use crate::daemon::testing::stack;
use crate::protocol::admin::BusNodeState;

const A: StreamId = StreamId(1);
const CAPACITY: usize = 64;

fn open(config: &RedisConfig) -> RedisBus {
    RedisBus::new(RedisNodes::open(config).unwrap(), config).unwrap()
}

fn on_stack(urls: &[String]) -> RedisConfig {
    RedisConfig {
        nodes: urls.to_vec(),
        prefix: format!("{}:", stack::unique("bus")),
        listener_messages: CAPACITY,
        ..RedisConfig::default()
    }
}

async fn next(listener: &mut Box<dyn BusListener>) -> BusEvent {
    let received = tokio::time::timeout(PATIENCE, listener.receive()).await;
    received.expect("an event arrives in time").expect("the bus is open")
}

async fn on_nodes(count: usize) -> (BusUnderTest, ()) {
    let bus = Arc::new(open(&on_stack(&stack::redis()[..count])));
    (BusUnderTest { bus, capacity: CAPACITY }, ())
}

mod on_one_node {
    use super::*;

    conformance::bus_suite!(
        #[ignore = "needs scripts/stack up"]
        on_nodes(1)
    );
}

mod on_three_nodes {
    use super::*;

    conformance::bus_suite!(
        #[ignore = "needs scripts/stack up"]
        on_nodes(3)
    );
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn edges_on_all_shards_receive_a_stream() {
    let config = on_stack(&stack::redis());
    let mut listeners = Vec::new();
    for edge in 0..24 {
        // Each with a bus of its own, as in processes of their own.
        let bus = open(&config);
        let (subscriptions, listener) =
            bus.listen(&NodeId::new(&format!("edge-{edge}"))).await.unwrap();
        subscriptions.subscribe(A).await.unwrap();
        listeners.push((bus, listener));
    }
    let coordinator = open(&config);
    for n in 0..20 {
        coordinator.publish(A, vec![number(2 * n), number(2 * n + 1)]).await.unwrap();
    }
    for (_, listener) in &mut listeners {
        for n in 0..40 {
            assert_eq!(next(listener).await, BusEvent::Message(A, number(n)));
        }
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn only_shards_with_listeners_are_published_to() {
    let server = RedisServer::start().await;
    let bus = open(&config_of(&[&server], SHORT_TIMEOUT));
    bus.publish(A, vec![number(1)]).await.unwrap();
    assert_eq!(server.calls("publish").await, 0, "nobody listens");
    let (subscriptions, mut listener) = bus.listen(&NodeId::new("edge")).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    bus.publish(A, vec![number(2)]).await.unwrap();
    bus.publish(StreamId(2), vec![number(3)]).await.unwrap();
    assert_eq!(next(&mut listener).await, BusEvent::Message(A, number(2)));
    assert_eq!(server.calls("publish").await, 1, "one shard of eight has a listener");
    assert_eq!(server.calls("eval").await, 3, "one call to a node for a publication");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn the_load_of_each_shard_is_known() {
    let servers = [RedisServer::start().await, RedisServer::start().await];
    let bus = open(&config_of(&[&servers[0], &servers[1]], SHORT_TIMEOUT));
    let (subscriptions, mut listener) = bus.listen(&NodeId::new("edge")).await.unwrap();
    for stream in 1..=20 {
        subscriptions.subscribe(StreamId(stream)).await.unwrap();
    }
    bus.sample().await;
    for stream in 1..=30 {
        bus.publish(StreamId(stream), vec![number(1)]).await.unwrap();
    }
    for _ in 0..20 {
        next(&mut listener).await;
    }
    bus.sample().await;
    let found = bus.servers();
    assert_eq!(found.len(), 2);
    let shards: Vec<_> = found.iter().flat_map(|server| &server.shards).collect();
    let own = channels::shard_of(&NodeId::new("edge"), bus.shards);
    assert!(shards.iter().all(|shard| shard.shard == own), "{shards:?}");
    let sum = |of: fn(&crate::protocol::admin::BusShard) -> u64| -> u64 {
        shards.iter().map(|shard| of(shard)).sum()
    };
    assert_eq!(sum(|shard| shard.subscribers), 20);
    assert_eq!(sum(|shard| shard.messages), 20, "nobody listens to ten of the streams");
    let calls: u64 = found.iter().map(|server| server.publish.count()).sum();
    assert!((30..=60).contains(&calls), "{calls} calls: one per server that has channels");
    assert!(found.iter().all(|server| server.memory_bytes > Some(100_000)), "{found:?}");
    assert!(found.iter().all(|server| server.messages_per_second > 0.0), "{found:?}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_killed_server_is_named_at_once() {
    let mut server = RedisServer::start().await;
    let other = RedisServer::start().await;
    // A busy machine answers within this, and a server that was killed is not waited for so long.
    let bus = open(&config_of(&[&server, &other], Duration::from_secs(4)));
    bus.sample().await;
    assert!(bus.servers().iter().all(|server| server.state == BusNodeState::Works));
    server.kill();
    let killed = Instant::now();
    let changed = async || tokio::time::timeout(PATIENCE, bus.servers_changed()).await.unwrap();
    changed().await;
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    tokio::time::sleep(Duration::from_millis(30)).await;
    let [failing, working] = bus.servers().try_into().unwrap();
    assert!(failing.error.is_some() && working.state == BusNodeState::Works);
    assert!(failing.since_ms >= 30, "no sample was taken since");
    server.start_again_empty().await;
    changed().await;
    assert_eq!(bus.servers()[0].state, BusNodeState::Works);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_dropped_listener_leaves_no_subscription_behind() {
    let server = RedisServer::start().await;
    let bus = open(&config_of(&[&server], SHORT_TIMEOUT));
    let (subscriptions, listener) = bus.listen(&NodeId::new("edge")).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    let mut connection = server.client().get_multiplexed_async_connection().await.unwrap();
    let mut channels = async || {
        let channels = redis::cmd("PUBSUB").arg("CHANNELS").to_owned();
        channels.query_async::<Vec<String>>(&mut connection).await.unwrap()
    };
    assert_eq!(channels().await.len(), 1);
    drop(listener);
    let closed = Instant::now();
    while !channels().await.is_empty() {
        assert!(closed.elapsed() < PATIENCE, "its connection is closed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(subscriptions.subscribe(A).await, Err(BusError::Closed)));
    assert!(subscriptions.unsubscribe(A).await.is_ok());
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_dropped_bus_closes_listeners_after_their_queues() {
    let bus = open(&on_stack(&stack::redis()));
    let (subscriptions, mut listener) = bus.listen(&NodeId::new("edge")).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    bus.publish(A, vec![number(1), number(2)]).await.unwrap();
    assert_eq!(next(&mut listener).await, BusEvent::Message(A, number(1)));
    drop(bus);
    assert_eq!(next(&mut listener).await, BusEvent::Message(A, number(2)));
    let end = tokio::time::timeout(PATIENCE, listener.receive()).await.expect("it ends");
    assert!(matches!(end, Err(BusError::Closed)), "{end:?}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn an_undecodable_message_is_counted() {
    let server = RedisServer::start().await;
    let config = config_of(&[&server], SHORT_TIMEOUT);
    let bus = open(&config);
    let node = NodeId::new("edge");
    let (subscriptions, mut listener) = bus.listen(&node).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    let channel = Channels::of_node(&bus.nodes, &node, config.shards).name(A);
    let mut connection = server.client().get_multiplexed_async_connection().await.unwrap();
    for garbage in [&b""[..], b"hello", b"\x92\xc0"] {
        let publish = redis::cmd("PUBLISH").arg(&channel).arg(garbage).to_owned();
        assert_eq!(publish.query_async::<u32>(&mut connection).await.unwrap(), 1);
    }
    bus.publish(A, vec![number(1)]).await.unwrap();
    assert_eq!(next(&mut listener).await, BusEvent::Message(A, number(1)));
    assert_eq!(listener.lost(), 3);
}
