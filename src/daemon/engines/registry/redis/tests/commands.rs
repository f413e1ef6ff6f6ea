//! Commands to nodes that are slow, busy or gone; cancelled calls; dropped engines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{FutureExt as _, join_all};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Breaker, RedisRegistry, member, nodes, open};
use crate::daemon::engines::registry::conformance::{Member, connection, eventually};
use crate::daemon::engines::registry::{
    CommandHandler, NodeCommand, RegistryError, SharedRegistry,
};
use crate::daemon::testing::redis_server::RedisServer;
use crate::daemon::testing::stack;
use crate::protocol::admin::BreakerState;
use crate::protocol::{NodeId, UserId};

/// A handler that waits until the test lets it finish.
#[derive(Debug)]
struct Gate {
    received: AtomicUsize,
    permits: Semaphore,
}

impl Gate {
    fn closed() -> Arc<Self> {
        Arc::new(Self { received: AtomicUsize::new(0), permits: Semaphore::new(0) })
    }

    fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl CommandHandler for Gate {
    async fn handle(&self, _: NodeCommand) -> u64 {
        self.received.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        1
    }
}

/// A node that sends commands, and one whose handler is the gate.
async fn sender_and(gate: &Arc<Gate>) -> (Member, SharedRegistry) {
    let prefix = format!("{}:", stack::unique("commands"));
    let urls = stack::redis();
    let sender = member(&urls, &prefix, "sender").await;
    (sender, open(nodes(&urls, &prefix), NodeId::new("gate"), gate.clone()).await)
}

async fn send(sender: &Member) -> Result<u64, RegistryError> {
    sender.registry.command(&NodeId::new("gate"), NodeCommand::ReloadSanctions).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn a_slow_command_is_executed_once() {
    let gate = Gate::closed();
    let (sender, _registry) = sender_and(&gate).await;
    let (answer, ()) = tokio::join!(send(&sender), async {
        // By then it was sent three times.
        tokio::time::sleep(Duration::from_secs(1)).await;
        gate.permits.add_permits(10);
    });
    assert_eq!(answer.unwrap(), 1);
    assert_eq!(gate.received(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn a_silent_node_is_unreachable_within_two_seconds() {
    let (sender, _registry) = sender_and(&Gate::closed()).await;
    let began = Instant::now();
    assert!(matches!(send(&sender).await, Err(RegistryError::Unreachable(_))));
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn a_busy_node_refuses_at_once() {
    let gate = Gate::closed();
    let (sender, _registry) = sender_and(&gate).await;
    let commands = join_all((0..64).map(|_| send(&sender)));
    let one_more = async {
        eventually("all are executing", async || gate.received() == 64).await;
        let began = Instant::now();
        assert!(matches!(send(&sender).await, Err(RegistryError::Unreachable(_))));
        let waited = began.elapsed();
        gate.permits.add_permits(64);
        waited
    };
    let (answers, waited) = tokio::join!(commands, one_more);
    assert!(waited < Duration::from_secs(1), "refused at once, not after {waited:?}");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(1))), "{answers:?}");
    assert_eq!(gate.received(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn a_dropped_engine_receives_nothing() {
    let gate = Gate::closed();
    gate.permits.add_permits(1000);
    let (sender, registry) = sender_and(&gate).await;
    send(&sender).await.unwrap();
    drop(registry);
    eventually("nobody listens", async || send(&sender).await.is_err()).await;
    let received = gate.received();
    let began = Instant::now();
    send(&sender).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(1), "known at once");
    assert_eq!(gate.received(), received);
}

// One thread, so that nothing reads the answer between the call and the drop.
#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_cancelled_registration_leaves_nothing() {
    let prefix = format!("{}:", stack::unique("cancelled"));
    let urls = stack::redis();
    let a = member(&urls, &prefix, "a").await;
    let b = member(&urls, &prefix, "b").await;
    for user in 1..=300 {
        let registering = a.registry.register(UserId(user), connection(&a.node, 1, 1), 20);
        // Sent, and dropped before the answer can be there.
        assert!(registering.now_or_never().is_none());
    }
    eventually("none is found", async || {
        let mut found = 0;
        for user in 1..=300 {
            for member in [&a, &b] {
                found += member.registry.locate(UserId(user)).await.unwrap().len();
            }
        }
        found == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn the_breaker_is_open_while_a_redis_node_is_away() {
    let mut servers = [RedisServer::start().await, RedisServer::start().await];
    let urls = [servers[0].url(), servers[1].url()];
    let breaker = Arc::new(Breaker::new("connection registry"));
    let registry = RedisRegistry::open(
        super::identity(&NodeId::new("a")),
        nodes(&urls, "t:"),
        breaker.clone(),
    );
    let registry = registry.await.unwrap();
    assert_eq!(breaker.state(), BreakerState::Closed);
    servers[1].kill();
    let is = async |state| {
        let report = crate::daemon::engines::registry::conformance::report(&NodeId::new("a"));
        super::ConnectionRegistry::report(&registry, report).await.expect("one is enough");
        breaker.state() == state
    };
    eventually("it opens", async || is(BreakerState::Open).await).await;
    let error = breaker.status().last_error.unwrap();
    assert!(error.contains(&urls[1]["redis://".len()..]), "{error}");
    servers[1].start_again_empty().await;
    eventually("it closes", async || is(BreakerState::Closed).await).await;
}
