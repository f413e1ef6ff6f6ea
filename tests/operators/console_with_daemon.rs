//! `lc` with a running daemon and stdout in a pipe: JSON lines on stdout, everything else on
//! stderr. The daemon is an admin socket with fixed answers.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]

use std::path::{Path, PathBuf};
use std::process::Output;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use live_comments::protocol::NodeId;
use live_comments::protocol::admin::{
    Cluster, NodeStatus, Outcome, SanctionRequest, TopSnapshot, UserRef,
};
use serde_json::{Value, json};

struct Daemon {
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

fn node(name: &str) -> NodeStatus {
    NodeStatus {
        node: NodeId::new(name),
        roles: vec!["edge".into()],
        version: "0.1.0".into(),
        listen: "127.0.0.1:8080".into(),
        uptime_ms: 1_000,
        connections: 3,
        senders: 0,
        transports: Default::default(),
        max_connections: 100,
        draining: false,
        health: Default::default(),
        seen_ms: 0,
        partitions: Default::default(),
        egress: Default::default(),
        process: Default::default(),
        rates: Default::default(),
    }
}

fn snapshot(uptime_ms: u64) -> String {
    let snapshot = TopSnapshot {
        taken_at: 1_795_254_408_000,
        node: NodeId::new("edge-1"),
        version: "0.1.0".into(),
        uptime_ms,
        draining: false,
        connections: 3,
        slow_viewers: 0,
        senders: 0,
        counters: Default::default(),
        rates: Default::default(),
        stages: vec![],
        end_to_end: Default::default(),
        bus: vec![],
        stores: vec![],
        streams: vec![],
        workers: vec![],
        lag: vec![],
        moderation: Default::default(),
        breakers: vec![],
        nodes: vec![node("edge-1")],
        unreachable: vec![],
        silent: vec![],
        problems: Vec::new(),
        thresholds: Default::default(),
    };
    serde_json::to_string(&snapshot).unwrap() + "\n"
}

async fn ban(
    Json(request): Json<SanctionRequest>,
) -> Result<Json<Outcome>, (StatusCode, Json<Value>)> {
    if request.user == UserRef("ann".into()) {
        let error = json!({"code": "bad_request", "detail": "2 users are called ann: 42, 4711"});
        return Err((StatusCode::BAD_REQUEST, Json(error)));
    }
    assert_eq!(request.duration_ms, Some(3_600_000));
    assert_eq!(request.reason.as_deref(), Some("spam"));
    let unreachable = vec![NodeId::new("edge-9")];
    Ok(Json(Outcome { audit_id: 17, connections: Some(2), unreachable, ..Outcome::default() }))
}

/// The outcome of a message to a user that is not connected.
fn absent() -> Outcome {
    Outcome { audit_id: 18, connections: Some(0), ..Outcome::default() }
}

impl Daemon {
    async fn start() -> Self {
        let nodes =
            Cluster { items: vec![node("a"), node("b")], unreachable: vec![NodeId::new("c")] };
        let routes = Router::new()
            .route("/v1/nodes", get(async move || Json(nodes)))
            .route("/v1/ban", post(ban))
            .route("/v1/dm", post(async || Json(absent())))
            .route("/v1/top", get(async || [snapshot(1_000), snapshot(2_000)].concat()));
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { socket, _dir: dir }
    }

    async fn lc(&self, line: &str) -> Output {
        let socket = self.socket.clone();
        let line = line.to_owned();
        tokio::task::spawn_blocking(move || run(&socket, &line)).await.unwrap()
    }
}

fn run(socket: &Path, line: &str) -> Output {
    let mut command = assert_cmd::Command::cargo_bin("lc").expect("lc is built with the tests");
    command.args(line.split(' ')).arg("--socket").arg(socket).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_list_is_json_lines_with_warnings_on_stderr() {
    let result = Daemon::start().await.lc("nodes").await;
    let nodes: Vec<NodeStatus> =
        text(&result.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(nodes, [node("a"), node("b")]);
    assert!(text(&result.stderr).contains("1 node did not answer: c"));
    assert_eq!(result.status.code(), Some(0));
}

#[tokio::test]
async fn a_change_prints_outcome_and_unreachable_nodes() {
    let result = Daemon::start().await.lc("ban troll42 --for 1h --reason spam").await;
    let outcome: Outcome = serde_json::from_slice(&result.stdout).unwrap();
    assert_eq!((outcome.audit_id, outcome.connections), (17, Some(2)));
    assert!(text(&result.stderr).contains("edge-9"));
    assert_eq!(result.status.code(), Some(0));
}

#[tokio::test]
async fn a_refusal_is_printed_and_exits_1() {
    let result = Daemon::start().await.lc("ban ann").await;
    assert_eq!(text(&result.stderr), "lc: 2 users are called ann: 42, 4711 (bad_request)\n");
    assert!(result.stdout.is_empty());
    assert_eq!(result.status.code(), Some(1));
}

#[tokio::test]
async fn top_prints_a_frame_or_snapshots() {
    let daemon = Daemon::start().await;
    let frame = daemon.lc("top --once").await;
    assert!(text(&frame.stdout).starts_with("▌edge-1▐  ✓ WELL"));
    assert!(text(&frame.stdout).contains("─ pipeline"));
    assert_eq!(frame.status.code(), Some(0));
    let json = daemon.lc("top --once --json").await;
    let snapshot: TopSnapshot = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(snapshot.uptime_ms, 1_000);
}

#[tokio::test]
async fn a_list_is_filtered_sorted_and_cut() {
    let daemon = Daemon::start().await;
    let names = |output: &Output| {
        let lines = text(&output.stdout).lines();
        lines.map(|line| serde_json::from_str::<NodeStatus>(line).unwrap().node).collect::<Vec<_>>()
    };
    assert_eq!(names(&daemon.lc("nodes --where node=b").await), [NodeId::new("b")]);
    assert_eq!(names(&daemon.lc("node --sort -node --limit 1").await), [NodeId::new("b")]);
    let wrong = daemon.lc("nodes --where viewers>2d").await;
    assert_eq!(wrong.status.code(), Some(64));
    assert_eq!(
        text(&wrong.stderr),
        "lc: `2d` is not a number such as 12, 10k or 1.5M\n  viewers>2d\n          ^^\n"
    );
    assert_eq!(daemon.lc("nodes --sort size").await.status.code(), Some(64));
}

#[tokio::test]
async fn a_watched_list_is_one_object_per_interval() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    let daemon = Daemon::start().await;
    let socket = daemon.socket.clone();
    let lines = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lc"))
            .args(["nodes", "--watch=100ms", "--where", "node=a", "--socket"])
            .arg(socket)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let reader = BufReader::new(child.stdout.take().unwrap());
        let lines: Vec<Value> =
            reader.lines().take(2).map(|it| serde_json::from_str(&it.unwrap()).unwrap()).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        lines
    });
    for line in lines.await.unwrap() {
        assert_eq!(line["items"].as_array().unwrap().len(), 1, "{line}");
        assert_eq!(line["unreachable"], json!(["c"]));
        assert!(line["taken_at"].as_u64().unwrap() > 1_700_000_000_000);
    }
}

#[tokio::test]
async fn a_message_that_is_not_delivered_exits_1() {
    let daemon = Daemon::start().await;
    let sent = daemon.lc("dm troll42 stop it").await;
    assert_eq!(sent.status.code(), Some(1));
    let outcome: Outcome = serde_json::from_str(text(&sent.stdout)).unwrap();
    assert_eq!((outcome.audit_id, outcome.connections), (18, Some(0)));
}

#[tokio::test]
async fn an_unknown_node_is_named_with_those_there_are() {
    let daemon = Daemon::start().await;
    let unknown = daemon.lc("nodes edge-99").await;
    assert_eq!(unknown.status.code(), Some(1));
    let said = text(&unknown.stderr);
    assert!(said.contains("no node `edge-99` answers") && said.contains("such as a, b"), "{said}");
}

#[tokio::test]
async fn a_read_only_context_changes_nothing() {
    let daemon = Daemon::start().await;
    let home = tempfile::tempdir().unwrap();
    let socket = daemon.socket.clone();
    let outputs = tokio::task::spawn_blocking(move || {
        let lc = |line: &str| {
            let mut command = assert_cmd::Command::cargo_bin("lc").unwrap();
            command.env("XDG_CONFIG_HOME", home.path()).env_remove("LC_SOCKET");
            command.args(line.split(' ')).output().unwrap()
        };
        let add = format!("ctx add prod {} --read-only", socket.display());
        let added = [lc(&add), lc("ctx use prod"), lc("ctx list")];
        (added, lc("nodes"), lc("ban troll42 --for 1h --reason spam"), lc("--ctx other nodes"))
    });
    let (added, nodes, ban, unknown) = outputs.await.unwrap();
    assert!(added.iter().all(|output| output.status.success()), "{added:?}");
    assert!(text(&added[2].stdout).contains("\"read_only\":true"));
    assert_eq!(nodes.status.code(), Some(0), "{nodes:?}");
    assert_eq!(ban.status.code(), Some(77));
    assert!(text(&ban.stderr).contains("read-only"));
    assert_eq!(unknown.status.code(), Some(64));
    assert!(text(&unknown.stderr).contains("there are prod"));
}

#[tokio::test]
async fn a_shell_completes_live_values() {
    let daemon = Daemon::start().await;
    let complete = async |socket: PathBuf| {
        tokio::task::spawn_blocking(move || {
            let mut command = assert_cmd::Command::cargo_bin("lc").unwrap();
            let words = ["--", "lc", "--socket", socket.to_str().unwrap(), "nodes", ""];
            command.env("COMPLETE", "fish").args(words).output().unwrap()
        })
        .await
        .unwrap()
    };
    let live = complete(daemon.socket.clone()).await;
    let offered: Vec<_> = text(&live.stdout).lines().map(|line| &line[..1]).collect();
    assert!(offered.contains(&"a") && offered.contains(&"b"), "{live:?}");
    let silent = complete("/nowhere/admin.sock".into()).await;
    assert_eq!((silent.status.code(), text(&silent.stderr)), (Some(0), ""));
}

#[tokio::test]
async fn a_condition_that_never_holds_exits_5() {
    let daemon = Daemon::start().await;
    let holds = daemon.lc("wait --on a state=up").await;
    assert_eq!(holds.status.code(), Some(0), "{holds:?}");
    let never = daemon.lc("wait --on a viewers>1k --timeout 100ms").await;
    assert_eq!(never.status.code(), Some(5));
    assert_eq!(text(&never.stderr), "lc: the time is up: viewers>1k does not hold\n");
    let absent = daemon.lc("wait --on x state=up --timeout 100ms").await;
    assert_eq!(absent.status.code(), Some(5));
}
