//! Comments in a SQLite file: the engine of a single machine.
//!
//! Always holds: what [`super::CommentStore::write`] answered `Ok` is on disk (`synchronous=FULL`),
//! because the archiver moves its position in the log past it: with `NORMAL` a power failure could
//! take the last transactions and leave that position, and history would have a hole although the
//! log still had the comments. A batch of thousands pays for one sync.

mod insert;
mod select;

use std::path::Path;

use async_trait::async_trait;
use sqlx::migrate::Migrator;

use super::{ArchivedComment, CommentStore, StoredComment, Tombstone};
use crate::daemon::store::StoreError;
use crate::daemon::store::sqlite_file::SqliteFile;
use crate::protocol::{CommentId, SequencedComment, StreamId};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/comments");

/// The engine. Cloning shares the file.
#[derive(Debug, Clone)]
pub struct SqliteComments {
    file: SqliteFile,
}

impl SqliteComments {
    /// Opens the file, makes it if it is absent, and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { file: SqliteFile::open(path, &MIGRATIONS).await? })
    }
}

#[async_trait]
impl CommentStore for SqliteComments {
    async fn write(
        &self,
        comments: &[ArchivedComment],
        tombstones: &[Tombstone],
    ) -> Result<(), StoreError> {
        let mut transaction = self.file.begin().await?;
        insert::comments(&mut transaction, comments).await?;
        insert::tombstones(&mut transaction, tombstones).await?;
        Ok(transaction.commit().await?)
    }

    async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        select::page(self.file.readers(), stream_id, before, limit).await
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

    async fn count(&self, stream_id: StreamId) -> Result<u64, StoreError> {
        select::count(self.file.readers(), stream_id).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.file.ping().await
    }
}
