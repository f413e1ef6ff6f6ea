//! Tests that kill, hang and empty Redis nodes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{member, open};
use crate::daemon::base::config::RedisConfig;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::registry::conformance::{
    Member, RecordingHandler, connection, eventually,
};
use crate::daemon::engines::registry::{NodeCommand, RegistryError};
use crate::daemon::testing::redis_server::RedisServer;
use crate::protocol::admin::ConnectionInfo;
use crate::protocol::{NodeId, StreamId, UserId};

const USERS: u64 = 600;

async fn servers(count: usize) -> Vec<RedisServer> {
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(RedisServer::start().await);
    }
    servers
}

async fn pair(servers: &[RedisServer]) -> (Member, Member) {
    let urls: Vec<_> = servers.iter().map(RedisServer::url).collect();
    (member(&urls, "t:", "a").await, member(&urls, "t:", "b").await)
}

async fn register(member: &Member, user: u64) -> crate::daemon::engines::registry::RegistrationId {
    let connection = connection(&member.node, 1, user);
    let registering = member.registry.register(UserId(user), connection, 20);
    timeout(Duration::from_secs(2), registering).await.expect("in time").unwrap()
}

async fn located(member: &Member, user: u64) -> Result<Vec<ConnectionInfo>, RegistryError> {
    member.registry.locate(UserId(user)).await
}

/// Users of 1 to `USERS` with one connection, as the member sees them.
async fn found(member: &Member) -> usize {
    let mut found = 0;
    for user in 1..=USERS {
        found += usize::from(located(member, user).await.is_ok_and(|held| held.len() == 1));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn an_emptied_redis_is_rewritten() {
    let mut servers = servers(1).await;
    let (a, b) = pair(&servers).await;
    let mut ids = Vec::new();
    for user in 1..=USERS / 2 {
        ids.push(register(&a, user).await);
    }
    let gone = register(&a, USERS + 1).await;
    servers[0].kill();
    let began = Instant::now();
    for user in USERS / 2 + 1..=USERS {
        register(&a, user).await;
    }
    assert!(began.elapsed() < Duration::from_secs(2), "admission waits for a dead redis");
    let ended_meanwhile = register(&a, USERS + 2).await;
    a.registry.unregister(UserId(USERS + 2), ended_meanwhile).await.unwrap();
    a.registry.unregister(UserId(USERS + 1), gone).await.unwrap();
    assert!(matches!(located(&b, 1).await, Err(RegistryError::Unavailable(_))));
    servers[0].start_again_empty().await;
    let began = Instant::now();
    eventually("all are found from the other node", async || found(&b).await as u64 == USERS).await;
    println!("{USERS} connections found again {:?} after redis was back", began.elapsed());
    for user in [USERS + 1, USERS + 2] {
        assert_eq!(located(&b, user).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn removals_during_a_hang_are_made_up_for() {
    let servers = servers(1).await;
    let (a, b) = pair(&servers).await;
    let mut ids = Vec::new();
    for user in 1..=USERS {
        ids.push(register(&a, user).await);
    }
    servers[0].hang();
    let began = Instant::now();
    for (user, id) in (1..=USERS).zip(ids) {
        a.registry.unregister(UserId(user), id).await.unwrap();
    }
    register(&a, USERS + 1).await;
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(3), "a hung redis costs one timeout, not {waited:?}");
    servers[0].go_on();
    eventually("the new one is found, the others are gone", async || {
        let mut empty = true;
        for user in 1..=USERS {
            empty &= located(&b, user).await.is_ok_and(|held| held.is_empty());
        }
        empty && located(&b, USERS + 1).await.is_ok_and(|held| held.len() == 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn without_redis_the_limit_holds_per_node() {
    let mut servers = servers(1).await;
    let (a, _b) = pair(&servers).await;
    servers[0].kill();
    let attempt = |n| a.registry.register(UserId(1), connection(&a.node, 1, n), 3);
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(attempt(n).await.unwrap());
    }
    assert!(matches!(attempt(3).await, Err(RegistryError::TooManyConnections(3))));
    a.registry.unregister(UserId(1), ids[0]).await.unwrap();
    attempt(4).await.expect("one place is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn without_redis_known_nodes_grow_old() {
    let mut servers = servers(2).await;
    let (a, b) = pair(&servers).await;
    // a has not asked for the nodes yet; its report tells it of b.
    a.report().await;
    servers.iter_mut().for_each(RedisServer::kill);
    let both = |b_lives| [("a".to_owned(), true), ("b".to_owned(), b_lives)];
    assert_eq!(a.known().await, both(true));
    assert!(matches!(a.registry.viewers().await, Err(RegistryError::Unavailable(_))));
    let began = Instant::now();
    let answer = a.registry.command(&b.node, NodeCommand::ReloadSanctions).await;
    assert!(matches!(answer, Err(RegistryError::Unreachable(node)) if node == b.node));
    assert!(began.elapsed() < Duration::from_secs(1), "there is nobody to wait for");
    let command = NodeCommand::ReloadSanctions;
    assert_eq!(a.registry.command(&a.node, command).await.unwrap(), 3, "itself, without redis");
    eventually("b's silence counts", async || a.known().await == both(false)).await;
    for server in &mut servers {
        server.start_again_empty().await;
    }
    eventually("b is alive again", async || {
        let _ =
            b.registry.report(crate::daemon::engines::registry::conformance::report(&b.node)).await;
        a.known().await == both(true)
    })
    .await;
    eventually("commands arrive again", async || {
        a.registry.command(&b.node, NodeCommand::ReloadSanctions).await.is_ok()
    })
    .await;
}

/// Sends commands both ways and reads the cluster, with one of three Redis nodes away.
async fn the_rest_serves(a: &Member, b: &Member) {
    for (n, (from, to)) in [(a, b), (b, a)].into_iter().cycle().take(20).enumerate() {
        let command = NodeCommand::ReloadStream { stream_id: StreamId(n as u64 + 1) };
        let before = to.handler.commands().len();
        assert_eq!(from.registry.command(&to.node, command.clone()).await.unwrap(), 3);
        assert_eq!(to.handler.commands()[before..], [command], "executed once");
    }
    for member in [a, b] {
        member.report().await;
        let viewers = vec![(StreamId(1), 2)];
        member.registry.report_viewers(&member.node, viewers).await.unwrap();
    }
    assert_eq!(a.known().await, [("a".to_owned(), true), ("b".to_owned(), true)]);
    assert_eq!(b.registry.viewers().await.unwrap(), [(StreamId(1), 4)]);
    for user in 1..=30 {
        register(a, user).await;
    }
    let mut answered = 0;
    for user in 1..=30 {
        match located(b, user).await {
            Ok(held) => answered += held.len(),
            Err(error) => assert!(matches!(error, RegistryError::Unavailable(_))),
        }
    }
    assert!((10..30).contains(&answered), "{answered} of 30 are on the nodes that answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn with_one_of_three_killed_the_rest_serves() {
    for victim in 0..3 {
        let mut servers = servers(3).await;
        let (a, b) = pair(&servers).await;
        servers[victim].kill();
        the_rest_serves(&a, &b).await;
        servers[victim].start_again_empty().await;
        eventually("all are found", async || {
            let mut all = true;
            for user in 1..=30 {
                all &= located(&b, user).await.is_ok_and(|held| held.len() == 1);
            }
            all
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn with_one_of_three_hanging_the_rest_serves() {
    for victim in 0..3 {
        let servers = servers(3).await;
        let (a, b) = pair(&servers).await;
        servers[victim].hang();
        the_rest_serves(&a, &b).await;
        let commands_of_a = a.handler.commands();
        let commands_of_b = b.handler.commands();
        servers[victim].go_on();
        eventually("all are found", async || {
            let mut all = true;
            for user in 1..=30 {
                all &= located(&b, user).await.is_ok_and(|held| held.len() == 1);
            }
            all
        })
        .await;
        assert_eq!(a.handler.commands(), commands_of_a, "nothing late");
        assert_eq!(b.handler.commands(), commands_of_b, "nothing late");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs scripts/stack up"]
async fn a_redis_node_that_hangs_hides_no_node() {
    for hanging in 0..2 {
        let servers = servers(2).await;
        let urls: Vec<_> = servers.iter().map(RedisServer::url).collect();
        // Far longer than a busy machine takes.
        let long = Duration::from_secs(10);
        let config = RedisConfig { nodes: urls, timeout: long, ..RedisConfig::default() };
        let open = async |name: &str| {
            let handler = Arc::new(RecordingHandler::default());
            let node = NodeId::new(name);
            let nodes = RedisNodes::open(&config).unwrap();
            let registry = open(nodes, node.clone(), handler.clone()).await;
            Member { node, registry, handler }
        };
        let [a, b] = [open("a").await, open("b").await];
        b.report().await;
        servers[hanging].hang();
        let began = Instant::now();
        let names: Vec<_> = a.known().await.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(5), "`redis.timeout` is not waited for: {took:?}");
        servers[hanging].go_on();
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn opening_needs_one_redis_node_that_answers() {
    let server = RedisServer::start().await;
    let dead = "redis://127.0.0.1:1".to_owned();
    let breaker = || std::sync::Arc::new(super::Breaker::new("registry"));
    let open = async |urls: &[String]| {
        let nodes = super::nodes(urls, "t:");
        super::RedisRegistry::open(
            super::identity(&crate::protocol::NodeId::new("a")),
            nodes,
            breaker(),
        )
        .await
    };
    let error = open(std::slice::from_ref(&dead)).await.unwrap_err().to_string();
    assert!(error.contains("redis.nodes") && error.contains("127.0.0.1:1"), "{error}");
    open(&[dead, server.url()]).await.unwrap();
}
