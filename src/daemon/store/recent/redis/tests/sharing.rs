//! Several processes on one cache, and several callers in one.

use futures_util::FutureExt as _;

use super::*;
use crate::daemon::test_redis::RedisServer;

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn what_one_process_appends_and_buries_another_sees() {
    let (coordinator, stack) = open_on(3, bounds()).await;
    let edge = RedisRecent::with_bounds(stack.nodes(), bounds());
    assert!(edge.is_complete().await.unwrap(), "marked by the other");
    append(&coordinator, A, 1..=5).await;
    coordinator.bury(A, comment_id(4)).await.unwrap();
    let page = edge.after(A, 0, 10).await.unwrap().unwrap();
    assert_eq!(seqs(&page), [1, 2, 3, 5]);
    assert_eq!(edge.buried(A, &[comment_id(4)]).await.unwrap(), [true]);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn many_who_ask_the_same_at_once_make_one_call() {
    let server = RedisServer::start().await;
    let cache = RedisRecent::with_bounds(server.nodes(), bounds());
    complete(&cache).await;
    append(&cache, A, 1..=100).await;
    // The script is loaded.
    cache.after(A, 50, 10).await.unwrap();
    let before = server.calls("evalsha").await;
    let mut asked: Vec<_> = (0..1000).map(|_| cache.after(A, 20, 50)).collect();
    for asked in &mut asked {
        assert!(asked.now_or_never().is_none(), "all ask before any is answered");
    }
    let pages = futures_util::future::join_all(asked).await;
    assert_eq!(server.calls("evalsha").await - before, 1);
    for page in pages {
        assert_eq!(seqs(&page.unwrap().unwrap()), (21..=70).collect::<Vec<_>>());
    }
    // Other questions, and the same one later, are asked by themselves.
    let others = (0..10).map(|seq| cache.after(A, seq, 50));
    futures_util::future::join_all(others).await;
    cache.after(A, 20, 50).await.unwrap();
    assert_eq!(server.calls("evalsha").await - before, 12);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn who_asks_after_a_burial_does_not_share_an_answer_from_before() {
    let (cache, _stack) = open_on(1, bounds()).await;
    append(&cache, A, 1..=3).await;
    let mut early = Box::pin(cache.after(A, 0, 10));
    assert!((&mut early).now_or_never().is_none());
    cache.bury(A, comment_id(2)).await.unwrap();
    let late = cache.after(A, 0, 10).await.unwrap().unwrap();
    assert_eq!(seqs(&late), [1, 3]);
    assert_eq!(early.await.unwrap().unwrap().covered_to, 3);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn two_that_read_back_together_both_succeed() {
    let stack = Prefixed::on_stack(3);
    let readers = [0, 1].map(|_| RedisRecent::with_bounds(stack.nodes(), bounds()));
    for reader in &readers {
        assert!(!reader.is_complete().await.unwrap());
    }
    for reader in &readers {
        reader.mark_complete().await.unwrap();
        assert!(reader.is_complete().await.unwrap());
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn who_never_began_to_read_back_cannot_mark_it_complete() {
    let stack = Prefixed::on_stack(3);
    let cache = RedisRecent::with_bounds(stack.nodes(), bounds());
    assert!(matches!(cache.mark_complete().await, Err(StoreError::Incomplete(_))));
    let unknown = cache.buried(B, &[comment_id(1)]).await;
    assert!(matches!(unknown, Err(StoreError::Incomplete(_))), "{unknown:?}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_loss_reported_meanwhile_makes_reading_back_begin_anew() {
    let stack = Prefixed::on_stack(3);
    let [reader, other] = [0, 1].map(|_| RedisRecent::with_bounds(stack.nodes(), bounds()));
    assert!(!reader.is_complete().await.unwrap());
    other.mark_incomplete().await.unwrap();
    assert!(reader.mark_complete().await.is_err(), "what it read back may lack that burial");
    assert!(!reader.is_complete().await.unwrap());
    reader.mark_complete().await.unwrap();
}
