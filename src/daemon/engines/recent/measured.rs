//! The recent cache with a meter in front.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    DeletionState, EarlierPlaces, RecentCache, RecentEvent, RecentPage, SharedRecentCache,
};
use crate::daemon::base::telemetry::StoreMeter;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::measured::measured;
use crate::protocol::{CommentId, Seq, StreamId};

/// Measures the calls to a store.
#[derive(Debug)]
pub struct MeasuredRecent {
    store: SharedRecentCache,
    meter: Arc<StoreMeter>,
}

impl MeasuredRecent {
    pub fn new(store: SharedRecentCache, meter: Arc<StoreMeter>) -> Self {
        Self { store, meter }
    }
}

#[async_trait]
impl RecentCache for MeasuredRecent {
    async fn append(
        &self,
        stream_id: StreamId,
        from_seq: Seq,
        to_seq: Seq,
        events: Vec<RecentEvent>,
    ) -> Result<(), StoreError> {
        measured(&self.meter, self.store.append(stream_id, from_seq, to_seq, events)).await
    }

    async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        limit: usize,
    ) -> Result<Option<RecentPage>, StoreError> {
        measured(&self.meter, self.store.after(stream_id, seq, limit)).await
    }

    async fn head(&self, stream_id: StreamId) -> Result<Option<Seq>, StoreError> {
        measured(&self.meter, self.store.head(stream_id)).await
    }

    async fn earlier(&self, stream_id: StreamId) -> Result<Option<EarlierPlaces>, StoreError> {
        measured(&self.meter, self.store.earlier(stream_id)).await
    }

    async fn add_tombstone(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        measured(&self.meter, self.store.add_tombstone(stream_id, comment_id, seq)).await
    }

    async fn hide_from_others(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        measured(&self.meter, self.store.hide_from_others(stream_id, comment_id, seq)).await
    }

    async fn restore_comment(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        measured(&self.meter, self.store.restore_comment(stream_id, comment_id, seq)).await
    }

    async fn deletion_states(
        &self,
        stream_id: StreamId,
        comment_ids: &[CommentId],
    ) -> Result<Vec<DeletionState>, StoreError> {
        measured(&self.meter, self.store.deletion_states(stream_id, comment_ids)).await
    }

    async fn is_complete(&self) -> Result<bool, StoreError> {
        self.store.is_complete().await
    }

    async fn mark_complete(&self) -> Result<(), StoreError> {
        measured(&self.meter, self.store.mark_complete()).await
    }

    async fn mark_incomplete(&self) -> Result<(), StoreError> {
        measured(&self.meter, self.store.mark_incomplete()).await
    }
}
