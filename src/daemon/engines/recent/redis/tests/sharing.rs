//! Several processes on one cache.

use super::*;

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn another_process_sees_events_and_tombstones() {
    let (coordinator, stack) = open_on(3, bounds()).await;
    let edge = RedisRecent::with_bounds(stack.nodes(), bounds());
    assert!(edge.is_complete().await.unwrap(), "marked by the other");
    append(&coordinator, A, 1..=5).await;
    coordinator.add_tombstone(A, comment_id(4), 4).await.unwrap();
    let page = edge.after(A, 0, 10).await.unwrap().unwrap();
    assert_eq!(seqs(&page), [1, 2, 3, 5]);
    let states = edge.deletion_states(A, &[comment_id(4)]).await.unwrap();
    assert_eq!(states, [DeletionState::Deleted]);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn two_concurrent_restorations_both_succeed() {
    let stack = Prefixed::on_stack(3);
    let restorers = [0, 1].map(|_| RedisRecent::with_bounds(stack.nodes(), bounds()));
    for restorer in &restorers {
        assert!(!restorer.is_complete().await.unwrap());
    }
    for restorer in &restorers {
        restorer.mark_complete().await.unwrap();
        assert!(restorer.is_complete().await.unwrap());
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn only_a_restorer_may_mark_the_cache_complete() {
    let stack = Prefixed::on_stack(3);
    let cache = RedisRecent::with_bounds(stack.nodes(), bounds());
    assert!(matches!(cache.mark_complete().await, Err(StoreError::Incomplete(_))));
    let unknown = cache.deletion_states(B, &[comment_id(1)]).await;
    assert!(matches!(unknown, Err(StoreError::Incomplete(_))), "{unknown:?}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_loss_during_restoration_requires_another() {
    let stack = Prefixed::on_stack(3);
    let [restorer, other] = [0, 1].map(|_| RedisRecent::with_bounds(stack.nodes(), bounds()));
    assert!(!restorer.is_complete().await.unwrap());
    other.mark_incomplete().await.unwrap();
    assert!(restorer.mark_complete().await.is_err(), "the lost tombstone may be missing");
    assert!(!restorer.is_complete().await.unwrap());
    restorer.mark_complete().await.unwrap();
}
