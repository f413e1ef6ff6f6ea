//! Totals of reactions in Redis, shared by all nodes.
//!
//! `reactions:stream:{id}` (under `redis.prefix`) is a hash of totals by reaction, on the Redis
//! node chosen by that key. `reactions:streams`, on each node, lists its streams with the time of
//! their last reaction. Totals are as durable as the server is configured to be: a server that
//! lost its data counts from zero.
//!
//! Always holds: every count is added once. A call that failed may have been executed, on one node
//! or on all. Each process therefore sends its windows under a writer's name
//! (`reactions:writer:{name}`, which expires after [`WRITER_LIFETIME`]) and a window number;
//! sending a window again adds only the difference. Exact for one call at a time, which is how the
//! reactions stage calls.
//!
//! While a node is away, calls that concern it fail within `redis.timeout`, and all counts of the
//! window wait, those of other nodes included. They work again when it is back.
//!
//! Bounded: the list has the [`MAX_STREAMS`] most recent streams of a node, and [`all`] returns no
//! others. [`totals`] returns those of every stream.
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

use self::writers::{Writer, WriterPool};
use super::{ReactionCount, ReactionTotals, Totals, merge_counts};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::protocol::StreamId;

/// Far longer than a failed call is retried or can be delayed.
const WRITER_LIFETIME: Duration = Duration::from_secs(3600);
/// Streams listed per node.
const MAX_STREAMS: usize = 100_000;
/// Rows per script: bounds how long one call keeps a server busy.
const ROWS: usize = 500;
/// Streams read per pipeline.
const STREAMS: usize = 500;

/// The engine. Clones share it.
#[derive(Debug, Clone)]
pub struct RedisReactions {
    nodes: RedisNodes,
    add: Script,
    writers: Arc<WriterPool>,
    max_streams: usize,
}

impl RedisReactions {
    /// Does not connect: a node that is away must not prevent the start.
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

    /// Adds the rows of one node and returns them with their new totals as counts.
    async fn add_rows(
        &self,
        writer: &Writer,
        node: usize,
        rows: &[ReactionCount],
    ) -> Result<Vec<ReactionCount>, StoreError> {
        let mut added = Vec::with_capacity(rows.len());
        for part in rows.chunks(ROWS) {
            let mut call = self.add.prepare_invoke();
            call.key(self.nodes.key(&format!("reactions:writer:{:016x}", writer.name)));
            call.key(self.streams_key());
            call.arg(writer.window).arg(WRITER_LIFETIME.as_millis() as u64).arg(self.max_streams);
            for row in part {
                call.key(self.totals_key(row.stream_id));
                call.arg(row.stream_id.0).arg(&*row.reaction).arg(row.count);
            }
            let invoke = |mut node| async move { call.invoke_async(&mut node).await };
            let totals = self.nodes.guarded(node).run::<Vec<u64>, _>(invoke).await?;
            let rows = part.iter().zip(totals).map(|(row, total)| ReactionCount {
                stream_id: row.stream_id,
                reaction: row.reaction.clone(),
                count: total,
            });
            added.extend(rows);
        }
        Ok(added)
    }

    async fn all_on_node(&self, node: usize) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        let mut list = redis::cmd("ZRANGE");
        list.arg(self.streams_key()).arg(0).arg(-1);
        let streams: Vec<u64> = self.query(node, &list).await?;
        let mut all = Vec::with_capacity(streams.len());
        for part in streams.chunks(STREAMS) {
            let mut pipeline = redis::pipe();
            for stream in part {
                pipeline.cmd("HGETALL").arg(self.totals_key(StreamId(*stream)));
            }
            let totals: Vec<BTreeMap<String, u64>> =
                self.nodes.guarded(node).query_all(&pipeline).await?;
            let totals = totals.into_iter().map(into_totals);
            all.extend(part.iter().map(|id| StreamId(*id)).zip(totals));
        }
        Ok(all)
    }

    async fn query<T: FromRedisValue>(
        &self,
        node: usize,
        command: &redis::Cmd,
    ) -> Result<T, StoreError> {
        Ok(self.nodes.guarded(node).query(command).await?)
    }
}

#[async_trait]
impl ReactionTotals for RedisReactions {
    async fn add(
        &self,
        counts: &[(StreamId, Totals)],
    ) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        let mut by_node: BTreeMap<usize, Vec<ReactionCount>> = BTreeMap::new();
        for row in merge_counts(counts) {
            by_node.entry(self.node_of(row.stream_id)).or_default().push(row);
        }
        if by_node.is_empty() {
            return Ok(Vec::new());
        }
        let writer = self.writers.take();
        let calls = by_node.iter().map(|(node, rows)| self.add_rows(&writer, *node, rows));
        // Waits for all of them, so that none is executed after a call of the next window.
        let added: Result<Vec<_>, _> = join_all(calls).await.into_iter().collect();
        self.writers.give_back(writer, added.is_ok());
        let mut changed: BTreeMap<StreamId, Totals> = BTreeMap::new();
        for row in added?.into_iter().flatten() {
            changed.entry(row.stream_id).or_default().insert(row.reaction, row.count);
        }
        Ok(changed.into_iter().collect())
    }

    async fn totals(&self, stream_id: StreamId) -> Result<Totals, StoreError> {
        let mut totals = redis::cmd("HGETALL");
        totals.arg(self.totals_key(stream_id));
        self.query(self.node_of(stream_id), &totals).await.map(into_totals)
    }

    async fn all(&self) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        let nodes = (0..self.nodes.count()).map(|node| self.all_on_node(node));
        let mut all = try_join_all(nodes).await?.concat();
        all.retain(|(_, totals)| !totals.is_empty());
        Ok(all)
    }
}

fn into_totals(totals: BTreeMap<String, u64>) -> Totals {
    totals.into_iter().map(|(reaction, total)| (reaction.into(), total)).collect()
}

#[cfg(test)]
mod tests;
