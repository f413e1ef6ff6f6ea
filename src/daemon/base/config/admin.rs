//! The settings of the admin API over the network.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use crate::protocol::admin::AdminRole;

/// The admin API over TLS, beside the admin socket. It is off without `listen`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// The address to listen on.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// PEM of the whole chain that the daemon presents. Needed with `listen`.
    pub certificate: Option<PathBuf>,
    /// PEM of the private key of `certificate`. Needed with `listen`.
    pub key: Option<PathBuf>,
    /// PEM of the authorities that sign the certificates of operators. Absent: tokens only.
    pub client_ca: Option<PathBuf>,
    /// The roles of certificates, by their common name, or else their first DNS name or URI. A
    /// certificate without a role is refused. Tokens carry their role themselves.
    pub roles: BTreeMap<String, AdminRole>,
}

/// Reads `admin.listen`. An empty text is off, as an absent setting is.
fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    if text.trim().is_empty() {
        return Ok(None);
    }
    super::parse_listen(&text).map(Some).map_err(serde::de::Error::custom)
}
