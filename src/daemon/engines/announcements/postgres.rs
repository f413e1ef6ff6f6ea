//! Announcements in PostgreSQL: a row per process in `nodes`, beside the metadata.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnection, PgRow};

use super::{ALIVE_FOR, Announcement, Announcements, OtherProcess};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::{
    PostgresPool, PostgresServer, PostgresSetupError, statement, transaction,
};
use crate::daemon::engines::backends::sql::Columns as _;
use crate::protocol::NodeId;

/// Rows of processes that ended without leaving are removed after this time.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

const ANNOUNCE: &str = "INSERT INTO nodes (run, name, about, settings) VALUES ($1, $2, $3, $4)
    ON CONFLICT (run) DO UPDATE
    SET about = excluded.about, settings = excluded.settings, seen_at = clock_timestamp()";
const FORGET: &str =
    "DELETE FROM nodes WHERE seen_at < clock_timestamp() - make_interval(secs => $1)";
const OTHERS: &str = "SELECT run, name, about, settings,
        coalesce(seen_at > (SELECT started_at FROM nodes WHERE run = $1), false) AS overlaps
    FROM nodes
    WHERE run <> $1 AND seen_at > clock_timestamp() - make_interval(secs => $2)
    ORDER BY name, run";

/// The engine. Cloning shares the connections.
#[derive(Debug, Clone)]
pub struct PostgresAnnouncements {
    pool: PostgresPool,
}

impl PostgresAnnouncements {
    /// Opens the table after running the migrations it lacks.
    pub async fn open(server: &PostgresServer) -> Result<Self, PostgresSetupError> {
        server.migrate("nodes", sqlx::migrate!("migrations/postgres/nodes")).await?;
        Ok(Self { pool: server.pool().clone() })
    }

    /// Returns the running processes without announcing one and without creating the table. There
    /// are none if the table does not exist.
    pub async fn running(server: &PostgresServer) -> Result<Vec<Announcement>, StoreError> {
        let pool = server.pool();
        let read = pool.bounded(statement!(pool, |connection| async {
            let exists: bool = sqlx::query_scalar("SELECT to_regclass('nodes') IS NOT NULL")
                .fetch_one(&mut *connection)
                .await?;
            if exists { others(connection, "").await } else { Ok(Vec::new()) }
        }));
        Ok(read.await?.into_iter().map(|other| other.announcement).collect())
    }
}

async fn announce(
    connection: &mut PgConnection,
    own: &Announcement,
) -> Result<Vec<OtherProcess>, StoreError> {
    let settings = serde_json::to_string(&own.settings).unwrap_or_default();
    sqlx::query(ANNOUNCE)
        .bind(&own.run)
        .bind(own.node.as_str())
        .bind(&own.about)
        .bind(settings)
        .execute(&mut *connection)
        .await?;
    sqlx::query(FORGET).bind(FORGOTTEN_AFTER.as_secs_f64()).execute(&mut *connection).await?;
    others(connection, &own.run).await
}

async fn others(connection: &mut PgConnection, run: &str) -> Result<Vec<OtherProcess>, StoreError> {
    let rows = sqlx::query(OTHERS).bind(run).bind(ALIVE_FOR.as_secs_f64());
    rows.fetch_all(connection).await?.iter().map(other).collect()
}

fn other(row: &PgRow) -> Result<OtherProcess, StoreError> {
    let announcement = Announcement {
        node: NodeId::new(row.text("name")?),
        run: row.text("run")?.to_owned(),
        about: row.text("about")?.to_owned(),
        // Another version may write it in another form; then there is nothing to compare.
        settings: serde_json::from_str(row.text("settings")?).unwrap_or_default(),
    };
    Ok(OtherProcess { announcement, overlaps: row.flag("overlaps")? })
}

#[async_trait]
impl Announcements for PostgresAnnouncements {
    async fn announce(&self, own: &Announcement) -> Result<Vec<OtherProcess>, StoreError> {
        self.pool.bounded(transaction!(self.pool, |connection| announce(connection, own))).await
    }

    async fn leave(&self, run: &str) -> Result<(), StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| async {
                sqlx::query("DELETE FROM nodes WHERE run = $1")
                    .bind(run)
                    .execute(connection)
                    .await?;
                Ok(())
            }))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::backends::postgres::test_schema::TestSchema;

    fn process(name: &str, run: &str) -> Announcement {
        Announcement {
            node: NodeId::new(name),
            run: run.to_owned(),
            about: format!("{run} on a host"),
            settings: [("redis.prefix".to_owned(), "0000abcd".to_owned())].into(),
        }
    }

    async fn age(schema: &TestSchema, run: &str) {
        let long_ago = "UPDATE nodes SET seen_at = seen_at - interval '7 s'";
        schema.execute(&format!("{long_ago} WHERE run = '{run}'")).await.unwrap();
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn processes_find_each_other_while_they_run() {
        let schema = TestSchema::new();
        let server = PostgresServer::connect(&schema.config).await.unwrap();
        assert_eq!(PostgresAnnouncements::running(&server).await.unwrap(), [], "no table yet");
        let nodes = PostgresAnnouncements::open(&server).await.unwrap();
        let a = process("a", "1");
        let b = process("b", "2");
        assert_eq!(nodes.announce(&a).await.unwrap(), []);
        let others = nodes.announce(&b).await.unwrap();
        assert_eq!(others.len(), 1);
        assert_eq!(others[0].announcement, a);
        let running = PostgresAnnouncements::running(&server).await.unwrap();
        assert_eq!(running, [a.clone(), b.clone()]);
        age(&schema, "1").await;
        assert_eq!(nodes.announce(&b).await.unwrap(), [], "it has been silent");
        nodes.announce(&a).await.unwrap();
        nodes.leave("2").await.unwrap();
        assert_eq!(nodes.announce(&a).await.unwrap(), []);
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn a_restarted_node_does_not_meet_itself() {
        let schema = TestSchema::new();
        let server = PostgresServer::connect(&schema.config).await.unwrap();
        let nodes = PostgresAnnouncements::open(&server).await.unwrap();
        let killed = process("a", "1");
        let restarted = process("a", "2");
        nodes.announce(&killed).await.unwrap();
        let others = nodes.announce(&restarted).await.unwrap();
        assert!(!others[0].overlaps, "killed just now");
        let others = nodes.announce(&restarted).await.unwrap();
        assert!(!others[0].overlaps, "and silent since");
        nodes.announce(&killed).await.unwrap();
        let others = nodes.announce(&restarted).await.unwrap();
        assert!(others[0].overlaps, "it was not killed: two have one name");
    }
}
