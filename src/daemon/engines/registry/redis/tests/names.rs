//! Two nodes of one name.

use std::time::{Duration, Instant};

use super::*;
use crate::daemon::engines::registry::{ALIVE_FOR, RegistryError};
use crate::daemon::testing::redis_server::PATIENCE;

/// The interval at which nodes report.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

fn prefix() -> String {
    format!("{}:", stack::unique("names"))
}

/// Reports as a running node does, until it is aborted.
fn keep_reporting(member: Member) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            member.report().await;
            tokio::time::sleep(REPORT_INTERVAL).await;
        }
    })
}

async fn try_open(prefix: &str, identity: NodeIdentity) -> Result<RedisRegistry, RegistryError> {
    let breaker = Arc::new(Breaker::new("connection registry"));
    RedisRegistry::open(identity, nodes(&stack::redis(), prefix), breaker).await
}

/// Another node that was given the name of `member`'s.
fn another(name: &str) -> NodeIdentity {
    let node = NodeId::new(name);
    NodeIdentity { identity: "another".to_owned(), about: "another host".to_owned(), node }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn the_second_node_of_a_name_is_refused() {
    let prefix = prefix();
    let running = keep_reporting(member(&stack::redis(), &prefix, "edge").await);
    let error = try_open(&prefix, another("edge")).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, RegistryError::NameTaken(..)), "{text}");
    assert!(text.contains("edge of a test") && text.contains("`node.name`"), "{text}");
    try_open(&prefix, another("edge-2")).await.unwrap();
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn a_restart_does_not_wait_for_itself() {
    let prefix = prefix();
    let name = NodeId::new("edge");
    for _ in 0..3 {
        // Killed: it does not leave.
        let began = Instant::now();
        drop(try_open(&prefix, identity(&name)).await.unwrap());
        assert!(began.elapsed() < ALIVE_FOR / 2, "{:?}", began.elapsed());
    }
    // Its place is taken by a new machine of the same name.
    let began = Instant::now();
    let replaced = try_open(&prefix, another("edge")).await.unwrap();
    assert!(began.elapsed() < ALIVE_FOR * 2, "{:?}", began.elapsed());
    replaced.leave().await.unwrap();
    let began = Instant::now();
    try_open(&prefix, identity(&name)).await.unwrap();
    assert!(began.elapsed() < ALIVE_FOR / 2, "it left: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn two_processes_of_one_identity_notice_each_other() {
    let prefix = prefix();
    // Two machines made from one image.
    let first = member(&stack::redis(), &prefix, "edge").await;
    let registry = first.registry.clone();
    let running =
        [keep_reporting(first), keep_reporting(member(&stack::redis(), &prefix, "edge").await)];
    let noticed = async {
        while registry.same_name().is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noticed).await.expect("it is noticed");
    assert_eq!(registry.same_name().as_deref(), Some("edge of a test"));
    running.iter().for_each(|task| task.abort());
}
