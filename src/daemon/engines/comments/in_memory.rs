//! Comments in memory, for tests of what writes and reads them: everything the contract promises
//! but durability, and failures on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use super::marks::{self, CommentMark};
use super::{
    ArchiveBatch, ArchivedComment, CommentKey, CommentStore, MAX_COUNTED_REPLIES, SINCE_COMMENTS,
    StorePositions, StoredComment, Tombstone, first_id_at,
};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::eventlog::Position;
use crate::protocol::events::HiddenFrom;
use crate::protocol::{CommentId, Epoch, Seq, SequencedComment, StreamId, UserId};

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

/// The number of a log, and a comment's sequence in it.
type Place = (usize, Seq);

/// The last deletion and the last restoration of a comment.
#[derive(Debug, Default)]
struct Mark {
    tombstone: Option<Tombstone>,
    deleted: Option<Place>,
    /// The last deletion for others than the author.
    hidden: Option<Place>,
    restored: Option<Place>,
}

impl Mark {
    fn hides_from(&self) -> Option<HiddenFrom> {
        if self.deleted > self.restored {
            return Some(HiddenFrom::Everybody);
        }
        (self.hidden > self.restored).then_some(HiddenFrom::Others)
    }

    fn tombstone(&self) -> Option<Tombstone> {
        let hidden_from = self.hides_from()?;
        Some(Tombstone { hidden_from, ..self.tombstone.clone()? })
    }

    fn add(&mut self, log: usize, new: &CommentMark<'_>) {
        let in_log = |seq| (log, seq);
        self.restored = self.restored.max(new.restored.map(in_log));
        // A deletion that still counts keeps its reason and its time.
        if self.hides_from().is_none() && new.tombstone.is_some() {
            self.tombstone = new.tombstone.cloned();
        }
        self.deleted = self.deleted.max(new.deleted.map(in_log));
        self.hidden = self.hidden.max(new.hidden.map(in_log));
    }
}

#[derive(Debug, Default)]
struct Tables {
    /// In the order in which they were first written to.
    logs: Vec<Epoch>,
    comments: BTreeMap<Key, (Place, ArchivedComment)>,
    marks: BTreeMap<Key, Mark>,
    positions: BTreeMap<(usize, u32), (u64, Option<CommentKey>)>,
    hidden_authors: BTreeSet<(StreamId, UserId)>,
    batches: Vec<Vec<ArchivedComment>>,
}

impl Tables {
    fn log_number(&mut self, epoch: Epoch) -> usize {
        self.logs.iter().position(|known| *known == epoch).unwrap_or_else(|| {
            self.logs.push(epoch);
            self.logs.len() - 1
        })
    }

    fn hidden_from(&self, key: &Key) -> Option<HiddenFrom> {
        self.marks.get(key).and_then(Mark::hides_from)
    }

    /// The tombstones of deleted comments, by stream, then by age of the comment.
    fn tombstones(&self) -> impl Iterator<Item = Tombstone> {
        self.marks.values().filter_map(Mark::tombstone)
    }

    /// Returns the place that a page before this comment ends at.
    fn place_of(&self, stream_id: StreamId, before: CommentId) -> Option<Place> {
        let key = key(stream_id, before);
        if let Some((place, _)) = self.comments.get(&key) {
            return Some(*place);
        }
        let older = self.comments.range((stream_id, [0; 16])..key).next_back();
        older.map(|(_, ((log, seq), _))| (*log, seq + 1))
    }
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

    /// Those of deleted comments, by stream, then by age of the comment.
    pub(crate) fn tombstones(&self) -> Vec<Tombstone> {
        self.lock().tombstones().collect()
    }

    /// Loses everything, as when its files are deleted.
    pub(crate) fn lose_everything(&self) {
        *self.lock() = Tables::default();
    }

    /// Loses the comments and keeps the positions, as when rows are deleted by hand.
    pub(crate) fn lose_comments(&self) {
        self.lock().comments.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock()
    }

    fn read_page(
        &self,
        reader: Option<UserId>,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        assert!((1..=1000).contains(&limit), "outside of the contract: {limit}");
        let Some(end) = self.end(stream_id, before)? else { return Ok(Vec::new()) };
        self.read_rows(reader, stream_id, limit, |place, _| place < end)
    }

    /// Returns the place that a page ends at; `None` if there is no older comment.
    fn end(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
    ) -> Result<Option<Place>, StoreError> {
        match before {
            None => Ok(Some((usize::MAX, Seq::MAX))),
            Some(before) => Ok(self.call()?.place_of(stream_id, before)),
        }
    }

    /// Returns the newest visible comments of a stream among those that are wanted.
    fn read_rows(
        &self,
        reader: Option<UserId>,
        stream_id: StreamId,
        limit: usize,
        is_wanted: impl Fn(Place, &ArchivedComment) -> bool,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        let tables = self.call()?;
        let of_stream = tables.comments.range((stream_id, [0; 16])..=(stream_id, [u8::MAX; 16]));
        let is_shown = |key: &Key, row: &ArchivedComment| {
            let is_own = reader == Some(row.comment.user_id);
            match tables.hidden_from(key) {
                Some(HiddenFrom::Everybody) => false,
                Some(HiddenFrom::Others) => is_own,
                None => is_own || !row.shadow,
            }
        };
        let shown =
            of_stream.filter(|(key, (place, row))| is_wanted(*place, row) && is_shown(key, row));
        let mut shown: Vec<_> = shown.map(|(_, placed)| placed).collect();
        shown.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        shown.truncate(limit);
        Ok(shown.into_iter().map(|(_, row)| row.comment.sequenced(row.seq)).collect())
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
    async fn write(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let less_one = |left: u32| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less_one).is_ok() {
            return Err(StoreError::Unavailable("refused by the test".to_owned()));
        }
        let mut tables = self.call()?;
        let log = tables.log_number(batch.epoch);
        let marks = marks::fold(batch.deletions.iter(), batch.restorations.iter());
        if !batch.comments.is_empty() || !marks.is_empty() {
            tables.batches.push(batch.comments.clone());
        }
        for row in &batch.comments {
            let key = key(row.comment.stream_id, row.comment.comment_id);
            tables.comments.entry(key).or_insert_with(|| ((log, row.seq), row.clone()));
        }
        for new in &marks {
            let key = key(new.stream_id, new.comment_id);
            tables.marks.entry(key).or_default().add(log, new);
        }
        tables.hidden_authors.extend(batch.hidden_authors());
        for archived in &batch.archived {
            let Position { partition, offset } = archived.next;
            let (next, newest) = tables.positions.entry((log, partition)).or_default();
            *next = offset;
            if archived.newest.is_some() || archived.rewound {
                *newest = archived.newest;
            }
        }
        Ok(())
    }

    async fn positions(
        &self,
        epoch: Epoch,
        known: &BTreeMap<u32, CommentKey>,
    ) -> Result<StorePositions, StoreError> {
        let mut tables = self.call()?;
        let log = tables.log_number(epoch);
        let of_log = tables.positions.range((log, 0)..=(log, u32::MAX));
        let is_there = |newest: &CommentKey| {
            tables.comments.contains_key(&key(newest.stream_id, newest.comment_id))
        };
        let complete = of_log.filter(|((_, partition), (_, newest))| {
            newest.as_ref().is_none_or(is_there) && known.get(partition).is_none_or(is_there)
        });
        let next = complete.map(|((_, partition), (offset, _))| Position {
            partition: *partition,
            offset: *offset,
        });
        Ok(StorePositions { next: next.collect(), has_unplaced: false })
    }

    async fn other_positions(&self, epoch: Epoch) -> Result<Vec<(Epoch, Position)>, StoreError> {
        let tables = self.call()?;
        let of_other =
            tables.positions.iter().filter_map(|(&(log, partition), (offset, newest))| {
                let other = tables.logs.get(log).copied().filter(|other| *other != epoch)?;
                let is_there = newest.is_none_or(|newest| {
                    tables.comments.contains_key(&key(newest.stream_id, newest.comment_id))
                });
                is_there.then_some((other, Position { partition, offset: *offset }))
            });
        Ok(of_other.collect())
    }

    async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        self.read_page(None, stream_id, before, limit)
    }

    async fn page_for(
        &self,
        reader: UserId,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        self.read_page(Some(reader), stream_id, before, limit)
    }

    async fn replies(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        assert!((1..=1000).contains(&limit), "outside of the contract: {limit}");
        let CommentKey { stream_id, comment_id } = parent;
        let Some(end) = self.end(stream_id, before)? else { return Ok(Vec::new()) };
        self.read_rows(reader, stream_id, limit, |place, row| {
            place < end && row.comment.parent_id == Some(comment_id)
        })
    }

    async fn reply_count(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
    ) -> Result<usize, StoreError> {
        Ok(self.replies(reader, parent, None, MAX_COUNTED_REPLIES).await?.len())
    }

    async fn first_since(
        &self,
        stream_id: StreamId,
        since_ms: u64,
    ) -> Result<Option<CommentId>, StoreError> {
        let tables = self.call()?;
        let from = key(stream_id, first_id_at(since_ms));
        let next = tables.comments.range(from..=(stream_id, [u8::MAX; 16])).take(SINCE_COMMENTS);
        let first = next.min_by_key(|(_, (place, _))| *place);
        Ok(first.map(|(_, (_, row))| row.comment.comment_id))
    }

    async fn hidden_authors(&self, stream_id: StreamId) -> Result<Vec<UserId>, StoreError> {
        let tables = self.call()?;
        let of_stream = (stream_id, UserId(0))..=(stream_id, UserId(u64::MAX));
        Ok(tables.hidden_authors.range(of_stream).map(|(_, user_id)| *user_id).collect())
    }

    async fn get(&self, comment_id: CommentId) -> Result<Option<StoredComment>, StoreError> {
        let tables = self.call()?;
        let mut all = tables.comments.iter();
        let found = all.find(|(_, (_, row))| row.comment.comment_id == comment_id);
        Ok(found.map(|(key, (_, row))| StoredComment {
            comment: row.comment.sequenced(row.seq),
            stream_id: row.comment.stream_id,
            deleted: tables.hidden_from(key).is_some(),
            only_hidden: tables.hidden_from(key) == Some(HiddenFrom::Others),
            shadow: row.shadow,
        }))
    }

    async fn tombstones_since(
        &self,
        since_ms: u64,
        limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError> {
        let tables = self.call()?;
        let since = tables.tombstones().filter(|t| t.deleted_at >= since_ms);
        let mut since: Vec<_> = since.collect();
        since.sort_by_key(|tombstone| tombstone.deleted_at);
        since.truncate(limit);
        Ok(since)
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
