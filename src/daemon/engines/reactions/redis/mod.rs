//! Totals of reactions in Redis, added to by all nodes.
//!
//! `reactions:stream:{id}` (under `redis.prefix`) is a hash of totals by reaction, on the Redis node
//! chosen by that key; `reactions:streams`, on each node, lists the streams with when they were last
//! reacted to. As durable as the server is configured to be: a server that lost its data counts from
//! zero.
//!
//! Always holds: what is counted is added once. A call that failed may have been carried out, on one
//! node or on all; so each process tells its windows under a name (`reactions:writer:{name}`, gone
//! after [`WRITER_LIFETIME`]) and a number, and telling one again adds only what is new. Exact for
//! one call at a time, as the reaction window makes them.
//!
//! While a node is away, calls that concern it fail within `redis.timeout` and the counts of the
//! window wait, those of other nodes included; they work again when it is back.
//!
//! Bounded: the list has the [`MAX_STREAMS`] streams last reacted to on a node, and [`all`] answers
//! for no others; [`totals`] answers for every stream there ever was.
//!
//! [`all`]: ReactionTotals::all
//! [`totals`]: ReactionTotals::totals

mod writers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use redis::{FromRedisValue, Script};

use self::writers::{Writer, Writers};
use super::{ReactionTotals, Totals};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::redis_nodes::{RedisFailure, RedisNodes};
use crate::protocol::StreamId;

/// Far longer than a call that failed is told again, or may come late.
const WRITER_LIFETIME: Duration = Duration::from_secs(3600);
/// Streams listed on one node.
const MAX_STREAMS: usize = 100_000;
/// Rows of one script: bounds how long one call keeps a server busy.
const ROWS: usize = 500;
/// Streams asked for in one pipeline.
const STREAMS: usize = 500;

/// The engine. Cloning shares it.
#[derive(Debug, Clone)]
pub struct RedisReactions {
    nodes: RedisNodes,
    add: Script,
    writers: Arc<Writers>,
    max_streams: usize,
}

/// A reaction of a stream, and how often it was counted.
type Row = (StreamId, Arc<str>, u64);

impl RedisReactions {
    /// Connects to nothing yet: a node that is away is no reason not to start.
    pub fn new(nodes: RedisNodes) -> Self {
        let add = Script::new(include_str!("add.lua"));
        Self { nodes, add, writers: Arc::default(), max_streams: MAX_STREAMS }
    }

    fn name(stream_id: StreamId) -> String {
        format!("reactions:stream:{stream_id}")
    }

    fn node_of(&self, stream_id: StreamId) -> usize {
        self.nodes.index_of(Self::name(stream_id).as_bytes())
    }

    fn totals_key(&self, stream_id: StreamId) -> String {
        self.nodes.key(&Self::name(stream_id))
    }

    fn streams_key(&self) -> String {
        self.nodes.key("reactions:streams")
    }

    /// Adds the rows of one node, and returns them with their new totals.
    async fn add_rows(
        &self,
        writer: &Writer,
        node: usize,
        rows: &[Row],
    ) -> Result<Vec<Row>, StoreError> {
        let mut added = Vec::with_capacity(rows.len());
        for part in rows.chunks(ROWS) {
            let mut call = self.add.prepare_invoke();
            call.key(self.nodes.key(&format!("reactions:writer:{:016x}", writer.name)));
            call.key(self.streams_key());
            call.arg(writer.window).arg(WRITER_LIFETIME.as_millis() as u64).arg(self.max_streams);
            for (stream_id, reaction, count) in part {
                call.key(self.totals_key(*stream_id));
                call.arg(stream_id.0).arg(&**reaction).arg(*count);
            }
            let invoke = |mut node| async move { call.invoke_async(&mut node).await };
            let totals = self.nodes.guarded(node).run::<Vec<u64>, _>(invoke).await;
            let rows = part.iter().zip(totals.map_err(|failure| unavailable(&failure))?);
            added.extend(rows.map(|((id, reaction, _), total)| (*id, reaction.clone(), total)));
        }
        Ok(added)
    }

    async fn all_on(&self, node: usize) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        let mut list = redis::cmd("ZRANGE");
        list.arg(self.streams_key()).arg(0).arg(-1);
        let streams: Vec<u64> = self.ask(node, &list).await?;
        let mut all = Vec::with_capacity(streams.len());
        for part in streams.chunks(STREAMS) {
            let mut pipeline = redis::pipe();
            for stream in part {
                pipeline.cmd("HGETALL").arg(self.totals_key(StreamId(*stream)));
            }
            let totals: Vec<BTreeMap<String, u64>> = self
                .nodes
                .guarded(node)
                .query_all(&pipeline)
                .await
                .map_err(|failure| unavailable(&failure))?;
            all.extend(part.iter().map(|id| StreamId(*id)).zip(totals.into_iter().map(shared)));
        }
        Ok(all)
    }

    async fn ask<T: FromRedisValue>(
        &self,
        node: usize,
        command: &redis::Cmd,
    ) -> Result<T, StoreError> {
        self.nodes.guarded(node).query(command).await.map_err(|failure| unavailable(&failure))
    }
}

fn unavailable(failure: &RedisFailure) -> StoreError {
    StoreError::Unavailable(failure.to_string())
}

#[async_trait]
impl ReactionTotals for RedisReactions {
    async fn add(
        &self,
        counts: &[(StreamId, Totals)],
    ) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        let mut by_node: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
        for row in rows(counts) {
            by_node.entry(self.node_of(row.0)).or_default().push(row);
        }
        if by_node.is_empty() {
            return Ok(Vec::new());
        }
        let writer = self.writers.take();
        let calls = by_node.iter().map(|(node, rows)| self.add_rows(&writer, *node, rows));
        // All of them to their end, so that none is carried out behind the next.
        let added: Result<Vec<_>, _> = join_all(calls).await.into_iter().collect();
        self.writers.give_back(writer, added.is_ok());
        let mut changed: BTreeMap<StreamId, Totals> = BTreeMap::new();
        for (stream_id, reaction, total) in added?.into_iter().flatten() {
            changed.entry(stream_id).or_default().insert(reaction, total);
        }
        Ok(changed.into_iter().collect())
    }

    async fn totals(&self, stream_id: StreamId) -> Result<Totals, StoreError> {
        let mut totals = redis::cmd("HGETALL");
        totals.arg(self.totals_key(stream_id));
        self.ask(self.node_of(stream_id), &totals).await.map(shared)
    }

    async fn all(&self) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        let nodes = (0..self.nodes.count()).map(|node| self.all_on(node));
        let mut all = try_join_all(nodes).await?.concat();
        all.retain(|(_, totals)| !totals.is_empty());
        Ok(all)
    }
}

fn shared(totals: BTreeMap<String, u64>) -> Totals {
    totals.into_iter().map(|(reaction, total)| (reaction.into(), total)).collect()
}

/// One row for each reaction that was counted, however often it is listed.
fn rows(counts: &[(StreamId, Totals)]) -> Vec<Row> {
    let mut by_key: BTreeMap<(StreamId, &Arc<str>), u64> = BTreeMap::new();
    for (stream_id, totals) in counts {
        for (reaction, count) in totals.iter().filter(|(_, count)| **count > 0) {
            *by_key.entry((*stream_id, reaction)).or_default() += count;
        }
    }
    by_key.into_iter().map(|((id, reaction), count)| (id, reaction.clone(), count)).collect()
}

#[cfg(test)]
mod tests;
