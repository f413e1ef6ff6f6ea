//! Comments in memory, for tests of what writes and reads them: everything the contract promises
//! but durability, and failures on demand.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use super::{ArchivedComment, CommentStore, StoredComment, Tombstone};
use crate::daemon::engines::StoreError;
use crate::protocol::{CommentId, Seq, SequencedComment, StreamId};

/// The store. While it is down, every call fails and changes nothing.
#[derive(Debug, Default)]
pub(crate) struct InMemoryComments {
    down: AtomicBool,
    /// The next so many writes fail.
    failures: AtomicU32,
    writes: AtomicUsize,
    tables: Mutex<Tables>,
}

/// Sorts the comments of a stream by age.
type Key = (StreamId, [u8; 16]);

fn key(stream_id: StreamId, comment_id: CommentId) -> Key {
    (stream_id, comment_id.sort_key())
}

#[derive(Debug, Default)]
struct Tables {
    comments: BTreeMap<Key, ArchivedComment>,
    tombstones: BTreeMap<Key, Tombstone>,
    batches: Vec<Vec<ArchivedComment>>,
}

impl InMemoryComments {
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// The next so many writes fail.
    pub(crate) fn fail_writes(&self, count: u32) {
        self.failures.store(count, Ordering::SeqCst);
    }

    /// Writes asked for, refused ones included.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// Comments in each write that was taken.
    pub(crate) fn batch_sizes(&self) -> Vec<usize> {
        self.lock().batches.iter().map(Vec::len).collect()
    }

    /// Everything that was written, as often and in the order it was.
    pub(crate) fn written(&self) -> Vec<ArchivedComment> {
        self.lock().batches.concat()
    }

    pub(crate) fn seqs_written(&self) -> Vec<Seq> {
        self.written().iter().map(|comment| comment.seq).collect()
    }

    /// By stream, then by age of the comment.
    pub(crate) fn tombstones(&self) -> Vec<Tombstone> {
        self.lock().tombstones.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock()
    }

    fn call(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("switched off".to_owned()));
        }
        Ok(self.lock())
    }
}

#[async_trait]
impl CommentStore for InMemoryComments {
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
        let mut tables = self.call()?;
        tables.batches.push(comments.to_vec());
        for row in comments {
            let key = key(row.comment.stream_id, row.comment.comment_id);
            tables.comments.entry(key).or_insert_with(|| row.clone());
        }
        for new in tombstones {
            let key = key(new.stream_id, new.comment_id);
            tables.tombstones.entry(key).or_insert_with(|| new.clone());
        }
        Ok(())
    }

    async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        assert!((1..=1000).contains(&limit), "outside of the contract: {limit}");
        let tables = self.call()?;
        let newest = Bound::Included((stream_id, [u8::MAX; 16]));
        let end = before.map_or(newest, |before| Bound::Excluded(key(stream_id, before)));
        let older = tables.comments.range((Bound::Included((stream_id, [0; 16])), end)).rev();
        let shown = older.filter(|(key, row)| !row.shadow && !tables.tombstones.contains_key(*key));
        Ok(shown.take(limit).map(|(_, row)| row.comment.sequenced(row.seq)).collect())
    }

    async fn get(&self, comment_id: CommentId) -> Result<Option<StoredComment>, StoreError> {
        let tables = self.call()?;
        let found = tables.comments.iter().find(|(_, row)| row.comment.comment_id == comment_id);
        Ok(found.map(|(key, row)| StoredComment {
            comment: row.comment.sequenced(row.seq),
            stream_id: row.comment.stream_id,
            deleted: tables.tombstones.contains_key(key),
            shadow: row.shadow,
        }))
    }

    async fn tombstones_since(
        &self,
        since_ms: u64,
        limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError> {
        let tables = self.call()?;
        let since = tables.tombstones.values().filter(|t| t.deleted_at >= since_ms);
        let mut since: Vec<_> = since.cloned().collect();
        since.sort_by_key(|tombstone| tombstone.deleted_at);
        since.truncate(limit);
        Ok(since)
    }

    async fn count(&self, stream_id: StreamId) -> Result<u64, StoreError> {
        let tables = self.call()?;
        let of_stream = tables.comments.keys().filter(|(of, _)| *of == stream_id);
        Ok(of_stream.count() as u64)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.call().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::comments::conformance;

    async fn open() -> (InMemoryComments, ()) {
        (InMemoryComments::default(), ())
    }

    conformance::comment_store_suite!(open());
}
