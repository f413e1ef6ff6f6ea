//! The metadata store, and the comment store if wanted, on PostgreSQL.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Used by every contract whose engine is `"postgres"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// `postgres://user@host:port/database`; `?sslmode=verify-full&sslrootcert=…` for TLS.
    pub url: String,
    /// The password, in a file of its own; absent: as the URL says, or none.
    pub password_file: Option<PathBuf>,
    /// The schema all tables are in; created at start if absent. A plain lower-case name.
    pub schema: String,
    /// Connections this node may hold, all stores together. 1 to 1000.
    pub max_connections: u32,
    /// The longest any call takes, waiting for a connection included; the server gives up a statement
    /// a little sooner. 100 ms to 10 min.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            url: "postgres://lcd@127.0.0.1:5432/lcd".to_owned(),
            password_file: None,
            schema: "live_comments".to_owned(),
            max_connections: 8,
            timeout: Duration::from_secs(5),
        }
    }
}
