//! Tests that kill, stop and restart a Redis server.

use std::time::Instant;

use super::*;
use crate::daemon::testing::redis_server::{RedisServer, TIMEOUT};
use crate::protocol::Epoch;

/// Slack of a failing call beyond the timeout, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(3);

async fn open() -> (RedisRecent, RedisServer) {
    let server = RedisServer::start().await;
    let cache = RedisRecent::with_bounds(server.nodes(), bounds());
    complete(&cache).await;
    append(&cache, A, 1..=3).await;
    cache.add_tombstone(A, comment_id(2), 4).await.unwrap();
    (cache, server)
}

fn is_away<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    let why = match answer {
        Err(StoreError::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(why.contains("Redis node 127.0.0.1:"), "{why}");
}

async fn every_call_fails_in_time(cache: &RedisRecent) {
    let started = Instant::now();
    is_away(cache.append(A, 4, 5, comments(4..=5)).await);
    is_away(cache.after(A, 0, 10).await);
    is_away(cache.head(A).await);
    is_away(cache.add_tombstone(A, comment_id(1), 4).await);
    is_away(cache.restore_comment(A, comment_id(1), 5).await);
    is_away(cache.deletion_states(A, &[comment_id(1)]).await);
    is_away(cache.is_complete().await);
    is_away(cache.mark_complete().await);
    is_away(cache.mark_incomplete().await);
    // Only the first call waits for the timeout.
    assert!(started.elapsed() < TIMEOUT + PATIENCE, "{:?}", started.elapsed());
}

/// Waits until the node answers again; only ordinary calls are made.
async fn answers_again(cache: &RedisRecent) {
    let answering = async {
        while cache.head(A).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answering).await.expect("by itself");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn an_emptied_server_hands_out_nothing_until_restored() {
    let (cache, mut server) = open().await;
    server.kill();
    every_call_fails_in_time(&cache).await;
    server.start_again_empty().await;
    answers_again(&cache).await;
    append(&cache, A, 1..=3).await;
    let page = cache.after(A, 0, 10).await;
    assert!(matches!(page, Err(StoreError::Incomplete(_))), "2 would be handed out: {page:?}");
    assert!(cache.deletion_states(A, &[comment_id(2)]).await.is_err());
    assert!(!cache.is_complete().await.unwrap());
    cache.add_tombstone(A, comment_id(2), 4).await.unwrap();
    cache.mark_complete().await.unwrap();
    assert_eq!(seqs(&cache.after(A, 0, 10).await.unwrap().unwrap()), [1, 3]);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_server_with_older_data_is_incomplete() {
    let mut server = RedisServer::start().await;
    let cache = RedisRecent::with_bounds(server.nodes(), bounds());
    complete(&cache).await;
    append(&cache, A, 1..=3).await;
    server.save().await;
    cache.add_tombstone(A, comment_id(2), 4).await.unwrap();
    server.kill();
    server.start_again().await;
    answers_again(&cache).await;
    assert_eq!(cache.head(A).await.unwrap(), Some(3), "it has the events, but not the tombstone");
    let page = cache.after(A, 0, 10).await;
    assert!(matches!(page, Err(StoreError::Incomplete(_))), "{page:?}");
    assert!(!cache.is_complete().await.unwrap());
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_hung_server_fails_calls_in_time_and_recovers() {
    let (cache, server) = open().await;
    server.hang();
    every_call_fails_in_time(&cache).await;
    server.go_on();
    answers_again(&cache).await;
    // It may have run the calls sent while it hung; it is incomplete either way.
    cache.is_complete().await.unwrap();
    cache.add_tombstone(A, comment_id(2), 4).await.unwrap();
    cache.mark_complete().await.unwrap();
    let page = cache.after(A, 0, 10).await.unwrap().unwrap();
    assert!(!seqs(&page).contains(&2));
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_server_emptied_during_restoration_is_incomplete() {
    let server = RedisServer::start().await;
    let cache = RedisRecent::with_bounds(server.nodes(), bounds());
    assert!(!cache.is_complete().await.unwrap());
    cache.add_tombstone(A, comment_id(2), 4).await.unwrap();
    let _: () = server.ask(&mut redis::cmd("FLUSHALL")).await;
    let marked = cache.mark_complete().await;
    assert!(matches!(marked, Err(StoreError::Incomplete(_))), "{marked:?}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_failed_tombstone_keeps_the_node_incomplete() {
    let server = RedisServer::start().await;
    let cache = RedisRecent::with_bounds(server.nodes(), bounds());
    assert!(!cache.is_complete().await.unwrap());
    server.hang();
    is_away(cache.add_tombstone(A, comment_id(2), 4).await);
    server.go_on();
    answers_again(&cache).await;
    assert!(cache.mark_complete().await.is_err());
    assert!(!cache.is_complete().await.unwrap());
    cache.mark_complete().await.unwrap();
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn with_one_node_away_the_others_serve_and_restore() {
    let [mut first, second] = [RedisServer::start().await, RedisServer::start().await];
    let nodes = RedisServer::together(&[&first, &second]);
    let cache = RedisRecent::with_bounds(nodes.clone(), bounds());
    complete(&cache).await;
    let on =
        |node| (1..).map(StreamId).find(|id| StreamKeys::of(&nodes, *id, Epoch(1)).node == node);
    let on_first = on(0).unwrap();
    let on_second = on(1).unwrap();
    first.kill();
    is_away(cache.head(on_first).await);
    is_away(cache.is_complete().await);
    append(&cache, on_second, 1..=3).await;
    assert!(cache.after(on_second, 0, 10).await.unwrap().is_some());
    // The second loses everything while the first is still away.
    let _: () = second.ask(&mut redis::cmd("FLUSHALL")).await;
    assert!(!cache.is_complete().await.unwrap());
    assert!(cache.mark_complete().await.is_err(), "the first is away");
    assert_eq!(
        cache.after(on_second, 0, 10).await.unwrap(),
        None,
        "and the second is complete again"
    );
}
