//! The recent cache in this process's memory.
//!
//! Always holds: a burial is forgotten only together with everything kept of its stream, so nothing
//! deleted is ever handed out.
//!
//! When full: a stream drops its oldest events beyond `recent_events`; when all streams together
//! outgrow `recent_bytes`, the ones nobody appended to or asked for the longest are forgotten. Of
//! burials, the oldest eighth of [`MAX_BURIED`] goes at once. Writers never wait.

mod buried;
mod stream;

use std::collections::BTreeMap;

use ahash::AHashMap;
use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard, RwLock};

use self::buried::Buried;
use self::stream::{Chunk, RecentStream};
use super::{RecentCache, RecentEvent, RecentPage};
use crate::daemon::base::config::StoreConfig;
use crate::daemon::engines::StoreError;
use crate::protocol::{CommentId, Seq, StreamId};

/// Deletions remembered: about 60 MB when full.
const MAX_BURIED: usize = 1 << 20;

/// The engine.
#[derive(Debug)]
pub struct MemoryRecent {
    max_events: usize,
    max_bytes: usize,
    // Whoever needs both locks takes `buried` first.
    buried: RwLock<Buried>,
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    by_id: AHashMap<StreamId, RecentStream>,
    /// Streams by when they were last used, the longest unused first.
    by_use: BTreeMap<u64, StreamId>,
    uses: u64,
    bytes: usize,
}

impl MemoryRecent {
    pub fn new(config: &StoreConfig) -> Self {
        Self::with_bounds(config.recent_events, config.recent_bytes.0 as usize, MAX_BURIED)
    }

    fn with_bounds(max_events: usize, max_bytes: usize, max_buried: usize) -> Self {
        Self {
            max_events: max_events.max(1),
            max_bytes,
            buried: RwLock::new(Buried::new(max_buried)),
            streams: Mutex::default(),
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        // No method leaves half a change behind at a point that can panic.
        self.streams.lock()
    }
}

impl Streams {
    /// The stream, moved to the end of the queue of those to be forgotten.
    fn touch(&mut self, stream_id: StreamId) -> Option<&mut RecentStream> {
        let stream = self.by_id.get_mut(&stream_id)?;
        self.uses += 1;
        self.by_use.remove(&stream.last_use);
        stream.last_use = self.uses;
        self.by_use.insert(self.uses, stream_id);
        Some(stream)
    }

    fn forget(&mut self, stream_id: StreamId) {
        if let Some(stream) = self.by_id.remove(&stream_id) {
            self.by_use.remove(&stream.last_use);
            self.bytes -= stream.bytes();
        }
    }

    fn begin(&mut self, stream_id: StreamId, from_seq: Seq) {
        self.forget(stream_id);
        self.uses += 1;
        let stream = RecentStream::starting_at(from_seq, self.uses);
        self.bytes += stream.bytes();
        self.by_use.insert(self.uses, stream_id);
        self.by_id.insert(stream_id, stream);
    }

    /// Forgets until `max_bytes` are kept at most: other streams first, the longest unused of all
    /// first; then the oldest events of `newest`, which was used last.
    fn shrink(&mut self, newest: StreamId, max_bytes: usize) {
        while self.bytes > max_bytes {
            match self.by_use.first_key_value() {
                Some((_, &longest_unused)) if longest_unused != newest => {
                    self.forget(longest_unused);
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
            _ => streams.begin(stream_id, from_seq),
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
        // Held to the end: a burial forgotten meanwhile could let its comment through.
        let buried = self.buried.read();
        let found = self.streams().touch(stream_id).and_then(|stream| stream.after(seq));
        let Some((chunks, head)) = found else { return Ok(None) };
        Ok(Some(page(&chunks, head, seq, limit, &buried)))
    }

    async fn head(&self, stream_id: StreamId) -> Result<Option<Seq>, StoreError> {
        Ok(self.streams().by_id.get(&stream_id).map(RecentStream::head))
    }

    async fn bury(&self, stream_id: StreamId, comment_id: CommentId) -> Result<(), StoreError> {
        let mut buried = self.buried.write();
        let forgotten = buried.insert(stream_id, comment_id);
        if !forgotten.is_empty() {
            let mut streams = self.streams();
            forgotten.into_iter().for_each(|stream_id| streams.forget(stream_id));
        }
        Ok(())
    }

    async fn buried(
        &self,
        _stream_id: StreamId,
        comment_ids: &[CommentId],
    ) -> Result<Vec<bool>, StoreError> {
        let buried = self.buried.read();
        Ok(comment_ids.iter().map(|comment_id| buried.contains(*comment_id)).collect())
    }

    async fn is_complete(&self) -> Result<bool, StoreError> {
        // It lives and dies with the process that reads deletions back before it serves anybody.
        Ok(true)
    }

    async fn mark_complete(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Nothing is handed out of streams it no longer knows; nobody but this process buries here,
    /// and no burial here can fail.
    async fn mark_incomplete(&self) -> Result<(), StoreError> {
        *self.streams() = Streams::default();
        Ok(())
    }
}

/// The first `limit` events after `seq` that are not deleted.
fn page(chunks: &[Chunk], head: Seq, seq: Seq, limit: usize, buried: &Buried) -> RecentPage {
    let mut events = Vec::new();
    let mut covered_to = seq;
    let candidates = chunks.iter().flat_map(|chunk| chunk.events.iter());
    for event in candidates.filter(|event| event.seq() > seq) {
        let deleted = match event {
            RecentEvent::Comment(comment) => buried.contains(comment.comment_id),
            RecentEvent::Deleted { .. } => false,
        };
        if !deleted {
            if events.len() == limit {
                return RecentPage { events, covered_to };
            }
            events.push(event.clone());
        }
        covered_to = event.seq();
    }
    // Everything else in the range was not for viewers of this stream.
    RecentPage { events, covered_to: head.max(seq) }
}

#[cfg(test)]
mod tests;
