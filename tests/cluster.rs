//! Six processes on real servers, run and loaded as an operator does.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use live_comments::client::viewer::ViewerConnection;
use live_comments::protocol::CloseCode;
use live_comments::protocol::admin::{Alert, Cluster as Answer, ConsumerLag, NodeStatus, Outcome};
use serde_json::{Value, json};
use support::PATIENCE;
use support::cluster::{Cluster, NodeRoles, Shape};

/// Runs `lc loadgen` on both edges and returns its report.
fn loadgen(cluster: &Cluster, arguments: &[&str]) -> Value {
    let url = |edge: &str| format!("ws://{}", cluster.node(edge).address);
    let output = Command::new(env!("CARGO_BIN_EXE_lc"))
        .arg("--socket")
        .arg(cluster.node("edge-1").socket())
        .args(["--json", "loadgen", "--url", &url("edge-1"), &url("edge-2")])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "lc loadgen {arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Checks that every viewer got every comment once and in order, and prints the figures.
fn assert_all_arrived(name: &str, report: &Value) {
    for violation in ["lost", "duplicated", "out_of_order", "malformed", "unanswered"] {
        assert_eq!(report[violation], 0, "{name}: {violation}: {report}");
    }
    assert!(report["delivered"].as_u64().unwrap() > 0, "{name}: {report}");
    let ms = |what: &str, at: &str| report[what][at].as_f64().unwrap_or_default();
    println!(
        "{name}: {:.0}/s acknowledged, {} delivered, ack p50 {:.1} p99 {:.1} ms, end to end p50 {:.1} \
         p99 {:.1} ms (unoptimized build)",
        report["acked_per_second"].as_f64().unwrap_or_default(),
        report["delivered"],
        ms("ack_ms", "p50"),
        ms("ack_ms", "p99"),
        ms("latency_ms", "p50"),
        ms("latency_ms", "p99"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn two_edges_deliver_every_comment_once_in_order() {
    let cluster = Cluster::start("cluster", Shape::default());
    let recording = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/chat/chat_open_northernlion_fallguys.jsonl.gz");
    let recording = recording.to_str().unwrap();
    let replay = ["--viewers", "100", "--replay", recording, "--speed", "20", "--duration", "15s"];
    let report = tokio::task::block_in_place(|| loadgen(&cluster, &replay));
    assert_all_arrived("fixture chat x 20", &report);
    // An unoptimized build handles fewer comments than a release build.
    let steady = ["--viewers", "20", "--rate", "300", "--duration", "10s", "--grace", "20s"];
    let report = tokio::task::block_in_place(|| loadgen(&cluster, &steady));
    assert_all_arrived("300 a second", &report);
    let lag: Answer<ConsumerLag> = cluster.admin("archiver-1").get("/v1/lag").await.unwrap();
    assert!(lag.items.iter().any(|lag| lag.group.ends_with("archiver")), "{lag:?}");
    let caught_up = |top: &live_comments::protocol::admin::TopSnapshot| {
        !top.lag.is_empty() && top.lag.iter().all(|lag| lag.lag == 0)
    };
    cluster.until_top("edge-2", "consumers catch up", PATIENCE, caught_up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn any_node_reports_all_and_names_the_missing() {
    let mut cluster = Cluster::start("view", Shape::default());
    let count = cluster.names().count();
    for name in cluster.names().collect::<Vec<_>>() {
        let all = |top: &live_comments::protocol::admin::TopSnapshot| top.nodes.len() == count;
        cluster.until_top(name, "all nodes are known", PATIENCE, all).await;
    }
    let _viewer = cluster.node("edge-1").join(7, "ann").await;
    let seen = |top: &live_comments::protocol::admin::TopSnapshot| {
        top.connections == 1 && top.streams[0].viewers == 1
    };
    cluster.until_top("archiver-1", "a viewer of an edge is counted", PATIENCE, seen).await;
    cluster.kill("moderator-1");
    let named = |top: &live_comments::protocol::admin::TopSnapshot| {
        top.unreachable.iter().any(|node| node.as_str() == "moderator-1")
    };
    cluster.until_top("coordinator-1", "a dead node is named", PATIENCE, named).await;
    let nodes: Answer<NodeStatus> = cluster.admin("edge-2").get("/v1/nodes").await.unwrap();
    assert_eq!((nodes.items.len(), nodes.unreachable.len()), (count - 1, 1));
    cluster.terminate("archiver-1");
    let left = |top: &live_comments::protocol::admin::TopSnapshot| {
        top.nodes.len() == count - 2 && top.unreachable.len() == 1
    };
    cluster.until_top("edge-1", "a node that left gracefully is not missing", PATIENCE, left).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn any_node_drains_another_and_names_a_dead_one() {
    let nodes: [NodeRoles; 3] = [
        ("edge-1", &["edge"]),
        ("edge-2", &["edge"]),
        ("worker", &["coordinator", "archiver", "moderator"]),
    ];
    let mut cluster = Cluster::start_nodes("drain", Shape::default(), &nodes);
    let all = |top: &live_comments::protocol::admin::TopSnapshot| top.nodes.len() == nodes.len();
    cluster.until_top("worker", "all nodes are known", PATIENCE, all).await;
    let mut viewer = cluster.node("edge-2").watch().await;
    let worker = cluster.admin("worker");
    let request = |undo: bool| json!({"node": "edge-2", "undo": undo});
    let drained: Outcome = worker.post("/v1/drain", &request(false)).await.unwrap();
    assert_eq!((drained.connections, drained.reported), (Some(1), Some(true)), "{drained:?}");
    assert_eq!(viewer.until_closed().await, CloseCode::Shutdown.number());
    assert!(ViewerConnection::join(&cluster.node("edge-2").options()).await.is_err());
    cluster.node("edge-1").watch().await;
    let listed: Answer<NodeStatus> = cluster.admin("edge-1").get("/v1/nodes").await.unwrap();
    let draining: Vec<_> = listed.items.iter().filter(|node| node.draining).collect();
    assert_eq!(draining.len(), 1);
    assert_eq!(draining[0].node.as_str(), "edge-2");
    let assigned = |top: &live_comments::protocol::admin::TopSnapshot| {
        let mut owners = top.nodes.iter().filter(|node| node.node.as_str() == "worker");
        owners.any(|node| node.partitions.get("coordinator") == Some(&12))
    };
    cluster.until_top("edge-1", "partitions are reported", PATIENCE, assigned).await;
    let undo = json!({"audit_id": drained.audit_id});
    let undone: Outcome = worker.post("/v1/undo", &undo).await.unwrap();
    assert_eq!(undone.reported, Some(true), "{undone:?}");
    cluster.node("edge-2").watch().await;

    cluster.kill("edge-2");
    let killed = Instant::now();
    loop {
        let alerts: Answer<Alert> = worker.get("/v1/alerts").await.unwrap();
        if alerts.items.iter().any(|alert| alert.id == "node_silent/edge-2") {
            break;
        }
        // Four seconds of the alert, a look per second, and a busy machine.
        assert!(killed.elapsed() < Duration::from_secs(8), "{alerts:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("a killed node was named after {:?}", killed.elapsed());
    let lost: Outcome = worker.post("/v1/drain", &request(false)).await.unwrap();
    assert_eq!((lost.reported, lost.unreachable.len()), (Some(false), 1), "{lost:?}");
}

/// Runs `lcd check` with one setting changed. Returns its exit code and output.
fn check(cluster: &Cluster, from: &str, to: &str) -> (Option<i32>, String) {
    let config = cluster.config_of("edge-2").replace(from, to);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lcd.toml");
    std::fs::write(&file, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lcd"))
        .args(["--listen", "127.0.0.1:0", "--config"])
        .arg(&file)
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .arg("check")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn check_names_the_wrong_setting() {
    let cluster = Cluster::start_nodes("check", Shape::default(), &[("edge-1", &["edge"])]);
    let (code, text) = check(&cluster, "nothing", "nothing");
    assert_eq!(code, Some(0), "{text}");
    for dependency in ["kafka", "redis", "cassandra", "postgres"] {
        assert!(text.contains(dependency), "{dependency} is not in: {text}");
    }
    let port = |offset: u16| format!(":{}", support::cluster::first_port() + offset);
    for (from, to, setting) in [
        (port(20), ":1".to_owned(), "kafka.brokers"),
        (port(2), ":1".to_owned(), "redis.nodes"),
        (port(40), ":1".to_owned(), "cassandra.nodes"),
        (port(10), ":1".to_owned(), "postgres.url"),
        ("/lcd\"".to_owned(), "/nowhere\"".to_owned(), "postgres.url"),
        ("bus = \"redis\"".to_owned(), "bus = \"in_process\"".to_owned(), "engines.bus"),
    ] {
        let (code, text) = check(&cluster, &from, &to);
        assert_ne!(code, Some(0), "{from} -> {to}: {text}");
        assert!(text.contains(setting), "{from} -> {to} does not name {setting}: {text}");
    }
}

/// One comment is sent to an edge, and again to another edge, as when the first edge was killed
/// between the append and the ack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn a_comment_sent_again_is_kept_once_without_redis() {
    let shape = Shape { comments: "postgres", ..Shape::default() };
    let nodes: [NodeRoles; 3] = [
        ("edge-1", &["edge"]),
        ("edge-2", &["edge"]),
        ("worker", &["coordinator", "archiver", "moderator"]),
    ];
    let cluster = Cluster::start_nodes("again", shape, &nodes);
    let mut viewers = Vec::new();
    for edge in ["edge-1", "edge-2"] {
        viewers.push((edge, cluster.node(edge).watch().await));
    }
    let start = viewers[0].1.position;
    let mut first = cluster.node("edge-1").join(7, "ann").await;
    let mut second = cluster.node("edge-2").join(7, "ann").await;
    // Redis has lost everything, and says so: the second edge reads the log.
    let sent = first.comment_as("lost", "r1").await;
    cluster.forget_in_redis("*");
    assert_eq!(second.comment_as("lost", "r1").await, sent, "the first id and seq");
    let mut expected = vec!["lost".to_owned()];
    // Redis has lost only the reservation, and nobody knows: both records are in the log. An edge
    // that had no answer from Redis meanwhile is not so sure, and finds the first record.
    for attempt in 0.. {
        // A Redis that was started a moment ago may have lost reservations, and no edge is sure.
        assert!(attempt < 10, "the log never has a comment twice; is Redis up for minutes?");
        cluster.age_reservations();
        let text = format!("forgotten {attempt}");
        let client_ref = format!("r2 {attempt}");
        let sent = first.comment_as(&text, &client_ref).await;
        assert!(cluster.forget_in_redis("ref:*") > 0, "it was reserved");
        let again = second.comment_as(&text, &client_ref).await;
        expected.push(text);
        if again.0 != sent.0 {
            break;
        }
    }
    let (_, last) = first.comment_as("after", "r3").await;
    expected.push("after".to_owned());
    for (edge, viewer) in &mut viewers {
        viewer.until_seq(last).await;
        assert_eq!(viewer.texts(), expected, "viewer of {edge}");
    }
    // Without the recent cache, a returning viewer is served from the log.
    cluster.forget_in_redis("recent:stream:*");
    for edge in ["edge-1", "edge-2"] {
        let mut back = cluster.node(edge).resume(start).await;
        back.until_seq(last).await;
        assert_eq!(back.texts(), expected, "returning viewer of {edge}");
    }
    // The lag may be a second old, so it does not say when everything is stored.
    support::history_becomes(cluster.node("edge-1"), &expected).await;
}
