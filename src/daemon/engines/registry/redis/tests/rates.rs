//! The rate of registrations and the latency of commands. Figures are printed; assertions leave
//! room for a slow machine and a build without optimization.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::member;
use crate::daemon::engines::registry::NodeCommand;
use crate::daemon::engines::registry::conformance::connection;
use crate::daemon::testing::stack;
use crate::protocol::UserId;

const VIEWERS: u64 = 20_000;
/// Handshakes in progress.
const CONCURRENT: usize = 512;
const COMMANDS: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn a_stampede_is_registered_and_removed_in_pipelines() {
    let prefix = format!("{}:", stack::unique("stampede"));
    let a = member(&stack::redis(), &prefix, "a").await;
    let began = Instant::now();
    let ids: Vec<_> = stream::iter(1..=VIEWERS)
        .map(async |user| {
            let connection = connection(&a.node, 1, user);
            (UserId(user), a.registry.register(UserId(user), connection, 20).await.unwrap())
        })
        .buffer_unordered(CONCURRENT)
        .collect()
        .await;
    let registered = began.elapsed();
    let began = Instant::now();
    stream::iter(ids)
        .for_each_concurrent(CONCURRENT, async |(user_id, id)| {
            a.registry.unregister(user_id, id).await.unwrap();
        })
        .await;
    let removed = began.elapsed();
    let rate = |took: Duration| VIEWERS as f64 / took.as_secs_f64();
    println!("registered {:.0}/s, removed {:.0}/s", rate(registered), rate(removed));
    assert!(registered < Duration::from_secs(10), "{registered:?}");
    assert_eq!(a.registry.locate(UserId(1)).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn a_command_takes_milliseconds() {
    let prefix = format!("{}:", stack::unique("commands"));
    let a = member(&stack::redis(), &prefix, "a").await;
    let b = member(&stack::redis(), &prefix, "b").await;
    let mut took = Vec::new();
    for _ in 0..COMMANDS {
        let began = Instant::now();
        a.registry.command(&b.node, NodeCommand::ReloadSanctions).await.unwrap();
        took.push(began.elapsed());
    }
    took.sort();
    let p50 = took[COMMANDS / 2];
    let p99 = took[COMMANDS * 99 / 100];
    println!("a command and its answer: p50 {p50:?}, p99 {p99:?}");
    assert_eq!(b.handler.commands().len(), COMMANDS);
    assert!(p50 < Duration::from_millis(100), "{p50:?}");
}
