//! Clients that nobody here wrote: the packages `ws` of node and `websockets` of Python, `wscat` on
//! a terminal, and `curl` over server-sent events and long polling. With each of them a viewer is
//! welcomed, sees what others say, comments, and is told that it is banned. The EventSource of a
//! browser is in `tests/browser.rs`.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use live_comments::protocol::{CloseCode, ServerMessage};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::python::python_program;
use crate::support::terminal::Terminal;
use crate::support::{Daemon, PATIENCE, Viewer};

const USER: u64 = 7;
const FROM_ELSEWHERE: &str = "said elsewhere";
const BY_THE_CLIENT: &str = "said by the client";

/// Returns a file of `tests/clients`, where `scripts/setup` installs packages.
fn client(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let packages = folder.join("node_modules");
    assert!(packages.exists(), "{} is missing: run scripts/setup", packages.display());
    folder.join(name)
}

/// A client that prints messages, one per line. It is killed on drop.
struct Client {
    child: Child,
    input: ChildStdin,
    messages: mpsc::UnboundedReceiver<Value>,
}

impl Client {
    /// A line that is no JSON is ignored, as are those of server-sent events that carry no message.
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, messages) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let text = line.strip_prefix("data: ").unwrap_or(&line);
                let Ok(message) = serde_json::from_str(text) else { continue };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self { input: child.stdin.take().unwrap(), child, messages }
    }

    /// Waits for a message of a type.
    async fn until(&mut self, kind: &str) -> Value {
        loop {
            let message = timeout(PATIENCE, self.messages.recv()).await;
            let message = message.expect("a message in time").expect("it is still running");
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Waits until a comment is shown.
    async fn until_shown(&mut self, text: &str) {
        loop {
            let batch = self.until("comments").await;
            let comments = batch["comments"].as_array().unwrap();
            if comments.iter().any(|comment| comment["message"] == text) {
                return;
            }
        }
    }

    fn write(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until another viewer sees the comment of the client.
async fn until_heard(viewer: &mut Viewer) {
    let heard = |message: &ServerMessage| match message {
        ServerMessage::Comments(batch) => {
            batch.comments.iter().any(|comment| &*comment.message == BY_THE_CLIENT).then_some(())
        }
        _ => None,
    };
    viewer.until(heard).await;
}

async fn ban(daemon: &Daemon) {
    let request = json!({ "user": USER.to_string() });
    daemon.admin().post::<Value, Value>("/v1/ban", &request).await.unwrap();
}

fn socket_url(daemon: &Daemon) -> String {
    format!("ws://{}/ws/1", daemon.address)
}

/// Takes a client on a WebSocket through welcome, comments, acknowledgement and ban.
async fn converses_over_websocket(program: &Path, script: &Path) {
    let daemon = Daemon::start("");
    let token = daemon.token(USER, "bob");
    let mut other = daemon.join(8, "ann").await;
    let mut command = Command::new(program);
    let mut client = Client::start(command.arg(script).args([&socket_url(&daemon), &token]));
    assert_eq!(client.until("welcome").await["user"]["name"], "bob");
    other.comment(FROM_ELSEWHERE).await;
    client.until_shown(FROM_ELSEWHERE).await;
    client.write(BY_THE_CLIENT);
    assert_eq!(client.until("ack").await["ref"], BY_THE_CLIENT);
    until_heard(&mut other).await;
    ban(&daemon).await;
    assert_eq!(client.until("error").await["code"], "banned");
    assert_eq!(client.until("bye").await["code"], "banned");
    let closed = client.until("closed").await;
    assert_eq!(closed["code"], CloseCode::Banned.number(), "{closed}");
}

#[tokio::test]
async fn ws_of_node_converses() {
    converses_over_websocket(Path::new("node"), &client("ws_viewer.mjs")).await;
}

#[tokio::test]
async fn websockets_of_python_converses() {
    converses_over_websocket(&python_program("python3"), &client("websockets_viewer.py")).await;
}

#[tokio::test]
async fn wscat_converses() {
    let daemon = Daemon::start("");
    let url = format!("{}?token={}", socket_url(&daemon), daemon.token(USER, "bob"));
    let mut other = daemon.join(8, "ann").await;
    let wscat = client("node_modules/wscat/bin/wscat");
    let terminal = tokio::task::spawn_blocking(move || {
        let command = pty_process::blocking::Command::new("node").arg(wscat).args(["-c", &url]);
        let terminal = Terminal::run(command, 50, 250);
        terminal.until_shows(r#""type":"welcome""#);
        terminal
    });
    let terminal = terminal.await.unwrap();
    other.comment(FROM_ELSEWHERE).await;
    terminal.until_shows(FROM_ELSEWHERE);
    terminal.press(&format!("{{\"type\":\"comment\",\"message\":\"{BY_THE_CLIENT}\"}}\n"));
    until_heard(&mut other).await;
    terminal.until_shows(r#""type":"ack""#);
    ban(&daemon).await;
    terminal.until_shows(&format!("Disconnected (code: {}", CloseCode::Banned.number()));
}

/// Comments as `client.write` does for sockets.
fn comment_with_curl(daemon: &Daemon, token: &str) -> Value {
    let output = Command::new("curl")
        .args(["-s", "-H", &format!("Authorization: Bearer {token}")])
        .args(["-H", "Content-Type: application/json"])
        .args(["-d", &json!({ "message": BY_THE_CLIENT }).to_string()])
        .arg(daemon.url("/api/streams/1/comments"))
        .output()
        .expect("curl");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn curl_converses_over_events() {
    let daemon = Daemon::start("");
    let token = daemon.token(USER, "bob");
    let mut other = daemon.join(8, "ann").await;
    let bearer = format!("Authorization: Bearer {token}");
    let url = daemon.url("/api/streams/1/events");
    let mut client = Client::start(Command::new("curl").args(["-sN", "-H", &bearer, &url]));
    assert_eq!(client.until("welcome").await["user"]["name"], "bob");
    other.comment(FROM_ELSEWHERE).await;
    client.until_shown(FROM_ELSEWHERE).await;
    assert!(comment_with_curl(&daemon, &token)["comment_id"].is_string());
    client.until_shown(BY_THE_CLIENT).await;
    until_heard(&mut other).await;
    ban(&daemon).await;
    assert_eq!(client.until("error").await["code"], "banned");
    assert_eq!(client.until("bye").await["code"], "banned");
    assert!(client.child.wait().unwrap().success(), "the stream ends as HTTP ends it");
    assert_eq!(comment_with_curl(&daemon, &token)["code"], "banned");
}

/// Polls with `curl`, a process per request.
struct CurlPoller {
    url: String,
    bearer: String,
    since: Option<String>,
}

impl CurlPoller {
    async fn poll(&mut self) -> Value {
        let since = self.since.as_ref().map(|since| format!("&since={since}")).unwrap_or_default();
        let mut command = Command::new("curl");
        command.args(["-s", "-H", &self.bearer]).arg(format!("{}?wait_ms=10000{since}", self.url));
        let output = tokio::task::spawn_blocking(move || command.output().expect("curl"));
        let output = timeout(PATIENCE, output).await.expect("an answer in time").unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        if let Some(since) = answer["since"].as_str() {
            self.since = Some(since.to_owned());
        }
        answer
    }

    /// Polls until a message is as wanted. Returns it.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let answer = self.poll().await;
            let messages = answer["messages"].as_array().unwrap_or_else(|| panic!("{answer}"));
            if let Some(found) = messages.iter().find(|message| wanted(message)) {
                return found.clone();
            }
        }
    }

    async fn until_shown(&mut self, text: &str) {
        self.until(|message| {
            let comments = message["comments"].as_array();
            comments.is_some_and(|all| all.iter().any(|comment| comment["message"] == text))
        })
        .await;
    }
}

#[tokio::test]
async fn curl_converses_by_polling() {
    let daemon = Daemon::start("");
    let token = daemon.token(USER, "bob");
    let mut other = daemon.join(8, "ann").await;
    let bearer = format!("Authorization: Bearer {token}");
    let url = daemon.url("/api/streams/1/comments/poll");
    let mut client = CurlPoller { url, bearer, since: None };
    let welcome = client.until(|message| message["type"] == "welcome").await;
    assert_eq!(welcome["user"]["name"], "bob");
    other.comment(FROM_ELSEWHERE).await;
    client.until_shown(FROM_ELSEWHERE).await;
    assert!(comment_with_curl(&daemon, &token)["comment_id"].is_string());
    client.until_shown(BY_THE_CLIENT).await;
    until_heard(&mut other).await;
    ban(&daemon).await;
    let bye = client.until(|message| message["type"] == "bye").await;
    assert_eq!(bye["code"], "banned");
    assert_eq!(client.poll().await["code"], "banned");
}
