//! Migrations of the schema, run by whichever node comes first.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::time::timeout;

use super::setup::{PostgresSetupError, Setup};

/// Limit for all migrations of a part, including the wait while another node runs them.
const LONGEST_MIGRATION: Duration = Duration::from_secs(600);
const NO_STATEMENT_TIMEOUT: &str =
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";

/// Held by the node that migrates, until its connection ends. One lock per schema; sqlx's own lock
/// is per database and stays held when a migration fails.
const LOCK: &str = "SELECT pg_advisory_lock(hashtextextended('lcd migrations ' || $1, 0))";

/// Implements [`PostgresServer::migrate`](super::PostgresServer::migrate).
pub(super) async fn bring_up_to_date(
    setup: &Setup,
    part: &'static str,
    mut migrator: Migrator,
) -> Result<(), PostgresSetupError> {
    migrator.set_locking(false);
    migrator.dangerous_set_table_name(format!("{part}_migrations"));
    let mut connection = setup.connection().await?;
    let migrated = timeout(LONGEST_MIGRATION, run(&mut connection, &setup.schema, &migrator)).await;
    let failure = match migrated {
        Ok(Ok(())) => {
            // The lock ends with the connection either way; closing tells the server at once.
            let _ = timeout(Duration::from_secs(1), connection.close()).await;
            return Ok(());
        }
        Ok(Err(failure)) => failure,
        Err(_) => MigrateError::Execute(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    };
    Err(explain(failure, setup, part, &migrator))
}

async fn run(
    connection: &mut PgConnection,
    schema: &str,
    migrator: &Migrator,
) -> Result<(), MigrateError> {
    if is_current(connection, schema, migrator).await? {
        return Ok(());
    }
    connection.execute(NO_STATEMENT_TIMEOUT).await?;
    sqlx::query(LOCK).bind(schema).execute(&mut *connection).await?;
    // Checked first: `CREATE SCHEMA IF NOT EXISTS` needs its right even if the schema exists.
    let exists = sqlx::query("SELECT FROM pg_namespace WHERE nspname = $1").bind(schema);
    if exists.fetch_optional(&mut *connection).await?.is_none() {
        let create = format!("CREATE SCHEMA {}", quoted(schema));
        connection.execute(AssertSqlSafe(create)).await?;
    }
    migrator.run(connection).await
}

/// Returns whether exactly these migrations have run. Such a schema is only read, so that a node
/// also starts while the server takes no writes.
async fn is_current(
    connection: &mut PgConnection,
    schema: &str,
    migrator: &Migrator,
) -> Result<bool, MigrateError> {
    let table = format!("{}.{}", quoted(schema), migrator.table_name);
    let known = sqlx::query_scalar::<_, bool>("SELECT to_regclass($1) IS NOT NULL").bind(&table);
    if !known.fetch_one(&mut *connection).await? {
        return Ok(false);
    }
    let ran = format!("SELECT version, checksum FROM {table} WHERE success ORDER BY version");
    let ran: Vec<(i64, Vec<u8>)> =
        sqlx::query_as(AssertSqlSafe(ran)).fetch_all(&mut *connection).await?;
    let wanted = migrator.iter().map(|migration| (migration.version, &*migration.checksum));
    Ok(wanted.eq(ran.iter().map(|(version, checksum)| (*version, checksum.as_slice()))))
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn explain(
    failure: MigrateError,
    setup: &Setup,
    part: &'static str,
    migrator: &Migrator,
) -> PostgresSetupError {
    let schema = setup.schema.clone();
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    let lacks_privilege = |error: &sqlx::Error| {
        let code = error.as_database_error().and_then(|error| error.code());
        // insufficient_privilege; a schema that may not be used counts as absent
        // (invalid_schema_name).
        code.is_some_and(|code| ["42501", "3F000"].contains(&&*code))
    };
    match failure {
        MigrateError::VersionMissing(version) if version > known => {
            PostgresSetupError::Newer { part, schema, version, known }
        }
        MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => {
            PostgresSetupError::Different { part, schema, version }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
            if lacks_privilege(&error) =>
        {
            let reason = error.to_string();
            PostgresSetupError::NoRights { user: setup.user(), schema, reason }
        }
        other => PostgresSetupError::Migration { part, schema, reason: other.to_string() },
    }
}
