//! Tries on the servers behind the engines what the engines will do there, without opening an
//! engine: nothing is created, registered or fenced, and what is written is removed.

use futures_util::future::join_all;

use super::{Probe, redis_check};
use crate::daemon::base::config::{
    CommentsEngine, Config, EnginesConfig, EventLogEngine, MetadataEngine,
};
use crate::daemon::engines::announcements::Announcement;
use crate::daemon::engines::announcements::postgres::PostgresAnnouncements;
use crate::daemon::engines::backends::postgres::PostgresServer;
use crate::daemon::engines::backends::redis_nodes::{RedisNodes, RedisSetupError};
use crate::daemon::engines::comments::cassandra::CassandraComments;
use crate::daemon::engines::eventlog::kafka;
use crate::protocol::NodeId;

/// Probes every server that an engine uses, each of several Redis nodes by itself. The daemon
/// starts while a Redis node is away, but `lcd check` reports it.
pub(super) async fn probe(config: &Config) -> Vec<Probe> {
    let mut probes = Vec::new();
    if config.engines.uses_redis() {
        let nodes = config.redis.nodes.iter();
        for (_, result) in join_all(nodes.map(|url| redis_check::check(config, url))).await {
            probes.push(Probe { server: "redis", result });
        }
    }
    if config.engines.eventlog == EventLogEngine::Kafka {
        let answer = kafka::check(&config.kafka, &NodeId::new(&config.node.name)).await;
        probes.push(Probe { server: "kafka", result: answer.map_err(|error| error.to_string()) });
    }
    if config.engines.comments == CommentsEngine::Cassandra {
        let answer = CassandraComments::check(&config.cassandra).await;
        let result = answer.map_err(|error| error.to_string());
        probes.push(Probe { server: "cassandra", result });
    }
    if uses_postgres(&config.engines) {
        let answer = PostgresServer::check(&config.postgres).await;
        let result = answer.map_err(|error| error.to_string());
        probes.push(Probe { server: "postgres", result });
    }
    probes
}

fn uses_postgres(engines: &EnginesConfig) -> bool {
    engines.comments == CommentsEngine::Postgres || engines.metadata == MetadataEngine::Postgres
}

/// Returns the faults of the sections about servers that show without connecting.
pub(super) fn faults(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    if config.engines.uses_redis() {
        // Each node by itself, so that each wrong URL is found.
        let mut parts: Vec<_> = config.redis.nodes.iter().map(|url| vec![url.clone()]).collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        for nodes in parts {
            let redis = crate::daemon::base::config::RedisConfig { nodes, ..config.redis.clone() };
            if let Err(error) = RedisNodes::open(&redis) {
                let is_known = matches!(error, RedisSetupError::Password { .. });
                let text = error.to_string();
                if !is_known || !faults.contains(&text) {
                    faults.push(text);
                }
            }
        }
    }
    if uses_postgres(&config.engines)
        && let Err(error) = PostgresServer::check_settings(&config.postgres)
    {
        faults.push(error.to_string());
    }
    faults
}

/// Returns the processes that run on the same metadata, as they announce themselves.
pub(super) async fn running_nodes(config: &Config) -> anyhow::Result<Vec<Announcement>> {
    if config.engines.metadata != MetadataEngine::Postgres {
        return Ok(Vec::new());
    }
    let server = PostgresServer::connect(&config.postgres).await?;
    Ok(PostgresAnnouncements::running(&server).await?)
}
