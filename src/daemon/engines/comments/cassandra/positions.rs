//! The numbers of logs, and how far the store has each of them.

use std::collections::BTreeMap;

use ahash::AHashMap;
use parking_lot::Mutex;
use scylla::value::CqlTimeuuid;

use super::bucket::{comment_id, is_storable, timeuuid};
use super::{Inner, corrupt, integer, natural, unavailable};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::{Archived, CommentKey, StorePositions};
use crate::daemon::engines::eventlog::Position;
use crate::protocol::{Epoch, StreamId};

/// A row of `archive_positions`, in the order of the statement's columns.
type Row = (i32, i32, Option<i64>, Option<i64>, Option<CqlTimeuuid>);

/// The last known state of both tables.
#[derive(Debug, Default)]
pub(super) struct KnownLogs {
    numbers: Mutex<AHashMap<Epoch, i32>>,
    /// The rewinds of each partition of a log.
    rewinds: Mutex<AHashMap<(Epoch, u32), i32>>,
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
        if let Some(number) = known {
            return Ok(number);
        }
        loop {
            let numbers = self.log_numbers().await?;
            if let Some(number) = numbers.get(&epoch) {
                self.logs.numbers.lock().insert(epoch, *number);
                return Ok(*number);
            }
            let next = numbers.values().max().map_or(1, |highest| highest + 1);
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

    pub(super) async fn positions(&self, epoch: Epoch) -> Result<StorePositions, StoreError> {
        let oldest_ms = self.lifetime.oldest_shown_ms(self.now_ms());
        let mut next = Vec::new();
        for (partition, latest) in self.latest(epoch).await? {
            self.logs.rewinds.lock().insert((epoch, partition), latest.rewinds);
            let Some(offset) = latest.next else { continue };
            let is_there = match latest.newest {
                Some(CommentKey { stream_id, comment_id }) if comment_id.unix_ms() >= oldest_ms => {
                    self.row(stream_id, comment_id).await?.is_some()
                }
                _ => true,
            };
            if is_there {
                next.push(Position { partition, offset });
            }
        }
        Ok(StorePositions { next, has_unplaced: self.unplaced_until_ms.is_some() })
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
