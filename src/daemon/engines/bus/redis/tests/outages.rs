//! Tests of servers that are killed or hang, and come back.

use super::*;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;

const B: StreamId = StreamId(2);
const C: StreamId = StreamId(3);
/// Slack above the timeout, for a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// Publishes until it succeeds.
async fn publish(bus: &RedisBus, stream_id: StreamId, n: u64) {
    let publishing = async {
        while bus.publish(stream_id, vec![number(n)]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, publishing).await.expect("the bus takes messages again");
}

async fn assert_fails_in_time(bus: &RedisBus, stream_id: StreamId) {
    let started = Instant::now();
    let published = bus.publish(stream_id, vec![number(0)]).await;
    let Err(BusError::Unavailable(error)) = published else { panic!("{published:?}") };
    assert!(error.contains("redis.nodes"), "{error}");
    assert!(started.elapsed() < bus.nodes.timeout() + SLACK, "{:?}", started.elapsed());
    let started = Instant::now();
    for _ in 0..100 {
        assert!(bus.publish(stream_id, vec![number(0)]).await.is_err());
    }
    assert!(started.elapsed() < SLACK, "known to be down: {:?}", started.elapsed());
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_restarted_server_has_all_subscriptions_again() {
    let mut server = RedisServer::start().await;
    let bus = open(&config_of(&[&server], SHORT_TIMEOUT));
    let (subscriptions, mut listener) = bus.listen(&NodeId::new("edge")).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    subscriptions.subscribe(B).await.unwrap();
    publish(&bus, A, 1).await;
    assert_eq!(next(&mut listener).await, BusEvent::Message(A, number(1)));

    server.kill();
    assert_eq!(next(&mut listener).await, BusEvent::Interrupted);
    assert_fails_in_time(&bus, A).await;
    let subscribed = subscriptions.subscribe(C).await;
    assert!(matches!(subscribed, Err(BusError::Unavailable(_))), "{subscribed:?}");
    subscriptions.unsubscribe(B).await.unwrap();

    server.start_again_empty().await;
    assert_eq!(next(&mut listener).await, BusEvent::Restored);
    publish(&bus, B, 2).await;
    publish(&bus, A, 3).await;
    publish(&bus, C, 4).await;
    assert_eq!(
        next(&mut listener).await,
        BusEvent::Message(A, number(3)),
        "B is not wanted any more"
    );
    assert_eq!(next(&mut listener).await, BusEvent::Message(C, number(4)), "C was remembered");
    assert_eq!(listener.lost(), 0);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_hung_server_is_noticed_and_not_waited_for() {
    let server = RedisServer::start().await;
    let bus = open(&config_of(&[&server], SHORT_TIMEOUT));
    let (subscriptions, mut listener) = bus.listen(&NodeId::new("edge")).await.unwrap();
    subscriptions.subscribe(A).await.unwrap();
    publish(&bus, A, 1).await;
    assert_eq!(next(&mut listener).await, BusEvent::Message(A, number(1)));

    server.hang();
    let hanging = Instant::now();
    assert_fails_in_time(&bus, A).await;
    assert_eq!(next(&mut listener).await, BusEvent::Interrupted);
    let found = hanging.elapsed();
    assert!(found < Duration::from_secs(1) + bus.nodes.timeout() + SLACK, "{found:?}");
    let started = Instant::now();
    assert!(subscriptions.subscribe(B).await.is_err());
    assert!(started.elapsed() < bus.nodes.timeout() + SLACK, "{:?}", started.elapsed());

    server.go_on();
    // The call that was under way when it stopped may be carried out now, before or after.
    assert_eq!(next(&mut listener).await, BusEvent::Restored);
    publish(&bus, B, 2).await;
    let heard = next(&mut listener).await;
    let late = BusEvent::Message(A, number(0));
    let heard = if heard == late { next(&mut listener).await } else { heard };
    assert_eq!(heard, BusEvent::Message(B, number(2)));
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_server_down_at_start_is_found_later() {
    let mut server = RedisServer::start().await;
    server.kill();
    let bus = open(&config_of(&[&server], SHORT_TIMEOUT));
    let (subscriptions, mut listener) = bus.listen(&NodeId::new("edge")).await.unwrap();
    assert!(matches!(subscriptions.subscribe(A).await, Err(BusError::Unavailable(_))));
    assert_eq!(next(&mut listener).await, BusEvent::Interrupted);
    assert_fails_in_time(&bus, A).await;
    server.start_again_empty().await;
    assert_eq!(next(&mut listener).await, BusEvent::Restored);
    publish(&bus, A, 1).await;
    assert_eq!(next(&mut listener).await, BusEvent::Message(A, number(1)));
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn thousands_of_streams_are_resubscribed() {
    const STREAMS: u64 = 5000;
    let mut server = RedisServer::start().await;
    let config =
        RedisConfig { timeout: Duration::from_secs(5), ..config_of(&[&server], SHORT_TIMEOUT) };
    let bus = open(&config);
    let (subscriptions, mut listener) = bus.listen(&NodeId::new("edge")).await.unwrap();
    let subscribe = |stream| subscriptions.subscribe(StreamId(stream));
    for subscribed in futures_util::future::join_all((1..=STREAMS).map(subscribe)).await {
        subscribed.unwrap();
    }
    let commands = server.calls("subscribe").await;
    assert!(commands < STREAMS / 10, "{commands} commands: concurrent subscriptions share them");
    server.kill();
    assert_eq!(next(&mut listener).await, BusEvent::Interrupted);
    server.start_again_empty().await;
    let started = Instant::now();
    assert_eq!(next(&mut listener).await, BusEvent::Restored);
    println!("{STREAMS} streams subscribed to again within {:?}", started.elapsed());
    for stream in (1..=STREAMS).step_by(499) {
        publish(&bus, StreamId(stream), stream).await;
        assert_eq!(next(&mut listener).await, BusEvent::Message(StreamId(stream), number(stream)));
    }
}

/// A stream whose channel of the node's shard is on a given Redis node.
fn stream_on(nodes: &RedisNodes, channels: &Channels, index: usize) -> StreamId {
    let on_it =
        |stream_id: &StreamId| nodes.index_of(channels.name(*stream_id).as_bytes()) == index;
    (1..).map(StreamId).find(on_it).expect("channels are spread over all nodes")
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn other_nodes_serve_while_one_is_away() {
    let mut first = RedisServer::start().await;
    let mut second = RedisServer::start().await;
    let third = RedisServer::start().await;
    let bus = open(&config_of(&[&first, &second, &third], SHORT_TIMEOUT));
    let node = NodeId::new("edge");
    let channels = Channels::of_node(&bus.nodes, &node, bus.shards);
    let streams = [0, 1, 2].map(|index| stream_on(&bus.nodes, &channels, index));
    let (subscriptions, mut listener) = bus.listen(&node).await.unwrap();
    for stream_id in streams {
        subscriptions.subscribe(stream_id).await.unwrap();
    }
    first.kill();
    assert_eq!(next(&mut listener).await, BusEvent::Interrupted);
    for n in 0..10 {
        // Another shard of the stream is on the node that is away, and may have listeners.
        assert!(bus.publish(streams[2], vec![number(n)]).await.is_err());
        assert_eq!(next(&mut listener).await, BusEvent::Message(streams[2], number(n)));
    }
    second.kill();
    first.start_again_empty().await;
    publish_until_heard(&bus, &mut listener, streams[0]).await;
    second.start_again_empty().await;
    loop {
        match next(&mut listener).await {
            BusEvent::Restored => break,
            BusEvent::Message(stream_id, _) => assert_eq!(stream_id, streams[0]),
            BusEvent::Interrupted => panic!("it was interrupted already"),
        }
    }
    for stream_id in streams {
        publish(&bus, stream_id, 100).await;
    }
    for stream_id in streams {
        while next(&mut listener).await != BusEvent::Message(stream_id, number(100)) {}
    }
}

/// Shows that one node is back while another is not: nothing but messages is heard. The bus may
/// find the return of one before it notices the death of the other, which is told then.
async fn publish_until_heard(
    bus: &RedisBus,
    listener: &mut Box<dyn BusListener>,
    stream_id: StreamId,
) {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "the node that is back is subscribed to");
        let _ = bus.publish(stream_id, vec![number(50)]).await;
        let heard = tokio::time::timeout(Duration::from_millis(50), listener.receive()).await;
        match heard.map(|heard| heard.unwrap()) {
            Ok(BusEvent::Message(of, _)) if of == stream_id => return,
            Ok(other) => panic!("{other:?} while a node is away"),
            Err(_) => {}
        }
    }
}
