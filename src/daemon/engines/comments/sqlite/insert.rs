//! Bulk writes. A statement costs a round trip to SQLite's thread, which is more than a row costs.
//! So rows are written by statements of a few fixed sizes, few enough to stay prepared.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::comments::ArchivedComment;
use crate::daemon::engines::comments::marks::CommentMark;
use crate::protocol::{StreamId, UserId};

/// Rows per statement, largest first; the last must be 1.
const ROWS: [usize; 4] = [256, 32, 4, 1];

/// One SQL text per size in [`ROWS`].
type Statements = [Arc<str>; ROWS.len()];

static INSERT_COMMENTS: LazyLock<Statements> = LazyLock::new(|| {
    statements(
        "comments
         (stream_id, sort_key, user_id, name, message, created_at, seq, shadow, log, badges,
          parent_key)",
        "(?,?,?,?,?,?,?,?,?,?,?)",
        "ON CONFLICT DO NOTHING",
    )
});

/// Places only grow. A deletion that still counts keeps its reason and its time.
static PUT_MARKS: LazyLock<Statements> = LazyLock::new(|| {
    statements(
        "tombstones AS t
         (stream_id, sort_key, reason, deleted_at, deleted_place, hidden_place, restored_place)",
        "(?,?,?,?,?,?,?)",
        "ON CONFLICT (stream_id, sort_key) DO UPDATE SET
            reason = iif(max(excluded.deleted_place, excluded.hidden_place) = x'00'
                OR max(t.deleted_place, t.hidden_place)
                    > max(t.restored_place, excluded.restored_place),
                t.reason, excluded.reason),
            deleted_at = iif(max(excluded.deleted_place, excluded.hidden_place) = x'00'
                OR max(t.deleted_place, t.hidden_place)
                    > max(t.restored_place, excluded.restored_place),
                t.deleted_at, excluded.deleted_at),
            deleted_place = max(t.deleted_place, excluded.deleted_place),
            hidden_place = max(t.hidden_place, excluded.hidden_place),
            restored_place = max(t.restored_place, excluded.restored_place)",
    )
});

const HIDDEN_AUTHOR: &str =
    "INSERT INTO hidden_authors (stream_id, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING";

fn statements(table: &str, row: &str, on_conflict: &str) -> Statements {
    ROWS.map(|rows| {
        let values = vec![row; rows].join(",");
        format!("INSERT INTO {table} VALUES {values} {on_conflict}").into()
    })
}

/// Splits rows into parts that each fill one statement.
fn parts<'a, T>(
    mut rows: &'a [T],
    statements: &'static Statements,
) -> impl Iterator<Item = (&'a [T], Arc<str>)> {
    std::iter::from_fn(move || {
        let size = ROWS.iter().position(|size| *size <= rows.len())?;
        let (part, rest) = rows.split_at(ROWS[size]);
        rows = rest;
        Some((part, statements[size].clone()))
    })
}

/// Inserts comments of the log with this number.
pub(super) async fn comments(
    connection: &mut SqliteConnection,
    log: i64,
    comments: &[ArchivedComment],
) -> Result<(), StoreError> {
    for (part, sql) in parts(comments, &INSERT_COMMENTS) {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for ArchivedComment { comment, seq, shadow } in part {
            query = query
                .bind(integer(comment.stream_id.0))
                .bind(comment.comment_id.sort_key().to_vec())
                .bind(integer(comment.user_id.0))
                .bind(comment.name.clone())
                .bind(comment.message.clone())
                .bind(integer(comment.created_at))
                .bind(integer(*seq))
                .bind(shadow)
                .bind(log)
                .bind(comment.badges.bits())
                .bind(comment.parent_id.map(|parent_id| parent_id.sort_key().to_vec()));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Stores the deletions and restorations of a batch from the log with this number.
pub(super) async fn marks(
    connection: &mut SqliteConnection,
    log: i64,
    marks: &[CommentMark<'_>],
) -> Result<(), StoreError> {
    for (part, sql) in parts(marks, &PUT_MARKS) {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for mark in part {
            query = query
                .bind(integer(mark.stream_id.0))
                .bind(mark.comment_id.sort_key().to_vec())
                .bind(mark.reason().to_owned())
                .bind(integer(mark.deleted_at()))
                .bind(mark.deleted_place(log))
                .bind(mark.hidden_place(log))
                .bind(mark.restored_place(log));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Lists the authors of comments that are hidden from others.
pub(super) async fn hidden_authors(
    connection: &mut SqliteConnection,
    authors: &BTreeSet<(StreamId, UserId)>,
) -> Result<(), StoreError> {
    for (stream_id, user_id) in authors {
        sqlx::query(HIDDEN_AUTHOR)
            .bind(integer(stream_id.0))
            .bind(integer(user_id.0))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_their_statements_in_order() {
        for length in [0, 1, 3, 4, 5, 31, 255, 256, 4095, 4096] {
            let rows: Vec<usize> = (0..length).collect();
            let mut seen = Vec::new();
            for (part, sql) in parts(&rows, &PUT_MARKS) {
                assert_eq!(sql.matches('?').count(), part.len() * 7);
                seen.extend_from_slice(part);
            }
            assert_eq!(seen, rows);
        }
    }
}
