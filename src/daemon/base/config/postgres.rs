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
    /// A file with the password. Absent: the URL's password, or none.
    pub password_file: Option<PathBuf>,
    /// The schema of all tables, created at start if absent. A plain lower-case name.
    pub schema: String,
    /// The most connections of this node, over all stores. 1 to 1000.
    pub max_connections: u32,
    /// The limit per call, including the wait for a connection. The server cancels a statement a
    /// little earlier. 100 ms to 10 min.
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
