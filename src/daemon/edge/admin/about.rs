//! What a node says of itself that does not change while it lives.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::daemon::base::config::{Config, NodeRole};
use crate::protocol::NodeId;

#[derive(Debug, Clone)]
pub struct NodeAbout {
    pub node: NodeId,
    pub version: String,
    /// The address viewers connect to, as it was bound.
    pub listen: String,
    pub data_dir: String,
    pub roles: Vec<String>,
    /// By contract, such as `eventlog` → `embedded`.
    pub engines: BTreeMap<String, String>,
    pub max_connections: u64,
    pub started: Instant,
}

impl NodeAbout {
    /// From the configuration, the address that was bound, and the engines that were chosen.
    pub fn new(config: &Config, listen: String, engines: BTreeMap<String, String>) -> Self {
        Self {
            node: NodeId::new(&config.node.name),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listen,
            data_dir: config.node.data_dir.display().to_string(),
            roles: config
                .node
                .roles
                .iter()
                .copied()
                .map(NodeRole::as_str)
                .map(str::to_owned)
                .collect(),
            engines,
            max_connections: config.gateway.max_connections.into(),
            started: Instant::now(),
        }
    }

    pub fn uptime_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}
