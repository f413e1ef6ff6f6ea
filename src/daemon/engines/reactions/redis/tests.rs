//! Tests on real servers: the conformance suite on one node and on three, and counts sent twice.

use super::*;
use crate::daemon::engines::reactions::conformance::{self, totals};
use crate::daemon::testing::redis_server::{Prefixed, RedisServer, TIMEOUT};

async fn open_on(nodes: usize) -> (RedisReactions, Prefixed) {
    let stack = Prefixed::on_stack(nodes);
    (RedisReactions::new(stack.nodes()), stack)
}

mod on_one_node {
    use super::*;

    conformance::reactions_suite!(
        #[ignore = "needs scripts/stack up"]
        open_on(1)
    );
}

mod on_three_nodes {
    use super::*;

    conformance::reactions_suite!(
        #[ignore = "needs scripts/stack up"]
        open_on(3)
    );
}

const A: StreamId = StreamId(1);

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn nodes_add_to_the_same_totals() {
    let (one, stack) = open_on(3).await;
    let other = RedisReactions::new(stack.nodes());
    for store in [&one, &other, &one] {
        store.add(&[(A, totals(&[("fire", 2)]))]).await.unwrap();
    }
    assert_eq!(other.totals(A).await.unwrap(), totals(&[("fire", 6)]));
    let key = stack.key("reactions:stream:1");
    let node = one.node_of(A);
    let fire: u64 = stack.ask(node, redis::cmd("HGET").arg(key).arg("fire")).await;
    assert_eq!(fire, 6);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn only_recent_streams_are_listed() {
    let (mut store, stack) = open_on(1).await;
    store.max_streams = 10;
    for stream in 1..=30 {
        store.add(&[(StreamId(stream), totals(&[("fire", 1)]))]).await.unwrap();
    }
    assert_eq!(store.all().await.unwrap().len(), 10);
    assert_eq!(
        store.totals(StreamId(1)).await.unwrap(),
        totals(&[("fire", 1)]),
        "its totals are kept"
    );
    let listed: u64 = stack.ask(0, redis::cmd("ZCARD").arg(stack.key("reactions:streams"))).await;
    assert_eq!(listed, 10);
}

async fn answers_again(store: &RedisReactions) {
    let answering = async {
        while store.all().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answering).await.expect("the node answers again");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_failed_call_that_ran_is_not_counted_twice() {
    let server = RedisServer::start().await;
    let store = RedisReactions::new(server.nodes());
    store.add(&[(A, totals(&[("fire", 1)]))]).await.unwrap();
    server.hang();
    // Calls sent while it hangs run when it continues.
    let mut counted = 0;
    for _ in 0..3 {
        counted += 10;
        let started = std::time::Instant::now();
        assert!(store.add(&[(A, totals(&[("fire", counted)]))]).await.is_err());
        assert!(started.elapsed() < TIMEOUT + Duration::from_secs(2));
    }
    server.go_on();
    answers_again(&store).await;
    let changed = store.add(&[(A, totals(&[("fire", counted), ("wow", 2)]))]).await.unwrap();
    assert_eq!(changed, [(A, totals(&[("fire", 31), ("wow", 2)]))]);
    let changed = store.add(&[(A, totals(&[("fire", 30)]))]).await.unwrap();
    assert_eq!(changed, [(A, totals(&[("fire", 61)]))], "another window");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn with_a_node_away_others_count_nothing_twice() {
    let [mut first, second] = [RedisServer::start().await, RedisServer::start().await];
    let store = RedisReactions::new(RedisServer::together(&[&first, &second]));
    let on = |node| (1..).map(StreamId).find(|id| store.node_of(*id) == node).unwrap();
    let lost = on(0);
    let kept = on(1);
    first.kill();
    for count in 1..=5 {
        let both = [(lost, totals(&[("fire", count)])), (kept, totals(&[("fire", count)]))];
        let Err(StoreError::Unavailable(why)) = store.add(&both).await else { panic!("away") };
        assert!(why.contains("Redis node 127.0.0.1:"), "{why}");
    }
    assert_eq!(store.totals(kept).await.unwrap(), totals(&[("fire", 5)]));
    first.start_again_empty().await;
    answers_again(&store).await;
    let both = [(lost, totals(&[("fire", 6)])), (kept, totals(&[("fire", 6)]))];
    store.add(&both).await.unwrap();
    for stream_id in [lost, kept] {
        assert_eq!(store.totals(stream_id).await.unwrap(), totals(&[("fire", 6)]));
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_late_window_adds_nothing() {
    let (store, _stack) = open_on(1).await;
    let row = |count| [ReactionCount { stream_id: A, reaction: "fire".into(), count }];
    let [early, late] = [1, 2].map(|window| Writer { name: 7, window });
    store.add_rows(&late, 0, &row(3)).await.unwrap();
    store.add_rows(&early, 0, &row(100)).await.unwrap();
    assert_eq!(store.totals(A).await.unwrap(), totals(&[("fire", 3)]));
}
