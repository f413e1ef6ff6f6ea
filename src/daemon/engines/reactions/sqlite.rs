//! Totals of reactions in a SQLite file of their own: a write every window must not wait behind
//! operators' changes, nor they behind it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::{ReactionTotals, Totals};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sqlite_file::{SqliteFile, integer, natural};
use crate::protocol::StreamId;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/reactions");

/// Rows of one statement.
const ROWS: usize = 128;

/// The engine. Cloning shares the file.
#[derive(Debug, Clone)]
pub struct SqliteReactions {
    file: SqliteFile,
}

impl SqliteReactions {
    /// Opens the file, makes it if it is absent, and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { file: SqliteFile::open(path, &MIGRATIONS).await? })
    }
}

#[async_trait]
impl ReactionTotals for SqliteReactions {
    async fn add(
        &self,
        counts: &[(StreamId, Totals)],
    ) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        let rows = rows(counts);
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

/// One row for each reaction that was counted, however often it is listed.
fn rows(counts: &[(StreamId, Totals)]) -> Vec<(StreamId, Arc<str>, u64)> {
    let mut by_key: BTreeMap<(StreamId, &Arc<str>), u64> = BTreeMap::new();
    for (stream_id, totals) in counts {
        for (reaction, count) in totals.iter().filter(|(_, count)| **count > 0) {
            *by_key.entry((*stream_id, reaction)).or_default() += count;
        }
    }
    by_key.into_iter().map(|((id, reaction), count)| (id, reaction.clone(), count)).collect()
}

fn upsert(part: &[(StreamId, Arc<str>, u64)]) -> QueryBuilder<Sqlite> {
    let mut upsert = QueryBuilder::new("INSERT INTO reaction_totals (stream_id, reaction, total) ");
    upsert.push_values(part, |mut row, (stream_id, reaction, count)| {
        row.push_bind(integer(stream_id.0)).push_bind(reaction.clone()).push_bind(integer(*count));
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
        let totals = by_stream.entry(StreamId(natural(row, "stream_id")?)).or_default();
        totals.insert(row.try_get::<&str, _>("reaction")?.into(), natural(row, "total")?);
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

    conformance::conformance!(open);

    #[tokio::test]
    async fn totals_are_there_after_it_is_opened_again() {
        let (store, dir) = open().await;
        store.add(&[(StreamId(1), totals(&[("fire", 3)]))]).await.unwrap();
        // Not closed: the file is left as a killed process leaves it.
        let again = SqliteReactions::open(&dir.path().join("reactions.db")).await.unwrap();
        assert_eq!(again.totals(StreamId(1)).await.unwrap(), totals(&[("fire", 3)]));
        let changed = again.add(&[(StreamId(1), totals(&[("fire", 1)]))]).await.unwrap();
        assert_eq!(changed, [(StreamId(1), totals(&[("fire", 4)]))]);
    }
}
