//! The numbers of logs, and how far the store has each of them.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::comments::{Archived, CommentKey, StorePositions, rows};
use crate::daemon::engines::eventlog::Position;
use crate::protocol::Epoch;

const LOG: &str = "SELECT log FROM logs WHERE epoch = $1";
/// Held until the number is committed, so that no two logs get the same.
const LOCK_LOGS: &str = "LOCK TABLE logs IN SHARE ROW EXCLUSIVE MODE";
const NEW_LOG: &str = "INSERT INTO logs (log, epoch) SELECT coalesce(max(log), 0) + 1, $1 FROM logs
    ON CONFLICT DO NOTHING";

const PUT: &str = "INSERT INTO archive_positions
    (log, log_partition, next_offset, stream_id, sort_key) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (log, log_partition) DO UPDATE SET next_offset = excluded.next_offset,
        stream_id = CASE WHEN $6 THEN excluded.stream_id ELSE archive_positions.stream_id END,
        sort_key = CASE WHEN $6 THEN excluded.sort_key ELSE archive_positions.sort_key END";

/// A position without its newest comment is left out, unless that one may have expired.
const POSITIONS: &str = "SELECT log_partition, next_offset FROM archive_positions AS p
    WHERE log = (SELECT log FROM logs WHERE epoch = $1)
      AND (p.sort_key IS NULL OR p.sort_key < $2 OR EXISTS (SELECT FROM comments AS c
        WHERE c.stream_id = p.stream_id AND c.sort_key = p.sort_key))";

/// The same for all other logs.
const OTHER_POSITIONS: &str =
    "SELECT l.epoch, p.log_partition, p.next_offset FROM archive_positions AS p
    JOIN logs AS l ON l.log = p.log
    WHERE l.epoch <> $1
      AND (p.sort_key IS NULL OR p.sort_key < $2 OR EXISTS (SELECT FROM comments AS c
        WHERE c.stream_id = p.stream_id AND c.sort_key = p.sort_key))";

const UNPLACED: &str = "SELECT EXISTS (SELECT FROM logs WHERE log = 0) AS found";

const IS_THERE: &str =
    "SELECT EXISTS (SELECT FROM comments WHERE stream_id = $1 AND sort_key = $2) AS found";

/// Returns the number of a log. A new log gets the next one.
pub(super) async fn log_number(
    connection: &mut PgConnection,
    epoch: Epoch,
) -> Result<i64, StoreError> {
    let epoch = i64::from(epoch.0);
    let known = sqlx::query(LOG).bind(epoch).fetch_optional(&mut *connection).await?;
    if let Some(row) = known {
        return row.integer("log");
    }
    sqlx::query(LOCK_LOGS).execute(&mut *connection).await?;
    sqlx::query(NEW_LOG).bind(epoch).execute(&mut *connection).await?;
    sqlx::query(LOG).bind(epoch).fetch_one(connection).await?.integer("log")
}

/// Stores positions, in the transaction of the rows before them.
pub(super) async fn put(
    connection: &mut PgConnection,
    log: i64,
    archived: &[Archived],
) -> Result<(), StoreError> {
    for Archived { next, newest, rewound } in archived {
        sqlx::query(PUT)
            .bind(log)
            .bind(i64::from(next.partition))
            .bind(integer(next.offset))
            .bind(newest.map(|newest| integer(newest.stream_id.0)))
            .bind(newest.map(|newest| newest.comment_id.sort_key()))
            .bind(newest.is_some() || *rewound)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Returns the positions in a log. Comments before `horizon_key` may have expired.
pub(super) async fn positions(
    connection: &mut PgConnection,
    epoch: Epoch,
    known: &BTreeMap<u32, CommentKey>,
    horizon_key: &[u8],
) -> Result<StorePositions, StoreError> {
    let rows = sqlx::query(POSITIONS)
        .bind(i64::from(epoch.0))
        .bind(horizon_key)
        .fetch_all(&mut *connection)
        .await?;
    let unplaced = sqlx::query(UNPLACED).fetch_one(&mut *connection).await?;
    let mut next: Vec<Position> = rows.iter().map(rows::position).collect::<Result<_, _>>()?;
    for (partition, CommentKey { stream_id, comment_id }) in known {
        let sort_key = comment_id.sort_key();
        if sort_key.as_slice() < horizon_key {
            continue;
        }
        let found = sqlx::query(IS_THERE)
            .bind(integer(stream_id.0))
            .bind(sort_key.to_vec())
            .fetch_one(&mut *connection)
            .await?;
        if !found.flag("found")? {
            next.retain(|position| position.partition != *partition);
        }
    }
    Ok(StorePositions { next, has_unplaced: unplaced.flag("found")? })
}

/// Returns how far the store has all logs but that of `epoch`.
pub(super) async fn other_positions(
    connection: &mut PgConnection,
    epoch: Epoch,
    horizon_key: &[u8],
) -> Result<Vec<(Epoch, Position)>, StoreError> {
    let query = sqlx::query(OTHER_POSITIONS).bind(i64::from(epoch.0)).bind(horizon_key);
    query.fetch_all(connection).await?.iter().map(rows::position_of_log).collect()
}
