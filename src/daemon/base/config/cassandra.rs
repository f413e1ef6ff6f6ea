//! The comment store on Cassandra or ScyllaDB.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Used when `engines.comments = "cassandra"`. ScyllaDB has the same protocol.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CassandraConfig {
    /// `host:port` of some nodes. The others are discovered through them.
    pub nodes: Vec<String>,
    /// Created at start if absent. Up to 48 letters, digits and `_`, starting with a letter.
    pub keyspace: String,
    /// Copies of each row per data centre, for a keyspace that is created at start.
    pub replication_factor: u32,
    /// The data centre that is queried and whose quorum writes wait for. Empty: that of the first
    /// of `nodes` that is known, or the only one.
    pub datacenter: String,
    pub username: String,
    /// A file with the password. Absent: no password.
    pub password_file: Option<PathBuf>,
    /// PEM of the authority that signed the nodes' certificates, which must name their addresses.
    /// Absent: no TLS.
    pub tls_ca: Option<PathBuf>,
    /// The limit per request. A call may make several, and fails with the first that fails.
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
