//! Deletes rows past the retention: stream by stream, a few hundred rows per transaction, with a
//! pause after each so that batches are hardly delayed.

use std::time::Duration;

use sqlx::Row as _;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::comments::ArchivedComment;
use crate::protocol::CommentId;

/// Rows per transaction: a few milliseconds of work.
const ROWS: i64 = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// Selects the streams that have expired rows, with one seek per stream.
macro_rules! streams_of {
    ($table:literal) => {
        concat!(
            "WITH RECURSIVE kept (id) AS (SELECT min(stream_id) FROM ",
            $table,
            " UNION ALL SELECT (SELECT min(stream_id) FROM ",
            $table,
            " WHERE stream_id > kept.id) FROM kept WHERE kept.id IS NOT NULL)
            SELECT id FROM kept WHERE id IS NOT NULL AND EXISTS (SELECT 1 FROM ",
            $table,
            " WHERE stream_id = kept.id AND sort_key < ?)"
        )
    };
}

macro_rules! delete_from {
    ($table:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE stream_id = ?1 AND sort_key IN (SELECT sort_key FROM ",
            $table,
            " WHERE stream_id = ?1 AND sort_key < ?2 ORDER BY sort_key LIMIT ?3)"
        )
    };
}

/// Comments first: a tombstone must outlive its comment.
const TABLES: [(&str, &str); 2] = [
    (streams_of!("comments"), delete_from!("comments")),
    (streams_of!("tombstones"), delete_from!("tombstones")),
];

/// Returns the first sort key that is kept.
pub(super) fn horizon_key(horizon_ms: u64) -> Vec<u8> {
    let first = CommentId::from_unix_ticks(horizon_ms.saturating_mul(10_000), 0, [0; 6]);
    // The time without the rest of the id sorts before every id of that time.
    first.sort_key()[..8].to_vec()
}

/// Deletes everything created before the horizon.
pub(super) async fn delete_older_than(
    file: &SqliteFile,
    horizon_ms: u64,
) -> Result<(), StoreError> {
    let key = horizon_key(horizon_ms);
    for (streams, delete) in TABLES {
        let streams = sqlx::query(streams).bind(&key).fetch_all(file.readers()).await?;
        for stream in streams {
            let stream_id: i64 = stream.try_get("id")?;
            while delete_some(file, delete, stream_id, &key).await? == ROWS as u64 {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(())
}

async fn delete_some(
    file: &SqliteFile,
    delete: &'static str,
    stream_id: i64,
    key: &[u8],
) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    let deleted =
        sqlx::query(delete).bind(stream_id).bind(key).bind(ROWS).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(deleted.rows_affected())
}

/// Returns whether a batch has comments past the retention, as when the log is read again from an
/// old position.
pub(super) fn any_expired(comments: &[ArchivedComment], horizon_ms: u64) -> bool {
    comments.iter().any(|row| row.comment.comment_id.unix_ms() < horizon_ms)
}

/// Returns the comments that are within the retention: a deleted comment must not return without
/// its tombstone.
pub(super) fn without_expired(
    comments: &[ArchivedComment],
    horizon_ms: u64,
) -> Vec<ArchivedComment> {
    let is_kept = |row: &&ArchivedComment| row.comment.comment_id.unix_ms() >= horizon_ms;
    comments.iter().filter(is_kept).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::base::clock::Clock;
    use crate::daemon::engines::comments::CommentStore as _;
    use crate::daemon::engines::comments::conformance::{
        WriteRows as _, comment, comment_id, shown, tombstone,
    };
    use crate::daemon::engines::comments::retention::Retention;
    use crate::daemon::engines::comments::sqlite::SqliteComments;
    use crate::protocol::StreamId;

    #[derive(Debug)]
    struct StoppedClock(Duration);

    impl Clock for StoppedClock {
        fn now(&self) -> Duration {
            self.0
        }
    }

    /// Comments before `number` are past the retention.
    fn retention_from(number: u64) -> Retention {
        let keep = Duration::from_secs(3600);
        let now = Duration::from_millis(comment_id(number).unix_ms()) + keep;
        Retention::new(keep, Arc::new(StoppedClock(now)))
    }

    #[tokio::test]
    async fn only_expired_comments_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("comments.db");
        let store = SqliteComments::open(&path).await.unwrap();
        let busy = StreamId(1);
        let quiet = StreamId(2);
        let young = StreamId(9);
        // Ids of this suite are 100 microseconds apart: ten per millisecond.
        let comments: Vec<_> = (0..3000)
            .map(|number| comment(busy, number))
            .chain([comment(quiet, 5), comment(quiet, 2500), comment(young, 2600)])
            .collect();
        store.write_rows(&comments, &[tombstone(busy, 3), tombstone(busy, 2700)]).await.unwrap();
        delete_older_than(&store.file, comment_id(2000).unix_ms()).await.unwrap();
        let page = store.page(busy, None, 1000).await.unwrap();
        assert_eq!((page.len(), page[998].seq), (999, 2000), "one of the rest is deleted");
        assert_eq!(shown(&store, quiet).await, 1);
        assert_eq!(shown(&store, young).await, 1);
        assert_eq!(store.tombstones_since(0, 10).await.unwrap(), [tombstone(busy, 2700)]);
    }

    #[tokio::test]
    async fn expired_comments_go_in_the_background() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("comments.db");
        let stream = StreamId(1);
        let comments: Vec<_> = (0..100).map(|number| comment(stream, number)).collect();
        SqliteComments::open(&path).await.unwrap().write_rows(&comments, &[]).await.unwrap();
        let store = SqliteComments::open_with_retention(&path, retention_from(60)).await.unwrap();
        let emptied = async {
            while shown(&store, stream).await != 40 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), emptied).await.unwrap();
    }

    #[tokio::test]
    async fn comments_written_after_expiry_are_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("comments.db");
        let store = SqliteComments::open_with_retention(&path, retention_from(1000)).await.unwrap();
        let stream = StreamId(1);
        let comments: Vec<_> = (0..2000).map(|number| comment(stream, number)).collect();
        store
            .write_rows(&comments, &[tombstone(stream, 0), tombstone(stream, 1999)])
            .await
            .unwrap();
        assert_eq!(shown(&store, stream).await, 999);
        assert_eq!(store.tombstones_since(0, 10).await.unwrap(), [tombstone(stream, 1999)]);
    }
}
