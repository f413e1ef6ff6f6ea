//! Burials while the cache is away.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::daemon::base::config::StoreConfig;
use crate::daemon::base::supervise::breaker::TRIAL_INTERVAL;
use crate::daemon::engines::recent::conformance::{comment_id, comments, seqs};
use crate::daemon::engines::recent::memory::MemoryRecent;
use crate::protocol::admin::BreakerState;
use parking_lot::Mutex;

const A: StreamId = StreamId(1);
const B: StreamId = StreamId(2);

/// A cache in memory that can be away, for all streams or for one, or have lost deletions.
#[derive(Debug)]
struct Distant {
    cache: MemoryRecent,
    away: AtomicBool,
    away_for: Mutex<Option<StreamId>>,
    incomplete: AtomicBool,
}

impl Distant {
    fn reach(&self, stream_id: Option<StreamId>) -> Result<(), StoreError> {
        let away = self.away.load(Ordering::SeqCst)
            || (stream_id.is_some() && *self.away_for.lock() == stream_id);
        if away { Err(StoreError::Unavailable("away".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl RecentCache for Distant {
    async fn append(
        &self,
        stream_id: StreamId,
        from_seq: Seq,
        to_seq: Seq,
        events: Vec<RecentEvent>,
    ) -> Result<(), StoreError> {
        self.reach(Some(stream_id))?;
        self.cache.append(stream_id, from_seq, to_seq, events).await
    }

    async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        limit: usize,
    ) -> Result<Option<RecentPage>, StoreError> {
        self.reach(Some(stream_id))?;
        if self.incomplete.load(Ordering::SeqCst) {
            return Err(StoreError::Incomplete("deletions".to_owned()));
        }
        self.cache.after(stream_id, seq, limit).await
    }

    async fn head(&self, stream_id: StreamId) -> Result<Option<Seq>, StoreError> {
        self.reach(Some(stream_id))?;
        self.cache.head(stream_id).await
    }

    async fn bury(&self, stream_id: StreamId, comment_id: CommentId) -> Result<(), StoreError> {
        // As an answer over a network: others get their turn first.
        tokio::task::yield_now().await;
        self.reach(Some(stream_id))?;
        self.cache.bury(stream_id, comment_id).await
    }

    async fn buried(
        &self,
        stream_id: StreamId,
        comment_ids: &[CommentId],
    ) -> Result<Vec<bool>, StoreError> {
        self.reach(Some(stream_id))?;
        self.cache.buried(stream_id, comment_ids).await
    }

    async fn is_complete(&self) -> Result<bool, StoreError> {
        self.reach(None)?;
        Ok(!self.incomplete.load(Ordering::SeqCst))
    }

    async fn mark_complete(&self) -> Result<(), StoreError> {
        self.reach(None)?;
        self.incomplete.store(false, Ordering::SeqCst);
        Ok(())
    }

    async fn mark_incomplete(&self) -> Result<(), StoreError> {
        self.reach(None)?;
        self.incomplete.store(true, Ordering::SeqCst);
        Ok(())
    }
}

async fn guarded() -> (GuardedRecent, Arc<Distant>) {
    let distant = Arc::new(Distant {
        cache: MemoryRecent::new(&StoreConfig::default()),
        away: AtomicBool::new(false),
        away_for: Mutex::new(None),
        incomplete: AtomicBool::new(false),
    });
    let guarded = GuardedRecent::new(distant.clone(), Arc::new(Breaker::new("recent cache")));
    for stream_id in [A, B] {
        guarded.append(stream_id, 1, 3, comments(1..=3)).await.unwrap();
    }
    (guarded, distant)
}

#[tokio::test(start_paused = true)]
async fn what_was_not_buried_is_buried_before_the_stream_is_asked_for() {
    let (cache, distant) = guarded().await;
    distant.away.store(true, Ordering::SeqCst);
    // More than open the breaker: the last never reach the cache.
    for _ in 0..5 {
        assert!(cache.bury(A, comment_id(2)).await.is_err());
    }
    assert!(cache.bury(A, comment_id(3)).await.is_err());
    distant.away.store(false, Ordering::SeqCst);
    assert!(cache.after(A, 0, 10).await.is_err(), "the breaker is open");
    tokio::time::advance(TRIAL_INTERVAL).await;
    assert_eq!(seqs(&cache.after(A, 0, 10).await.unwrap().unwrap()), [1]);
    assert!(cache.burials.streams().is_empty());
}

#[tokio::test]
async fn a_node_that_stays_away_keeps_back_its_own_streams_alone() {
    let (cache, distant) = guarded().await;
    *distant.away_for.lock() = Some(A);
    cache.bury(A, comment_id(2)).await.unwrap_err();
    assert!(cache.is_complete().await.is_err(), "a burial is missing");
    assert_eq!(seqs(&cache.after(B, 0, 10).await.unwrap().unwrap()), [1, 2, 3]);
    assert!(cache.after(A, 0, 10).await.is_err());
    *distant.away_for.lock() = None;
    assert!(cache.is_complete().await.unwrap(), "made up for");
    assert_eq!(distant.cache.buried(A, &[comment_id(2)]).await.unwrap(), [true]);
}

#[tokio::test(start_paused = true)]
async fn too_many_missing_burials_call_for_reading_them_back() {
    let (cache, distant) = guarded().await;
    distant.away.store(true, Ordering::SeqCst);
    for which in 0..100_001 {
        cache.bury(A, comment_id(which)).await.unwrap_err();
    }
    assert!(cache.burials.streams().is_empty(), "bounded");
    distant.away.store(false, Ordering::SeqCst);
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
    distant.incomplete.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        cache.after(A, 0, 10).await.unwrap_err();
    }
    assert_eq!(cache.breaker.state(), BreakerState::Closed);
    cache.bury(A, comment_id(2)).await.unwrap();
}
