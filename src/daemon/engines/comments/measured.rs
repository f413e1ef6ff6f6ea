//! The comment store with a meter in front.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{
    ArchiveBatch, CommentKey, CommentStore, SharedCommentStore, StorePositions, StoredComment,
    Tombstone,
};
use crate::daemon::base::telemetry::StoreMeter;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::eventlog::Position;
use crate::daemon::engines::measured::measured;
use crate::protocol::{CommentId, Epoch, SequencedComment, StreamId, UserId};

/// Measures the calls to a store.
#[derive(Debug)]
pub struct MeasuredComments {
    store: SharedCommentStore,
    meter: Arc<StoreMeter>,
}

impl MeasuredComments {
    pub fn new(store: SharedCommentStore, meter: Arc<StoreMeter>) -> Self {
        Self { store, meter }
    }
}

#[async_trait]
impl CommentStore for MeasuredComments {
    async fn write(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        measured(&self.meter, self.store.write(batch)).await
    }

    async fn positions(
        &self,
        epoch: Epoch,
        known: &BTreeMap<u32, CommentKey>,
    ) -> Result<StorePositions, StoreError> {
        measured(&self.meter, self.store.positions(epoch, known)).await
    }

    async fn other_positions(&self, epoch: Epoch) -> Result<Vec<(Epoch, Position)>, StoreError> {
        measured(&self.meter, self.store.other_positions(epoch)).await
    }

    async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        measured(&self.meter, self.store.page(stream_id, before, limit)).await
    }

    async fn page_for(
        &self,
        reader: UserId,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        measured(&self.meter, self.store.page_for(reader, stream_id, before, limit)).await
    }

    async fn replies(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        measured(&self.meter, self.store.replies(reader, parent, before, limit)).await
    }

    async fn reply_count(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
    ) -> Result<usize, StoreError> {
        measured(&self.meter, self.store.reply_count(reader, parent)).await
    }

    async fn first_since(
        &self,
        stream_id: StreamId,
        since_ms: u64,
    ) -> Result<Option<CommentId>, StoreError> {
        measured(&self.meter, self.store.first_since(stream_id, since_ms)).await
    }

    async fn hidden_authors(&self, stream_id: StreamId) -> Result<Vec<UserId>, StoreError> {
        measured(&self.meter, self.store.hidden_authors(stream_id)).await
    }

    async fn get(&self, comment_id: CommentId) -> Result<Option<StoredComment>, StoreError> {
        measured(&self.meter, self.store.get(comment_id)).await
    }

    async fn tombstones_since(
        &self,
        since_ms: u64,
        limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError> {
        measured(&self.meter, self.store.tombstones_since(since_ms, limit)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}
