//! The comment store and the reaction totals in memory.

use std::sync::Mutex;

use async_trait::async_trait;

use super::Switch;
use crate::daemon::reactions::{ReactionTotals, Totals};
use crate::daemon::store::StoreError;
use crate::daemon::store::comments::{ArchivedComment, CommentStore, StoredComment, Tombstone};
use crate::protocol::{CommentId, SequencedComment, StreamId};

#[derive(Debug, Default)]
pub(crate) struct FakeComments {
    /// Oldest first.
    rows: Mutex<Vec<ArchivedComment>>,
    pub(crate) down: Switch,
}

impl FakeComments {
    fn locked(&self) -> Result<std::sync::MutexGuard<'_, Vec<ArchivedComment>>, StoreError> {
        if self.down.is_on() {
            return Err(StoreError::Unavailable("switched off".to_owned()));
        }
        Ok(self.rows.lock().unwrap())
    }
}

#[async_trait]
impl CommentStore for FakeComments {
    async fn write(
        &self,
        comments: &[ArchivedComment],
        _tombstones: &[Tombstone],
    ) -> Result<(), StoreError> {
        self.locked()?.extend_from_slice(comments);
        Ok(())
    }

    async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        assert!((1..=1000).contains(&limit), "outside of the contract: {limit}");
        let rows = self.locked()?;
        let older = |id: CommentId| before.is_none_or(|before| id.sort_key() < before.sort_key());
        let newest_first = rows.iter().rev();
        let wanted = newest_first
            .filter(|row| row.comment.stream_id == stream_id && older(row.comment.comment_id));
        Ok(wanted.take(limit).map(|row| row.comment.sequenced(row.seq)).collect())
    }

    async fn get(&self, comment_id: CommentId) -> Result<Option<StoredComment>, StoreError> {
        let rows = self.locked()?;
        let found = rows.iter().find(|row| row.comment.comment_id == comment_id);
        Ok(found.map(|row| StoredComment {
            comment: row.comment.sequenced(row.seq),
            stream_id: row.comment.stream_id,
            deleted: false,
            shadow: row.shadow,
        }))
    }

    async fn tombstones_since(
        &self,
        _since_ms: u64,
        _limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError> {
        Ok(Vec::new())
    }

    async fn count(&self, _stream_id: StreamId) -> Result<u64, StoreError> {
        Ok(self.locked()?.len() as u64)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.locked().map(drop)
    }
}

/// Totals that were set, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct FakeReactions {
    pub(crate) totals: Mutex<Vec<(StreamId, Totals)>>,
}

#[async_trait]
impl ReactionTotals for FakeReactions {
    async fn add(
        &self,
        counts: &[(StreamId, Totals)],
    ) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        self.totals.lock().unwrap().extend_from_slice(counts);
        Ok(counts.to_vec())
    }

    async fn totals(&self, stream_id: StreamId) -> Result<Totals, StoreError> {
        let all = self.totals.lock().unwrap();
        Ok(all.iter().find(|(id, _)| *id == stream_id).map(|(_, t)| t.clone()).unwrap_or_default())
    }

    async fn all(&self) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        Ok(self.totals.lock().unwrap().clone())
    }
}
