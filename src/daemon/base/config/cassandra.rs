//! The comment store on Cassandra or ScyllaDB.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Used when `engines.comments = "cassandra"`; ScyllaDB speaks the same protocol.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CassandraConfig {
    /// `host:port` of some nodes; the others are found through them.
    pub nodes: Vec<String>,
    /// Created at start if absent. Letters, digits and `_`, at most 48, a letter first.
    pub keyspace: String,
    /// Copies of a row in each data centre, of a keyspace that is created at start.
    pub replication_factor: u32,
    /// The data centre whose nodes are asked, and whose quorum writes wait for; empty: that of the
    /// first of `nodes` which is known, or the only one there is.
    pub datacenter: String,
    pub username: String,
    /// The password, in a file of its own; absent: none.
    pub password_file: Option<PathBuf>,
    /// PEM of the authority that signed the nodes' certificates, which must be for their addresses;
    /// absent: no TLS.
    pub tls_ca: Option<PathBuf>,
    /// Of each request; a call may make several, and ends with the first that fails.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for CassandraConfig {
    fn default() -> Self {
        Self {
            nodes: vec!["127.0.0.1:9042".to_owned()],
            keyspace: "live_comments".to_owned(),
            replication_factor: 1,
            datacenter: String::new(),
            username: String::new(),
            password_file: None,
            tls_ca: None,
            timeout: Duration::from_secs(5),
        }
    }
}
