//! The settings of the keyspace and of the table of comments, as the servers have them.

use std::collections::HashMap;

use async_trait::async_trait;
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::serialize::row::SerializeRow;
use scylla::statement::Statement;

use super::{CassandraComments, Inner, connect, corrupt, schema, unavailable};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::server_settings::{
    AskedKeyspace, CassandraSettings, CommentsTable, ServerSettings, SettingsReader, Unread,
};

const KEYSPACE: &str = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
const TABLE: &str = "SELECT compaction, gc_grace_seconds FROM system_schema.tables
    WHERE keyspace_name = ? AND table_name = 'comments'";

type Options = HashMap<String, String>;

#[async_trait]
impl SettingsReader for CassandraComments {
    fn server(&self) -> String {
        format!("Cassandra {}", self.inner.config.nodes.join(", "))
    }

    async fn read(&self) -> Result<ServerSettings, String> {
        let settings = self.inner.settings().await;
        settings.map(ServerSettings::Cassandra).map_err(|error| error.to_string())
    }
}

impl Inner {
    async fn settings(&self) -> Result<CassandraSettings, StoreError> {
        let Self { session, config, .. } = self;
        let keyspace = &config.keyspace;
        let (replication, table, agreement) = tokio::join!(
            row::<(Options,)>(session, KEYSPACE, (keyspace,)),
            row::<(Options, Option<i32>)>(session, TABLE, (keyspace,)),
            session.check_schema_agreement(),
        );
        let Some((replication,)) = replication? else {
            return Err(unavailable(format!("there is no keyspace {keyspace}")));
        };
        let datacenter = connect::datacenter(session, config);
        let mut unread = Vec::new();
        let mut not_read = |settings: &str, reason: &dyn std::fmt::Display| {
            unread.push(Unread { settings: settings.to_owned(), reason: reason.to_string() });
        };
        let comments = match table {
            Ok(Some((compaction, gc_grace))) => Some(CommentsTable {
                compaction: class(&compaction),
                gc_grace_s: gc_grace.unwrap_or(0).max(0) as u64,
            }),
            Ok(None) => {
                not_read("the table comments", &"there is none");
                None
            }
            Err(error) => {
                not_read("the table comments", &error);
                None
            }
        };
        let schema_agrees = match agreement {
            Ok(version) => Some(version.is_some()),
            Err(error) => {
                not_read("schema agreement", &error);
                None
            }
        };
        Ok(CassandraSettings {
            keyspace: keyspace.clone(),
            strategy: class(&replication),
            copies: copies(&replication, datacenter.as_deref()),
            servers: self.servers_of(datacenter.as_deref()),
            datacenters: connect::datacenters(session).len() as u32,
            datacenter,
            schema_agrees,
            comments,
            asked: AskedKeyspace {
                copies: config.replication_factor,
                retention_s: self.lifetime.retention().as_secs(),
                compaction: schema::compaction(self.lifetime),
            },
            unread,
        })
    }

    /// Returns the number of servers in a data centre; of all servers if it is not known.
    fn servers_of(&self, datacenter: Option<&str>) -> u32 {
        let cluster = self.session.get_cluster_state();
        let nodes = cluster.get_nodes_info().iter();
        let is_there =
            |known: &Option<String>| datacenter.is_none() || known.as_deref() == datacenter;
        nodes.filter(|node| is_there(&node.datacenter)).count() as u32
    }
}

/// Returns the first row of an answer, if it has one.
async fn row<Row>(
    session: &Session,
    cql: &str,
    values: impl SerializeRow,
) -> Result<Option<Row>, StoreError>
where
    Row: for<'row, 'metadata> DeserializeRow<'row, 'metadata>,
{
    let mut query = Statement::new(cql);
    query.set_is_idempotent(true);
    let answer = session.query_unpaged(query, values).await.map_err(unavailable)?;
    answer.into_rows_result().map_err(corrupt)?.maybe_first_row::<Row>().map_err(corrupt)
}

/// Returns the class of some options, without its package.
fn class(options: &Options) -> String {
    let class = options.get("class").map_or("", String::as_str);
    class.rsplit('.').next().unwrap_or(class).to_owned()
}

/// Returns the copies of each row in a data centre: `'dc1': '3'`, or `'3/1'` if one of them is
/// transient. `SimpleStrategy` has one number for all data centres.
fn copies(replication: &Options, datacenter: Option<&str>) -> Option<u32> {
    if let Some(all) = replication.get("replication_factor") {
        return all.parse().ok();
    }
    match replication.get(datacenter?) {
        Some(copies) => copies.split('/').next()?.parse().ok(),
        None => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn copies_are_those_of_the_data_centre() {
        let network = options(&[("class", "o.a.c.locator.NetworkTopologyStrategy"), ("dc1", "3")]);
        assert_eq!(class(&network), "NetworkTopologyStrategy");
        assert_eq!(copies(&network, Some("dc1")), Some(3));
        assert_eq!(copies(&network, Some("dc2")), Some(0));
        assert_eq!(copies(&network, None), None);
        assert_eq!(copies(&options(&[("dc1", "3/1")]), Some("dc1")), Some(3));
        assert_eq!(copies(&options(&[("dc1", "[r1, r2]")]), Some("dc1")), None);
        let simple = options(&[("class", "SimpleStrategy"), ("replication_factor", "2")]);
        assert_eq!(copies(&simple, Some("dc1")), Some(2));
    }
}
