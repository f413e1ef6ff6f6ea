//! Comments in PostgreSQL, one partition per day.
//!
//! `comments` and `tombstones` are each partitioned by the time in the comment's id, with the
//! primary key (stream, time-ordered id); see `migrations/postgres/comments`. A batch is one
//! transaction of a few statements. A page reads the days with the newest places in the log first
//! and stops when it is full and no other day has a newer place.
//!
//! Always holds: whatever [`super::CommentStore::write`] answered with `Ok` is on disk. The
//! partition of a comment exists before the comment is written: today's and tomorrow's are created
//! ahead, any other on demand. Retention drops whole days, once every comment of the day is past
//! it, so a comment may stay up to a day longer. Comments of days past the retention are not
//! written. Any node does any of this, and no two at the same time.
//!
//! When the server is away: [`StoreError::Unavailable`] within `postgres.timeout`. A batch whose
//! commit was not answered may be stored; writing it again changes nothing.

mod day;
mod insert;
mod partitions;
mod positions;
mod select;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use self::day::Day;
use self::partitions::Partitions;
use super::retention::{Retention, Upkeep};
use super::{
    ArchiveBatch, CommentKey, CommentStore, StorePositions, StoredComment, Tombstone, marks,
};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::{
    PostgresPool, PostgresServer, PostgresSetupError, statement, transaction,
};
use crate::daemon::engines::eventlog::Position;
use crate::protocol::{CommentId, Epoch, SequencedComment, StreamId, UserId};

/// The engine. Clones share the connections and the upkeep, which ends with the last clone.
#[derive(Debug, Clone)]
pub struct PostgresComments {
    tables: Tables,
    _upkeep: Arc<Upkeep>,
}

/// The state that the engine shares with its upkeep.
#[derive(Debug, Clone)]
struct Tables {
    pool: PostgresPool,
    partitions: Arc<Partitions>,
    retention: Retention,
}

impl PostgresComments {
    /// Opens the store after running the migrations it lacks. Creates and drops partitions in the
    /// background until the last clone is dropped.
    pub async fn open(
        server: &PostgresServer,
        retention: Retention,
    ) -> Result<Self, PostgresSetupError> {
        server.migrate("comments", sqlx::migrate!("migrations/postgres/comments")).await?;
        let tables = Tables { pool: server.pool().clone(), partitions: Arc::default(), retention };
        let maintained = tables.clone();
        let upkeep = Upkeep::start(&tables.retention, move || {
            let tables = maintained.clone();
            async move { tables.maintain_partitions().await }
        });
        Ok(Self { tables, _upkeep: Arc::new(upkeep) })
    }
}

impl Tables {
    fn today(&self) -> Day {
        Day::at_unix_ms(self.retention.now_ms())
    }

    /// Returns the oldest day that is not wholly past the retention; `None` keeps all days.
    fn first_kept(&self) -> Option<Day> {
        self.retention.horizon_ms().map(Day::at_unix_ms)
    }

    /// Creates partitions ahead of time and drops those past the retention.
    async fn maintain_partitions(&self) -> Result<(), StoreError> {
        let today = self.today();
        let ahead = BTreeSet::from([today, today.plus(1)]);
        self.pool.bounded(self.partitions.ensure(&self.pool, &ahead)).await?;
        if let Some(first_kept) = self.first_kept() {
            self.partitions.drop_before(&self.pool, first_kept).await?;
        }
        Ok(())
    }

    async fn write(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        let first_kept = self.first_kept();
        let kept = |id| first_kept.is_none_or(|first| Day::of(id) >= first);
        let comments = batch.comments.iter().filter(|row| kept(row.comment.comment_id));
        let comments: Vec<_> = comments.collect();
        let marks = marks::fold(
            batch.deletions.iter().filter(|row| kept(row.tombstone.comment_id)),
            batch.restorations.iter().filter(|row| kept(row.comment_id)),
        );
        let authors = batch.hidden_authors();
        let days = comments.iter().map(|row| row.comment.comment_id);
        let days = days.chain(marks.iter().map(|mark| mark.comment_id)).map(Day::of).collect();
        self.partitions.ensure(&self.pool, &days).await?;
        transaction!(self.pool, |connection| async {
            let log = positions::log_number(&mut *connection, batch.epoch).await?;
            insert::comments(&mut *connection, log, comments).await?;
            insert::marks(&mut *connection, log, marks).await?;
            insert::hidden_authors(&mut *connection, &authors).await?;
            positions::put(&mut *connection, log, &batch.archived).await
        })
        .await
    }

    async fn positions(
        &self,
        epoch: Epoch,
        known: &BTreeMap<u32, CommentKey>,
    ) -> Result<StorePositions, StoreError> {
        let horizon_key = self.first_kept().map(|day| day.first_key().to_vec()).unwrap_or_default();
        statement!(self.pool, |connection| positions::positions(
            connection,
            epoch,
            known,
            &horizon_key
        ))
        .await
    }

    async fn other_positions(&self, epoch: Epoch) -> Result<Vec<(Epoch, Position)>, StoreError> {
        let horizon_key = self.first_kept().map(|day| day.first_key().to_vec()).unwrap_or_default();
        statement!(self.pool, |connection| positions::other_positions(
            connection,
            epoch,
            &horizon_key
        ))
        .await
    }
}

#[async_trait]
impl CommentStore for PostgresComments {
    async fn write(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        let written = self.tables.pool.bounded(self.tables.write(batch)).await;
        // It may have failed because a node with a shorter retention, or an operator, dropped a
        // partition.
        written.inspect_err(|_| self.tables.partitions.forget())
    }

    async fn positions(
        &self,
        epoch: Epoch,
        known: &BTreeMap<u32, CommentKey>,
    ) -> Result<StorePositions, StoreError> {
        self.tables.pool.bounded(self.tables.positions(epoch, known)).await
    }

    async fn other_positions(&self, epoch: Epoch) -> Result<Vec<(Epoch, Position)>, StoreError> {
        self.tables.pool.bounded(self.tables.other_positions(epoch)).await
    }

    async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        let pool = &self.tables.pool;
        pool.bounded(statement!(pool, |connection| select::page(
            connection, None, stream_id, before, limit
        )))
        .await
    }

    async fn page_for(
        &self,
        reader: UserId,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        let pool = &self.tables.pool;
        pool.bounded(statement!(pool, |connection| select::page(
            connection,
            Some(reader),
            stream_id,
            before,
            limit
        )))
        .await
    }

    async fn replies(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        let pool = &self.tables.pool;
        pool.bounded(statement!(pool, |connection| select::replies(
            connection, reader, parent, before, limit
        )))
        .await
    }

    async fn reply_count(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
    ) -> Result<usize, StoreError> {
        let pool = &self.tables.pool;
        pool.bounded(statement!(pool, |connection| select::reply_count(connection, reader, parent)))
            .await
    }

    async fn first_since(
        &self,
        stream_id: StreamId,
        since_ms: u64,
    ) -> Result<Option<CommentId>, StoreError> {
        let pool = &self.tables.pool;
        pool.bounded(statement!(pool, |connection| select::first_since(
            connection, stream_id, since_ms
        )))
        .await
    }

    async fn hidden_authors(&self, stream_id: StreamId) -> Result<Vec<UserId>, StoreError> {
        let pool = &self.tables.pool;
        pool.bounded(statement!(pool, |connection| select::hidden_authors(connection, stream_id)))
            .await
    }

    async fn get(&self, comment_id: CommentId) -> Result<Option<StoredComment>, StoreError> {
        let pool = &self.tables.pool;
        pool.bounded(statement!(pool, |connection| select::by_id(connection, comment_id))).await
    }

    async fn tombstones_since(
        &self,
        since_ms: u64,
        limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError> {
        let pool = &self.tables.pool;
        pool.bounded(statement!(pool, |connection| select::tombstones_since(
            connection, since_ms, limit
        )))
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let pool = &self.tables.pool;
        pool.bounded(statement!(pool, |connection| select::ping(connection))).await
    }
}
