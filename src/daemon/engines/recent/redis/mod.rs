//! The recent cache in Redis, shared by all nodes.
//!
//! A stream has all its keys on one Redis node, chosen by its id (under `redis.prefix`):
//! `recent:stream:{id}` (a hash: the places covered), `…:events` (a sorted set: every event by
//! its place), `…:buried` (a sorted set of deleted comments by their creation), `…:horizon`. Every
//! call is one script, so no reader ever sees half of a change.
//!
//! Bounded: a stream has at most `store.recent_events` events, gone `redis.recent_lifetime` after
//! the last append, and [`MAX_BURIED`] burials, gone [`BURIAL_LIFETIME`] after the last one. Of more
//! burials those of the oldest comments are forgotten; the horizon says up to which creation time,
//! and of comments that old nothing is claimed: the caller asks the log. A server with `maxmemory`
//! must not evict (`noeviction`, Redis' default): evicted events are noticed, evicted burials not.
//!
//! Always holds: a burial that was taken is known until its lifetime ends, or its node answers
//! [`StoreError::Incomplete`] to `after` and `buried`. Each Redis node has a mark,
//! `recent:complete`, that names the run of the server in which all deletions were read back: a
//! server that was emptied has none, one that came back with older data, or a replica that took
//! over, runs under another name. The mark is looked at within each call.
//!
//! While a node is away its calls fail within `redis.timeout`; they work again when it is back. What
//! was not appended meanwhile makes a hole at which the stream begins anew.
//!
//! Each question is a call of its own: which answers may be shared depends on which deletions viewers
//! here were told, and that only delivery knows, which does share them.

mod completeness;
mod keys;
mod link;
mod page;
mod scripts;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::completeness::Completeness;
use self::keys::StreamKeys;
use self::link::Link;
use super::{RecentCache, RecentEvent, RecentPage};
use crate::daemon::base::config::{RedisConfig, StoreConfig};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::protocol::{CommentId, Seq, StreamId};

/// Burials kept of one stream: about 10 MB when full.
const MAX_BURIED: usize = 100_000;
/// As long as anybody could be handed a comment deleted before.
const BURIAL_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Events of one page, whatever was asked for: bounds how long one call keeps a server busy.
const MAX_PAGE_EVENTS: usize = 4096;
/// Events looked at together; a Lua function takes some thousand arguments at most.
const CHUNK_EVENTS: usize = 512;

/// The engine. Cloning shares it.
#[derive(Debug, Clone)]
pub struct RedisRecent {
    link: Arc<Link>,
    completeness: Arc<Completeness>,
    bounds: Bounds,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    events: usize,
    buried: usize,
    lifetime: Duration,
}

impl RedisRecent {
    /// Connects to nothing yet: a node that is away is no reason not to start.
    pub fn new(nodes: RedisNodes, redis: &RedisConfig, store: &StoreConfig) -> Self {
        let events = store.recent_events.max(1);
        let lifetime = redis.recent_lifetime.max(Duration::from_millis(1));
        Self::with_bounds(nodes, Bounds { events, buried: MAX_BURIED, lifetime })
    }

    fn with_bounds(nodes: RedisNodes, bounds: Bounds) -> Self {
        let completeness = Arc::new(Completeness::new(nodes.count()));
        let link = Arc::new(Link::new(nodes));
        Self { link, completeness, bounds }
    }

    fn keys(&self, stream_id: StreamId) -> StreamKeys {
        StreamKeys::of(&self.link.nodes, stream_id)
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
        let mut call = self.link.scripts.append.prepare_invoke();
        call.key(&keys.stream).key(&keys.events);
        call.arg(from_seq).arg(to_seq).arg(self.bounds.events);
        call.arg(self.bounds.lifetime.as_millis() as u64);
        for event in &events {
            call.arg(event.seq()).arg(page::encode(event));
        }
        self.link.call(keys.node, &call).await
    }

    async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        limit: usize,
    ) -> Result<Option<RecentPage>, StoreError> {
        let limit = limit.min(MAX_PAGE_EVENTS);
        let keys = self.keys(stream_id);
        let mut call = self.link.scripts.after.prepare_invoke();
        call.key(&keys.stream).key(&keys.events).key(&keys.buried).key(&keys.horizon);
        call.key(&self.link.keys.complete);
        call.arg(seq).arg(limit).arg((limit + 1).min(CHUNK_EVENTS));
        let answer: Vec<Vec<u8>> = self.link.call(keys.node, &call).await?;
        page::read_page(&answer)
    }

    async fn head(&self, stream_id: StreamId) -> Result<Option<Seq>, StoreError> {
        let keys = self.keys(stream_id);
        self.link.head(&keys).await
    }

    async fn bury(&self, stream_id: StreamId, comment_id: CommentId) -> Result<(), StoreError> {
        let keys = self.keys(stream_id);
        let mut call = self.link.scripts.bury.prepare_invoke();
        call.key(&keys.buried).key(&keys.horizon);
        call.arg(comment_id.0.as_bytes()).arg(comment_id.unix_ms());
        call.arg(self.bounds.buried).arg(BURIAL_LIFETIME.as_millis() as u64);
        let taken = self.link.call(keys.node, &call).await;
        if taken.is_err() {
            self.completeness.lost(keys.node);
        }
        taken
    }

    async fn buried(
        &self,
        stream_id: StreamId,
        comment_ids: &[CommentId],
    ) -> Result<Vec<bool>, StoreError> {
        if comment_ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.keys(stream_id);
        let mut call = self.link.scripts.buried.prepare_invoke();
        call.key(&keys.buried).key(&keys.horizon).key(&self.link.keys.complete);
        for comment_id in comment_ids {
            call.arg(comment_id.0.as_bytes());
        }
        let answer: Vec<Vec<u8>> = self.link.call(keys.node, &call).await?;
        page::read_burials(&answer, comment_ids)
    }

    async fn is_complete(&self) -> Result<bool, StoreError> {
        self.completeness.ask(&self.link).await
    }

    async fn mark_complete(&self) -> Result<(), StoreError> {
        self.completeness.mark(&self.link).await
    }

    async fn mark_incomplete(&self) -> Result<(), StoreError> {
        self.completeness.unmark(&self.link).await
    }
}

#[cfg(test)]
mod tests;
