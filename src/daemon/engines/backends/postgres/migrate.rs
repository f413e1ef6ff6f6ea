//! The schema and its tables, brought up to date by whichever node comes first.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::time::timeout;

use super::setup::{PostgresSetupError, Setup};

/// For all migrations of a part, and for waiting while another node makes them.
const LONGEST_MIGRATION: Duration = Duration::from_secs(600);
const NO_STATEMENT_TIMEOUT: &str =
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";

/// Held by the node that migrates, until its connection ends. One a schema; sqlx's own is one a
/// database and stays locked when a migration fails.
const LOCK: &str = "SELECT pg_advisory_lock(hashtextextended('lcd migrations ' || $1, 0))";

/// Makes the schema if it is absent and runs the migrations it lacks. `part` names them: each part
/// has versions, and a table that remembers them, of its own.
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
            // The lock goes with the connection either way; this tells the server at once.
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
    connection.execute(NO_STATEMENT_TIMEOUT).await?;
    sqlx::query(LOCK).bind(schema).execute(&mut *connection).await?;
    // Asked first: `CREATE SCHEMA IF NOT EXISTS` needs its right even where there is nothing to do.
    let exists = sqlx::query("SELECT FROM pg_namespace WHERE nspname = $1").bind(schema);
    if exists.fetch_optional(&mut *connection).await?.is_none() {
        let create = format!("CREATE SCHEMA \"{}\"", schema.replace('"', "\"\""));
        connection.execute(AssertSqlSafe(create)).await?;
    }
    migrator.run(connection).await
}

fn explain(
    failure: MigrateError,
    setup: &Setup,
    part: &'static str,
    migrator: &Migrator,
) -> PostgresSetupError {
    let schema = setup.schema.clone();
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
    let lacks_right = |error: &sqlx::Error| {
        let code = error.as_database_error().and_then(|error| error.code());
        // insufficient_privilege; a schema one may not use counts as none (invalid_schema_name).
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
            if lacks_right(&error) =>
        {
            let reason = error.to_string();
            PostgresSetupError::NoRights { user: setup.user(), schema, reason }
        }
        other => PostgresSetupError::Migration { part, schema, reason: other.to_string() },
    }
}
