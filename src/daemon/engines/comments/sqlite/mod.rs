//! Comments in a SQLite file: the engine for a single machine.
//!
//! Always holds: whatever [`super::CommentStore::write`] answered with `Ok` is on disk
//! (`synchronous=FULL`), because the archiver then commits its log position. With `NORMAL` a power
//! failure could lose the last transactions but keep that position, and history would have a hole
//! although the log still had the comments. A batch of thousands costs one sync.
//!
//! Comments past the retention are deleted in the background, in transactions so short that a batch
//! waits for one no longer than for a sync.

mod expire;
mod insert;
mod positions;
mod select;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::migrate::Migrator;

use super::retention::{Retention, Upkeep};
use super::{
    ArchiveBatch, CommentKey, CommentStore, StorePositions, StoredComment, Tombstone, marks,
};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::eventlog::Position;
use crate::protocol::{CommentId, Epoch, SequencedComment, StreamId, UserId};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/comments");

const WITHOUT_FILE: &str = "A start without the file makes a new one and fills it again from the \
     event log, as far as that reaches";

/// The engine. Clones share the file and the upkeep, which ends with the last clone.
#[derive(Debug, Clone)]
pub struct SqliteComments {
    file: SqliteFile,
    retention: Option<Retention>,
    _upkeep: Option<Arc<Upkeep>>,
}

impl SqliteComments {
    /// Opens the file, creates it if it is absent, and runs the migrations it lacks. Keeps comments
    /// forever.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let file = SqliteFile::open(path, &MIGRATIONS, WITHOUT_FILE).await?;
        Ok(Self { file, retention: None, _upkeep: None })
    }

    /// Checks that it could be opened. Creates nothing.
    pub async fn check(path: &Path) -> Result<String, StoreError> {
        SqliteFile::check(path, &MIGRATIONS).await
    }

    /// Returns the open file.
    pub(crate) fn file(&self) -> &SqliteFile {
        &self.file
    }

    /// Opens the file like [`Self::open`], and removes comments older than the retention until the
    /// last clone is dropped.
    pub async fn open_with_retention(
        path: &Path,
        retention: Retention,
    ) -> Result<Self, StoreError> {
        let mut store = Self::open(path).await?;
        if retention.horizon_ms().is_some() {
            let file = store.file.clone();
            let clock = retention.clone();
            let upkeep = Upkeep::start(&retention, move || {
                let file = file.clone();
                let clock = clock.clone();
                async move {
                    match clock.horizon_ms() {
                        Some(horizon_ms) => expire::delete_older_than(&file, horizon_ms).await,
                        None => Ok(()),
                    }
                }
            });
            store._upkeep = Some(Arc::new(upkeep));
            store.retention = Some(retention);
        }
        Ok(store)
    }

    fn horizon_ms(&self) -> Option<u64> {
        self.retention.as_ref().and_then(Retention::horizon_ms)
    }
}

#[async_trait]
impl CommentStore for SqliteComments {
    async fn write(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        let ArchiveBatch { epoch, comments, deletions, restorations, archived } = batch;
        let horizon_ms = self.horizon_ms();
        let is_kept = |id: CommentId| horizon_ms.is_none_or(|horizon| id.unix_ms() >= horizon);
        let mut transaction = self.file.begin().await?;
        let log = positions::log_number(&mut transaction, *epoch).await?;
        match horizon_ms.filter(|horizon_ms| expire::any_expired(comments, *horizon_ms)) {
            None => insert::comments(&mut transaction, log, comments).await?,
            Some(horizon_ms) => {
                let kept = expire::without_expired(comments, horizon_ms);
                insert::comments(&mut transaction, log, &kept).await?;
            }
        }
        let marks = marks::fold(
            deletions.iter().filter(|row| is_kept(row.tombstone.comment_id)),
            restorations.iter().filter(|row| is_kept(row.comment_id)),
        );
        insert::marks(&mut transaction, log, &marks).await?;
        insert::hidden_authors(&mut transaction, &batch.hidden_authors()).await?;
        positions::put(&mut transaction, log, archived).await?;
        transaction.commit().await
    }

    async fn positions(
        &self,
        epoch: Epoch,
        known: &BTreeMap<u32, CommentKey>,
    ) -> Result<StorePositions, StoreError> {
        let horizon_key = self.horizon_ms().map(expire::horizon_key).unwrap_or_default();
        positions::positions(self.file.readers(), epoch, known, &horizon_key).await
    }

    async fn other_positions(&self, epoch: Epoch) -> Result<Vec<(Epoch, Position)>, StoreError> {
        let horizon_key = self.horizon_ms().map(expire::horizon_key).unwrap_or_default();
        positions::other_positions(self.file.readers(), epoch, &horizon_key).await
    }

    async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        select::page(self.file.readers(), None, stream_id, before, limit).await
    }

    async fn page_for(
        &self,
        reader: UserId,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        select::page(self.file.readers(), Some(reader), stream_id, before, limit).await
    }

    async fn replies(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        select::replies(self.file.readers(), reader, parent, before, limit).await
    }

    async fn reply_count(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
    ) -> Result<usize, StoreError> {
        select::reply_count(self.file.readers(), reader, parent).await
    }

    async fn first_since(
        &self,
        stream_id: StreamId,
        since_ms: u64,
    ) -> Result<Option<CommentId>, StoreError> {
        select::first_since(self.file.readers(), stream_id, since_ms).await
    }

    async fn hidden_authors(&self, stream_id: StreamId) -> Result<Vec<UserId>, StoreError> {
        select::hidden_authors(self.file.readers(), stream_id).await
    }

    async fn get(&self, comment_id: CommentId) -> Result<Option<StoredComment>, StoreError> {
        select::by_id(self.file.readers(), comment_id).await
    }

    async fn tombstones_since(
        &self,
        since_ms: u64,
        limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError> {
        select::tombstones_since(self.file.readers(), since_ms, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.file.ping().await
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::daemon::engines::comments::conformance;
    use crate::daemon::engines::comments::conformance::{
        WriteRows as _, comment, comment_id, shown, tombstone,
    };

    async fn open() -> (SqliteComments, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (SqliteComments::open(&dir.path().join("comments.db")).await.unwrap(), dir)
    }

    conformance::comment_store_suite!(open());

    #[tokio::test]
    async fn everything_survives_reopening() {
        let (store, dir) = open().await;
        let stream = StreamId(1);
        let comments: Vec<_> = (0..300).map(|number| comment(stream, number)).collect();
        store.write_rows(&comments, &[tombstone(stream, 4)]).await.unwrap();
        let before = store.page(stream, None, 1000).await.unwrap();
        // Not closed: the file is as a killed process leaves it.
        let again = SqliteComments::open(&dir.path().join("comments.db")).await.unwrap();
        assert_eq!(again.page(stream, None, 1000).await.unwrap(), before);
        assert_eq!(shown(&again, stream).await, 299);
        assert!(again.get(comment_id(4)).await.unwrap().unwrap().deleted);
        assert_eq!(again.tombstones_since(0, 10).await.unwrap(), [tombstone(stream, 4)]);
        again.ping().await.unwrap();
    }

    #[tokio::test]
    async fn an_abandoned_write_leaves_nothing() {
        let (store, _dir) = open().await;
        let comments: Vec<_> = (0..4096).map(|number| comment(StreamId(1), number)).collect();
        {
            let write = store.write_rows(&comments, &[]);
            let mut write = std::pin::pin!(write);
            // Let it begin, then drop it.
            assert!(futures_util::poll!(&mut write).is_pending());
            tokio::task::yield_now().await;
            let _ = futures_util::poll!(&mut write);
        }
        store.ping().await.unwrap();
        assert_eq!(shown(&store, StreamId(1)).await, 0);
        store.write_rows(&comments, &[]).await.unwrap();
        assert_eq!(shown(&store, StreamId(1)).await, 4096);
    }

    async fn limit_pages(store: &SqliteComments, limit: &'static str) {
        let mut transaction = store.file.begin().await.unwrap();
        sqlx::query(limit).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_refuses_the_whole_batch() {
        let (store, _dir) = open().await;
        limit_pages(&store, "PRAGMA max_page_count = 30").await;
        let comments: Vec<_> = (0..4096).map(|number| comment(StreamId(1), number)).collect();
        for _ in 0..3 {
            let refused = store.write_rows(&comments, &[]).await;
            assert!(
                matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("full")),
                "{refused:?}"
            );
        }
        assert_eq!(shown(&store, StreamId(1)).await, 0);
        limit_pages(&store, "PRAGMA max_page_count = 1000000").await;
        store.write_rows(&comments, &[]).await.unwrap();
        assert_eq!(shown(&store, StreamId(1)).await, 4096);
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("comments.db");
        std::fs::write(&path, vec![b'x'; 8192]).unwrap();
        let error = SqliteComments::open(&path).await.unwrap_err().to_string();
        assert!(error.contains("comments.db") && error.contains("not a database"), "{error}");
    }
}
