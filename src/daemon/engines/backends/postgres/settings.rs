//! The settings of the server that the stores depend on, on a connection of the pool.

use async_trait::async_trait;
use sqlx::postgres::PgConnection;

use super::{PostgresServer, statement};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::Columns as _;
use crate::daemon::engines::server_settings::{PostgresSettings, ServerSettings, SettingsReader};

/// `reserved_connections` exists since PostgreSQL 16. A limit of -1 is none: `LEAST` leaves it out.
const SETTINGS: &str = "SELECT current_setting('server_version') AS version,
    current_setting('max_connections')::bigint AS max_connections,
    current_setting('superuser_reserved_connections')::bigint
        + COALESCE(current_setting('reserved_connections', true), '0')::bigint AS reserved,
    LEAST(
        (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
        (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())
    )::bigint AS user_limit,
    (SELECT COALESCE(sum(numbackends), 0)::bigint FROM pg_stat_database) AS connections,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('synchronous_standby_names') AS standbys,
    current_setting('fsync')::bool AS fsync";

#[async_trait]
impl SettingsReader for PostgresServer {
    fn server(&self) -> String {
        format!("PostgreSQL {}", self.setup.server())
    }

    async fn read(&self) -> Result<ServerSettings, String> {
        let pool = &self.pool;
        let reading = statement!(pool, |connection| read(connection));
        let settings = pool.bounded(reading).await.map_err(|error| error.to_string())?;
        let pool = pool.connections().max;
        Ok(ServerSettings::Postgres(PostgresSettings { pool, ..settings }))
    }
}

/// Reads all but the size of the pool.
async fn read(connection: &mut PgConnection) -> Result<PostgresSettings, StoreError> {
    let row = sqlx::query(SETTINGS).fetch_one(connection).await?;
    Ok(PostgresSettings {
        version: row.text("version")?.to_owned(),
        max_connections: row.natural("max_connections")?,
        reserved_connections: row.natural("reserved")?,
        user_limit: row.natural_or_null("user_limit")?,
        connections: row.natural("connections")?,
        pool: 0,
        synchronous_commit: row.text("synchronous_commit")?.to_owned(),
        synchronous_standby_names: row.text("standbys")?.to_owned(),
        fsync: row.flag("fsync")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::backends::postgres::test_schema::TestSchema;
    use crate::daemon::testing::stack;

    async fn read_from(server: &PostgresServer) -> PostgresSettings {
        match SettingsReader::read(server).await {
            Ok(ServerSettings::Postgres(settings)) => settings,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn settings_are_those_of_the_server() {
        let schema = TestSchema::new();
        let server = PostgresServer::connect(&schema.config).await.unwrap();
        let found = read_from(&server).await;
        let max = schema.query_integer("SELECT current_setting('max_connections')::bigint").await;
        assert_eq!(found.max_connections, max as u64);
        assert!((1..max as u64).contains(&found.reserved_connections), "{found:?}");
        assert_eq!(found.user_limit, None);
        assert!((1..=found.max_connections).contains(&found.connections), "{found:?}");
        assert_eq!(found.pool, u64::from(schema.config.max_connections));
        assert_ne!(found.synchronous_commit, "off", "lcd asks for it");
        let major = found.version.split('.').next().unwrap();
        assert!(major.parse::<u32>().is_ok_and(|major| major >= 12), "{}", found.version);
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn the_limit_of_the_role_is_read() {
        let schema = TestSchema::new();
        let role = stack::unique("limited");
        let create = format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 3");
        schema.execute(&create).await.unwrap();
        let url = stack::postgres().replace("//lcd@", &format!("//{role}@"));
        let config = crate::daemon::base::config::PostgresConfig { url, ..schema.config.clone() };
        let server = PostgresServer::connect(&config).await.unwrap();
        let found = read_from(&server).await;
        drop(server);
        schema.execute(&format!("DROP ROLE {role}")).await.unwrap();
        assert_eq!(found.user_limit, Some(3));
    }
}
