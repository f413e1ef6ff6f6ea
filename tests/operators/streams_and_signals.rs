//! Behaviour of `lcd` and `lc` with output that nobody takes, with signals, and with text that
//! would control a terminal. Everything here is a process with real pipes, terminals and signals.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::{Json, Router};
use live_comments::client::admin::AdminClient;
use live_comments::client::viewer::ViewerOptions;
use live_comments::client::{Endpoint, TokenSource};
use live_comments::loadgen::recording;
use live_comments::protocol::admin::{BusNode, ProblemCode, Status, TailItem, TokenUser};
use live_comments::protocol::{CloseCode, CommentId, SequencedComment, StreamId, UserId};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::{self, Daemon, PATIENCE, STREAM, Viewer};

const LC: &str = env!("CARGO_BIN_EXE_lc");
const LCD: &str = env!("CARGO_BIN_EXE_lcd");
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
/// Clears the screen, sets a title, moves the cursor with an 8-bit control, turns text around.
const HOSTILE: &str = "ann\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}5A\u{202e}\r\nlc: forged\u{8}";

/// A process that is killed on drop.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// Waits for its end, for at most [`PATIENCE`].
    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it handles a signal, which would otherwise end it at once.
    fn until_handles(&self, signal: Signal) {
        let handles = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
            let handled = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            let handled = u64::from_str_radix(handled.trim(), 16).unwrap();
            handled >> (signal as u32 - 1) & 1 == 1
        };
        let deadline = Instant::now() + PATIENCE;
        while !handles() {
            assert!(Instant::now() < deadline, "{signal} is never handled");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until one of its threads is held up by a full pipe. Where the kernel does not tell,
    /// it has two seconds.
    fn until_held_up(&self) {
        let waits_for = |task: std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("wchan")).unwrap_or_default()
        };
        let is_held_up = || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
            tasks.flatten().any(|task| waits_for(task).contains("pipe_write"))
        };
        let deadline = Instant::now() + Duration::from_secs(2);
        while !is_held_up() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn dev_full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// Returns a pipe that holds as much as it can, and its reader, which reads nothing.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while (&writer).write(&[b'.'; 4096]).is_ok() {}
    while (&writer).write(b".").is_ok() {}
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

/// Returns the writing end of a pipe that nobody reads.
fn closed_pipe() -> PipeWriter {
    std::io::pipe().unwrap().1
}

// ---- the daemon ----

struct Node {
    running: Running,
    directory: tempfile::TempDir,
}

impl Node {
    /// Starts a daemon and waits until it answers on its admin socket.
    async fn start(stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(LCD)
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        let node = Self { running: Running(child), directory };
        node.until(|status| status.ready).await;
        node
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    /// Waits for a status.
    async fn until(&self, mut wanted: impl FnMut(&Status) -> bool) -> Status {
        let admin = AdminClient::new(self.socket());
        let reached = async {
            loop {
                match admin.get::<Status>("/v1/status").await {
                    Ok(status) if wanted(&status) => return status,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("the status in time")
    }

    async fn viewer(&self) -> Viewer {
        let status = self.until(|status| status.ready).await;
        let endpoint: Endpoint = format!("ws://{}", status.listen).parse().unwrap();
        let secret = std::fs::read(self.directory.path().join("signing.key")).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let claims = live_comments::client::token::Claims::new(
            UserId(42),
            "ann",
            now,
            Duration::from_secs(3600),
        );
        let token = live_comments::client::token::mint(secret.trim_ascii(), &claims);
        let options = ViewerOptions::new(endpoint, STREAM);
        Viewer::join(ViewerOptions { token: Some(token.into()), ..options }).await
    }
}

fn lost_lines(status: &Status) -> bool {
    let code = ProblemCode::LogLinesLost.as_str();
    status.problems.iter().any(|problem| problem.code == code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_takes_stops_nothing() {
    let (unread, full) = full_pipe();
    let gone = closed_pipe();
    let (_unread_too, full_too) = full_pipe();
    let cases: [(&str, Stdio, Stdio); 4] = [
        ("reader gone", closed_pipe().into(), gone.into()),
        ("disk full", dev_full(), dev_full()),
        ("reader stuck", full_too.into(), full.into()),
        ("both closed", Stdio::null(), closed_pipe().into()),
    ];
    for (name, stdout, stderr) in cases {
        let mut node = Node::start(stdout, stderr).await;
        let mut viewer = node.viewer().await;
        viewer.comment("before").await;
        // Each reload logs.
        for _ in 0..20 {
            node.running.signal(Signal::SIGHUP);
        }
        let status = node.until(lost_lines).await;
        assert!(status.warnings.iter().any(|text| text.contains("log")), "{name}: {status:?}");
        viewer.comment("after").await;
        let shown = Command::new(LC).args(["status", "--socket"]).arg(node.socket()).output();
        assert_eq!(shown.unwrap().status.code(), Some(3), "{name}");
        node.running.signal(Signal::SIGTERM);
        assert_eq!(viewer.until_closed().await, CloseCode::Shutdown.number(), "{name}");
        assert!(node.running.wait().success(), "{name}");
    }
    drop(unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_lines_are_counted_in_the_metrics() {
    let node = Node::start(Stdio::null(), dev_full()).await;
    let status = node.until(lost_lines).await;
    let mut socket = tokio::net::TcpStream::connect(status.listen).await.unwrap();
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    let line = text.lines().find(|line| line.starts_with("lcd_log_lines_lost_total ")).unwrap();
    let lost: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(lost > 0, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_signal_drains_the_daemon_whoever_reads() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT] {
        let (_unread, full) = full_pipe();
        let mut node = Node::start(Stdio::null(), full).await;
        let mut viewer = node.viewer().await;
        node.running.signal(signal);
        // As `timeout` does, which signals its command and then the group.
        node.running.signal(signal);
        viewer.until_closed().await;
        assert_eq!(node.running.wait().code(), Some(0), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_admin_socket_is_made_again() {
    let node = Node::start(Stdio::null(), Stdio::null()).await;
    std::fs::remove_file(node.socket()).unwrap();
    node.running.signal(Signal::SIGHUP);
    node.until(|status| status.ready).await;
    assert!(node.socket().exists());
}

#[test]
fn check_ends_with_its_reader_and_with_a_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    let check = |stdout: Stdio, stderr: Stdio| {
        let mut command = Command::new(LCD);
        command.args(["check", "--listen", "127.0.0.1:0", "--data-dir"]).arg(directory.path());
        Running(command.stdout(stdout).stderr(stderr).spawn().unwrap()).wait()
    };
    let status = check(closed_pipe().into(), closed_pipe().into());
    assert!(status.signal().is_none() && status.code() != Some(101), "{status}");
    for help in ["--help", "--version"] {
        let run = |stdout: Stdio| Command::new(LCD).arg(help).stdout(stdout).status().unwrap();
        assert_eq!(run(dev_full()).code(), Some(1), "{help}");
        assert_eq!(run(closed_pipe().into()).code(), Some(0), "{help}");
    }
    let status = check(dev_full(), dev_full());
    assert!(status.signal().is_none() && status.code() != Some(101), "{status}");
}

// ---- lc ----

/// A daemon whose every text is hostile.
struct HostileDaemon {
    directory: tempfile::TempDir,
}

fn comment(number: u64) -> SequencedComment {
    let ticks = 17_952_544_080_000_000 + number * 10_000_000;
    SequencedComment {
        comment_id: CommentId::from_unix_ticks(ticks, 7, [1; 6]),
        user_id: UserId(40 + number % 2),
        name: HOSTILE.into(),
        message: HOSTILE.into(),
        created_at: ticks / 10_000,
        seq: 100 + number,
        badges: Default::default(),
        parent_id: None,
    }
}

fn egress() -> Value {
    serde_json::to_value(live_comments::protocol::admin::Egress::default()).unwrap()
}

fn alert() -> Value {
    json!({"id": HOSTILE, "rule": HOSTILE, "subject": HOSTILE, "severity": "warning",
        "since_ms": 5, "nodes": [HOSTILE], "viewers": 1, "effect": HOSTILE, "next": HOSTILE,
        "acked_by": HOSTILE})
}

/// Returns the answer to every request of `lc`.
fn answer(path: &str) -> Value {
    let cluster = |item: Value| json!({"items": [item], "unreachable": [HOSTILE]});
    let breaker =
        json!({"dependency": HOSTILE, "state": "open", "last_error": HOSTILE, "since_ms": 5});
    let sanction = json!({"user_id": 42, "kind": "ban", "name": HOSTILE, "reason": HOSTILE,
        "created_by": HOSTILE, "created_at": 1, "expires_at": null});
    let id = comment(1).comment_id;
    match path {
        "/v1/status" => json!({"node": HOSTILE, "version": HOSTILE, "uptime_ms": 1, "ready": true,
            "draining": false, "listen": HOSTILE, "data_dir": HOSTILE, "engines": {HOSTILE: HOSTILE},
            "connections": 1, "live_streams": 1, "breakers": [breaker], "warnings": [HOSTILE],
            "health": "degraded", "unwell_ms": 5, "viewers": 1, "alerts": [alert()],
            "working": [HOSTILE]}),
        "/v1/alerts" => cluster(alert()),
        "/v1/events" => cluster(json!({"id": 1, "at": 1, "node": HOSTILE, "kind": "breaker",
            "subject": HOSTILE, "text": HOSTILE, "audit_id": 1})),
        "/v1/bus" => cluster(serde_json::to_value(BusNode::new(HOSTILE.to_owned())).unwrap()),
        "/v1/preview" => json!({"effect": HOSTILE, "users": 1, "connections": 1,
            "unknown": [HOSTILE]}),
        "/v1/nodes" => cluster(json!({"node": HOSTILE, "roles": [HOSTILE], "version": HOSTILE,
            "listen": HOSTILE, "uptime_ms": 1, "connections": 1, "max_connections": 1,
            "draining": false, "egress": egress()})),
        "/v1/workers" => cluster(json!({"node": HOSTILE, "worker": 0, "connections": 1,
            "slow_viewers": 0, "busy_us": 1, "wall_us": 1, "frames": 1, "delivered": 1,
            "bytes_out": 1})),
        "/v1/lag" => cluster(json!({"group": HOSTILE, "topic": HOSTILE, "partition": 0,
            "position": 1, "end": 2, "lag": 1, "oldest_ms": 5, "owner": HOSTILE})),
        "/v1/stores" => cluster(json!({"contract": HOSTILE, "engine": HOSTILE, "address": HOSTILE,
            "nodes": 1, "calls": 1, "failed": 1, "calls_per_second": 1.0,
            "failed_per_second": 1.0, "breaker": breaker})),
        "/v1/doctor" => cluster(json!({"check": HOSTILE, "result": "degraded", "what": HOSTILE,
            "why": HOSTILE, "mend": HOSTILE})),
        "/v1/dead-letters" => cluster(json!({"id": HOSTILE, "at": 1, "state": "open",
            "group": HOSTILE, "reason": HOSTILE, "topic": HOSTILE, "partition": 0, "offset": 1,
            "stream_id": 1, "bytes": 1, "message": HOSTILE})),
        "/v1/dead-letters/ack" => json!({"audit_ids": [1], "done": [HOSTILE], "left": 0}),
        "/v1/streams/1/talkers" => json!({"stream_id": 1, "window_ms": 300_000, "said": 9,
            "talkers": [{"user_id": 42, "name": HOSTILE, "said": 9, "error": 0, "refused": 1,
                "removed": 1, "text": 7}],
            "texts": [{"id": 7, "text": HOSTILE, "users": 2, "said": 9, "error": 0, "new": 1}],
            "unreachable": [HOSTILE]}),
        "/v1/bans" => cluster(sanction),
        "/v1/shadows" => cluster(json!({"user_id": 42, "stream_id": 1, "name": HOSTILE,
            "created_by": HOSTILE, "created_at": 1, "expires_at": 9_000_000_000_000_000_u64})),
        "/v1/grants" => cluster(json!({"user_id": 42, "stream_id": 1, "role": "moderator",
            "name": HOSTILE, "created_by": HOSTILE, "created_at": 1})),
        "/v1/streams/1/room" => json!({"stream_id": 1, "title": HOSTILE,
            "settings": {"shield": true}, "in_force": {"slow_ms": 30_000, "no_links": true}}),
        "/v1/streams/1/room/terms" => cluster(json!({"term": HOSTILE, "action": "flag"})),
        "/v1/streams/1/polls" => json!({"items": [{"poll_id": 1, "question": HOSTILE,
            "options": [HOSTILE, "b"], "opened_at": 1, "closes_at": 2, "closed": true,
            "votes": [1, 2]}], "unreachable": [HOSTILE], "audit_id": 1, "elapsed_us": 1}),
        "/v1/mod/queue" => cluster(json!({"comment_id": id, "stream_id": 1, "user_id": 42,
            "name": HOSTILE, "message": HOSTILE, "reason": HOSTILE, "flagged_at": 1, "held": true,
            "claimed_by": HOSTILE, "claim_expires_at": 9_000_000_000_000_000_u64})),
        "/v1/mod/claim" => json!({"comment_id": id, "stream_id": 1, "user_id": 42,
            "name": HOSTILE, "message": HOSTILE, "reason": HOSTILE, "flagged_at": 1, "held": true,
            "claimed_by": HOSTILE, "claim_expires_at": 1, "claimed_by_you": true}),
        "/v1/mod/decisions" => cluster(json!({"comment_id": id, "stream_id": 1, "user_id": 42,
            "name": HOSTILE, "message": HOSTILE, "decision": "reject", "reason": HOSTILE,
            "decided_by": HOSTILE, "decided_at": 1})),
        "/v1/mod/offenders" => cluster(json!({"user_id": 42, "name": HOSTILE, "removed": 1,
            "reason": HOSTILE, "last_at": 1})),
        "/v1/mod/test" => json!({"node": HOSTILE, "decision": "reject", "reason": HOSTILE,
            "stages": [{"stage": HOSTILE, "decision": "reject", "reason": HOSTILE, "decides": true,
                "note": HOSTILE, "rules": [{"rule": HOSTILE, "decision": "reject",
                    "setting": HOSTILE, "matched": HOSTILE}]}]}),
        "/v1/audit" => cluster(json!({"audit_id": 1, "at": 1, "actor": HOSTILE, "action": HOSTILE,
            "target": HOSTILE, "detail": {HOSTILE: HOSTILE}})),
        "/v1/who/ann" => json!({"user_id": 42, "name": HOSTILE, "connections": [
            {"node": HOSTILE, "stream_id": 1, "connected_at": 1}], "sanctions": [sanction],
            "unreachable": [HOSTILE]}),
        "/v1/users/ann" => json!({"user_id": 42, "name": HOSTILE, "connections": [],
            "sanctions": [], "since_ms": 1, "said": 1, "removed": 1, "comments": [
                {"comment_id": id, "stream_id": 1, "message": HOSTILE, "created_at": 1,
                 "removed": HOSTILE}], "audit": [answer("/v1/audit")["items"][0]]}),
        "/v1/history/1" => json!({"comments": [comment(1)], "next_before": id}),
        "/v1/tokens" => json!({"tokens": [HOSTILE]}),
        "/v1/streams" => json!({"items": [serde_json::to_value(stream_status()).unwrap()],
            "unreachable": [HOSTILE], "audit_id": 1, "elapsed_us": 1}),
        _ => json!({"audit_id": 1, "user_id": 42, "user_name": HOSTILE, "connections": 1,
            "losses": [HOSTILE], "unreachable": [HOSTILE], "elapsed_us": 1}),
    }
}

fn stream_status() -> live_comments::protocol::admin::StreamStatus {
    use live_comments::protocol::stream::{ModerationMode, StreamState};
    use live_comments::protocol::throttle::SampleRate;
    live_comments::protocol::admin::StreamStatus {
        stream_id: StreamId(1),
        title: HOSTILE.into(),
        description: HOSTILE.into(),
        state: StreamState::Live,
        starts_at: None,
        started_at: None,
        ended_at: None,
        anonymous: true,
        moderation: ModerationMode::Async,
        viewers: 1,
        comments_per_second: 1.0,
        sample_rate: SampleRate::ALL,
        throttle_level: 0,
        throttle_override: None,
        throttle_until_ms: None,
        egress_share: SampleRate::ALL,
        egress_sampled_out: 0,
        received: 1,
        broadcast: 1,
        sampled_out: 0,
        deleted: 0,
        reactions: [(HOSTILE.to_owned(), 1)].into(),
        room: Default::default(),
    }
}

/// Returns the live lines of a tail: a comment, a decision, and a mark that all before it was read.
fn tail_lines() -> String {
    let moderated = TailItem::Moderated {
        comment_id: comment(9).comment_id,
        user_id: UserId(42),
        decision: live_comments::protocol::events::Decision::Flag,
        reason: HOSTILE.into(),
        decided_by: HOSTILE.into(),
        timestamp: 1,
    };
    let restored = TailItem::Restored {
        comment_id: comment(9).comment_id,
        user_id: UserId(42),
        restored_by: HOSTILE.into(),
        timestamp: 1,
    };
    let items = [
        TailItem::Comment(comment(1).into()),
        TailItem::Comment(comment(2).into()),
        moderated,
        restored,
        TailItem::Missed { items: 3 },
    ];
    items.iter().map(|item| serde_json::to_string(item).unwrap() + "\n").collect()
}

fn event_line() -> String {
    format!("{}\n", answer("/v1/events")["items"][0])
}

fn top_line() -> String {
    use live_comments::protocol::NodeId;
    let node: live_comments::protocol::admin::NodeStatus =
        serde_json::from_value(answer("/v1/nodes")["items"][0].clone()).unwrap();
    let worker = serde_json::from_value(answer("/v1/workers")["items"][0].clone()).unwrap();
    let lag = serde_json::from_value(answer("/v1/lag")["items"][0].clone()).unwrap();
    let breaker = serde_json::from_value(answer("/v1/status")["breakers"][0].clone()).unwrap();
    let snapshot = live_comments::protocol::admin::TopSnapshot {
        taken_at: 1,
        node: NodeId::new(HOSTILE),
        version: HOSTILE.into(),
        uptime_ms: 1,
        draining: false,
        connections: 1,
        slow_viewers: 0,
        counters: Default::default(),
        senders: 0,
        rates: Default::default(),
        stages: Vec::new(),
        end_to_end: Default::default(),
        bus: Vec::new(),
        stores: Vec::new(),
        streams: vec![stream_status()],
        workers: vec![worker],
        lag: vec![lag],
        moderation: live_comments::protocol::admin::ModerationCounts {
            reasons: [(HOSTILE.to_owned(), 1)].into(),
            ..Default::default()
        },
        breakers: vec![breaker],
        nodes: vec![node],
        unreachable: vec![NodeId::new(HOSTILE)],
        silent: Vec::new(),
        problems: vec![HOSTILE.to_owned()],
        thresholds: Default::default(),
    };
    serde_json::to_string(&snapshot).unwrap() + "\n"
}

/// Answers a live request: its lines, once or for ever, and then nothing until it is closed.
fn live(lines: String, for_ever: bool) -> axum::response::Response {
    let lines = bytes::Bytes::from(lines);
    let stream = futures_util::stream::unfold(0_u64, move |sent| {
        let lines = lines.clone();
        async move {
            if sent > 0 && !for_ever {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, std::io::Error>(lines), sent + 1))
        }
    });
    Body::from_stream(stream).into_response()
}

impl HostileDaemon {
    /// Starts it; `flood` makes its live answers endless.
    fn start(flood: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        // The file of `lc ctx`, which others may have written.
        let contexts = json!({"daemons": {HOSTILE: {"socket": HOSTILE}}}).to_string();
        std::fs::create_dir(directory.path().join("lc")).unwrap();
        std::fs::write(directory.path().join("lc/contexts.json"), contexts).unwrap();
        let routes = Router::new().fallback(async move |request: Request| {
            let path = request.uri().path().to_owned();
            let answered = ["/v1/preview", "/v1/mod/claim", "/v1/mod/test", "/v1/dead-letters/ack"];
            let is_answered = path.starts_with("/v1/tokens") || answered.contains(&&*path);
            let is_change = request.method() == "POST" && !is_answered;
            let is_followed =
                request.uri().query().is_some_and(|query| query.contains("follow=true"));
            match path.as_str() {
                "/v1/events" if is_followed => live(event_line(), flood),
                "/v1/tail/1" => live(tail_lines(), flood),
                "/v1/top" => live(top_line().repeat(2), flood),
                _ if is_change => Json(answer("change")).into_response(),
                path => Json(answer(path)).into_response(),
            }
        });
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { directory }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(LC);
        command.args(line.split(' ')).arg("--socket").arg(self.directory.path().join("admin.sock"));
        command.env("XDG_CONFIG_HOME", self.directory.path()).stdin(Stdio::null());
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A command line of every command that ends by itself.
const ENDING_COMMANDS: &[&str] = &[
    "top --once",
    "top --once --json",
    "status",
    "status --full",
    "status --prometheus",
    "alerts",
    "alerts --columns all",
    "alerts ann",
    "alerts ack ann --note x",
    "events",
    "streams",
    "streams --columns all --sort -title",
    "streams 1",
    "streams create --title x",
    "streams update 1 --title x",
    "streams schedule 1 --at 2h",
    "streams start 1",
    "streams end 1",
    "streams delete 1",
    "nodes",
    "nodes --columns all",
    "workers",
    "shards",
    "lag",
    "lag --groups",
    "stores",
    "stores --columns all",
    "dead-letters",
    "dead-letters --columns all",
    "dead-letters ack --all",
    "talkers 1",
    "talkers 1 --texts",
    "throttle",
    "throttle 1 10%",
    "ban ann --reason x --note y",
    "timeout ann",
    "kick ann",
    "unban ann",
    "bans",
    "shadow ann --stream 1",
    "unshadow ann",
    "shadows",
    "grant ann moderator --stream 1",
    "revoke ann --stream 1",
    "grants",
    "room 1",
    "room 1 terms",
    "room 1 slow 30s",
    "room 1 clear --last 5m",
    "user ann",
    "user ban ann --dry-run",
    "comment history 1",
    "who ann",
    "dm ann hello",
    "announce 1 hello",
    "delete 0f1cc3c2-0000-11f1-8007-010101010101",
    "pin 1 0f1cc3c2-0000-11f1-8007-010101010101",
    "unpin 1",
    "poll open 1 Who? --option red --option blue",
    "poll close 1",
    "poll list 1",
    "mod queue",
    "mod claim 0f1cc3c2-0000-11f1-8007-010101010101",
    "mod decisions",
    "mod offenders",
    "mod test hello",
    "mod approve 0f1cc3c2-0000-11f1-8007-010101010101",
    "mod reject 0f1cc3c2-0000-11f1-8007-010101010101 --reason spam",
    "mod restore 0f1cc3c2-0000-11f1-8007-010101010101",
    "history 1 --ids",
    "plan --viewers 1k --rate 10 --shown 10",
    "audit",
    "undo 1",
    "doctor",
    "drain",
    "drain --dry-run",
    "acknowledge store_missing",
    "token --user 42 --count 2",
    "ctx",
    "completions bash",
    "schema status",
    "record 1 --duration 300ms",
];

/// Commands that follow something until they are signalled.
const LASTING_COMMANDS: &[&str] =
    &["tail 1 --ids", "top --json", "record 1", "events --follow", "nodes --watch=100ms --json"];

/// Commands that connect to viewers' addresses, `import`, and one that prints nothing if all is
/// well, have tests of their own; help and man pages have no texts of others.
const OTHER_COMMANDS: [&str; 6] = ["replay", "loadgen", "import", "wait", "help", "man"];

#[test]
fn every_command_is_in_the_tests_below() {
    let help = Command::new(LC).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let known: Vec<_> = ENDING_COMMANDS
        .iter()
        .chain(LASTING_COMMANDS)
        .map(|line| line.split(' ').next().unwrap())
        .chain(OTHER_COMMANDS)
        .collect();
    let named = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let missing: Vec<_> = named
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| !known.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(known.len() > 25);
}

/// Returns what may not reach a terminal, with colours taken out.
fn controls(text: &str) -> Vec<char> {
    let mut rest = text.to_owned();
    while let Some(at) = rest.find("\u{1b}[") {
        let end = rest[at + 2..].find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(0);
        if !rest[at + 2 + end..].starts_with('m') {
            break;
        }
        rest.replace_range(at..at + 2 + end + 1, "");
    }
    let allowed = ['\n', '\t', '\r'];
    let is_control = |c: &char| {
        (c.is_control() && !allowed.contains(c)) || ('\u{202a}'..='\u{202e}').contains(c)
    };
    rest.chars().filter(is_control).collect()
}

/// Runs a command with a terminal as its output. Returns what it wrote there.
fn on_terminal(mut command: Command, signal: Option<Signal>) -> String {
    let size = nix::pty::Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(Some(&size), None).unwrap();
    let slave: OwnedFd = pty.slave;
    let child = command.stdout(slave.try_clone().unwrap()).stderr(slave).spawn().unwrap();
    drop(command);
    let mut running = Running(child);
    let mut master = File::from(pty.master);
    let (shows, shown) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut text = vec![0; 1];
        if master.read_exact(&mut text).is_err() {
            return String::new();
        }
        // Nobody waits for a command that ends by itself.
        let _ = shows.send(());
        // The kernel reports the closed terminal as an error.
        let _ = master.read_to_end(&mut text);
        String::from_utf8(text).unwrap()
    });
    if let Some(signal) = signal {
        running.until_handles(signal);
        shown.recv_timeout(PATIENCE).expect("it shows something");
        running.signal(signal);
    }
    running.wait();
    reader.join().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_others_controls_the_terminal() {
    let daemon = HostileDaemon::start(false);
    let lasting = LASTING_COMMANDS.iter().map(|line| (*line, Some(Signal::SIGTERM)));
    for (line, signal) in ENDING_COMMANDS.iter().map(|line| (*line, None)).chain(lasting) {
        let command = daemon.command(line);
        let shown =
            tokio::task::spawn_blocking(move || on_terminal(command, signal)).await.unwrap();
        assert!(!shown.is_empty(), "{line} shows nothing");
        assert!(controls(&shown).is_empty(), "{line}: {shown:?}");
        let forged = shown.lines().any(|shown| shown.trim_end().starts_with("lc: forged"));
        assert!(!forged, "{line}: {shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_panics_where_output_is_not_taken() {
    let daemon = HostileDaemon::start(false);
    for line in ENDING_COMMANDS {
        let run = |stdout: Stdio, stderr: Stdio| {
            Running(daemon.command(line).stdout(stdout).stderr(stderr).spawn().unwrap()).wait()
        };
        let full = run(dev_full(), dev_full());
        assert_eq!(full.code(), Some(1), "{line} on a full disk: {full}");
        let closed = run(closed_pipe().into(), closed_pipe().into());
        // With status the warnings of the daemon still count.
        let code = closed.code().unwrap_or_else(|| panic!("{line}: {closed}"));
        assert!([0, 3].contains(&code), "{line} with a reader that is gone: {closed}");
    }
    let output = daemon.command("status").stdout(dev_full()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot write to standard output"), "{said}");
    let output = daemon.command("ban ann").stdout(dev_full()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("\"audit_id\":1"), "the change was made, and is told: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_needs_nobody_who_reads() {
    let daemon = HostileDaemon::start(false);
    let lines =
        [("wait ready=yes", 0), ("wait viewers>5 --timeout 100ms", 5), ("wait viewerz>5", 64)];
    for (line, code) in lines {
        let run = |stdout: Stdio, stderr: Stdio| {
            Running(daemon.command(line).stdout(stdout).stderr(stderr).spawn().unwrap()).wait()
        };
        assert_eq!(run(dev_full(), dev_full()).code(), Some(code), "{line}");
        assert_eq!(run(closed_pipe().into(), closed_pipe().into()).code(), Some(code), "{line}");
    }
}

/// Waits until a process has written a text on stderr.
fn read_until(stderr: &mut impl std::io::Read, wanted: &str) {
    let mut read = String::new();
    let mut byte = [0];
    while !read.contains(wanted) {
        assert!(stderr.read(&mut byte).unwrap() > 0, "no {wanted} in {read:?}");
        read.push(char::from(byte[0]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_signal_completes_a_recording() {
    let daemon = HostileDaemon::start(false);
    for signal in ENDING {
        for ending in ["jsonl", "jsonl.gz", "lcr"] {
            let path = daemon.path(&format!("{signal}.{ending}"));
            let line = format!("record 1 --output {}", path.display());
            let mut command = daemon.command(&line);
            let mut running = Running(command.stderr(Stdio::piped()).spawn().unwrap());
            let mut stderr = running.0.stderr.take().unwrap();
            tokio::task::block_in_place(|| read_until(&mut stderr, "3 items"));
            running.signal(signal);
            running.signal(signal);
            assert_eq!(running.wait().code(), Some(0), "{signal}");
            let recording = recording::read(&path).unwrap();
            assert_eq!(recording.torn, None);
            // Two people of one name.
            let users: Vec<_> =
                recording.comments.iter().map(|line| line.user_id.unwrap().0).collect();
            assert_eq!(users, [41, 40], "{signal}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_signal_ends_what_lasts_even_with_a_full_pipe() {
    let flood = HostileDaemon::start(true);
    for line in LASTING_COMMANDS {
        for signal in [Signal::SIGTERM, Signal::SIGHUP] {
            let mut read = Running(
                flood.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(),
            );
            let (_unread, full) = full_pipe();
            let mut unread =
                Running(flood.command(line).stdout(full).stderr(Stdio::null()).spawn().unwrap());
            read.until_handles(signal);
            unread.until_handles(signal);
            unread.until_held_up();
            read.signal(signal);
            unread.signal(signal);
            assert_eq!(read.wait().code(), Some(0), "{line} {signal}");
            let stuck = unread.wait();
            assert_eq!(stuck.code(), Some(128 + signal as i32), "{line} {signal}: {stuck}");
        }
    }
}

fn lc(daemon: &Daemon, line: &str) -> Command {
    let mut command = Command::new(LC);
    command.args(line.split_whitespace()).arg("--data-dir").arg(daemon.data_dir());
    command
}

fn recorded(directory: &Path, comments: u64, ms: u64) -> PathBuf {
    let path = directory.join("chat.jsonl");
    let line = |n| {
        format!("{{\"ts_ms\":{},\"user\":\"ann\",\"user_id\":{n},\"text\":\"hi {n}\"}}\n", n * ms)
    };
    std::fs::write(&path, (1..=comments).map(line).collect::<String>()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_long_runs_are_not_lost() {
    let daemon = Daemon::start("");
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path(), 3, 10);
    let load = "loadgen --viewers 2 --senders 1 --rate 5 --duration 1s --grace 1s";
    let replay = format!("replay {}", path.display());
    let lines = [(load.to_owned(), "\"published\""), (replay, "\"acked\":3")];
    for (line, figure) in lines {
        let run = |stdout: Stdio| -> Output { lc(&daemon, &line).stdout(stdout).output().unwrap() };
        let full = run(dev_full());
        let said = String::from_utf8(full.stderr).unwrap();
        assert_eq!(full.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains(figure) && said.contains("standard output"), "{line}: {said}");
        let closed = run(closed_pipe().into());
        let said = String::from_utf8(closed.stderr).unwrap();
        assert_eq!(closed.status.code(), Some(0), "{line}: {said}");
        assert!(said.contains(figure), "{line}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_signal_ends_a_run_with_its_report() {
    let daemon = Daemon::start("");
    let directory = tempfile::tempdir().unwrap();
    // The last comment is due in hours.
    let path = recorded(directory.path(), 2, 9_000_000);
    let load = "loadgen --viewers 2 --senders 1 --rate 50 --duration 10m --grace 1s";
    let replay = format!("replay {} --speed 1", path.display());
    for signal in ENDING {
        for line in [load, replay.as_str()] {
            let mut command = lc(&daemon, line);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let mut running = Running(child);
            let connected = async {
                while daemon.admin().get::<Status>("/v1/status").await.unwrap().connections == 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            if line == load {
                tokio::time::timeout(PATIENCE, connected).await.unwrap();
            }
            running.until_handles(signal);
            running.signal(signal);
            let mut report = String::new();
            running.0.stdout.take().unwrap().read_to_string(&mut report).unwrap();
            assert_eq!(running.wait().code(), Some(0), "{line} {signal}");
            let report: Value = serde_json::from_str(&report).unwrap();
            assert!(report["acked"].is_u64(), "{line} {signal}: {report}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_know_the_certificate_of_the_local_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path(), 3, 10);
    let daemon = Daemon::start("[gateway]\ndev_tls = true\n");
    let replay = format!("replay {}", path.display());
    for line in ["loadgen --viewers 2 --senders 1 --rate 5 --duration 1s --grace 1s", &replay] {
        let output = lc(&daemon, line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{line}: {said}");
    }
}

/// The users of a large recording get their tokens with one request, which is one audit entry.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_recording_are_one_entry() {
    let daemon = Daemon::start("");
    let source = TokenSource::find(&daemon.socket(), &daemon.data_dir()).await.unwrap();
    let name = "\u{1F525}".repeat(64);
    let user = |id| TokenUser { user_id: UserId(id), name: name.clone() };
    let tokens = source.of_users((1..=10_000).map(user).collect()).await.unwrap();
    assert_eq!(tokens.len(), 10_000);
    let audit = lc(&daemon, "audit").output().unwrap();
    let audit = String::from_utf8(audit.stdout).unwrap();
    assert_eq!(audit.lines().filter(|line| line.contains("\"token\"")).count(), 1, "{audit}");
}

// ---- who is meant ----

#[tokio::test(flavor = "multi_thread")]
async fn digits_that_name_two_people_are_refused() {
    let daemon = Daemon::start("");
    let other = daemon.join(777, "12345").await;
    let meant = daemon.join(12345, "bob").await;
    let who = |user: String| {
        let output = lc(&daemon, &format!("who {user}")).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).ok()
    };
    // Names are stored a moment after the connection.
    let stored = async {
        while who("name:12345".into()).is_none() || who("name:bob".into()).is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.unwrap();
    for command in ["ban", "timeout", "kick", "unban", "dm", "who"] {
        let text = if command == "dm" { " hello" } else { "" };
        let output = lc(&daemon, &format!("{command} 12345{text}")).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        for part in ["id:12345", "name:12345", "user 777", "bob"] {
            assert!(said.contains(part), "{command}: {said}");
        }
    }
    for (command, text) in
        [("dm", " hello"), ("timeout", ""), ("kick", ""), ("ban", ""), ("unban", "")]
    {
        for (user, id, name) in [("id:12345", "12345", "bob"), ("name:12345", "777", "12345")] {
            let output = lc(&daemon, &format!("{command} {user}{text}")).output().unwrap();
            let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
            let found = outcome["user_id"].to_string();
            assert_eq!(found.trim_matches('"'), id, "{command} {user}: {outcome}");
            assert_eq!(outcome["user_name"], name, "{command} {user}: {outcome}");
        }
    }
    drop((other, meant));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_does_not_reach_the_banned_person() {
    let daemon = Daemon::start("");
    let mut viewer = daemon.join(66, "eve").await;
    let line = "ban 66 --reason spam --note reported-by-ann@example.org";
    assert!(lc(&daemon, line).output().unwrap().status.success());
    viewer.until_closed().await;
    let token = daemon.token(66, "eve");
    let header = format!("Bearer {token}");
    let (status, body) = support::http(
        &daemon,
        "POST",
        "/api/streams/1/comments",
        &[("authorization", &header)],
        Some("{\"message\":\"let me in\"}"),
    )
    .await;
    let shown = body.to_string();
    assert!(status == 403 && shown.contains("spam"), "{status} {shown}");
    assert!(!shown.contains("reported-by"), "{shown}");
    let audit = lc(&daemon, "audit").output().unwrap();
    assert!(String::from_utf8(audit.stdout).unwrap().contains("reported-by-ann@example.org"));
    let bans = lc(&daemon, "bans").output().unwrap();
    assert!(!String::from_utf8(bans.stdout).unwrap().contains("reported-by"));
}
