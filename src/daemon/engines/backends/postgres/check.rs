//! The trial of `lcd check` on PostgreSQL: the schema exists or can be created, and its tables can
//! be read and written. Everything is tried in one transaction that is rolled back, so
//! nothing is left behind and no running node waits.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tokio::time::timeout;

use super::PostgresSetupError;
use super::migrate::quoted;
use super::setup::{FirstConnection, Setup, no_answer_within};
use crate::daemon::base::config::PostgresConfig;
use crate::daemon::engines::StoreError;

/// Rights on the tables of an existing schema.
const MISSING_RIGHTS: &str = "SELECT c.relname AS name, r.name AS right
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS r(name)
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname !~ '_migrations$'
      AND NOT c.relispartition AND NOT has_table_privilege(c.oid, r.name)
    UNION ALL
    SELECT c.relname, 'ownership (partitions are added)'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind = 'p' AND NOT c.relispartition
      AND NOT (pg_has_role(c.relowner, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE'))
    ORDER BY 1, 2 LIMIT 20";

/// Connects and tries. Returns a sentence that describes the server.
///
/// # Errors
/// The setting that is wrong, or the right that is missing.
pub(super) async fn check(config: &PostgresConfig) -> Result<String, StoreError> {
    let FirstConnection { setup, mut connection } = Setup::connect(config).await?;
    let tried = timeout(config.timeout, try_in_transaction(&mut connection, &setup)).await;
    let found = tried.unwrap_or_else(|_| {
        let silence = no_answer_within(config.timeout);
        Err(StoreError::Unavailable(format!("`postgres.url`: {silence}")))
    });
    let _ = timeout(config.timeout, connection.close()).await;
    found
}

async fn try_in_transaction(
    connection: &mut PgConnection,
    setup: &Setup,
) -> Result<String, StoreError> {
    let row = sqlx::query(
        "SELECT pg_is_in_recovery() AS replica, version() AS version,
            current_setting('transaction_read_only') = 'on' AS read_only,
            EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) AS exists",
    )
    .bind(&setup.schema)
    .fetch_one(&mut *connection)
    .await?;
    let (replica, read_only, exists): (bool, bool, bool) =
        (row.try_get("replica")?, row.try_get("read_only")?, row.try_get("exists")?);
    if replica || read_only {
        return Err(refused(
            "the server only reads: a replica, or `default_transaction_read_only`",
        ));
    }
    connection.execute("BEGIN").await?;
    let tried = if exists {
        try_existing(connection, setup).await
    } else {
        try_creating(connection, setup).await
    };
    connection.execute("ROLLBACK").await?;
    let state = tried?;
    let version: &str = row.try_get("version")?;
    let version = version.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(format!("{version}, schema {} {state}", setup.schema))
}

/// Creates what the first start would create, and a table with one row.
async fn try_creating(
    connection: &mut PgConnection,
    setup: &Setup,
) -> Result<&'static str, StoreError> {
    let schema = quoted(&setup.schema);
    let statements = format!(
        "CREATE SCHEMA {schema}; CREATE TABLE {schema}.lcd_check (n int);
         INSERT INTO {schema}.lcd_check VALUES (1); UPDATE {schema}.lcd_check SET n = 2;
         DELETE FROM {schema}.lcd_check"
    );
    let tried = connection.execute(AssertSqlSafe(statements)).await;
    tried.map_err(|error| lacks_rights(setup, &error))?;
    Ok("will be created at start")
}

async fn try_existing(
    connection: &mut PgConnection,
    setup: &Setup,
) -> Result<&'static str, StoreError> {
    let usable: bool = sqlx::query_scalar("SELECT has_schema_privilege($1, 'USAGE')")
        .bind(&setup.schema)
        .fetch_one(&mut *connection)
        .await?;
    if !usable {
        let user = setup.user();
        let schema = &setup.schema;
        return Err(refused(&format!("user \"{user}\" lacks USAGE on the schema \"{schema}\"")));
    }
    let rows = sqlx::query(MISSING_RIGHTS).bind(&setup.schema).fetch_all(&mut *connection).await?;
    let mut missing = BTreeSet::new();
    for row in rows {
        let table: &str = row.try_get("name")?;
        let right: &str = row.try_get("right")?;
        missing.insert(format!("{right} on {table}"));
    }
    if !missing.is_empty() {
        let missing: Vec<_> = missing.into_iter().collect();
        let user = setup.user();
        let missing = missing.join(", ");
        return Err(refused(&format!("user \"{user}\" lacks {missing}")));
    }
    Ok("exists, its tables can be written")
}

fn lacks_rights(setup: &Setup, error: &sqlx::Error) -> StoreError {
    let user = setup.user();
    let schema = &setup.schema;
    refused(&format!(
        "user \"{user}\" may not create the schema \"{schema}\" and tables in it: {error}; GRANT \
         CREATE ON DATABASE, or create the schema with this user as its owner"
    ))
}

fn refused(reason: &str) -> StoreError {
    StoreError::Unavailable(format!("`postgres.url`, `postgres.schema`: {reason}"))
}

impl From<PostgresSetupError> for StoreError {
    fn from(error: PostgresSetupError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::backends::postgres::PostgresServer;
    use crate::daemon::engines::backends::postgres::test_schema::TestSchema;
    use crate::daemon::engines::metadata::postgres::PostgresMetadata;
    use crate::daemon::testing::stack;

    /// A role of the test's own, dropped with what it owns.
    async fn role(schema: &TestSchema) -> (String, PostgresConfig) {
        let role = stack::unique("check");
        let create = format!("CREATE ROLE {role} LOGIN");
        // `execute` needs no schema for this.
        schema.execute(&create).await.unwrap();
        let url = stack::postgres().replace("//lcd@", &format!("//{role}@"));
        (role, PostgresConfig { url, ..schema.config.clone() })
    }

    async fn drop_role(schema: &TestSchema, role: &str) {
        let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
        schema.execute(&drop).await.unwrap();
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn it_creates_nothing() {
        let schema = TestSchema::new();
        let text = check(&schema.config).await.unwrap();
        assert!(text.contains("will be created"), "{text}");
        let count = "SELECT count(*) FROM pg_namespace WHERE nspname = '";
        let count = format!("{count}{}'", schema.config.schema);
        assert_eq!(schema.query_integer(&count).await, 0);
        let server = PostgresServer::connect(&schema.config).await.unwrap();
        PostgresMetadata::open(&server).await.unwrap();
        let text = check(&schema.config).await.unwrap();
        assert!(text.contains("can be written"), "{text}");
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn a_missing_right_is_named() {
        let schema = TestSchema::new();
        let (role, config) = role(&schema).await;
        let may_not_create = check(&config).await.unwrap_err().to_string();
        let server = PostgresServer::connect(&schema.config).await.unwrap();
        PostgresMetadata::open(&server).await.unwrap();
        let name = &schema.config.schema;
        let no_usage = check(&config).await.unwrap_err().to_string();
        let grant = format!(
            "GRANT USAGE ON SCHEMA {name} TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {role};
             REVOKE INSERT ON {name}.sanctions FROM {role}"
        );
        schema.execute(&grant).await.unwrap();
        let no_insert = check(&config).await.unwrap_err().to_string();
        let grant = format!("GRANT INSERT ON {name}.sanctions TO {role}");
        schema.execute(&grant).await.unwrap();
        let enough = check(&config).await.map_err(|error| error.to_string());
        drop_role(&schema, &role).await;
        assert!(may_not_create.contains("may not create the schema"), "{may_not_create}");
        assert!(no_usage.contains("USAGE"), "{no_usage}");
        assert!(no_insert.contains("INSERT on sanctions"), "{no_insert}");
        enough.unwrap();
    }
}
