//! A comment store that keeps no more than what it was given, and fails when told to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use async_trait::async_trait;

use crate::daemon::store::StoreError;
use crate::daemon::store::comments::{ArchivedComment, CommentStore, StoredComment, Tombstone};
use crate::protocol::{CommentId, Seq, SequencedComment, StreamId};

#[derive(Debug, Default)]
pub(super) struct FakeStore {
    /// The next so many writes fail.
    pub(super) failures: AtomicU32,
    /// Writes asked for, refused ones included.
    pub(super) writes: AtomicUsize,
    batches: Mutex<Vec<(Vec<ArchivedComment>, Vec<Tombstone>)>>,
}

impl FakeStore {
    /// Comments in each write that was taken.
    pub(super) fn batch_sizes(&self) -> Vec<usize> {
        self.batches.lock().unwrap().iter().map(|(comments, _)| comments.len()).collect()
    }

    pub(super) fn comments(&self) -> Vec<ArchivedComment> {
        self.batches.lock().unwrap().iter().flat_map(|(comments, _)| comments.clone()).collect()
    }

    pub(super) fn seqs(&self) -> Vec<Seq> {
        self.comments().iter().map(|comment| comment.seq).collect()
    }

    pub(super) fn tombstones(&self) -> Vec<Tombstone> {
        self.batches.lock().unwrap().iter().flat_map(|(_, tombstones)| tombstones.clone()).collect()
    }
}

fn not_here<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("the archiver needs no such call".to_owned()))
}

#[async_trait]
impl CommentStore for FakeStore {
    async fn write(
        &self,
        comments: &[ArchivedComment],
        tombstones: &[Tombstone],
    ) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let less_one = |left: u32| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less_one).is_ok() {
            return Err(StoreError::Unavailable("refused by the test".to_owned()));
        }
        self.batches.lock().unwrap().push((comments.to_vec(), tombstones.to_vec()));
        Ok(())
    }

    async fn page(
        &self,
        _: StreamId,
        _: Option<CommentId>,
        _: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        not_here()
    }

    async fn get(&self, _: CommentId) -> Result<Option<StoredComment>, StoreError> {
        not_here()
    }

    async fn tombstones_since(&self, _: u64, _: usize) -> Result<Vec<Tombstone>, StoreError> {
        not_here()
    }

    async fn count(&self, _: StreamId) -> Result<u64, StoreError> {
        not_here()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
