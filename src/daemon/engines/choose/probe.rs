//! Checks that the servers behind the engines answer, before anything is opened or created there.

use super::Probe;
use crate::daemon::base::config::{Config, EventLogEngine};
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::eventlog::kafka;
use crate::protocol::NodeId;

/// Probes every Redis node and the Kafka cluster, if engines use them; the other servers answer
/// when the stores are opened. The daemon starts while a Redis node is away, but `lcd check`
/// reports it.
///
/// # Errors
/// Settings from which no connection can be made.
pub(crate) async fn probe_servers(config: &Config) -> anyhow::Result<Vec<Probe>> {
    let mut probes = Vec::new();
    if config.engines.uses_redis() {
        for (address, answer) in RedisNodes::open(&config.redis)?.ping().await {
            let result = answer.map(|()| address.clone()).map_err(|error| {
                format!("Redis at {address} (redis.nodes) does not answer: {error}")
            });
            probes.push(Probe { server: "redis", result });
        }
    }
    if config.engines.eventlog == EventLogEngine::Kafka {
        let answer = kafka::check(&config.kafka, &NodeId::new(&config.node.name)).await;
        let result = answer.map_err(|error| error.to_string());
        probes.push(Probe { server: "kafka", result });
    }
    Ok(probes)
}
