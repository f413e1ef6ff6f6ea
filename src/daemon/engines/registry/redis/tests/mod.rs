//! Tests on the three shared servers, and on private servers that they may kill.

mod commands;
mod names;
mod outages;
mod rates;

use std::sync::Arc;

use super::RedisRegistry;
use crate::daemon::base::config::RedisConfig;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::registry::conformance::{self, Member, RecordingHandler};
use crate::daemon::engines::registry::{
    CommandHandler, ConnectionRegistry, NodeIdentity, SharedRegistry,
};
use crate::daemon::testing::stack;
use crate::protocol::NodeId;

fn nodes(urls: &[String], prefix: &str) -> RedisNodes {
    let config =
        RedisConfig { nodes: urls.to_vec(), prefix: prefix.to_owned(), ..RedisConfig::default() };
    RedisNodes::open(&config).unwrap()
}

/// The identity of a node that keeps it over restarts.
fn identity(node: &NodeId) -> NodeIdentity {
    let identity = format!("identity of {node}");
    NodeIdentity { node: node.clone(), identity, about: format!("{node} of a test") }
}

async fn open(nodes: RedisNodes, node: NodeId, handler: Arc<dyn CommandHandler>) -> SharedRegistry {
    let breaker = Arc::new(Breaker::new("connection registry"));
    let registry = RedisRegistry::open(identity(&node), nodes, breaker).await.unwrap();
    registry.set_command_handler(handler);
    Arc::new(registry)
}

async fn member(urls: &[String], prefix: &str, name: &str) -> Member {
    let node = NodeId::new(name);
    let handler = Arc::new(RecordingHandler::default());
    let registry = open(nodes(urls, prefix), node.clone(), handler.clone()).await;
    let member = Member { node, registry, handler };
    member.report().await;
    member
}

async fn conform(urls: &[String]) {
    conformance::suite(async |node, handler| {
        open(nodes(urls, &format!("{}:", stack::unique("registry"))), node, handler).await
    })
    .await;
    let prefix = stack::unique("registry");
    conformance::shared_suite(async |store, node, handler| {
        open(nodes(urls, &format!("{prefix}:{store}:")), node, handler).await
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
