//! What the promises are worth while real servers and processes are killed under load. Each test
//! starts six processes on the stack, lets people comment and watch on both edges, breaks one thing,
//! mends it, and then counts: no acknowledged comment is missing from history, nobody was shown a
//! comment twice or out of order, deletions and bans held. What it measured goes to the output:
//! `cargo test --test faults -- --ignored --nocapture --test-threads 1`.

#![allow(clippy::unwrap_used)]

#[path = "faults/audience.rs"]
mod audience;
#[path = "faults/sender.rs"]
mod sender;
mod support;
#[path = "faults/trial.rs"]
mod trial;

use std::time::Duration;

use support::cluster::{Shape, ThreeBrokers, stack};
use trial::{Trial, breaker_is_open, is_unreachable};

/// How long a server stays away.
const OUTAGE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn a_redis_node_is_killed_and_restarted() {
    let mut trial = Trial::start("redis_node", Shape::default()).await;
    trial.break_it(|_| stack(&["kill", "redis-2"])).await;
    trial.degraded("a breaker of Redis opens", |top| breaker_is_open(top, "")).await;
    trial.for_the_rest_of(Duration::from_secs(10)).await;
    trial.mend_it(|_| stack(&["start", "redis-2"])).await;
    trial.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn all_of_redis_is_away() {
    let mut trial = Trial::start("redis_all", Shape::default()).await;
    let nodes = ["redis-1", "redis-2", "redis-3"];
    trial.break_it(|_| nodes.iter().for_each(|node| stack(&["kill", node]))).await;
    let sign = "fan-out bus";
    trial.degraded("the breaker of the bus opens", |top| breaker_is_open(top, sign)).await;
    trial.ban_holds_now().await;
    trial.for_the_rest_of(OUTAGE).await;
    trial.mend_it(|_| nodes.iter().for_each(|node| stack(&["start", node]))).await;
    trial.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn kafka_is_away() {
    let mut trial = Trial::start("kafka", Shape::default()).await;
    trial.break_it(|_| stack(&["kill", "kafka-1"])).await;
    let sign = "event log";
    trial.degraded("the breaker of the log opens", |top| breaker_is_open(top, sign)).await;
    trial.ban_holds_now().await;
    trial.for_the_rest_of(OUTAGE).await;
    trial.mend_it(|_| stack(&["start", "kafka-1"])).await;
    trial.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn cassandra_is_away() {
    let mut trial = Trial::start("cassandra", Shape::default()).await;
    trial.break_it(|_| stack(&["kill", "cassandra"])).await;
    let sign = "comment store";
    trial.degraded("the breaker of the store opens", |top| breaker_is_open(top, sign)).await;
    trial.for_the_rest_of(OUTAGE).await;
    trial.mend_it(|_| stack(&["start", "cassandra"])).await;
    trial.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn postgres_is_away() {
    let mut trial = Trial::start("postgres", Shape::default()).await;
    trial.break_it(|_| stack(&["kill", "postgres"])).await;
    let sign = "metadata store";
    trial.degraded("the breaker of the metadata opens", |top| breaker_is_open(top, sign)).await;
    trial.for_the_rest_of(OUTAGE).await;
    trial.mend_it(|_| stack(&["start", "postgres"])).await;
    trial.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn the_moderator_is_killed() {
    a_node_is_killed("moderator-1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn a_coordinator_is_killed() {
    a_node_is_killed("coordinator-1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn an_edge_is_killed() {
    a_node_is_killed("edge-2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn one_kafka_broker_of_three_is_killed() {
    let brokers = ThreeBrokers::start();
    let shape = Shape { brokers: brokers.addresses(), replication_factor: 3, ..Shape::default() };
    let mut trial = Trial::start("broker", shape).await;
    trial.break_it(|_| brokers.stack(&["kill", "kafka-2"])).await;
    trial.for_the_rest_of(Duration::from_secs(15)).await;
    trial.mend_it(|_| brokers.stack(&["start", "kafka-2"])).await;
    trial.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn exactly_once_holds_while_coordinator_and_archiver_are_killed_twenty_times() {
    let shape = Shape { guarantee: "exactly_once", ..Shape::default() };
    let mut trial = Trial::start("exactly_once", shape).await;
    trial.kill_again_and_again(20, &["coordinator-1", "archiver-1", "coordinator-2"]).await;
    trial.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn edges_are_restarted_one_after_the_other() {
    let mut trial = Trial::start("rolling", Shape::default()).await;
    trial.restart_in_good_order(&["edge-1", "edge-2"]).await;
    trial.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn partitions_change_hands_while_coordinators_leave_and_join() {
    let mut trial = Trial::start("rebalance", Shape::default()).await;
    trial.restart_in_good_order(&["coordinator-1", "coordinator-2", "archiver-1"]).await;
    trial.verify().await;
}

async fn a_node_is_killed(node: &'static str) {
    let mut trial = Trial::start(node.split('-').next().unwrap(), Shape::default()).await;
    trial.break_it(|cluster| cluster.kill(node)).await;
    trial.degraded("the node is named unreachable", |top| is_unreachable(top, node)).await;
    trial.for_the_rest_of(Duration::from_secs(10)).await;
    trial.mend_it(|cluster| cluster.restart(node)).await;
    trial.verify().await;
}
