//! The facts about a node that do not change while it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::daemon::base::config::{Config, NodeRole};
use crate::daemon::engines::registry::NodeIdentity;
use crate::policy::throttle::ThrottleLevel;
use crate::protocol::NodeId;
use crate::protocol::admin::{ClusterColour, RuleLevel, RulesInForce};

#[derive(Debug, Clone)]
pub struct NodeFacts {
    pub node: NodeId,
    /// The name of the cluster, if it has one, and its colour.
    pub cluster: Option<String>,
    pub colour: Option<ClusterColour>,
    /// Unique to this process.
    pub run: String,
    /// A description of the process for operators of other nodes.
    pub about: String,
    pub version: String,
    /// The bound address that viewers connect to.
    pub listen: String,
    /// Of `gateway.base_path`.
    pub base_path: String,
    pub data_dir: String,
    pub roles: Vec<String>,
    /// The engine per contract, such as `eventlog` → `embedded`.
    pub engines: BTreeMap<String, String>,
    /// 0 on a node without the role of an edge: no viewer connects to it.
    pub max_connections: u64,
    /// A digest of each setting that must be equal on all nodes.
    pub settings: BTreeMap<String, String>,
    /// The time within which a node that drains asks its viewers to reconnect.
    pub reconnect_jitter: Duration,
    pub rules: RulesInForce,
    pub started: Instant,
}

/// Returns the settings by which the configuration decides what viewers see.
fn rules_in_force(config: &Config) -> RulesInForce {
    let broadcast = &config.broadcast;
    let level = |level: &ThrottleLevel| {
        let ThrottleLevel { from_per_second, sample_rate } = *level;
        RuleLevel { from_per_second, sample_rate }
    };
    RulesInForce {
        throttle: broadcast.throttle.iter().map(level).collect(),
        hysteresis: broadcast.hysteresis,
        step_down_after_ms: broadcast.step_down_after.as_millis() as u64,
        egress_bytes_per_second: config.delivery.egress_bytes_per_second.as_u64(),
    }
}

/// Returns the number of viewers that the node takes.
fn places(config: &Config) -> u64 {
    let is_edge = config.node.roles.contains(&NodeRole::Edge);
    if is_edge { config.gateway.max_connections.into() } else { 0 }
}

impl NodeFacts {
    /// Collects the facts from the configuration, the bound address and the chosen engines.
    pub fn new(
        config: &Config,
        identity: &NodeIdentity,
        listen: String,
        engines: BTreeMap<String, String>,
    ) -> Self {
        Self {
            node: identity.node.clone(),
            cluster: config.cluster.name().map(str::to_owned),
            colour: config.cluster.colour,
            run: format!("{:016x}", rand::random::<u64>()),
            about: identity.about.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listen,
            base_path: config.gateway.base_path.clone(),
            // The readers of the status may have another working directory.
            data_dir: std::path::absolute(&config.node.data_dir)
                .unwrap_or_else(|_| config.node.data_dir.clone())
                .display()
                .to_string(),
            roles: config
                .node
                .roles
                .iter()
                .copied()
                .map(NodeRole::as_str)
                .map(str::to_owned)
                .collect(),
            engines,
            max_connections: places(config),
            settings: config.shared_settings(),
            reconnect_jitter: config.shutdown.reconnect_jitter,
            rules: rules_in_force(config),
            started: Instant::now(),
        }
    }

    pub fn uptime_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_edges_have_places_for_viewers() {
        let mut config = Config::default();
        assert_eq!(places(&config), u64::from(config.gateway.max_connections));
        config.node.roles = vec![NodeRole::Coordinator, NodeRole::Archiver];
        assert_eq!(places(&config), 0);
    }
}
