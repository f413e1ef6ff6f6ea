//! The recent cache behind a circuit breaker: while it is away, callers fail at once.
//!
//! Always holds: a tombstone or restoration that the cache did not accept is added before the next
//! request about its stream, and at the latest by [`RecentCache::is_complete`], which the
//! coordinators call every few seconds. Pending ones are in memory only. If the process stops
//! first, tombstones are restored by the coordinators, which restore all of them after every
//! outage.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;

use super::pending_tombstones::{PendingMark, PendingTombstones};
use super::{
    DeletionState, EarlierPlaces, RecentCache, RecentEvent, RecentPage, SharedRecentCache,
};
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::StoreError;
use crate::protocol::{CommentId, Seq, StreamId};

/// Calls in flight while pending tombstones are added.
const CONCURRENT_TOMBSTONES: usize = 64;

/// Returns [`StoreError::Unavailable`] at once while the breaker is open.
#[derive(Debug)]
pub struct GuardedRecent {
    cache: SharedRecentCache,
    breaker: Arc<Breaker>,
    pending: PendingTombstones,
}

impl GuardedRecent {
    pub fn new(cache: SharedRecentCache, breaker: Arc<Breaker>) -> Self {
        Self { cache, breaker, pending: PendingTombstones::default() }
    }

    async fn guard<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if !self.breaker.permits() {
            return Err(StoreError::Unavailable("the recent cache is away".to_owned()));
        }
        let result = call.await;
        match &result {
            // An incomplete cache is not away: it is restored through this very breaker.
            Ok(_) | Err(StoreError::Incomplete(_)) => self.breaker.succeeded(),
            Err(error) => self.breaker.failed(error),
        }
        result
    }

    /// Adds the pending tombstones of a stream, after marking the cache if there was an overflow.
    async fn add_pending(&self, stream_id: StreamId) -> Result<(), StoreError> {
        self.mark_after_overflow().await?;
        let mut pending = self.pending.of_stream(stream_id).into_iter();
        // The first one goes by itself. An open breaker lets a single call through on trial; calls
        // made beside it would be refused and end this before the trial has.
        if let Some((comment_id, mark)) = pending.next() {
            self.put_mark(stream_id, comment_id, mark).await?;
        }
        let retries = futures_util::stream::iter(pending)
            .map(|(comment_id, mark)| self.put_mark(stream_id, comment_id, mark));
        let mut retries = retries.buffer_unordered(CONCURRENT_TOMBSTONES);
        while let Some(added) = retries.next().await {
            added?;
        }
        Ok(())
    }

    async fn put_mark(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        mark: PendingMark,
    ) -> Result<(), StoreError> {
        match mark {
            PendingMark::Deleted(seq) => {
                self.guard(self.cache.add_tombstone(stream_id, comment_id, seq)).await?;
            }
            PendingMark::Hidden(seq) => {
                self.guard(self.cache.hide_from_others(stream_id, comment_id, seq)).await?;
            }
            PendingMark::Restored(seq) => {
                self.guard(self.cache.restore_comment(stream_id, comment_id, seq)).await?;
            }
        }
        self.pending.remove(stream_id, comment_id, mark);
        Ok(())
    }

    /// Like [`Self::put_mark`], and tries again later if the cache does not accept it.
    async fn put_mark_in_the_end(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        mark: PendingMark,
    ) -> Result<(), StoreError> {
        let put = self.put_mark(stream_id, comment_id, mark).await;
        if put.is_err() {
            self.pending.add(stream_id, comment_id, mark);
        }
        put
    }

    async fn mark_after_overflow(&self) -> Result<(), StoreError> {
        if let Some(overflow) = self.pending.unhandled_overflow() {
            self.guard(self.cache.mark_incomplete()).await?;
            self.pending.handle_overflow(overflow);
        }
        Ok(())
    }

    /// Continues after a failure: streams on a node that is away must not block the others.
    async fn add_all_pending(&self) -> Result<(), StoreError> {
        self.mark_after_overflow().await?;
        let mut added = Ok(());
        for stream_id in self.pending.streams() {
            added = added.and(self.add_pending(stream_id).await);
        }
        added
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
        self.add_pending(stream_id).await?;
        self.guard(self.cache.append(stream_id, from_seq, to_seq, events)).await
    }

    async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        limit: usize,
    ) -> Result<Option<RecentPage>, StoreError> {
        self.add_pending(stream_id).await?;
        self.guard(self.cache.after(stream_id, seq, limit)).await
    }

    async fn head(&self, stream_id: StreamId) -> Result<Option<Seq>, StoreError> {
        self.guard(self.cache.head(stream_id)).await
    }

    async fn earlier(&self, stream_id: StreamId) -> Result<Option<EarlierPlaces>, StoreError> {
        self.guard(self.cache.earlier(stream_id)).await
    }

    async fn add_tombstone(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        self.put_mark_in_the_end(stream_id, comment_id, PendingMark::Deleted(seq)).await
    }

    async fn hide_from_others(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        self.put_mark_in_the_end(stream_id, comment_id, PendingMark::Hidden(seq)).await
    }

    async fn restore_comment(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        self.put_mark_in_the_end(stream_id, comment_id, PendingMark::Restored(seq)).await
    }

    async fn deletion_states(
        &self,
        stream_id: StreamId,
        comment_ids: &[CommentId],
    ) -> Result<Vec<DeletionState>, StoreError> {
        self.add_pending(stream_id).await?;
        self.guard(self.cache.deletion_states(stream_id, comment_ids)).await
    }

    async fn is_complete(&self) -> Result<bool, StoreError> {
        let added = self.add_all_pending().await;
        // A node that lost everything is reported even if another one is away.
        match self.guard(self.cache.is_complete()).await {
            Ok(true) => added.map(|()| true),
            other => other,
        }
    }

    async fn mark_complete(&self) -> Result<(), StoreError> {
        let added = self.add_all_pending().await;
        self.guard(self.cache.mark_complete()).await.and(added)
    }

    async fn mark_incomplete(&self) -> Result<(), StoreError> {
        self.guard(self.cache.mark_incomplete()).await
    }
}

#[cfg(test)]
mod tests;
