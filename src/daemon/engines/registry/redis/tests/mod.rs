//! Tests on the three shared servers, and on private servers that they may kill.

mod commands;
mod names;
mod outages;
mod rates;

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::RedisRegistry;
use crate::daemon::base::config::RedisConfig;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::registry::conformance::{self, Member, Pair, RecordingHandler};
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

/// Returns a node that has not reported.
async fn newcomer(urls: &[String], prefix: &str, name: &str) -> Member {
    let node = NodeId::new(name);
    let handler = Arc::new(RecordingHandler::default());
    let registry = open(nodes(urls, prefix), node.clone(), handler.clone()).await;
    Member { node, registry, handler }
}

async fn member(urls: &[String], prefix: &str, name: &str) -> Member {
    let member = newcomer(urls, prefix, name).await;
    member.report().await;
    member
}

async fn alone(count: usize) -> (Member, ()) {
    let prefix = format!("{}:", stack::unique("registry"));
    (newcomer(&stack::redis()[..count], &prefix, "n").await, ())
}

async fn pair(count: usize) -> (Pair, ()) {
    let urls = stack::redis()[..count].to_vec();
    let prefix = format!("{}:", stack::unique("registry"));
    let a = member(&urls, &prefix, "a").await;
    let b = member(&urls, &prefix, "b").await;
    let restart_a = Box::new(move || {
        let urls = urls.clone();
        let prefix = prefix.clone();
        async move { member(&urls, &prefix, "a").await }.boxed()
    });
    (Pair { a, b, restart_a }, ())
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_heartbeat_compares_the_clocks() {
    let prefix = format!("{}:", stack::unique("registry"));
    let member = member(&stack::redis(), &prefix, "n").await;
    let offset_ms = member.registry.clock_offset_ms().expect("it has sent a heartbeat");
    // The servers run on this machine; on a busy one a call may take a while.
    assert!(offset_ms.abs() < 500, "{offset_ms} ms");
}

mod on_one_node {
    use super::*;

    conformance::registry_suite!(
        #[ignore = "needs scripts/stack up"]
        alone(1)
    );
    conformance::shared_registry_suite!(
        #[ignore = "needs scripts/stack up"]
        pair(1)
    );
}

mod on_three_nodes {
    use super::*;

    conformance::registry_suite!(
        #[ignore = "needs scripts/stack up"]
        alone(3)
    );
    conformance::shared_registry_suite!(
        #[ignore = "needs scripts/stack up"]
        pair(3)
    );
}
