//! The numbers of logs, and how far the store has each of them.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::comments::{Archived, CommentKey, StorePositions, rows};
use crate::daemon::engines::eventlog::Position;
use crate::protocol::Epoch;

const PUT: &str = "INSERT INTO archive_positions
    (log, log_partition, next_offset, stream_id, sort_key) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (log, log_partition) DO UPDATE SET next_offset = excluded.next_offset,
        stream_id = iif(?6, excluded.stream_id, archive_positions.stream_id),
        sort_key = iif(?6, excluded.sort_key, archive_positions.sort_key)";

/// A position without its newest comment is left out, unless that one may have expired.
const POSITIONS: &str = "SELECT log_partition, next_offset FROM archive_positions AS p
    WHERE log = (SELECT log FROM logs WHERE epoch = ?1)
      AND (p.sort_key IS NULL OR p.sort_key < ?2 OR EXISTS (SELECT 1 FROM comments AS c
        WHERE c.stream_id = p.stream_id AND c.sort_key = p.sort_key))";

/// The same for all other logs.
const OTHER_POSITIONS: &str =
    "SELECT l.epoch, p.log_partition, p.next_offset FROM archive_positions AS p
    JOIN logs AS l ON l.log = p.log
    WHERE l.epoch <> ?1
      AND (p.sort_key IS NULL OR p.sort_key < ?2 OR EXISTS (SELECT 1 FROM comments AS c
        WHERE c.stream_id = p.stream_id AND c.sort_key = p.sort_key))";

const IS_THERE: &str =
    "SELECT EXISTS (SELECT 1 FROM comments WHERE stream_id = ?1 AND sort_key = ?2) AS found";

/// Returns the number of a log. A new log gets the next one.
pub(super) async fn log_number(
    connection: &mut SqliteConnection,
    epoch: Epoch,
) -> Result<i64, StoreError> {
    let known = sqlx::query("SELECT log FROM logs WHERE epoch = ?")
        .bind(i64::from(epoch.0))
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = known {
        return row.integer("log");
    }
    let row = sqlx::query(
        "INSERT INTO logs (log, epoch) SELECT coalesce(max(log), 0) + 1, ? FROM logs RETURNING log",
    )
    .bind(i64::from(epoch.0))
    .fetch_one(connection)
    .await?;
    row.integer("log")
}

/// Stores positions, in the transaction of the rows before them.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    log: i64,
    archived: &[Archived],
) -> Result<(), StoreError> {
    for Archived { next, newest, rewound } in archived {
        sqlx::query(PUT)
            .bind(log)
            .bind(i64::from(next.partition))
            .bind(integer(next.offset))
            .bind(newest.map(|newest| integer(newest.stream_id.0)))
            .bind(newest.map(|newest| newest.comment_id.sort_key().to_vec()))
            .bind(newest.is_some() || *rewound)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Returns the positions in a log. Comments before `horizon_key` may have expired.
pub(super) async fn positions(
    readers: &SqlitePool,
    epoch: Epoch,
    known: &BTreeMap<u32, CommentKey>,
    horizon_key: &[u8],
) -> Result<StorePositions, StoreError> {
    let rows = sqlx::query(POSITIONS)
        .bind(i64::from(epoch.0))
        .bind(horizon_key)
        .fetch_all(readers)
        .await?;
    let unplaced = sqlx::query("SELECT 1 FROM logs WHERE log = 0").fetch_optional(readers).await?;
    let mut next: Vec<Position> = rows.iter().map(rows::position).collect::<Result<_, _>>()?;
    for (partition, CommentKey { stream_id, comment_id }) in known {
        let sort_key = comment_id.sort_key();
        if sort_key.as_slice() < horizon_key {
            continue;
        }
        let found = sqlx::query(IS_THERE)
            .bind(integer(stream_id.0))
            .bind(sort_key.to_vec())
            .fetch_one(readers)
            .await?;
        if !found.flag("found")? {
            next.retain(|position| position.partition != *partition);
        }
    }
    Ok(StorePositions { next, has_unplaced: unplaced.is_some() })
}

/// Returns how far the store has all logs but that of `epoch`.
pub(super) async fn other_positions(
    readers: &SqlitePool,
    epoch: Epoch,
    horizon_key: &[u8],
) -> Result<Vec<(Epoch, Position)>, StoreError> {
    let query = sqlx::query(OTHER_POSITIONS).bind(i64::from(epoch.0)).bind(horizon_key);
    query.fetch_all(readers).await?.iter().map(rows::position_of_log).collect()
}
