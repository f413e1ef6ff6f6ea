//! Totals of reactions in their own SQLite file, so that the write of every window and the changes
//! of operators never wait for each other.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use super::{ReactionCount, ReactionTotals, Totals, merge_counts};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::protocol::StreamId;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/reactions");

const WITHOUT_FILE: &str = "A start without the file begins with reaction totals of 0";

/// Rows per statement.
const ROWS: usize = 128;

/// The engine. Clones share the file.
#[derive(Debug, Clone)]
pub struct SqliteReactions {
    file: SqliteFile,
}

impl SqliteReactions {
    /// Opens the file, creates it if it is absent, and migrates its schema.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { file: SqliteFile::open(path, &MIGRATIONS, WITHOUT_FILE).await? })
    }

    /// Checks that it could be opened. Creates nothing.
    pub async fn check(path: &Path) -> Result<String, StoreError> {
        SqliteFile::check(path, &MIGRATIONS).await
    }

    /// Returns the open file.
    pub(crate) fn file(&self) -> &SqliteFile {
        &self.file
    }
}

#[async_trait]
impl ReactionTotals for SqliteReactions {
    async fn add(
        &self,
        counts: &[(StreamId, Totals)],
    ) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        let rows = merge_counts(counts);
        let mut changed = BTreeMap::new();
        let mut transaction = self.file.begin().await?;
        for part in rows.chunks(ROWS) {
            let totals = upsert(part).build().fetch_all(&mut *transaction).await?;
            collect(&totals, &mut changed)?;
        }
        transaction.commit().await?;
        Ok(changed.into_iter().collect())
    }

    async fn totals(&self, stream_id: StreamId) -> Result<Totals, StoreError> {
        let rows = sqlx::query("SELECT * FROM reaction_totals WHERE stream_id = ?")
            .bind(integer(stream_id.0))
            .fetch_all(self.file.readers())
            .await?;
        let mut by_stream = BTreeMap::new();
        collect(&rows, &mut by_stream)?;
        Ok(by_stream.remove(&stream_id).unwrap_or_default())
    }

    async fn all(&self) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM reaction_totals").fetch_all(self.file.readers()).await?;
        let mut by_stream = BTreeMap::new();
        collect(&rows, &mut by_stream)?;
        Ok(by_stream.into_iter().collect())
    }
}

fn upsert(part: &[ReactionCount]) -> QueryBuilder<Sqlite> {
    let mut upsert = QueryBuilder::new("INSERT INTO reaction_totals (stream_id, reaction, total) ");
    upsert.push_values(part, |mut row, counted| {
        row.push_bind(integer(counted.stream_id.0));
        row.push_bind(counted.reaction.clone()).push_bind(integer(counted.count));
    });
    upsert.push(
        " ON CONFLICT (stream_id, reaction) DO UPDATE SET total = total + excluded.total
         RETURNING stream_id, reaction, total",
    );
    upsert
}

fn collect(
    rows: &[SqliteRow],
    by_stream: &mut BTreeMap<StreamId, Totals>,
) -> Result<(), StoreError> {
    for row in rows {
        let totals = by_stream.entry(StreamId(row.natural("stream_id")?)).or_default();
        totals.insert(row.text("reaction")?.into(), row.natural("total")?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::daemon::engines::reactions::conformance::{self, totals};

    async fn open() -> (SqliteReactions, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (SqliteReactions::open(&dir.path().join("reactions.db")).await.unwrap(), dir)
    }

    conformance::reactions_suite!(open());

    #[tokio::test]
    async fn totals_survive_a_restart() {
        let (store, dir) = open().await;
        store.add(&[(StreamId(1), totals(&[("fire", 3)]))]).await.unwrap();
        // Not closed, like after a killed process.
        let again = SqliteReactions::open(&dir.path().join("reactions.db")).await.unwrap();
        assert_eq!(again.totals(StreamId(1)).await.unwrap(), totals(&[("fire", 3)]));
        let changed = again.add(&[(StreamId(1), totals(&[("fire", 1)]))]).await.unwrap();
        assert_eq!(changed, [(StreamId(1), totals(&[("fire", 4)]))]);
    }
}
