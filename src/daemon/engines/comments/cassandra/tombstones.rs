//! Deletions, ordered by time.

use ahash::AHashMap;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::response::PagingState;
use scylla::value::{CqlTimestamp, CqlTimeuuid};

use super::bucket::{bucket_of, comment_id, slot_at, timeuuid};
use super::page::is_hidden;
use super::{Inner, corrupt, integer, natural, unavailable};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::Tombstone;
use crate::protocol::{CommentId, StreamId};

const PAGE_SLOTS: i32 = 1000;
const PAGE_TOMBSTONES: i32 = 1000;
/// Comments of one bucket per request.
const IDS_AT_ONCE: usize = 100;
const IN_FLIGHT: usize = 16;

type Key = (StreamId, CommentId);

/// A row of `comments` in the order of the statement's columns.
type MarksRow = (CqlTimeuuid, Option<CqlTimestamp>, Option<bool>, Option<i64>, Option<i64>);

impl Inner {
    /// Reads the slots from the first one on, oldest first.
    pub(super) async fn tombstones_since(
        &self,
        since_ms: u64,
        limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError> {
        let mut found = Vec::new();
        let mut from = Some(PagingState::start());
        while let Some(state) = from.take() {
            let statement = &self.statements.slots;
            let values = (slot_at(since_ms),);
            let (rows, more) = self.read(statement, values, PAGE_SLOTS, state).await?;
            for row in rows.rows::<(i32,)>().map_err(corrupt)? {
                let (slot,) = row.map_err(corrupt)?;
                self.read_slot(slot, since_ms, limit, &mut found).await?;
                if found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
            }
            from = more;
        }
        Ok(found)
    }

    /// Adds the tombstones of a slot until there are at least `limit`.
    async fn read_slot(
        &self,
        slot: i32,
        since_ms: u64,
        limit: usize,
        found: &mut Vec<Tombstone>,
    ) -> Result<(), StoreError> {
        let since = CqlTimestamp(integer(since_ms));
        let mut from = Some(PagingState::start());
        while let Some(state) = from.take().filter(|_| found.len() < limit) {
            let statement = &self.statements.tombstones;
            let (rows, more) = self.read(statement, (slot, since), PAGE_TOMBSTONES, state).await?;
            let mut page = Vec::with_capacity(rows.rows_num());
            for row in rows.rows().map_err(corrupt)? {
                page.push(tombstone(row.map_err(corrupt)?)?);
            }
            let first = self.first_deletions(&page).await?;
            page.retain(|tombstone| {
                let first = first.get(&(tombstone.stream_id, tombstone.comment_id));
                first.is_none_or(|counted| *counted == Some(tombstone.deleted_at))
            });
            found.extend(page);
            from = more;
        }
        Ok(())
    }

    /// Returns the first deletion of these comments, from their rows, or `None` for a comment that
    /// was restored. A missing one has expired or is being written now.
    async fn first_deletions(
        &self,
        page: &[Tombstone],
    ) -> Result<AHashMap<Key, Option<u64>>, StoreError> {
        let mut partitions: AHashMap<(StreamId, i32), Vec<CqlTimeuuid>> = AHashMap::new();
        for Tombstone { stream_id, comment_id, .. } in page {
            let ids = partitions.entry((*stream_id, bucket_of(*comment_id))).or_default();
            ids.push(timeuuid(*comment_id));
        }
        let mut requests = Vec::new();
        for ((stream_id, bucket), ids) in partitions {
            let parts = ids.chunks(IDS_AT_ONCE).map(|part| (stream_id, bucket, part.to_vec()));
            requests.extend(parts);
        }
        let answers = stream::iter(requests).map(|request| self.deletion_times(request));
        let mut answers = answers.buffer_unordered(IN_FLIGHT);
        let mut first = AHashMap::with_capacity(page.len());
        while let Some(times) = answers.try_next().await? {
            first.extend(times);
        }
        Ok(first)
    }

    async fn deletion_times(
        &self,
        (stream_id, bucket, ids): (StreamId, i32, Vec<CqlTimeuuid>),
    ) -> Result<Vec<(Key, Option<u64>)>, StoreError> {
        let values = (integer(stream_id.0), bucket, ids);
        let read = self.session.execute_unpaged(&self.statements.first_deletions, values).await;
        let rows = read.map_err(unavailable)?.into_rows_result().map_err(corrupt)?;
        let mut times = Vec::with_capacity(rows.rows_num());
        for row in rows.rows::<MarksRow>().map_err(corrupt)? {
            let (id, deleted_at, is_deleted, deleted, restored) = row.map_err(corrupt)?;
            if let Some(deleted_at) = deleted_at {
                let at = natural(deleted_at.0)?;
                let counted = is_hidden(is_deleted, deleted, restored).then_some(at);
                times.push(((stream_id, comment_id(id)), counted));
            }
        }
        Ok(times)
    }
}

fn tombstone(
    (deleted_at, stream_id, id, reason): (CqlTimestamp, i64, CqlTimeuuid, Option<&str>),
) -> Result<Tombstone, StoreError> {
    Ok(Tombstone {
        stream_id: StreamId(natural(stream_id)?),
        comment_id: comment_id(id),
        reason: reason.unwrap_or_default().into(),
        deleted_at: natural(deleted_at.0)?,
    })
}
