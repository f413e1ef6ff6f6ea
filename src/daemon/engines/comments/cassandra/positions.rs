//! The numbers of logs, and how far the store has each of them.

use std::collections::BTreeMap;

use ahash::AHashMap;
use parking_lot::Mutex;
use scylla::errors::DbError;
use scylla::value::CqlTimeuuid;
use tracing::warn;

use super::bucket::{comment_id, is_storable, timeuuid};
use super::{Inner, corrupt, integer, natural, schema, unavailable};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::{Archived, CommentKey, StorePositions};
use crate::daemon::engines::eventlog::Position;
use crate::protocol::{Epoch, StreamId};

/// A row of `archive_positions`, in the order of the statement's columns.
type Row = (i32, i32, Option<i64>, Option<i64>, Option<CqlTimeuuid>);

/// The last known state of both tables.
#[derive(Debug, Default)]
pub(super) struct KnownLogs {
    numbers: Mutex<AHashMap<Epoch, LogNumber>>,
    /// The rewinds of each partition of a log.
    rewinds: Mutex<AHashMap<(Epoch, u32), i32>>,
}

#[derive(Debug, Clone, Copy)]
struct LogNumber {
    number: i32,
    /// Whether the store is known to have it. Otherwise rows with this number may be there, and it
    /// is taken again if no other log has it.
    is_stored: bool,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    rewinds: i32,
    next: Option<u64>,
    newest: Option<CommentKey>,
}

impl Inner {
    /// Returns the number of a log. A new log gets the next one.
    pub(super) async fn log_number(&self, epoch: Epoch) -> Result<i32, StoreError> {
        let known = self.logs.numbers.lock().get(&epoch).copied();
        if let Some(LogNumber { number, is_stored: true }) = known {
            return Ok(number);
        }
        loop {
            let numbers = self.log_numbers().await?;
            if let Some(&number) = numbers.get(&epoch) {
                self.logs.numbers.lock().insert(epoch, LogNumber { number, is_stored: true });
                return Ok(number);
            }
            let next = numbers.values().max().map_or(1, |highest| highest + 1);
            // Not below the numbers of later logs, which come first on pages.
            let next = known.map_or(next, |known| next.max(known.number));
            let inserted = self
                .session
                .execute_unpaged(&self.statements.insert_log, (i64::from(epoch.0), next))
                .await;
            inserted.map_err(unavailable)?;
        }
    }

    async fn log_numbers(&self) -> Result<AHashMap<Epoch, i32>, StoreError> {
        let read = self.session.execute_unpaged(&self.statements.logs, ()).await;
        let rows = read.map_err(unavailable)?.into_rows_result().map_err(corrupt)?;
        let mut numbers = AHashMap::new();
        for row in rows.rows::<(i64, i32)>().map_err(corrupt)? {
            let (epoch, number) = row.map_err(corrupt)?;
            let epoch = u32::try_from(epoch).map_err(corrupt)?;
            numbers.insert(Epoch(epoch), number);
        }
        Ok(numbers)
    }

    /// Creates the keyspace again if it is gone.
    pub(super) async fn positions(
        &self,
        epoch: Epoch,
        known: &BTreeMap<u32, CommentKey>,
    ) -> Result<StorePositions, StoreError> {
        match self.read_positions(epoch, known).await {
            Err(error) => {
                self.create_again(error).await?;
                self.read_positions(epoch, known).await
            }
            read => read,
        }
    }

    /// Creates the tables again if they are gone. Otherwise returns the error that a request had.
    pub(super) async fn create_again(&self, error: StoreError) -> Result<(), StoreError> {
        let Self { session, config, lifetime, .. } = self;
        // A server that is away needs no further question.
        if !error.to_string().contains(&DbError::Invalid.to_string()) {
            return Err(error);
        }
        match schema::has_versions_table(session, &config.keyspace).await {
            Ok(false) => {}
            Ok(true) | Err(_) => return Err(error),
        }
        let keyspace = &config.keyspace;
        warn!(keyspace, "the tables of the comment store are gone; creating them again");
        schema::bring_up_to_date(session, config, *lifetime).await?;
        self.forget_written().await
    }

    async fn read_positions(
        &self,
        epoch: Epoch,
        known: &BTreeMap<u32, CommentKey>,
    ) -> Result<StorePositions, StoreError> {
        let latest = self.latest(epoch).await?;
        let mut next = Vec::new();
        let mut is_complete = known.keys().all(|partition| latest.contains_key(partition));
        for (partition, latest) in latest {
            self.logs.rewinds.lock().insert((epoch, partition), latest.rewinds);
            let Some(offset) = latest.next else { continue };
            let is_there =
                self.has(latest.newest).await? && self.has(known.get(&partition).copied()).await?;
            if is_there {
                next.push(Position { partition, offset });
            }
            is_complete &= is_there;
        }
        if !is_complete {
            self.forget_written().await?;
        }
        Ok(StorePositions { next, has_unplaced: self.unplaced_until_ms().is_some() })
    }

    /// Returns how far the store has all logs but that of `epoch`.
    pub(super) async fn other_positions(
        &self,
        epoch: Epoch,
    ) -> Result<Vec<(Epoch, Position)>, StoreError> {
        let mut positions = Vec::new();
        for other in self.archived_logs().await?.into_iter().filter(|other| *other != epoch) {
            for (partition, latest) in self.latest(other).await? {
                let Some(offset) = latest.next else { continue };
                if self.has(latest.newest).await? {
                    positions.push((other, Position { partition, offset }));
                }
            }
        }
        Ok(positions)
    }

    /// Returns the logs of which the store has a position. A log has no number before its first
    /// comment is stored.
    async fn archived_logs(&self) -> Result<Vec<Epoch>, StoreError> {
        let read = self.session.execute_unpaged(&self.statements.archived_logs, ()).await;
        let rows = read.map_err(unavailable)?.into_rows_result().map_err(corrupt)?;
        let epochs = rows.rows::<(i64,)>().map_err(corrupt)?.map(|row| {
            let (epoch,) = row.map_err(corrupt)?;
            u32::try_from(epoch).map(Epoch).map_err(corrupt)
        });
        epochs.collect()
    }

    /// Returns whether a comment that was written is there, or may have expired.
    async fn has(&self, written: Option<CommentKey>) -> Result<bool, StoreError> {
        let oldest_ms = self.lifetime.oldest_certain_ms(self.now_ms());
        let is_certain =
            |key: &CommentKey| is_storable(key.comment_id) && key.comment_id.unix_ms() >= oldest_ms;
        let Some(key) = written.filter(is_certain) else { return Ok(true) };
        Ok(self.read_row(&self.statements.written_comment, key).await?.is_some())
    }

    /// Forgets what this process has written: the store has lost rows, and maybe all of them.
    async fn forget_written(&self) -> Result<(), StoreError> {
        self.listed.forget();
        for known in self.logs.numbers.lock().values_mut() {
            known.is_stored = false;
        }
        let unplaced = schema::unplaced_until_ms(&self.session, &self.config.keyspace).await?;
        *self.unplaced_until_ms.lock() = unplaced;
        Ok(())
    }

    /// Returns when comments without a place were last stored, if ever.
    pub(super) fn unplaced_until_ms(&self) -> Option<u64> {
        *self.unplaced_until_ms.lock()
    }

    async fn latest(&self, epoch: Epoch) -> Result<BTreeMap<u32, Latest>, StoreError> {
        let values = (i64::from(epoch.0),);
        let read = self.session.execute_unpaged(&self.statements.positions, values).await;
        let rows = read.map_err(unavailable)?.into_rows_result().map_err(corrupt)?;
        let mut latest = BTreeMap::new();
        // Within a partition, the rows come in the order of rewinds.
        for row in rows.rows::<Row>().map_err(corrupt)? {
            let (partition, rewinds, next, stream_id, id) = row.map_err(corrupt)?;
            let newest = match stream_id.zip(id) {
                Some((stream_id, id)) => Some(CommentKey {
                    stream_id: StreamId(natural(stream_id)?),
                    comment_id: comment_id(id),
                }),
                None => None,
            };
            let next = next.map(natural).transpose()?;
            let partition = u32::try_from(partition).map_err(corrupt)?;
            latest.insert(partition, Latest { rewinds, next, newest });
        }
        Ok(latest)
    }

    /// Stores positions after the rows before them.
    pub(super) async fn put_positions(
        &self,
        epoch: Epoch,
        archived: &[Archived],
    ) -> Result<(), StoreError> {
        for Archived { next, newest, rewound } in archived {
            let key = (epoch, next.partition);
            let known = self.logs.rewinds.lock().get(&key).copied();
            let known = match known {
                Some(known) => known,
                None => self.latest(epoch).await?.get(&next.partition).map_or(0, |row| row.rewinds),
            };
            let rewinds = known + i32::from(*rewound);
            let partition = i32::try_from(next.partition).unwrap_or(i32::MAX);
            let epoch = i64::from(epoch.0);
            let offset = integer(next.offset);
            let written_at = integer(next.offset + 1);
            let position = (epoch, partition, rewinds, offset, written_at);
            let put = self.session.execute_unpaged(&self.statements.insert_position, position);
            put.await.map_err(unavailable)?;
            if let Some(newest) = newest.filter(|newest| is_storable(newest.comment_id)) {
                let stream_id = integer(newest.stream_id.0);
                let id = timeuuid(newest.comment_id);
                let newest = (epoch, partition, rewinds, stream_id, id, written_at);
                let put = self.session.execute_unpaged(&self.statements.insert_newest, newest);
                put.await.map_err(unavailable)?;
            }
            self.logs.rewinds.lock().insert(key, rewinds);
        }
        Ok(())
    }
}
