//! A schema for one test on the real server, dropped after it.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::daemon::base::config::PostgresConfig;
use crate::daemon::testing::stack;

/// A schema that is dropped together with this value.
#[derive(Debug)]
pub(crate) struct TestSchema {
    pub(crate) config: PostgresConfig,
}

impl TestSchema {
    pub(crate) fn new() -> Self {
        let config = PostgresConfig {
            url: stack::postgres(),
            schema: stack::unique("test"),
            timeout: Duration::from_secs(20),
            max_connections: 4,
            ..PostgresConfig::default()
        };
        Self { config }
    }

    /// Runs SQL on a connection of its own, in this schema.
    pub(crate) async fn execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        let mut connection = self.connect().await?;
        connection.execute(AssertSqlSafe(sql.to_owned())).await?;
        connection.close().await
    }

    /// Returns the first column of the first row.
    pub(crate) async fn query_integer(&self, sql: &str) -> i64 {
        let mut connection = self.connect().await.unwrap();
        let query = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
        query.fetch_one(&mut connection).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = PgConnection::connect(&stack::postgres()).await?;
        let path = format!("SET search_path = {}", self.config.schema);
        connection.execute(AssertSqlSafe(path)).await?;
        Ok(connection)
    }

    /// Returns the days that have partitions.
    pub(crate) async fn days(&self) -> Vec<String> {
        let mut connection = self.connect().await.unwrap();
        let sql = "SELECT right(tablename, 8) FROM pg_tables
            WHERE schemaname = $1 AND tablename ~ '^comments_[0-9]' ORDER BY 1";
        let query = sqlx::query_scalar(sql).bind(&self.config.schema);
        query.fetch_all(&mut connection).await.unwrap()
    }
}

impl Drop for TestSchema {
    fn drop(&mut self) {
        let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.config.schema);
        // The test's own runtime cannot be blocked on here.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&stack::postgres()).await?;
                connection.execute(AssertSqlSafe(drop)).await?;
                connection.close().await
            })
        });
        match dropped.join() {
            Ok(Ok(())) => {}
            other => eprintln!("a test's schema was not dropped: {other:?}"),
        }
    }
}
