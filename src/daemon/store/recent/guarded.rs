//! A recent cache behind a circuit breaker: while it is away, nobody waits for it.

use std::sync::Arc;

use async_trait::async_trait;

use super::{RecentCache, RecentEvent, RecentPage, SharedRecentCache};
use crate::daemon::store::StoreError;
use crate::daemon::supervise::breaker::Breaker;
use crate::protocol::{CommentId, Seq, StreamId};

/// Answers [`StoreError::Unavailable`] at once while the breaker is open.
#[derive(Debug)]
pub struct GuardedRecent {
    cache: SharedRecentCache,
    breaker: Arc<Breaker>,
}

impl GuardedRecent {
    pub fn new(cache: SharedRecentCache, breaker: Arc<Breaker>) -> Self {
        Self { cache, breaker }
    }

    async fn guard<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if !self.breaker.permits() {
            return Err(StoreError::Unavailable("the recent cache is away".to_owned()));
        }
        self.breaker.observe(call.await)
    }
}

#[async_trait]
impl RecentCache for GuardedRecent {
    async fn append(
        &self,
        stream_id: StreamId,
        from_seq: Seq,
        to_seq: Seq,
        events: Vec<RecentEvent>,
    ) -> Result<(), StoreError> {
        self.guard(self.cache.append(stream_id, from_seq, to_seq, events)).await
    }

    async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        limit: usize,
    ) -> Result<Option<RecentPage>, StoreError> {
        self.guard(self.cache.after(stream_id, seq, limit)).await
    }

    async fn head(&self, stream_id: StreamId) -> Result<Option<Seq>, StoreError> {
        self.guard(self.cache.head(stream_id)).await
    }

    async fn bury(&self, stream_id: StreamId, comment_id: CommentId) -> Result<(), StoreError> {
        self.guard(self.cache.bury(stream_id, comment_id)).await
    }

    async fn buried(
        &self,
        stream_id: StreamId,
        comment_ids: &[CommentId],
    ) -> Result<Vec<bool>, StoreError> {
        self.guard(self.cache.buried(stream_id, comment_ids)).await
    }
}
