//! The list of a stream's buckets: written once per process, read newest first.

use std::collections::VecDeque;

use ahash::AHashSet;
use moka::sync::Cache;
use scylla::response::PagingState;

use super::bucket::{bucket_end_ms, period_end_ms, period_of, timeuuid};
use super::waves::Walk;
use super::{Inner, corrupt, integer};
use crate::daemon::engines::StoreError;
use crate::protocol::{CommentId, StreamId};

/// Entries remembered as written, about 100 bytes each. A forgotten entry is written again.
const REMEMBERED: u64 = 65_536;
const PAGE_PERIODS: i32 = 256;
const PAGE_BUCKETS: i32 = 64;

/// The entries that this process has written.
#[derive(Debug)]
pub(super) struct Listed {
    buckets: Cache<(StreamId, i32), ()>,
    periods: Cache<(StreamId, i32), ()>,
    slots: Cache<i32, ()>,
    /// Parts of the order, each with the newest creation time for which its entry lasts.
    order_parts: Cache<(StreamId, i32, i32), u64>,
}

impl Default for Listed {
    fn default() -> Self {
        Self {
            buckets: Cache::new(REMEMBERED),
            periods: Cache::new(REMEMBERED),
            slots: Cache::new(1024),
            order_parts: Cache::new(REMEMBERED),
        }
    }
}

impl Listed {
    pub(super) fn has_slot(&self, slot: i32) -> bool {
        self.slots.contains_key(&slot)
    }

    /// Forgets all entries, which are then written again.
    pub(super) fn forget(&self) {
        self.buckets.invalidate_all();
        self.periods.invalidate_all();
        self.slots.invalidate_all();
        self.order_parts.invalidate_all();
    }

    pub(super) fn add_slot(&self, slot: i32) {
        self.slots.insert(slot, ());
    }
}

/// A part of the order that receives comments, with the creation time of the newest one.
pub(super) type OrderPart = ((StreamId, i32, i32), u64);

/// A part in which a comment has replies, with the creation time of the newest one.
pub(super) type ReplyPart = ((StreamId, CommentId, i32), u64);

/// An entry is written again for comments this much newer. It outlives its comments by more.
const ORDER_PART_LASTS_MS: u64 = 1_800_000;

impl Inner {
    /// Writes the entries of parts that receive comments, unless this process already did.
    pub(super) async fn list_order_parts(
        &self,
        parts: impl IntoIterator<Item = OrderPart>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let known = &self.listed.order_parts;
        let is_new = |(key, created_ms): &OrderPart| {
            known.get(key).is_none_or(|listed| *created_ms > listed + ORDER_PART_LASTS_MS)
        };
        let parts: Vec<_> = parts.into_iter().filter(is_new).collect();
        let rows = parts.iter().filter_map(|((stream_id, log, part), created_ms)| {
            let ttl_s = self.lifetime.of_index_s(*created_ms, now_ms)?;
            let written_us = integer(created_ms.saturating_mul(1000));
            Some(vec![(integer(stream_id.0), *log, *part, written_us, ttl_s)])
        });
        self.send(&self.statements.insert_order_part, rows.collect()).await?;
        parts.into_iter().for_each(|(key, created_ms)| known.insert(key, created_ms));
        Ok(())
    }

    /// Writes the entries of parts in which comments have replies. They are not remembered: few
    /// comments have replies for as long as a part lasts.
    pub(super) async fn list_reply_parts(
        &self,
        log: i32,
        parts: impl IntoIterator<Item = ReplyPart>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let rows = parts.into_iter().filter_map(|((stream_id, parent_id, part), created_ms)| {
            let ttl_s = self.lifetime.of_index_s(created_ms, now_ms)?;
            let written_us = integer(created_ms.saturating_mul(1000));
            let stream_id = integer(stream_id.0);
            Some(vec![(stream_id, timeuuid(parent_id), log, part, written_us, ttl_s)])
        });
        self.send(&self.statements.insert_reply_part, rows.collect()).await
    }

    /// Writes the entries of buckets that receive comments, unless this process already did.
    pub(super) async fn list_buckets(
        &self,
        buckets: AHashSet<(StreamId, i32)>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let mut buckets = buckets;
        buckets.retain(|key| !self.listed.buckets.contains_key(key));
        if buckets.is_empty() {
            return Ok(());
        }
        let periods = buckets.iter().map(|(stream_id, bucket)| (*stream_id, period_of(*bucket)));
        let mut periods: AHashSet<_> = periods.collect();
        periods.retain(|key| !self.listed.periods.contains_key(key));
        let mut of_periods = Vec::new();
        let mut of_buckets = Vec::new();
        let mut of_streams = Vec::new();
        for (stream_id, period) in &periods {
            if let Some(ttl_s) = self.lifetime.of_index_s(period_end_ms(*period), now_ms) {
                of_periods.push(vec![(integer(stream_id.0), *period, ttl_s)]);
            }
        }
        for (stream_id, bucket) in &buckets {
            if let Some(ttl_s) = self.lifetime.of_index_s(bucket_end_ms(*bucket), now_ms) {
                let stream_id = integer(stream_id.0);
                of_buckets.push(vec![(stream_id, period_of(*bucket), *bucket, ttl_s)]);
                of_streams.push(vec![(*bucket, stream_id, ttl_s)]);
            }
        }
        self.send(&self.statements.insert_period, of_periods).await?;
        self.send(&self.statements.insert_bucket, of_buckets).await?;
        self.send(&self.statements.insert_bucket_stream, of_streams).await?;
        periods.into_iter().for_each(|key| self.listed.periods.insert(key, ()));
        buckets.into_iter().for_each(|key| self.listed.buckets.insert(key, ()));
        Ok(())
    }

    /// Returns a walk over a stream's buckets from `newest` down to `oldest`, inclusive.
    pub(super) fn walk_buckets(
        &self,
        stream_id: StreamId,
        newest: i32,
        oldest: i32,
    ) -> BucketWalk<'_> {
        let periods = Part::Unread(PagingState::start());
        let buckets = Part::Read;
        let period = VecDeque::new();
        let found = VecDeque::new();
        let is_rising = false;
        BucketWalk {
            store: self,
            stream_id,
            newest,
            oldest,
            is_rising,
            periods,
            period,
            buckets,
            found,
        }
    }

    /// Returns a walk over a stream's buckets from `oldest` on, oldest first.
    pub(super) fn walk_buckets_since(&self, stream_id: StreamId, oldest: i32) -> BucketWalk<'_> {
        BucketWalk { is_rising: true, ..self.walk_buckets(stream_id, i32::MAX, oldest) }
    }
}

/// The state of reading a list.
enum Part {
    Unread(PagingState),
    Read,
}

/// A walk over the buckets of a stream, newest first unless it is rising. Holds one page of each
/// list.
pub(super) struct BucketWalk<'a> {
    store: &'a Inner,
    stream_id: StreamId,
    newest: i32,
    oldest: i32,
    is_rising: bool,
    /// The remaining periods, and the state of reading them.
    periods: Part,
    period: VecDeque<i32>,
    /// The remaining buckets of the first period, and the state of reading them.
    buckets: Part,
    found: VecDeque<i32>,
}

impl Walk for BucketWalk<'_> {
    type Place = i32;

    async fn next(&mut self, count: usize) -> Result<Vec<i32>, StoreError> {
        while self.found.len() < count {
            let more = match self.buckets {
                Part::Unread(_) => self.read_buckets().await?,
                Part::Read => self.enter_period().await?,
            };
            if !more {
                break;
            }
        }
        let count = count.min(self.found.len());
        Ok(self.found.drain(..count).collect())
    }
}

impl BucketWalk<'_> {
    /// Returns false if there is no other period.
    async fn enter_period(&mut self) -> Result<bool, StoreError> {
        self.period.pop_front();
        while self.period.is_empty() {
            let Part::Unread(from) = std::mem::replace(&mut self.periods, Part::Read) else {
                return Ok(false);
            };
            let statements = &self.store.statements;
            let statement =
                if self.is_rising { &statements.periods_since } else { &statements.periods };
            let newest = period_of(self.newest);
            let oldest = period_of(self.oldest);
            let values = (integer(self.stream_id.0), newest, oldest);
            let (rows, more) = self.store.read(statement, values, PAGE_PERIODS, from).await?;
            for row in rows.rows::<(i32,)>().map_err(corrupt)? {
                self.period.push_back(row.map_err(corrupt)?.0);
            }
            self.periods = more.map_or(Part::Read, Part::Unread);
        }
        self.buckets = Part::Unread(PagingState::start());
        Ok(true)
    }

    async fn read_buckets(&mut self) -> Result<bool, StoreError> {
        let from = std::mem::replace(&mut self.buckets, Part::Read);
        let (Part::Unread(from), Some(period)) = (from, self.period.front()) else {
            return Ok(true);
        };
        let statements = &self.store.statements;
        let statement =
            if self.is_rising { &statements.buckets_since } else { &statements.buckets };
        let values = (integer(self.stream_id.0), *period, self.newest, self.oldest);
        let (rows, more) = self.store.read(statement, values, PAGE_BUCKETS, from).await?;
        for row in rows.rows::<(i32,)>().map_err(corrupt)? {
            self.found.push_back(row.map_err(corrupt)?.0);
        }
        self.buckets = more.map_or(Part::Read, Part::Unread);
        Ok(true)
    }
}
