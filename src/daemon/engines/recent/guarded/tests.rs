//! Tombstones while the cache is away.

use super::*;
use crate::daemon::base::supervise::breaker::TRIAL_INTERVAL;
use crate::daemon::engines::recent::conformance::{comment_id, comments, seqs};
use crate::daemon::testing::recent::TestRecent;
use crate::protocol::admin::BreakerState;

const A: StreamId = StreamId(1);
const B: StreamId = StreamId(2);

async fn guarded() -> (GuardedRecent, Arc<TestRecent>) {
    let remote = Arc::<TestRecent>::default();
    let guarded = GuardedRecent::new(remote.clone(), Arc::new(Breaker::new("recent cache")));
    for stream_id in [A, B] {
        guarded.append(stream_id, 1, 3, comments(1..=3)).await.unwrap();
    }
    (guarded, remote)
}

#[tokio::test(start_paused = true)]
async fn pending_tombstones_are_added_before_a_read() {
    let (cache, remote) = guarded().await;
    remote.set_down(true);
    // Enough to open the breaker: the last ones never reach the cache.
    for _ in 0..5 {
        assert!(cache.add_tombstone(A, comment_id(2), 4).await.is_err());
    }
    assert!(cache.add_tombstone(A, comment_id(3), 4).await.is_err());
    remote.set_down(false);
    assert!(cache.after(A, 0, 10).await.is_err(), "the breaker is open");
    tokio::time::advance(TRIAL_INTERVAL).await;
    assert_eq!(seqs(&cache.after(A, 0, 10).await.unwrap().unwrap()), [1]);
    assert!(cache.pending.streams().is_empty());
}

#[tokio::test]
async fn a_pending_restoration_counts_in_log_order() {
    let (cache, remote) = guarded().await;
    let shown = async || seqs(&cache.after(A, 0, 10).await.unwrap().unwrap());
    for number in [1, 2] {
        cache.add_tombstone(A, comment_id(number), 4).await.unwrap();
    }
    remote.set_down_for(Some(A));
    cache.restore_comment(A, comment_id(1), 5).await.unwrap_err();
    cache.restore_comment(A, comment_id(2), 6).await.unwrap_err();
    remote.set_down_for(None);
    // It was deleted again before the cache heard of the restoration.
    cache.add_tombstone(A, comment_id(2), 7).await.unwrap();
    assert_eq!(shown().await, [1, 3]);
    assert!(cache.pending.streams().is_empty());
}

#[tokio::test]
async fn a_node_away_blocks_only_its_own_streams() {
    let (cache, remote) = guarded().await;
    remote.set_down_for(Some(A));
    cache.add_tombstone(A, comment_id(2), 4).await.unwrap_err();
    assert!(cache.is_complete().await.is_err(), "a tombstone is missing");
    assert_eq!(seqs(&cache.after(B, 0, 10).await.unwrap().unwrap()), [1, 2, 3]);
    assert!(cache.after(A, 0, 10).await.is_err());
    remote.set_down_for(None);
    assert!(cache.is_complete().await.unwrap(), "the tombstone was added");
    let states = remote.deletion_states(A, &[comment_id(2)]).await.unwrap();
    assert_eq!(states, [DeletionState::Deleted]);
}

#[tokio::test(start_paused = true)]
async fn an_overflow_marks_the_cache_incomplete() {
    let (cache, remote) = guarded().await;
    remote.set_down(true);
    for number in 0..100_001 {
        cache.add_tombstone(A, comment_id(number), 4).await.unwrap_err();
    }
    assert!(cache.pending.streams().is_empty(), "bounded");
    remote.set_down(false);
    tokio::time::advance(TRIAL_INTERVAL).await;
    let page = cache.after(A, 0, 10).await;
    assert!(matches!(page, Err(StoreError::Incomplete(_))), "{page:?}");
    assert!(!cache.is_complete().await.unwrap());
    cache.mark_complete().await.unwrap();
    assert!(cache.is_complete().await.unwrap(), "one overflow needs one restoration");
}

#[tokio::test]
async fn an_incomplete_cache_does_not_open_the_breaker() {
    let (cache, remote) = guarded().await;
    remote.set_incomplete(true);
    for _ in 0..10 {
        cache.after(A, 0, 10).await.unwrap_err();
    }
    assert_eq!(cache.breaker.state(), BreakerState::Closed);
    cache.add_tombstone(A, comment_id(2), 4).await.unwrap();
}
