//! The keyspace and its tables, by version.
//!
//! Safe when several nodes start at once: a schema that is current is only read. Otherwise every
//! statement says `IF NOT EXISTS`, and all of them go to one server, the connected one with the
//! lowest host id, which executes them in order. The version of a keyspace is in
//! `schema_versions`, written once all servers agree on the version's last statement.

use std::time::Duration;

use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::{Consistency, Statement};
use scylla::value::CqlTimestamp;

use super::lifetime::Lifetime;
use super::{corrupt, natural, unavailable};
use crate::daemon::base::config::CassandraConfig;
use crate::daemon::engines::StoreError;

/// A change of the schema is slower than any other request.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

const VERSIONS: &str = "schema_versions (
    version int PRIMARY KEY,
    applied_at timestamp
) WITH comment = 'Which versions of this schema were applied.'";

/// The tables of all versions.
const TABLES: &[&str] = &[
    "comments (
    stream_id bigint,
    bucket int,
    comment_id timeuuid,
    user_id bigint,
    name text,
    message text,
    created_at timestamp,
    seq bigint,
    shadow boolean,
    is_deleted boolean,
    delete_reason text,
    deleted_at timestamp,
    log int,
    deleted_place bigint,
    restored_place bigint,
    hidden_place bigint,
    badges tinyint,
    parent_id timeuuid,
    PRIMARY KEY ((stream_id, bucket), comment_id)
) WITH CLUSTERING ORDER BY (comment_id DESC)
  AND comment = 'bucket = unix seconds of comment_id / 10: 50000 comments/s x 200 B x 10 s = 100 MB, \
the largest partition. A row without user_id is a mark whose comment did not arrive. A deleted \
comment is hidden unless restored_place (log * 2^40 + seq) is after deleted_place. One with a \
hidden_place after restored_place is shown to its author only.'",
    "stream_periods (
    stream_id bigint,
    period int,
    PRIMARY KEY (stream_id, period)
) WITH CLUSTERING ORDER BY (period DESC)
  AND comment = 'Periods of 30 days (bucket / 259200) in which a stream has comments.'",
    "stream_buckets (
    stream_id bigint,
    period int,
    bucket int,
    PRIMARY KEY ((stream_id, period), bucket)
) WITH CLUSTERING ORDER BY (bucket DESC)
  AND comment = 'Buckets in which a stream has comments: at most 259200 rows x 40 B = 10 MB.'",
    "bucket_streams (
    bucket int,
    stream_id bigint,
    PRIMARY KEY (bucket, stream_id)
) WITH comment = 'Streams that have comments in a bucket, to find a comment by its id alone.'",
    "stream_order (
    stream_id bigint,
    log int,
    part int,
    seq bigint,
    comment_id timeuuid,
    PRIMARY KEY ((stream_id, log, part), seq)
) WITH CLUSTERING ORDER BY (seq DESC)
  AND comment = 'Comments in the order of pages. part = seq / 131072: at most that many rows x 40 B \
= 5 MB. A row whose comment has another seq is not shown.'",
    "stream_order_parts (
    stream_id bigint,
    log int,
    part int,
    PRIMARY KEY (stream_id, log, part)
) WITH CLUSTERING ORDER BY (log DESC, part DESC)
  AND comment = 'Parts of stream_order in which a stream has comments.'",
    "comment_replies (
    stream_id bigint,
    parent_id timeuuid,
    log int,
    part int,
    seq bigint,
    comment_id timeuuid,
    PRIMARY KEY ((stream_id, parent_id, log, part), seq)
) WITH CLUSTERING ORDER BY (seq DESC)
  AND comment = 'The replies to a comment in the order of pages, in the parts of stream_order. They \
are in comments, which says whether they are shown.'",
    "comment_reply_parts (
    stream_id bigint,
    parent_id timeuuid,
    log int,
    part int,
    PRIMARY KEY ((stream_id, parent_id), log, part)
) WITH CLUSTERING ORDER BY (log DESC, part DESC)
  AND comment = 'Parts of stream_order in which a comment has replies.'",
    "tombstones (
    slot int,
    deleted_at timestamp,
    stream_id bigint,
    comment_id timeuuid,
    reason text,
    PRIMARY KEY (slot, deleted_at, stream_id, comment_id)
) WITH comment = 'Deletions in their order. slot = unix seconds of deleted_at / 600. The first of a \
comment counts, which is the one in the row of the comment.'",
    "tombstone_slots (
    part tinyint,
    slot int,
    PRIMARY KEY (part, slot)
) WITH comment = 'Slots that have deletions, all in part 0: 144 rows a day.'",
];

/// Tables that are never cut by retention.
const SMALL_TABLES: &[&str] = &[
    "hidden_authors (
    stream_id bigint,
    user_id bigint,
    PRIMARY KEY (stream_id, user_id)
) WITH comment = 'Authors of comments that were hidden from others, at submission or later.'",
    "logs (
    part tinyint,
    epoch bigint,
    log int,
    PRIMARY KEY (part, epoch)
) WITH comment = 'The logs that comments came from, all in part 0, numbered from 1.'",
    "archive_positions (
    epoch bigint,
    log_partition int,
    rewinds int,
    next_offset bigint,
    stream_id bigint,
    comment_id timeuuid,
    PRIMARY KEY (epoch, log_partition, rewinds)
) WITH comment = 'How far the store has each partition of a log: the row with most rewinds counts. \
The time of a write is its offset. The comment is the newest one of the partition.'",
];

/// Columns of later versions in a table of version 1, with their types: `log` came with version 2,
/// the places of deletions and restorations with version 3, that of hiding from others with
/// version 4, the badges of authors with version 5, the parents of replies with version 6.
const ADDED_COLUMNS: [(&str, &str); 6] = [
    ("log", "int"),
    ("deleted_place", "bigint"),
    ("restored_place", "bigint"),
    ("hidden_place", "bigint"),
    ("badges", "tinyint"),
    ("parent_id", "timeuuid"),
];

/// The newest version that this program knows.
pub(super) const VERSION: i32 = 6;
/// The last version that did not store the places of comments.
const UNPLACED_VERSION: i32 = 1;

/// Returns the compaction with which the tables of comments are created; `None` for the server's
/// default. Their files are dropped whole once all their rows have expired.
pub(super) fn compaction(lifetime: Lifetime) -> Option<String> {
    let retention_s = lifetime.retention().as_secs();
    if retention_s == 0 {
        return None;
    }
    let window_minutes = (retention_s / 60 / 24).clamp(1, 24 * 60 * 30);
    Some(format!(
        "{{'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'MINUTES', \
         'compaction_window_size': '{window_minutes}'}}"
    ))
}

/// Creates the keyspace and tables that are missing. Errors name `cassandra.keyspace`.
pub(super) async fn bring_up_to_date(
    session: &Session,
    config: &CassandraConfig,
    lifetime: Lifetime,
) -> Result<(), StoreError> {
    let found = if has_versions_table(session, &config.keyspace).await? {
        applied_version(session, &config.keyspace).await?
    } else {
        0
    };
    if found > VERSION {
        return Err(newer(&config.keyspace, found));
    }
    if found < VERSION {
        apply(session, config, lifetime).await?;
    }
    Ok(())
}

/// Returns whether the keyspace has the tables of this version.
///
/// # Errors
/// `Corrupt` if a newer version made them.
pub(super) async fn is_current(session: &Session, keyspace: &str) -> Result<bool, StoreError> {
    if !has_versions_table(session, keyspace).await? {
        return Ok(false);
    }
    match applied_version(session, keyspace).await? {
        found if found > VERSION => Err(newer(keyspace, found)),
        found => Ok(found == VERSION),
    }
}

fn newer(keyspace: &str, found: i32) -> StoreError {
    corrupt(format!(
        "the keyspace {keyspace} (`cassandra.keyspace`) has schema version {found}, made by a newer \
         lcd; this one knows versions up to {VERSION}"
    ))
}

pub(super) async fn has_versions_table(
    session: &Session,
    keyspace: &str,
) -> Result<bool, StoreError> {
    let mut query = Statement::new(
        "SELECT table_name FROM system_schema.tables
         WHERE keyspace_name = ? AND table_name = 'schema_versions'",
    );
    query.set_is_idempotent(true);
    let result = session.query_unpaged(query, (keyspace,)).await.map_err(unavailable)?;
    Ok(result.into_rows_result().map_err(corrupt)?.rows_num() > 0)
}

async fn has_column(session: &Session, keyspace: &str, column: &str) -> Result<bool, StoreError> {
    let query = "SELECT column_name FROM system_schema.columns
        WHERE keyspace_name = ? AND table_name = 'comments' AND column_name = ?";
    let result = session.query_unpaged(query, (keyspace, column)).await.map_err(unavailable)?;
    Ok(result.into_rows_result().map_err(corrupt)?.rows_num() > 0)
}

/// Returns the time (milliseconds since the Unix epoch) at which the tables of a version without
/// places were brought up to date; `None` if the keyspace never had such a version.
pub(super) async fn unplaced_until_ms(
    session: &Session,
    keyspace: &str,
) -> Result<Option<u64>, StoreError> {
    let mut query =
        Statement::new(format!("SELECT version, applied_at FROM \"{keyspace}\".schema_versions"));
    query.set_is_idempotent(true);
    let result = session.query_unpaged(query, ()).await.map_err(unavailable)?;
    let rows = result.into_rows_result().map_err(corrupt)?;
    let mut had_unplaced = false;
    let mut until_ms = None;
    for row in rows.rows::<(i32, Option<CqlTimestamp>)>().map_err(corrupt)? {
        let (version, applied_at) = row.map_err(corrupt)?;
        had_unplaced |= version == UNPLACED_VERSION;
        if let Some(CqlTimestamp(at)) = applied_at.filter(|_| version > UNPLACED_VERSION) {
            let at = natural(at)?;
            until_ms = Some(until_ms.map_or(at, |earlier: u64| earlier.min(at)));
        }
    }
    Ok(had_unplaced.then_some(until_ms.unwrap_or(0)))
}

/// Returns the version of the keyspace; 0 if it has none yet.
async fn applied_version(session: &Session, keyspace: &str) -> Result<i32, StoreError> {
    let mut query = Statement::new(format!("SELECT version FROM \"{keyspace}\".schema_versions"));
    query.set_is_idempotent(true);
    query.set_consistency(Consistency::LocalQuorum);
    let result = session.query_unpaged(query, ()).await.map_err(unavailable)?;
    let rows = result.into_rows_result().map_err(corrupt)?;
    let mut newest = 0;
    for row in rows.rows::<(i32,)>().map_err(corrupt)? {
        newest = newest.max(row.map_err(corrupt)?.0);
    }
    Ok(newest)
}

async fn apply(
    session: &Session,
    config: &CassandraConfig,
    lifetime: Lifetime,
) -> Result<(), StoreError> {
    let keyspace = &config.keyspace;
    let one_server = one_server(session)?;
    let change = |cql: String| change(session, &one_server, keyspace, cql);
    if !has_keyspace(session, keyspace).await? {
        change(format!(
            "CREATE KEYSPACE IF NOT EXISTS \"{keyspace}\" WITH replication = \
             {{'class': 'NetworkTopologyStrategy', 'replication_factor': {}}}",
            config.replication_factor
        ))
        .await?;
    }
    let compaction = compaction(lifetime).map(|options| format!(" AND compaction = {options}"));
    let compaction = compaction.unwrap_or_default();
    change(format!("CREATE TABLE IF NOT EXISTS \"{keyspace}\".{VERSIONS}")).await?;
    for table in TABLES {
        change(format!("CREATE TABLE IF NOT EXISTS \"{keyspace}\".{table}{compaction}")).await?;
    }
    for table in SMALL_TABLES {
        change(format!("CREATE TABLE IF NOT EXISTS \"{keyspace}\".{table}")).await?;
    }
    for (column, of_type) in ADDED_COLUMNS {
        if has_column(session, keyspace, column).await? {
            continue;
        }
        let added = change(format!("ALTER TABLE \"{keyspace}\".comments ADD {column} {of_type}"));
        let added = added.await;
        // Another node may have added it meanwhile; the statement has no `IF NOT EXISTS`.
        if !has_column(session, keyspace, column).await? {
            added?;
        }
    }
    let agreed = session.await_schema_agreement().await;
    agreed.map_err(|error| cannot_be_set_up(keyspace, &error))?;
    // The driver needs the keyspace's replication to know which server holds a partition.
    session.refresh_metadata().await.map_err(unavailable)?;
    change(format!(
        "INSERT INTO \"{keyspace}\".schema_versions (version, applied_at) \
         VALUES ({VERSION}, toTimestamp(now()))"
    ))
    .await
}

pub(super) async fn has_keyspace(session: &Session, keyspace: &str) -> Result<bool, StoreError> {
    let query = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let result = session.query_unpaged(query, (keyspace,)).await.map_err(unavailable)?;
    Ok(result.into_rows_result().map_err(corrupt)?.rows_num() > 0)
}

fn one_server(session: &Session) -> Result<ExecutionProfileHandle, StoreError> {
    let cluster = session.get_cluster_state();
    let connected = cluster.get_nodes_info().iter().filter(|node| node.is_connected());
    let host_id = connected
        .map(|node| node.host_id)
        .min()
        .ok_or_else(|| unavailable("none of `cassandra.nodes` is connected"))?;
    let target = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::HostId(host_id), None);
    Ok(ExecutionProfile::builder()
        .load_balancing_policy(target)
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(CHANGE_TIMEOUT))
        .build()
        .into_handle())
}

async fn change(
    session: &Session,
    one_server: &ExecutionProfileHandle,
    keyspace: &str,
    cql: String,
) -> Result<(), StoreError> {
    let mut statement = Statement::new(cql);
    statement.set_execution_profile_handle(Some(one_server.clone()));
    statement.set_is_idempotent(true);
    let changed = session.query_unpaged(statement, ()).await;
    changed.map(drop).map_err(|error| cannot_be_set_up(keyspace, &error))
}

fn cannot_be_set_up(keyspace: &str, error: &dyn std::fmt::Display) -> StoreError {
    unavailable(format!("the keyspace {keyspace} (`cassandra.keyspace`) cannot be set up: {error}"))
}
