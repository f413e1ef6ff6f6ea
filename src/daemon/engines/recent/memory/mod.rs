//! The recent cache in this process's memory.
//!
//! Always holds: the mark of a deleted or restored comment is dropped only together with everything
//! kept of its stream, so a deleted comment is never handed out.
//!
//! When full: a stream drops its oldest events beyond `recent_events`. When all streams together
//! exceed `recent_bytes`, the least recently used streams are dropped. The oldest eighth of
//! [`MAX_TOMBSTONES`] is dropped at once. Writers never wait.

mod stream;
mod tombstones;

use std::collections::BTreeMap;

use ahash::AHashMap;
use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard, RwLock};

use self::stream::{Chunk, RecentStream};
use self::tombstones::{Mark, TombstoneSet};
use super::{DeletionState, EarlierPlaces, RecentCache, RecentEvent, RecentPage};
use crate::daemon::base::config::StoreConfig;
use crate::daemon::engines::StoreError;
use crate::protocol::{CommentId, Seq, StreamId};

/// Marks of deleted and restored comments kept: about 75 MB when full.
const MAX_TOMBSTONES: usize = 1 << 20;

/// The engine.
#[derive(Debug)]
pub struct MemoryRecent {
    max_events: usize,
    max_bytes: usize,
    // Code that needs both locks takes `tombstones` first.
    tombstones: RwLock<TombstoneSet>,
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    by_id: AHashMap<StreamId, RecentStream>,
    /// Streams by last use, the least recently used first.
    by_use: BTreeMap<u64, StreamId>,
    uses: u64,
    bytes: usize,
}

impl MemoryRecent {
    pub fn new(config: &StoreConfig) -> Self {
        Self::with_bounds(config.recent_events, config.recent_bytes.0 as usize, MAX_TOMBSTONES)
    }

    fn with_bounds(max_events: usize, max_bytes: usize, max_tombstones: usize) -> Self {
        Self {
            max_events: max_events.max(1),
            max_bytes,
            tombstones: RwLock::new(TombstoneSet::new(max_tombstones)),
            streams: Mutex::default(),
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock()
    }

    fn put(&self, stream_id: StreamId, comment_id: CommentId, mark: Mark) {
        let mut tombstones = self.tombstones.write();
        let dropped = tombstones.put(stream_id, comment_id, mark);
        if !dropped.is_empty() {
            let mut streams = self.streams();
            dropped.into_iter().for_each(|stream_id| streams.remove(stream_id));
        }
    }
}

impl Streams {
    /// Returns the stream and makes it the most recently used one.
    fn touch(&mut self, stream_id: StreamId) -> Option<&mut RecentStream> {
        let stream = self.by_id.get_mut(&stream_id)?;
        self.uses += 1;
        self.by_use.remove(&stream.last_use);
        stream.last_use = self.uses;
        self.by_use.insert(self.uses, stream_id);
        Some(stream)
    }

    fn remove(&mut self, stream_id: StreamId) {
        if let Some(stream) = self.by_id.remove(&stream_id) {
            self.by_use.remove(&stream.last_use);
            self.bytes -= stream.bytes();
        }
    }

    fn start(&mut self, stream_id: StreamId, from_seq: Seq) {
        self.remove(stream_id);
        self.uses += 1;
        let stream = RecentStream::starting_at(from_seq, self.uses);
        self.bytes += stream.bytes();
        self.by_use.insert(self.uses, stream_id);
        self.by_id.insert(stream_id, stream);
    }

    /// Drops data until at most `max_bytes` are kept: first other streams, the least recently used
    /// first, then the oldest events of `newest`, the stream used last.
    fn shrink(&mut self, newest: StreamId, max_bytes: usize) {
        while self.bytes > max_bytes {
            match self.by_use.first_key_value() {
                Some((_, &least_recent)) if least_recent != newest => {
                    self.remove(least_recent);
                }
                _ => break,
            }
        }
        if let Some(stream) = self.by_id.get_mut(&newest) {
            let others = self.bytes - stream.bytes();
            stream.shrink_to_bytes(max_bytes.saturating_sub(others));
            self.bytes = others + stream.bytes();
        }
    }
}

#[async_trait]
impl RecentCache for MemoryRecent {
    async fn append(
        &self,
        stream_id: StreamId,
        from_seq: Seq,
        to_seq: Seq,
        events: Vec<RecentEvent>,
    ) -> Result<(), StoreError> {
        if from_seq > to_seq {
            return Ok(());
        }
        let mut streams = self.streams();
        let head = streams.by_id.get(&stream_id).map(RecentStream::head);
        match head {
            Some(head) if to_seq <= head => return Ok(()),
            Some(head) if from_seq <= head.saturating_add(1) => {}
            _ => streams.start(stream_id, from_seq),
        }
        if let Some(stream) = streams.touch(stream_id) {
            let before = stream.bytes();
            stream.append(to_seq, events, self.max_events);
            let after = stream.bytes();
            streams.bytes = streams.bytes - before + after;
        }
        streams.shrink(stream_id, self.max_bytes);
        Ok(())
    }

    async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        limit: usize,
    ) -> Result<Option<RecentPage>, StoreError> {
        // Locked to the end: a tombstone dropped meanwhile could let its comment through.
        let tombstones = self.tombstones.read();
        let found = self.streams().touch(stream_id).and_then(|stream| stream.after(seq));
        let Some((chunks, head)) = found else { return Ok(None) };
        Ok(Some(page(&chunks, head, seq, limit, &tombstones)))
    }

    async fn head(&self, stream_id: StreamId) -> Result<Option<Seq>, StoreError> {
        Ok(self.streams().by_id.get(&stream_id).map(RecentStream::head))
    }

    /// This process opens one log and fills the cache from it.
    async fn earlier(&self, _stream_id: StreamId) -> Result<Option<EarlierPlaces>, StoreError> {
        Ok(None)
    }

    async fn add_tombstone(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        self.put(stream_id, comment_id, Mark { seq, state: DeletionState::Deleted });
        Ok(())
    }

    async fn hide_from_others(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        let mark = Mark { seq, state: DeletionState::HiddenFromOthers };
        self.put(stream_id, comment_id, mark);
        Ok(())
    }

    async fn restore_comment(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        self.put(stream_id, comment_id, Mark { seq, state: DeletionState::Restored });
        Ok(())
    }

    async fn deletion_states(
        &self,
        _stream_id: StreamId,
        comment_ids: &[CommentId],
    ) -> Result<Vec<DeletionState>, StoreError> {
        let tombstones = self.tombstones.read();
        Ok(comment_ids.iter().map(|comment_id| tombstones.state(*comment_id)).collect())
    }

    async fn is_complete(&self) -> Result<bool, StoreError> {
        // The process restores all tombstones before it serves viewers, and the cache ends with it.
        Ok(true)
    }

    async fn mark_complete(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Drops all streams: an unknown stream hands out nothing. Only this process adds tombstones
    /// here, and adding one cannot fail.
    async fn mark_incomplete(&self) -> Result<(), StoreError> {
        *self.streams() = Streams::default();
        Ok(())
    }
}

/// Returns the first `limit` events after `seq` that are neither deleted nor deletions that were
/// taken back. Comments hidden from others than their authors are the authors' own.
fn page(
    chunks: &[Chunk],
    head: Seq,
    seq: Seq,
    limit: usize,
    tombstones: &TombstoneSet,
) -> RecentPage {
    let mut events = Vec::new();
    let mut covered_to = seq;
    let candidates = chunks.iter().flat_map(|chunk| chunk.events.iter());
    for event in candidates.filter(|event| event.seq() > seq) {
        let shown = match event {
            RecentEvent::Comment(comment) | RecentEvent::Own(comment) => {
                match tombstones.state(comment.comment_id) {
                    DeletionState::Deleted => None,
                    DeletionState::HiddenFromOthers => Some(RecentEvent::Own(comment.clone())),
                    DeletionState::NotDeleted | DeletionState::Restored => Some(event.clone()),
                }
            }
            RecentEvent::Deleted { seq, deletion } => {
                let taken_back = tombstones.is_taken_back(deletion.comment_id, *seq);
                (!taken_back).then(|| event.clone())
            }
        };
        if let Some(shown) = shown {
            if events.len() == limit {
                return RecentPage { events, covered_to };
            }
            events.push(shown);
        }
        covered_to = event.seq();
    }
    // The rest of the range belongs to other streams of the partition.
    RecentPage { events, covered_to: head.max(seq) }
}

#[cfg(test)]
mod tests;
