//! Burials while the cache is away.

use super::*;
use crate::daemon::base::supervise::breaker::TRIAL_INTERVAL;
use crate::daemon::engines::recent::conformance::{comment_id, comments, seqs};
use crate::daemon::testing::recent::TestRecent;
use crate::protocol::admin::BreakerState;

const A: StreamId = StreamId(1);
const B: StreamId = StreamId(2);

async fn guarded() -> (GuardedRecent, Arc<TestRecent>) {
    let distant = Arc::<TestRecent>::default();
    let guarded = GuardedRecent::new(distant.clone(), Arc::new(Breaker::new("recent cache")));
    for stream_id in [A, B] {
        guarded.append(stream_id, 1, 3, comments(1..=3)).await.unwrap();
    }
    (guarded, distant)
}

#[tokio::test(start_paused = true)]
async fn what_was_not_buried_is_buried_before_the_stream_is_asked_for() {
    let (cache, distant) = guarded().await;
    distant.set_down(true);
    // More than open the breaker: the last never reach the cache.
    for _ in 0..5 {
        assert!(cache.bury(A, comment_id(2)).await.is_err());
    }
    assert!(cache.bury(A, comment_id(3)).await.is_err());
    distant.set_down(false);
    assert!(cache.after(A, 0, 10).await.is_err(), "the breaker is open");
    tokio::time::advance(TRIAL_INTERVAL).await;
    assert_eq!(seqs(&cache.after(A, 0, 10).await.unwrap().unwrap()), [1]);
    assert!(cache.burials.streams().is_empty());
}

#[tokio::test]
async fn a_node_that_stays_away_keeps_back_its_own_streams_alone() {
    let (cache, distant) = guarded().await;
    distant.set_down_for(Some(A));
    cache.bury(A, comment_id(2)).await.unwrap_err();
    assert!(cache.is_complete().await.is_err(), "a burial is missing");
    assert_eq!(seqs(&cache.after(B, 0, 10).await.unwrap().unwrap()), [1, 2, 3]);
    assert!(cache.after(A, 0, 10).await.is_err());
    distant.set_down_for(None);
    assert!(cache.is_complete().await.unwrap(), "made up for");
    assert_eq!(distant.buried(A, &[comment_id(2)]).await.unwrap(), [true]);
}

#[tokio::test(start_paused = true)]
async fn too_many_missing_burials_call_for_reading_them_back() {
    let (cache, distant) = guarded().await;
    distant.set_down(true);
    for which in 0..100_001 {
        cache.bury(A, comment_id(which)).await.unwrap_err();
    }
    assert!(cache.burials.streams().is_empty(), "bounded");
    distant.set_down(false);
    tokio::time::advance(TRIAL_INTERVAL).await;
    let page = cache.after(A, 0, 10).await;
    assert!(matches!(page, Err(StoreError::Incomplete(_))), "{page:?}");
    assert!(!cache.is_complete().await.unwrap());
    cache.mark_complete().await.unwrap();
    assert!(cache.is_complete().await.unwrap(), "one overflow, one reading back");
}

#[tokio::test]
async fn a_cache_that_lost_deletions_is_not_taken_for_one_that_is_away() {
    let (cache, distant) = guarded().await;
    distant.set_incomplete(true);
    for _ in 0..10 {
        cache.after(A, 0, 10).await.unwrap_err();
    }
    assert_eq!(cache.breaker.state(), BreakerState::Closed);
    cache.bury(A, comment_id(2)).await.unwrap();
}
