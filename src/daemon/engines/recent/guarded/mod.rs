//! A recent cache behind a circuit breaker: while it is away, nobody waits for it.
//!
//! Always holds: what could not be buried meanwhile is buried before the cache is next asked about
//! the stream, and at the latest by [`RecentCache::is_complete`], which the coordinators ask every
//! few seconds. Kept in memory: who stops with burials that were not taken leaves them to those who
//! read back deletions after an outage.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;

use super::burials::UntakenBurials;
use super::{RecentCache, RecentEvent, RecentPage, SharedRecentCache};
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::StoreError;
use crate::protocol::{CommentId, Seq, StreamId};

/// Burials on their way together when many are made up for.
const CONCURRENT_BURIALS: usize = 64;

/// Answers [`StoreError::Unavailable`] at once while the breaker is open.
#[derive(Debug)]
pub struct GuardedRecent {
    cache: SharedRecentCache,
    breaker: Arc<Breaker>,
    burials: UntakenBurials,
}

impl GuardedRecent {
    pub fn new(cache: SharedRecentCache, breaker: Arc<Breaker>) -> Self {
        Self { cache, breaker, burials: UntakenBurials::default() }
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
            // It answers; only what was lost has to be read back, through this very breaker.
            Ok(_) | Err(StoreError::Incomplete(_)) => self.breaker.succeeded(),
            Err(error) => self.breaker.failed(error),
        }
        result
    }

    /// Makes up for what the cache did not take of a stream, and for what was too much to remember.
    async fn catch_up(&self, stream_id: StreamId) -> Result<(), StoreError> {
        self.unmark_after_overflow().await?;
        let mut missing = self.burials.of(stream_id).into_iter();
        // By itself: an open breaker lets one call through on trial, and those it refuses beside it
        // must not end this before the trial has.
        if let Some(first) = missing.next() {
            self.bury_again(stream_id, first).await?;
        }
        let taken = futures_util::stream::iter(missing)
            .map(|comment_id| self.bury_again(stream_id, comment_id));
        let mut taken = taken.buffer_unordered(CONCURRENT_BURIALS);
        while let Some(taken) = taken.next().await {
            taken?;
        }
        Ok(())
    }

    async fn bury_again(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
    ) -> Result<(), StoreError> {
        self.guard(self.cache.bury(stream_id, comment_id)).await?;
        self.burials.taken(stream_id, comment_id);
        Ok(())
    }

    async fn unmark_after_overflow(&self) -> Result<(), StoreError> {
        if let Some(overflow) = self.burials.overflow() {
            self.guard(self.cache.mark_incomplete()).await?;
            self.burials.marked_for(overflow);
        }
        Ok(())
    }

    /// Streams on a node that is still away do not keep back those of the others.
    async fn catch_up_all(&self) -> Result<(), StoreError> {
        self.unmark_after_overflow().await?;
        let mut caught_up = Ok(());
        for stream_id in self.burials.streams() {
            caught_up = caught_up.and(self.catch_up(stream_id).await);
        }
        caught_up
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
        self.catch_up(stream_id).await?;
        self.guard(self.cache.append(stream_id, from_seq, to_seq, events)).await
    }

    async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        limit: usize,
    ) -> Result<Option<RecentPage>, StoreError> {
        self.catch_up(stream_id).await?;
        self.guard(self.cache.after(stream_id, seq, limit)).await
    }

    async fn head(&self, stream_id: StreamId) -> Result<Option<Seq>, StoreError> {
        self.guard(self.cache.head(stream_id)).await
    }

    async fn bury(&self, stream_id: StreamId, comment_id: CommentId) -> Result<(), StoreError> {
        let taken = self.guard(self.cache.bury(stream_id, comment_id)).await;
        if taken.is_err() {
            self.burials.remember(stream_id, comment_id);
        }
        taken
    }

    async fn buried(
        &self,
        stream_id: StreamId,
        comment_ids: &[CommentId],
    ) -> Result<Vec<bool>, StoreError> {
        self.catch_up(stream_id).await?;
        self.guard(self.cache.buried(stream_id, comment_ids)).await
    }

    async fn is_complete(&self) -> Result<bool, StoreError> {
        let caught_up = self.catch_up_all().await;
        // A node that lost everything is told apart though another one is away.
        match self.guard(self.cache.is_complete()).await {
            Ok(true) => caught_up.map(|()| true),
            other => other,
        }
    }

    async fn mark_complete(&self) -> Result<(), StoreError> {
        let caught_up = self.catch_up_all().await;
        self.guard(self.cache.mark_complete()).await.and(caught_up)
    }

    async fn mark_incomplete(&self) -> Result<(), StoreError> {
        self.guard(self.cache.mark_incomplete()).await
    }
}

#[cfg(test)]
mod tests;
