//! The recent cache in Redis, shared by all nodes.
//!
//! All keys of a stream are on one Redis node, chosen by its id (under `redis.prefix`):
//! `recent:stream:{id}:{epoch}` (a hash: the covered range), `…:events` (a sorted set: the events
//! by sequence number, which mean something only within an epoch of the log), `…:restored` (a
//! sorted set: comments that were restored once, by the place of their last deletion or
//! restoration), and for all epochs `recent:stream:{id}:epochs` (a hash: the last two of them, by
//! which a comment is found that was broadcast before the log was replaced),
//! `recent:stream:{id}:buried` (a sorted set: tombstones by the comment's creation time),
//! `…:hidden` (a sorted set: of these, the comments that their authors go on to see) and
//! `…:horizon`. Every call is one script, so a reader never sees half of a change.
//!
//! Bounded: a stream has at most `store.recent_events` events, which expire `redis.recent_lifetime`
//! after the last append, and [`MAX_TOMBSTONES`] tombstones, which expire [`TOMBSTONE_LIFETIME`]
//! after the last one, and [`MAX_RESTORED`] restored comments. Beyond that, the tombstones of the
//! oldest comments are dropped. The horizon is the newest creation time among them; pages with
//! comments that old are refused, and the caller reads the log. A server with `maxmemory` must not
//! evict (`noeviction`, the default of Redis): evicted events are noticed, evicted tombstones are
//! not.
//!
//! Always holds: an accepted tombstone is known until its lifetime ends, or its node answers
//! [`StoreError::Incomplete`] to `after` and `deletion_states`. Each Redis node has a mark,
//! `recent:complete`, that names the run of the server in which all tombstones were restored. A
//! server that was emptied has no mark; one that came back with older data, or a replica that took
//! over, has another run id. Each call checks the mark.
//!
//! While a node is away, its calls fail within `redis.timeout`. They work again when it is back.
//! Events that were not appended meanwhile leave a hole, at which the stream starts again.
//!
//! Requests are not shared between callers here. Which answers may be shared depends on the
//! deletions that viewers of this node have seen; only delivery knows them, and it shares the
//! answers.

mod calls;
mod completeness;
mod keys;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::calls::RecentCalls;
use self::completeness::Completeness;
use self::keys::StreamKeys;
use super::{DeletionState, EarlierPlaces, MAX_EARLIER, RecentCache, RecentEvent, RecentPage};
use crate::daemon::base::config::{RedisConfig, StoreConfig};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::protocol::events::HiddenFrom;
use crate::protocol::{CommentId, Epoch, Seq, StreamId};

/// Tombstones kept per stream: about 10 MB when full.
const MAX_TOMBSTONES: usize = 100_000;
/// Restored comments kept per stream, those restored last: about 1 MB when full.
const MAX_RESTORED: usize = 10_000;
/// Longest time for which a deleted comment could still be requested.
const TOMBSTONE_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Largest page, whatever the caller's limit: bounds how long one call keeps a server busy.
const MAX_PAGE_EVENTS: usize = 4096;
/// Events that the script reads at a time; a Lua function takes a few thousand arguments at most.
const CHUNK_EVENTS: usize = 512;

/// The engine. Clones share it.
#[derive(Debug, Clone)]
pub struct RedisRecent {
    calls: Arc<RecentCalls>,
    completeness: Arc<Completeness>,
    bounds: Bounds,
    epoch: Epoch,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    events: usize,
    tombstones: usize,
    lifetime: Duration,
}

impl RedisRecent {
    /// Does not connect: a node that is away must not prevent the start.
    ///
    /// `epoch` is that of the log, whose sequence numbers the events have.
    pub fn new(nodes: RedisNodes, redis: &RedisConfig, store: &StoreConfig, epoch: Epoch) -> Self {
        let events = store.recent_events.max(1);
        let lifetime = redis.recent_lifetime.max(Duration::from_millis(1));
        let bounds = Bounds { events, tombstones: MAX_TOMBSTONES, lifetime };
        Self { epoch, ..Self::with_bounds(nodes, bounds) }
    }

    fn with_bounds(nodes: RedisNodes, bounds: Bounds) -> Self {
        let completeness = Arc::new(Completeness::new(nodes.count()));
        let calls = Arc::new(RecentCalls::new(nodes));
        Self { calls, completeness, bounds, epoch: Epoch(1) }
    }

    fn keys(&self, stream_id: StreamId) -> StreamKeys {
        StreamKeys::of(&self.calls.nodes, stream_id, self.epoch)
    }

    async fn put_tombstone(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
        hidden_from: HiddenFrom,
    ) -> Result<(), StoreError> {
        let keys = self.keys(stream_id);
        let mut call = self.calls.scripts.add_tombstone.prepare_invoke();
        call.key(&keys.tombstones).key(&keys.horizon).key(&keys.restored).key(&keys.hidden);
        call.arg(comment_id.0.as_bytes()).arg(comment_id.unix_ms());
        call.arg(self.bounds.tombstones).arg(TOMBSTONE_LIFETIME.as_millis() as u64).arg(seq);
        call.arg(u8::from(hidden_from == HiddenFrom::Others));
        let added = self.calls.run(keys.node, &call).await;
        if added.is_err() {
            self.completeness.tombstone_lost(keys.node);
        }
        added
    }
}

#[async_trait]
impl RecentCache for RedisRecent {
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
        let keys = self.keys(stream_id);
        let mut call = self.calls.scripts.append.prepare_invoke();
        call.key(&keys.stream).key(&keys.events).key(&keys.epochs);
        call.arg(from_seq).arg(to_seq).arg(self.bounds.events);
        call.arg(self.bounds.lifetime.as_millis() as u64).arg(self.epoch.0);
        for event in &events {
            call.arg(event.seq()).arg(wire::encode(event));
        }
        self.calls.run(keys.node, &call).await
    }

    async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        limit: usize,
    ) -> Result<Option<RecentPage>, StoreError> {
        let limit = limit.min(MAX_PAGE_EVENTS);
        let keys = self.keys(stream_id);
        let mut call = self.calls.scripts.after.prepare_invoke();
        call.key(&keys.stream).key(&keys.events).key(&keys.tombstones).key(&keys.horizon);
        call.key(&self.calls.keys.complete).key(&keys.hidden);
        call.arg(seq).arg(limit).arg((limit + 1).min(CHUNK_EVENTS));
        let answer: Vec<Vec<u8>> = self.calls.run(keys.node, &call).await?;
        wire::decode_page(&answer)
    }

    async fn head(&self, stream_id: StreamId) -> Result<Option<Seq>, StoreError> {
        let keys = self.keys(stream_id);
        self.calls.head(&keys).await
    }

    async fn earlier(&self, stream_id: StreamId) -> Result<Option<EarlierPlaces>, StoreError> {
        // A node that is late in opening the new log may have appended last.
        let epochs = self.calls.epochs(&self.keys(stream_id)).await?;
        let others = epochs.into_iter().flatten().map(Epoch);
        let Some(epoch) = others.into_iter().find(|epoch| *epoch != self.epoch) else {
            return Ok(None);
        };
        let keys = StreamKeys::of(&self.calls.nodes, stream_id, epoch);
        let mut call = self.calls.scripts.earlier.prepare_invoke();
        call.key(&keys.events).arg(MAX_EARLIER);
        let answer: Vec<Vec<u8>> = self.calls.run(keys.node, &call).await?;
        Ok(Some(EarlierPlaces { epoch, places: wire::decode_places(&answer)? }))
    }

    async fn add_tombstone(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        self.put_tombstone(stream_id, comment_id, seq, HiddenFrom::Everybody).await
    }

    async fn hide_from_others(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        self.put_tombstone(stream_id, comment_id, seq, HiddenFrom::Others).await
    }

    async fn restore_comment(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        let keys = self.keys(stream_id);
        let mut call = self.calls.scripts.restore_comment.prepare_invoke();
        call.key(&keys.stream).key(&keys.events).key(&keys.tombstones).key(&keys.restored);
        call.key(&keys.hidden);
        call.arg(comment_id.0.as_bytes()).arg(seq).arg(MAX_RESTORED);
        call.arg(TOMBSTONE_LIFETIME.as_millis() as u64).arg(CHUNK_EVENTS);
        self.calls.run(keys.node, &call).await
    }

    async fn deletion_states(
        &self,
        stream_id: StreamId,
        comment_ids: &[CommentId],
    ) -> Result<Vec<DeletionState>, StoreError> {
        if comment_ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.keys(stream_id);
        let mut call = self.calls.scripts.deletion_states.prepare_invoke();
        call.key(&keys.tombstones).key(&keys.horizon).key(&self.calls.keys.complete);
        call.key(&keys.restored).key(&keys.hidden);
        for comment_id in comment_ids {
            call.arg(comment_id.0.as_bytes());
        }
        let answer: Vec<Vec<u8>> = self.calls.run(keys.node, &call).await?;
        wire::decode_states(&answer, comment_ids)
    }

    async fn is_complete(&self) -> Result<bool, StoreError> {
        self.completeness.check(&self.calls).await
    }

    async fn mark_complete(&self) -> Result<(), StoreError> {
        self.completeness.mark(&self.calls).await
    }

    async fn mark_incomplete(&self) -> Result<(), StoreError> {
        self.completeness.unmark(&self.calls).await
    }
}

#[cfg(test)]
mod tests;
