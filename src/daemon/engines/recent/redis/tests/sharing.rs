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
async fn an_earlier_epoch_is_known_in_the_next() {
    let (old, stack) = open_on(3, bounds()).await;
    append(&old, A, 1..=5).await;
    let deletion = Removal {
        comment_id: comment_id(5),
        reason: "moderator".into(),
        timestamp: 1,
        told: Told::Everybody,
    };
    old.append(A, 6, 6, vec![RecentEvent::Deleted { seq: 6, deletion }]).await.unwrap();
    let new = RedisRecent { epoch: Epoch(2), ..RedisRecent::with_bounds(stack.nodes(), bounds()) };
    let places = |epoch, seqs: &[Seq]| {
        let places = seqs.iter().map(|seq| (comment_id(*seq), *seq)).collect();
        Some(EarlierPlaces { epoch, places })
    };
    assert_eq!(old.earlier(A).await.unwrap(), None);
    assert_eq!(new.earlier(B).await.unwrap(), None);
    assert_eq!(new.earlier(A).await.unwrap(), places(Epoch(1), &[1, 2, 3, 4, 5]));
    append(&new, A, 1..=2).await;
    assert_eq!(new.earlier(A).await.unwrap(), places(Epoch(1), &[1, 2, 3, 4, 5]));
    // A coordinator that has not opened the new log yet.
    append(&old, A, 7..=7).await;
    assert_eq!(new.earlier(A).await.unwrap(), places(Epoch(1), &[1, 2, 3, 4, 5, 7]));
    assert_eq!(old.earlier(A).await.unwrap(), places(Epoch(2), &[1, 2]));
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
