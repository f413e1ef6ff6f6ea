//! The engine on a real server. Each test has a keyspace of its own, which is dropped at its end.

mod contents;
mod lost;
mod outage;
mod proxy;
mod retention;
mod server_settings;
mod settings;

use std::time::Duration;

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use super::CassandraComments;
use crate::daemon::base::config::CassandraConfig;
use crate::daemon::engines::comments::conformance;
use crate::daemon::testing::stack;

conformance::comment_store_suite!(
    #[ignore = "needs scripts/stack up"]
    open()
);

/// Drops its keyspace with itself.
struct Keyspace {
    name: String,
}

impl Keyspace {
    fn new() -> Self {
        Self { name: stack::unique("lcd") }
    }

    fn config(&self) -> CassandraConfig {
        CassandraConfig {
            nodes: stack::cassandra(),
            keyspace: self.name.clone(),
            // The machine of a test run is busy.
            timeout: Duration::from_secs(20),
            ..CassandraConfig::default()
        }
    }

    async fn open(&self, retention: Duration) -> CassandraComments {
        CassandraComments::open(&self.config(), retention).await.unwrap()
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        let cql = format!("DROP KEYSPACE IF EXISTS \"{}\"", self.name);
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let drop = async { session().await.query_unpaged(cql, ()).await.map(|_| ()) };
            runtime.unwrap().block_on(drop).map_err(Box::new)
        });
        let dropped = dropping.join();
        assert!(
            std::thread::panicking() || matches!(dropped, Ok(Ok(_))),
            "the keyspace {} is left behind: {dropped:?}",
            self.name
        );
    }
}

/// A connection beside the engine's.
async fn session() -> Session {
    let builder = SessionBuilder::new().known_nodes(stack::cassandra());
    builder.fetch_schema_metadata(false).fetch_full_schema_metadata(false).build().await.unwrap()
}

async fn open() -> (CassandraComments, Keyspace) {
    let keyspace = Keyspace::new();
    (keyspace.open(Duration::ZERO).await, keyspace)
}
