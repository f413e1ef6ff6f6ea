//! The engine on real servers: the shared three, and others of its own that it may kill.

mod commands;
mod outages;
mod rates;

use std::sync::Arc;

use super::RedisRegistry;
use crate::daemon::base::config::RedisConfig;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::registry::conformance::{self, Member, RecordingEndpoint};
use crate::daemon::engines::registry::{CommandHandler, ConnectionRegistry, SharedRegistry};
use crate::daemon::testing::stack;
use crate::protocol::NodeId;

fn nodes(urls: &[String], prefix: &str) -> RedisNodes {
    let config =
        RedisConfig { nodes: urls.to_vec(), prefix: prefix.to_owned(), ..RedisConfig::default() };
    RedisNodes::open(&config).unwrap()
}

async fn open(
    nodes: RedisNodes,
    node: NodeId,
    endpoint: Arc<dyn CommandHandler>,
) -> SharedRegistry {
    let breaker = Arc::new(Breaker::new("connection registry"));
    let registry = RedisRegistry::open(node, nodes, breaker).await.unwrap();
    registry.set_command_handler(endpoint);
    Arc::new(registry)
}

async fn member(urls: &[String], prefix: &str, name: &str) -> Member {
    let (node, endpoint) = (NodeId::new(name), Arc::new(RecordingEndpoint::default()));
    let registry = open(nodes(urls, prefix), node.clone(), endpoint.clone()).await;
    let member = Member { node, registry, endpoint };
    member.report().await;
    member
}

async fn conform(urls: &[String]) {
    conformance::suite(async |node, endpoint| {
        open(nodes(urls, &format!("{}:", stack::unique("registry"))), node, endpoint).await
    })
    .await;
    let prefix = stack::unique("registry");
    conformance::shared_suite(async |store, node, endpoint| {
        open(nodes(urls, &format!("{prefix}:{store}:")), node, endpoint).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn it_keeps_the_contract_on_one_redis_node() {
    conform(&stack::redis()[..1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn it_keeps_the_contract_on_three_redis_nodes() {
    conform(&stack::redis()).await;
}
