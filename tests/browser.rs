//! The pages in a real Chromium: what `docs/pages.md` promises, over a WebSocket, over server-sent
//! events and by polling. The scenarios are in `web/page/test/scenarios`; this file runs the
//! daemons for them.
//!
//! - `LC_BROWSER_SECONDS=120`: time for which a chat with 500 comments per second is measured;
//! - `LC_PAGES=tree`: the pages of the working tree, without building the daemon again;
//! - `CHROMIUM`: the browser's program.
//!
//! Pictures of the pages are in `target/browser`.

#![allow(clippy::print_stdout, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::{ClientMessage, Role, ServerMessage};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::{Daemon, StoppedDaemon, Viewer, comment, http};
use tokio::sync::{RwLock, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Only a failing scenario takes so long.
const PATIENCE: Duration = Duration::from_secs(240);

/// Shared by scenarios that run together, held alone by the one that measures time.
static STAGE: RwLock<()> = RwLock::const_new(());

/// The rate at which a chat is throttled is one that a test reaches. A level lasts long enough for
/// the browser to show it.
const THROTTLED: &str = "[moderation]\nstages = [\"rules\"]\n\
    [reactions]\nkinds = [\"fire\", \"heart\", \"goal\"]\n\
    [broadcast]\nstep_down_after = \"60s\"\n\
    [[broadcast.throttle]]\nfrom_per_second = 0.0\nsample_rate = 1.0\n\
    [[broadcast.throttle]]\nfrom_per_second = 1000.0\nsample_rate = 0.1\n";

const UNTHROTTLED: &str = "[moderation]\nstages = [\"rules\"]\n\
    [reactions]\nkinds = [\"fire\", \"heart\", \"goal\"]\n\
    [[broadcast.throttle]]\nfrom_per_second = 0.0\nsample_rate = 1.0\n";

/// Comments that are sent before their acknowledgements are read. What the daemon answers to them
/// must fit into `delivery.outbox_bytes`: a browser beside it can hold this process up.
const IN_FLIGHT: usize = 50;

/// Ticks per second of a sender with a rate.
const TICKS: u64 = 50;

enum State {
    Running(Daemon),
    Killed(StoppedDaemon),
}

/// The daemon of a scenario. The scenario asks for what only the test can do.
struct Stage {
    state: Option<State>,
}

impl Stage {
    fn daemon(&self) -> &Daemon {
        match &self.state {
            Some(State::Running(daemon)) => daemon,
            _ => panic!("the daemon is not running"),
        }
    }

    async fn carry_out(&mut self, request: &Value) -> Value {
        match request["command"].as_str().unwrap() {
            "token" => return json!({ "token": self.token(request) }),
            "post" => self.post(request).await,
            "freeze" => self.daemon().signal(Signal::SIGSTOP),
            "thaw" => self.daemon().signal(Signal::SIGCONT),
            "kill" => {
                if let Some(State::Running(daemon)) = self.state.take() {
                    self.state = Some(State::Killed(daemon.kill()));
                }
            }
            "start" => {
                if let Some(State::Killed(daemon)) = self.state.take() {
                    self.state = Some(State::Running(daemon.restart()));
                }
            }
            other => panic!("no such command: {other}"),
        }
        json!({})
    }

    fn token(&self, request: &Value) -> String {
        let user = request["user"].as_u64().unwrap();
        let name = request["name"].as_str().unwrap();
        let role: Role = serde_json::from_value(request["role"].clone()).unwrap();
        self.daemon().token_with(user, name, |claims| {
            claims.role = role;
            claims.comments_per_minute = Some(0);
        })
    }

    /// Sends numbered comments, of which every tenth is long, and waits until all are stored.
    async fn post(&self, request: &Value) {
        let daemon = self.daemon();
        let token = Some(daemon.token(99, "crowd").into());
        let mut sender = Viewer::join(ViewerOptions { token, ..daemon.options() }).await;
        sender.send(&ClientMessage::Pause).await;
        let text = request["text"].as_str().unwrap();
        let from = request["from"].as_u64().unwrap();
        let count = request["count"].as_u64().unwrap();
        let per_second = request["per_second"].as_u64().unwrap();
        let step = if per_second > 0 { per_second / TICKS } else { IN_FLIGHT as u64 };
        let mut ticks = interval(Duration::from_secs(1) / TICKS as u32);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut number = from;
        while number < from + count {
            let end = (number + step).min(from + count);
            for number in number..end {
                let client_ref = format!("{text} {number}");
                sender.send(&comment(&numbered(text, number), &client_ref)).await;
            }
            for _ in number..end {
                sender.until(stored).await;
            }
            number = end;
            if per_second > 0 {
                ticks.tick().await;
            }
        }
        let last = numbered(text, from + count - 1);
        let listed = async {
            while !self.lists(&last).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, listed).await.unwrap_or_else(|_| panic!("the history has no `{last}`"));
    }

    /// Returns whether a comment is one of the newest in the history.
    async fn lists(&self, message: &str) -> bool {
        let path = "/api/streams/1/comments?limit=50";
        let (_, page) = http(self.daemon(), "GET", path, &[], None).await;
        page["comments"].as_array().unwrap().iter().any(|comment| comment["message"] == message)
    }
}

/// Returns a comment of a crowd. Each tenth takes several lines.
fn numbered(text: &str, number: u64) -> String {
    let more = if number.is_multiple_of(10) { " and more of it".repeat(12) } else { String::new() };
    format!("{text} {number}{more}")
}

fn stored(message: &ServerMessage) -> Option<()> {
    match message {
        ServerMessage::Ack { .. } => Some(()),
        ServerMessage::Error { code, message, .. } => panic!("{code}: {message}"),
        _ => None,
    }
}

/// A process of node, which is killed on drop.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process that drives the browser, which ends with it.
struct Driver {
    node: Node,
    requests: mpsc::UnboundedReceiver<String>,
    answers: ChildStdin,
}

impl Driver {
    fn start(scenario: &str, site: &str, variables: &[(&str, &str)]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let pictures = pictures();
        std::fs::create_dir_all(&pictures).unwrap();
        let mut child = Command::new("node")
            .arg(root.join("web/page/test/browser.js"))
            .arg(scenario)
            .env("LCD_URL", site)
            .env("LCD_SCREENSHOTS", pictures)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node: run scripts/setup");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, requests) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| sender.send(line).ok())
        });
        let answers = child.stdin.take().unwrap();
        Self { node: Node(child), requests, answers }
    }
}

fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser")
}

/// Serves the pages of the working tree in front of a daemon.
async fn serve_tree(daemon: &Daemon) -> (Node, String) {
    let address = support::free_address();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let child = Command::new("node")
        .arg(root.join("web/dev_server.js"))
        .args(["--port", &address.port().to_string()])
        .args(["--daemon", &format!("http://{}", daemon.address)])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (Node(child), format!("http://{address}"))
}

/// Runs a scenario beside others.
async fn perform(scenario: &str, config: &str, variables: &[(&str, &str)]) {
    let _others = STAGE.read().await;
    play(scenario, config, variables).await;
}

/// Runs a scenario that measures time, while no other runs.
async fn perform_alone(scenario: &str, config: &str, variables: &[(&str, &str)]) {
    let _alone = STAGE.write().await;
    play(scenario, config, variables).await;
}

/// Runs a scenario, and does what it asks for.
async fn play(scenario: &str, config: &str, variables: &[(&str, &str)]) {
    let daemon = Daemon::start(config);
    let direct = format!("http://{}", daemon.address);
    // A proxy answers for a daemon that is away, and then an EventSource gives up.
    let from_tree = scenario != "event_source" && std::env::var_os("LC_PAGES").is_some();
    let tree = if from_tree { Some(serve_tree(&daemon).await) } else { None };
    let site = tree.as_ref().map_or(direct, |(_, address)| address.clone());
    let mut stage = Stage { state: Some(State::Running(daemon)) };
    let mut driver = Driver::start(scenario, &site, variables);
    let played = timeout(PATIENCE + seconds(), async {
        while let Some(line) = driver.requests.recv().await {
            let request = serde_json::from_str::<Value>(&line).unwrap_or_default();
            if request["command"].is_null() {
                println!("{line}");
                continue;
            }
            let answer = stage.carry_out(&request).await;
            // A scenario that has failed reads no answer.
            let _ = writeln!(driver.answers, "{answer}");
        }
    });
    played.await.expect("the scenario ends in time");
    let status = driver.node.0.wait().unwrap();
    assert!(
        status.success(),
        "{scenario} {variables:?}: see the output above and {:?}",
        pictures()
    );
    drop(tree);
}

/// Returns the time of the measured part of a busy chat.
fn seconds() -> Duration {
    let given = std::env::var("LC_BROWSER_SECONDS").ok();
    Duration::from_secs(given.map_or(20, |text| text.parse().expect("a number of seconds")))
}

#[tokio::test]
async fn pages_keep_their_promises_over_websocket() {
    perform("promises", THROTTLED, &[("LCD_TRANSPORT", "websocket")]).await;
}

#[tokio::test]
async fn pages_keep_their_promises_over_events() {
    perform("promises", THROTTLED, &[("LCD_TRANSPORT", "events")]).await;
}

#[tokio::test]
async fn pages_keep_their_promises_by_polling() {
    perform("promises", THROTTLED, &[("LCD_TRANSPORT", "polling")]).await;
}

#[tokio::test]
async fn rooms_live_in_pages_over_websocket() {
    perform("room_life", UNTHROTTLED, &[("LCD_TRANSPORT", "websocket")]).await;
}

#[tokio::test]
async fn rooms_live_in_pages_over_events() {
    perform("room_life", UNTHROTTLED, &[("LCD_TRANSPORT", "events")]).await;
}

#[tokio::test]
async fn rooms_live_in_pages_by_polling() {
    perform("room_life", UNTHROTTLED, &[("LCD_TRANSPORT", "polling")]).await;
}

#[tokio::test]
async fn texts_made_to_break_pages_stay_text() {
    perform("hostile", UNTHROTTLED, &[]).await;
}

#[tokio::test]
async fn page_of_a_busy_chat_stays_smooth() {
    let seconds = seconds().as_secs().to_string();
    perform_alone("load", UNTHROTTLED, &[("LCD_SECONDS", &seconds)]).await;
}

#[tokio::test]
async fn event_source_of_the_browser_continues() {
    perform("event_source", UNTHROTTLED, &[]).await;
}

/// Takes the pictures of README.md and docs/pages.md.
#[tokio::test]
async fn pictures_of_the_documents_can_be_taken() {
    perform("pictures", UNTHROTTLED, &[]).await;
}
