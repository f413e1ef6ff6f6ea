//! The trial of `lcd check` on Cassandra: the keyspace is current or can be created, and its tables
//! can be read and written. Rows of the trial have a stream that does not exist, and
//! are deleted.

use scylla::client::session::Session;
use scylla::statement::{Consistency, Statement};

use super::{connect, schema, unavailable};
use crate::daemon::base::config::CassandraConfig;
use crate::daemon::engines::StoreError;

/// No stream has this id.
const NO_STREAM: i64 = -1;
/// A row of a check that ended early expires after this many seconds.
const ROW_LIFETIME_S: i32 = 60;

/// Connects and tries. Returns a sentence that describes the cluster.
pub(super) async fn check(config: &CassandraConfig) -> Result<String, StoreError> {
    let session = connect::connect(config).await?;
    let about = connect::about(&session, config);
    if !schema::is_current(&session, &config.keyspace).await? {
        if schema::has_keyspace(&session, &config.keyspace).await? {
            try_table(&session, config).await?;
        } else {
            try_keyspace(&session, config).await?;
        }
        return Ok(format!("{about}, tables to be created at start"));
    }
    try_rows(&session, config).await?;
    Ok(about)
}

/// Writes a row, reads it, and deletes it.
async fn try_rows(session: &Session, config: &CassandraConfig) -> Result<(), StoreError> {
    let keyspace = &config.keyspace;
    let bucket = (rand::random::<u32>() >> 1) as i32;
    let insert = format!(
        "INSERT INTO \"{keyspace}\".bucket_streams (bucket, stream_id)
         VALUES ({bucket}, {NO_STREAM}) USING TTL {ROW_LIFETIME_S}"
    );
    run(session, "MODIFY", keyspace, insert, Consistency::LocalQuorum).await?;
    let select =
        format!("SELECT stream_id FROM \"{keyspace}\".bucket_streams WHERE bucket = {bucket}");
    let read = run(session, "SELECT", keyspace, select, Consistency::LocalOne).await;
    let delete = format!("DELETE FROM \"{keyspace}\".bucket_streams WHERE bucket = {bucket}");
    let deleted = run(session, "MODIFY", keyspace, delete, Consistency::LocalQuorum).await;
    read.and(deleted)
}

async fn try_keyspace(session: &Session, config: &CassandraConfig) -> Result<(), StoreError> {
    let name = format!("lcd_check_{:x}", rand::random::<u32>());
    let copies = config.replication_factor;
    let create = format!(
        "CREATE KEYSPACE \"{name}\" WITH replication = \
         {{'class': 'NetworkTopologyStrategy', 'replication_factor': {copies}}}"
    );
    run(session, "CREATE", &name, create, Consistency::LocalQuorum).await?;
    let drop = format!("DROP KEYSPACE \"{name}\"");
    run(session, "DROP", &name, drop, Consistency::LocalQuorum).await
}

async fn try_table(session: &Session, config: &CassandraConfig) -> Result<(), StoreError> {
    let keyspace = &config.keyspace;
    let name = format!("lcd_check_{:x}", rand::random::<u32>());
    let create = format!("CREATE TABLE \"{keyspace}\".{name} (n int PRIMARY KEY)");
    run(session, "CREATE", keyspace, create, Consistency::LocalQuorum).await?;
    let drop = format!("DROP TABLE \"{keyspace}\".{name}");
    run(session, "DROP", keyspace, drop, Consistency::LocalQuorum).await
}

async fn run(
    session: &Session,
    right: &str,
    keyspace: &str,
    cql: String,
    consistency: Consistency,
) -> Result<(), StoreError> {
    let mut statement = Statement::new(cql);
    statement.set_is_idempotent(true);
    statement.set_consistency(consistency);
    let done = session.query_unpaged(statement, ()).await;
    done.map(drop).map_err(|error| {
        unavailable(format!(
            "`cassandra.username`, `cassandra.keyspace`: {right} in the keyspace {keyspace} does \
             not work: {error}"
        ))
    })
}
