//! Deletions, ordered by time.

use ahash::{AHashMap, AHashSet};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::response::PagingState;
use scylla::value::{CqlTimestamp, CqlTimeuuid};

use super::bucket::{bucket_of, comment_id, slot_at, timeuuid};
use super::page::{is_hidden, is_hidden_from_others};
use super::{Inner, corrupt, integer, natural, unavailable};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::Tombstone;
use crate::protocol::events::HiddenFrom;
use crate::protocol::{CommentId, StreamId};

const PAGE_SLOTS: i32 = 1000;
const PAGE_TOMBSTONES: i32 = 1000;
/// Comments of one bucket per request.
const IDS_AT_ONCE: usize = 100;
const IN_FLIGHT: usize = 16;

type Key = (StreamId, CommentId);

/// The rows of a comment in `tombstones` that count.
#[derive(Debug, Clone, Copy)]
enum CountedRows {
    /// The comment was restored.
    NoRow,
    /// The row of its first deletion, with this time.
    First(u64),
    /// The first row that is found: the comment was restored and deleted again, and its own row
    /// has the time of a deletion that no longer counts.
    Any,
    /// The first row that is found: the comment is hidden from others only, and its own row has no
    /// time of that.
    AnyHidden,
}

/// A row of `comments` in the order of the statement's columns.
type MarksRow =
    (CqlTimeuuid, Option<CqlTimestamp>, Option<bool>, Option<i64>, Option<i64>, Option<i64>);

impl Inner {
    /// Reads the slots from the first one on, oldest first.
    pub(super) async fn tombstones_since(
        &self,
        since_ms: u64,
        limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError> {
        let mut found = Vec::new();
        let mut deleted_again = AHashSet::new();
        let mut from = Some(PagingState::start());
        while let Some(state) = from.take() {
            let statement = &self.statements.slots;
            let values = (slot_at(since_ms),);
            let (rows, more) = self.read(statement, values, PAGE_SLOTS, state).await?;
            for row in rows.rows::<(i32,)>().map_err(corrupt)? {
                let (slot,) = row.map_err(corrupt)?;
                self.read_slot(slot, since_ms, limit, &mut found, &mut deleted_again).await?;
                if found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
            }
            from = more;
        }
        Ok(found)
    }

    /// Adds the tombstones of a slot until there are at least `limit`. `deleted_again` has the
    /// comments of which any row counts and one was found.
    async fn read_slot(
        &self,
        slot: i32,
        since_ms: u64,
        limit: usize,
        found: &mut Vec<Tombstone>,
        deleted_again: &mut AHashSet<Key>,
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
            let counted = self.counted_rows(&page).await?;
            page.retain_mut(|tombstone| {
                let key = (tombstone.stream_id, tombstone.comment_id);
                match counted.get(&key) {
                    Some(CountedRows::NoRow) => false,
                    Some(CountedRows::First(at)) => *at == tombstone.deleted_at,
                    Some(CountedRows::Any) => deleted_again.insert(key),
                    Some(CountedRows::AnyHidden) => {
                        tombstone.hidden_from = HiddenFrom::Others;
                        deleted_again.insert(key)
                    }
                    None => true,
                }
            });
            found.extend(page);
            from = more;
        }
        Ok(())
    }

    /// Returns which rows of these comments count, from the comments' own rows. A missing comment
    /// has expired or is being written now.
    async fn counted_rows(
        &self,
        page: &[Tombstone],
    ) -> Result<AHashMap<Key, CountedRows>, StoreError> {
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
        let answers = stream::iter(requests).map(|request| self.read_marks(request));
        let mut answers = answers.buffer_unordered(IN_FLIGHT);
        let mut counted = AHashMap::with_capacity(page.len());
        while let Some(rows) = answers.try_next().await? {
            counted.extend(rows);
        }
        Ok(counted)
    }

    async fn read_marks(
        &self,
        (stream_id, bucket, ids): (StreamId, i32, Vec<CqlTimeuuid>),
    ) -> Result<Vec<(Key, CountedRows)>, StoreError> {
        let values = (integer(stream_id.0), bucket, ids);
        let read = self.session.execute_unpaged(&self.statements.first_deletions, values).await;
        let rows = read.map_err(unavailable)?.into_rows_result().map_err(corrupt)?;
        let mut counted = Vec::with_capacity(rows.rows_num());
        for row in rows.rows::<MarksRow>().map_err(corrupt)? {
            let (id, deleted_at, is_deleted, deleted, restored, hidden) = row.map_err(corrupt)?;
            if deleted_at.is_none() && hidden.is_none() {
                continue;
            }
            let which = match deleted_at.filter(|_| is_hidden(is_deleted, deleted, restored)) {
                Some(_) if restored.is_some() => CountedRows::Any,
                Some(deleted_at) => CountedRows::First(natural(deleted_at.0)?),
                None if is_hidden_from_others(hidden, restored) => CountedRows::AnyHidden,
                None => CountedRows::NoRow,
            };
            counted.push(((stream_id, comment_id(id)), which));
        }
        Ok(counted)
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
        // The comment's own row says if it is hidden only from others.
        hidden_from: HiddenFrom::Everybody,
    })
}
