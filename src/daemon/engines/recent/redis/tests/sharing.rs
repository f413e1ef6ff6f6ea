//! Several processes on one cache.

use super::*;

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
