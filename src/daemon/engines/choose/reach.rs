//! Asking what engines stand on whether it answers, before anything is opened or created there.

use crate::daemon::base::config::{Config, EventLogEngine};
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::eventlog::kafka;
use crate::protocol::NodeId;

/// What was asked, and what it answered: for a person, both ways.
pub(crate) type Reached = (String, Result<String, String>);

/// Every Redis node and the Kafka cluster, as far as engines are on them. The other servers are asked
/// by opening the stores. The daemon starts with a Redis node away; whoever asks here wants to know.
///
/// # Errors
/// Settings that no connection can be made of.
pub(crate) async fn reach(config: &Config) -> anyhow::Result<Vec<Reached>> {
    let mut reached = Vec::new();
    if config.engines.uses_redis() {
        for (address, answer) in RedisNodes::open(&config.redis)?.ping().await {
            let answer = answer.map(|()| address.clone()).map_err(|error| {
                format!("Redis at {address} (redis.nodes) does not answer: {error}")
            });
            reached.push(("redis".to_owned(), answer));
        }
    }
    if config.engines.eventlog == EventLogEngine::Kafka {
        let answer = kafka::check(&config.kafka, &NodeId::new(&config.node.name)).await;
        reached.push(("kafka".to_owned(), answer.map_err(|error| error.to_string())));
    }
    Ok(reached)
}
