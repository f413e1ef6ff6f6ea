//! Writes: rows of one partition are batched, and many partitions are written at a time.

use std::collections::BTreeSet;
use std::hash::Hash;

use ahash::{AHashMap, AHashSet};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlTimestamp, CqlTimeuuid, MaybeUnset};
use tracing::error;

use super::bucket::{bucket_of, is_storable, slot_at, slot_end_ms, timeuuid};
use super::lifetime::{comment_write_time_us, mark_place, tombstone_write_time_us};
use super::place::Place;
use super::{Inner, integer, unavailable};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::{
    ArchiveBatch, ArchivedComment, ArchivedDeletion, ArchivedRestoration, Tombstone,
};
use crate::protocol::events::HiddenFrom;
use crate::protocol::{Comment, CommentId, StreamId, UserId};

/// Requests of one write that are in flight at once.
pub(super) const IN_FLIGHT: usize = 64;
/// Rows per batch. A batch of one partition is a single mutation for the server, which refuses
/// large ones.
const BATCH_ROWS: usize = 32;
const BATCH_BYTES: usize = 32 * 1024;
/// Bytes of a row besides its text.
const ROW_BYTES: usize = 96;

/// In the order of the statement's markers.
type CommentRow<'a> = (
    i64,
    i32,
    CqlTimeuuid,
    i64,
    &'a str,
    &'a str,
    CqlTimestamp,
    i64,
    bool,
    i32,
    i8,
    MaybeUnset<CqlTimeuuid>,
    i64,
    i32,
);
type DeletedRow<'a> = (i64, i32, &'a str, CqlTimestamp, i64, i32, CqlTimeuuid);
/// The place is the time of the write, too.
type PlaceRow = (i64, i32, i64, i64, i32, CqlTimeuuid);
type TombstoneRow<'a> = (i32, CqlTimestamp, i64, CqlTimeuuid, &'a str, i32);

/// Rows by partition, in full batches and one remainder each.
struct Batches<K, T> {
    open: AHashMap<K, (Vec<T>, usize)>,
    full: Vec<Vec<T>>,
}

impl<K: Hash + Eq, T> Batches<K, T> {
    fn new() -> Self {
        Self { open: AHashMap::new(), full: Vec::new() }
    }

    fn add(&mut self, partition: K, text_bytes: usize, row: T) {
        let (rows, bytes) = self.open.entry(partition).or_default();
        let row_bytes = text_bytes + ROW_BYTES;
        if rows.len() == BATCH_ROWS || (!rows.is_empty() && *bytes + row_bytes > BATCH_BYTES) {
            self.full.push(std::mem::take(rows));
            *bytes = 0;
        }
        rows.push(row);
        *bytes += row_bytes;
    }

    fn finish(self) -> Vec<Vec<T>> {
        let mut all = self.full;
        all.extend(self.open.into_values().map(|(rows, _)| rows).filter(|rows| !rows.is_empty()));
        all
    }
}

impl Inner {
    /// Creates the keyspace again if it is gone.
    pub(super) async fn write(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        match self.write_rows(batch).await {
            Err(error) => {
                self.create_again(error).await?;
                self.write_rows(batch).await
            }
            Ok(()) => Ok(()),
        }
    }

    /// Writes deletions first, so that no comment of the batch is visible before it is hidden, then
    /// restorations, and positions last.
    async fn write_rows(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        let now_ms = self.now_ms();
        let ArchiveBatch { comments, deletions, restorations, .. } = batch;
        if !comments.is_empty() || !deletions.is_empty() || !restorations.is_empty() {
            let log = self.log_number(batch.epoch).await?;
            self.list_hidden_authors(&batch.hidden_authors()).await?;
            self.write_deletions(log, deletions, now_ms).await?;
            self.write_restorations(log, restorations, now_ms).await?;
            if !comments.is_empty() {
                self.write_comments(log, comments, now_ms).await?;
            }
        }
        self.put_positions(batch.epoch, &batch.archived).await
    }

    async fn write_comments(
        &self,
        log: i32,
        comments: &[ArchivedComment],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let mut batches = Batches::new();
        let mut order = Batches::new();
        let mut replies = Batches::new();
        let mut buckets = AHashSet::new();
        let mut parts = AHashMap::new();
        let mut reply_parts = AHashMap::new();
        for archived in comments {
            let Some(row) = self.comment_row(archived, log, now_ms) else { continue };
            let stream_id = archived.comment.stream_id;
            let bucket = row.1;
            let id = row.2;
            let seq = row.7;
            let parent = storable_parent(&archived.comment);
            let ttl_s = row.13;
            buckets.insert((stream_id, bucket));
            batches.add((stream_id, bucket), row.4.len() + row.5.len(), row);
            let part = (stream_id, log, Place { log, seq }.part());
            let created_ms = archived.comment.comment_id.unix_ms();
            let newest_ms: &mut u64 = parts.entry(part).or_default();
            *newest_ms = created_ms.max(*newest_ms);
            order.add(part, 0, (integer(stream_id.0), log, part.2, seq, id, ttl_s));
            if let Some((parent_id, parent)) = parent {
                let part_of_replies = (stream_id, parent_id, part.2);
                let newest_ms: &mut u64 = reply_parts.entry(part_of_replies).or_default();
                *newest_ms = created_ms.max(*newest_ms);
                let row = (integer(stream_id.0), parent, log, part.2, seq, id, ttl_s);
                replies.add(part_of_replies, 0, row);
            }
        }
        tokio::try_join!(
            self.send(&self.statements.insert_comment, batches.finish()),
            self.list_buckets(buckets, now_ms),
            self.send(&self.statements.insert_order, order.finish()),
            self.list_order_parts(parts, now_ms),
            self.send(&self.statements.insert_reply, replies.finish()),
            self.list_reply_parts(log, reply_parts, now_ms),
        )?;
        Ok(())
    }

    /// Returns `None` if the comment has expired or its id is not one of ours.
    fn comment_row<'a>(
        &self,
        archived: &'a ArchivedComment,
        log: i32,
        now_ms: u64,
    ) -> Option<CommentRow<'a>> {
        let ArchivedComment { comment, seq, shadow } = archived;
        let id = comment.comment_id;
        check_storable(comment.stream_id, id)?;
        let parent = storable_parent(comment);
        Some((
            integer(comment.stream_id.0),
            bucket_of(id),
            timeuuid(id),
            integer(comment.user_id.0),
            &comment.name,
            &comment.message,
            CqlTimestamp(integer(comment.created_at)),
            integer(*seq),
            *shadow,
            log,
            comment.badges.bits().cast_signed(),
            // A null would be stored as a deletion.
            parent.map_or(MaybeUnset::Unset, |(_, parent)| MaybeUnset::Set(parent)),
            comment_write_time_us(id, *seq, now_ms),
            self.lifetime.of_comment_s(id.unix_ms(), now_ms)?,
        ))
    }

    async fn write_deletions(
        &self,
        log: i32,
        deletions: &[ArchivedDeletion],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let mut marks = Batches::new();
        let mut places = Batches::new();
        let mut hidden_places = Batches::new();
        let mut rows = Batches::new();
        let mut slots = AHashSet::new();
        for ArchivedDeletion { tombstone, seq, .. } in deletions {
            let Tombstone { stream_id, comment_id, reason, deleted_at, hidden_from } = tombstone;
            let place = self.place_row(*stream_id, *comment_id, mark_place(log, *seq), now_ms);
            let Some(place) = place else { continue };
            let (_, ttl_s, _, stream, bucket, id) = place;
            let reason = &**reason;
            let deleted = CqlTimestamp(integer(*deleted_at));
            match hidden_from {
                HiddenFrom::Everybody => {
                    places.add((*stream_id, bucket), 0, place);
                    let written_us = tombstone_write_time_us(*comment_id, *deleted_at, now_ms);
                    let mark: DeletedRow<'_> =
                        (written_us, ttl_s, reason, deleted, stream, bucket, id);
                    marks.add((*stream_id, bucket), reason.len(), mark);
                }
                HiddenFrom::Others => hidden_places.add((*stream_id, bucket), 0, place),
            }
            let slot = slot_at(*deleted_at);
            slots.insert(slot);
            let row: TombstoneRow<'_> = (slot, deleted, stream, id, reason, ttl_s);
            rows.add(slot, reason.len(), row);
        }
        self.send(&self.statements.put_deleted_place, places.finish()).await?;
        self.send(&self.statements.put_hidden_place, hidden_places.finish()).await?;
        self.send(&self.statements.mark_deleted, marks.finish()).await?;
        tokio::try_join!(
            self.send(&self.statements.insert_tombstone, rows.finish()),
            self.list_slots(slots, now_ms),
        )?;
        Ok(())
    }

    async fn write_restorations(
        &self,
        log: i32,
        restorations: &[ArchivedRestoration],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let mut places = Batches::new();
        for ArchivedRestoration { stream_id, comment_id, seq } in restorations {
            let place = self.place_row(*stream_id, *comment_id, mark_place(log, *seq), now_ms);
            let Some(place) = place else { continue };
            places.add((*stream_id, place.4), 0, place);
        }
        self.send(&self.statements.put_restored_place, places.finish()).await
    }

    async fn list_hidden_authors(
        &self,
        authors: &BTreeSet<(StreamId, UserId)>,
    ) -> Result<(), StoreError> {
        let mut rows = Batches::new();
        for (stream_id, user_id) in authors {
            rows.add(*stream_id, 0, (integer(stream_id.0), integer(user_id.0)));
        }
        self.send(&self.statements.insert_hidden_author, rows.finish()).await
    }

    /// Returns `None` if the comment has expired or its id is not one of ours.
    fn place_row(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        place: i64,
        now_ms: u64,
    ) -> Option<PlaceRow> {
        let ttl_s = self.lifetime.of_index_s(comment_id.unix_ms(), now_ms)?;
        check_storable(stream_id, comment_id)?;
        let bucket = bucket_of(comment_id);
        Some((place, ttl_s, place, integer(stream_id.0), bucket, timeuuid(comment_id)))
    }

    async fn list_slots(&self, slots: AHashSet<i32>, now_ms: u64) -> Result<(), StoreError> {
        let unlisted = slots.into_iter().filter(|slot| !self.listed.has_slot(*slot));
        let unlisted: Vec<i32> = unlisted.collect();
        let row =
            |slot: &i32| Some(vec![(*slot, self.lifetime.of_slot_s(slot_end_ms(*slot), now_ms)?)]);
        let rows = unlisted.iter().filter_map(row).collect();
        self.send(&self.statements.insert_slot, rows).await?;
        unlisted.into_iter().for_each(|slot| self.listed.add_slot(slot));
        Ok(())
    }

    /// Sends every batch; the first failure ends the write.
    pub(super) async fn send<T: SerializeRow + Send + Sync>(
        &self,
        statement: &PreparedStatement,
        batches: Vec<Vec<T>>,
    ) -> Result<(), StoreError> {
        stream::iter(batches)
            .map(|rows| self.send_batch(statement, rows))
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await
    }

    async fn send_batch<T: SerializeRow>(
        &self,
        statement: &PreparedStatement,
        rows: Vec<T>,
    ) -> Result<(), StoreError> {
        if let [row] = rows.as_slice() {
            let sent = self.session.execute_unpaged(statement, row).await;
            return sent.map(drop).map_err(unavailable);
        }
        let statements = vec![statement.clone().into(); rows.len()];
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_is_idempotent(true);
        if let Some(consistency) = statement.get_consistency() {
            batch.set_consistency(consistency);
        }
        self.session.batch(&batch, rows).await.map(drop).map_err(unavailable)
    }
}

/// Returns the parent of a reply, if its id is one of ours.
fn storable_parent(comment: &Comment) -> Option<(CommentId, CqlTimeuuid)> {
    let parent_id = comment.parent_id.filter(|parent_id| is_storable(*parent_id))?;
    Some((parent_id, timeuuid(parent_id)))
}

/// Ids are created by the daemon and are always UUID version 1. A record with another id must not
/// make its batches fail forever.
fn check_storable(stream_id: StreamId, comment_id: CommentId) -> Option<()> {
    if is_storable(comment_id) {
        return Some(());
    }
    error!(%stream_id, %comment_id, "left out of the comment store: the id is no UUID version 1");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_batches_of_one_partition_hold_all_rows() {
        let mut batches = Batches::new();
        for number in 0..1000_usize {
            batches.add(number % 7, number % 5000, number);
        }
        batches.add(99, 10 * BATCH_BYTES, 1000);
        let batches = batches.finish();
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..=1000).collect::<Vec<_>>());
        for batch in batches.iter().filter(|batch| batch[0] != 1000) {
            assert!(batch.iter().all(|number| number % 7 == batch[0] % 7));
            let bytes: usize = batch.iter().map(|number| number % 5000 + ROW_BYTES).sum();
            assert!(batch.len() <= BATCH_ROWS && bytes <= BATCH_BYTES, "{batch:?}");
        }
        let small = batches.iter().filter(|batch| batch.len() < 3).count();
        assert!(small < 20, "{small} of {} batches are nearly empty", batches.len());
    }
}
