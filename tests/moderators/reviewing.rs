//! The review hook over real sockets: a site's own service decides about comments, fails, and comes
//! back.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use live_comments::protocol::admin::{Status, TextTrial};
use live_comments::protocol::events::Decision;
use live_comments::protocol::{CommentId, ErrorCode, ServerMessage};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::support::lcd::lcd;
use crate::support::moderation::{check_before_showing, deletion, queue, queue_of};
use crate::support::{Daemon, PATIENCE, Viewer, comment, free_address, moderated};

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

/// A service that rejects comments with the word "rude".
struct Service {
    address: SocketAddr,
    /// Milliseconds until an answer.
    delay_ms: Arc<AtomicU64>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let delay_ms = Arc::new(AtomicU64::new(0));
        let delay = delay_ms.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let delay = delay.clone();
                // A daemon that goes away ends its connection.
                tokio::spawn(async move { drop(serve(socket, &delay).await) });
            }
        });
        Self { address, delay_ms }
    }

    fn answer_after(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    fn config(&self, more: &str) -> String {
        format!(
            "[moderation]\nstages = [\"rules\", \"hook\"]\n[moderation.hook]\n\
             url = \"http://{}/check?key=topsecret\"\n{more}",
            self.address
        )
    }
}

async fn serve(mut socket: TcpStream, delay_ms: &AtomicU64) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        let question = loop {
            let text = String::from_utf8_lossy(&read);
            let body = text.find("\r\n\r\n").map(|end| &read[end + 4..]);
            if let Some(question) = body.and_then(|body| serde_json::from_slice::<Value>(body).ok())
            {
                break question;
            }
            if socket.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        read.clear();
        tokio::time::sleep(Duration::from_millis(delay_ms.load(Ordering::SeqCst))).await;
        let is_rude = question["message"].as_str().unwrap().contains("rude");
        let decision = if is_rude { "reject" } else { "accept" };
        let body = json!({"decision": decision, "reason": "rude", "score": 0.75}).to_string();
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        socket.write_all(answer.as_bytes()).await?;
    }
}

/// Waits until `lc status` is as wished, and returns it.
async fn status_with(daemon: &Daemon, is_wished: impl Fn(&Status) -> bool) -> Status {
    let wait = async {
        loop {
            let status: Status = daemon.admin().get("/v1/status").await.unwrap();
            if is_wished(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("the status is as wished")
}

fn tells_of_hook(status: &Status) -> bool {
    status.problems.iter().any(|problem| problem.code == "review_hook_failing")
}

fn lc(daemon: &Daemon, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lc"));
    command.arg("--socket").arg(daemon.socket()).args(arguments).stdin(Stdio::null());
    let output = tokio::task::block_in_place(|| command.output().unwrap());
    String::from_utf8(output.stdout).unwrap()
}

/// Sends a rude comment and waits until everybody is told of its deletion.
async fn is_rejected(sender: &mut Viewer, viewer: &mut Viewer, text: &str) -> CommentId {
    let (id, _) = sender.comment(text).await;
    let deleted = viewer.until(deletion).await;
    assert_eq!((deleted.comment_id, &*deleted.reason), (id, "rude"));
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comments_pass_while_the_hook_hangs() {
    let service = Service::start().await;
    let daemon = Daemon::start(&service.config("timeout = \"300ms\"\n"));
    let mut sender = daemon.join(42, "ann").await;
    let mut viewer = daemon.watch().await;
    is_rejected(&mut sender, &mut viewer, "rude one").await;

    service.answer_after(NEVER);
    for number in 0..20 {
        sender.comment(&format!("rude, but unnoticed {number}")).await;
    }
    let began = Instant::now();
    moderated(&daemon).await;
    assert!(began.elapsed() < Duration::from_secs(10), "20 comments, of which some wait");
    let status = status_with(&daemon, tells_of_hook).await;
    let problem = status.problems.iter().find(|it| it.code == "review_hook_failing").unwrap();
    assert!(problem.text.contains("are accepted (moderation.hook.on_failure)"), "{problem:?}");
    let shown = lc(&daemon, &["status", "--full"]);
    assert!(shown.contains("review hook"), "{shown}");
    assert!(queue(&daemon).await.is_empty());

    service.answer_after(Duration::ZERO);
    let status = status_with(&daemon, |status| !tells_of_hook(status)).await;
    let breaker = status.breakers.iter().find(|it| it.dependency == "review hook").unwrap();
    assert_eq!(breaker.last_error, None);
    is_rejected(&mut sender, &mut viewer, "rude two").await;
    let log = daemon.log();
    for secret in ["rude", "topsecret"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn a_hanging_hook_flags_and_holds_by_choice() {
    let service = Service::start().await;
    service.answer_after(NEVER);
    let daemon = Daemon::start(&service.config("on_failure = \"flag\"\ntimeout = \"50ms\"\n"));
    let mut sender = daemon.join(42, "ann").await;
    let (id, _) = sender.comment("anything").await;
    moderated(&daemon).await;
    let items = queue_of(&daemon, 1).await;
    assert_eq!((items[0].comment_id, &*items[0].reason), (id, "review_hook_failed"));
    assert!(!items[0].held, "it was shown before");

    check_before_showing(&daemon).await;
    let began = Instant::now();
    sender.send(&comment("anything else", "1")).await;
    let refusal = |message: &ServerMessage| match message {
        ServerMessage::Error { code, .. } => Some(*code),
        _ => None,
    };
    assert_eq!(sender.until(refusal).await, ErrorCode::HeldForReview);
    assert!(began.elapsed() < Duration::from_secs(5), "the sender waits for the timeout only");
    assert!(queue_of(&daemon, 2).await[1].held);
}

#[tokio::test]
async fn a_slow_hook_is_asked_about_many_at_once() {
    let service = Service::start().await;
    service.answer_after(Duration::from_millis(100));
    let daemon = Daemon::start(&service.config("timeout = \"5s\"\n"));
    let mut sender = daemon.join(42, "ann").await;
    let mut viewer = daemon.watch().await;
    let began = Instant::now();
    let mut rude = Vec::new();
    for number in 0..200 {
        let text = if number % 50 == 7 { "rude" } else { "kind" };
        let (id, _) = sender.comment(&format!("{text} {number}")).await;
        if text == "rude" {
            rude.push(id);
        }
    }
    moderated(&daemon).await;
    assert!(began.elapsed() < Duration::from_secs(15), "one after the other takes 20 seconds");
    let mut deleted = Vec::new();
    for _ in &rude {
        deleted.push(viewer.until(deletion).await.comment_id);
    }
    assert_eq!(deleted, rude, "in the order of the comments");
}

/// The example service in Python, which is killed on drop.
struct Example {
    child: Child,
    address: SocketAddr,
}

impl Example {
    async fn start(key: &Path) -> Self {
        let address = free_address();
        let child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/review_hook.py"))
            .arg(address.port().to_string())
            .arg(key)
            .spawn()
            .unwrap();
        let example = Self { child, address };
        let answers = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, answers).await.expect("the example listens");
        example
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_service_decides_about_comments() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("hook.key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let example = Example::start(&key).await;
    let config = |more: &str| {
        format!(
            "[moderation]\nstages = [\"rules\", \"hook\"]\n[moderation.hook]\ntimeout = \"5s\"\n\
             url = \"http://{}/check\"\n{more}",
            example.address
        )
    };
    let signed = config(&format!("signing_key_file = {key:?}\n"));
    let daemon = Daemon::start(&signed);
    let mut sender = daemon.join(42, "ann").await;
    let mut viewer = daemon.watch().await;
    sender.comment("nice").await;
    let (id, _) = sender.comment("a Spoiler: they all live").await;
    let deleted = viewer.until(deletion).await;
    assert_eq!((deleted.comment_id, &*deleted.reason), (id, "spoiler"));
    let tried = lc(&daemon, &["mod", "test", "no spoilers please", "--json"]);
    let tried: TextTrial = serde_json::from_str(&tried).unwrap();
    assert_eq!((tried.decision, tried.reason.as_deref()), (Decision::Reject, Some("spoiler")));

    let check = |config: &str, words: &str, code: i32| {
        let data = directory.path().join("data");
        let run = tokio::task::block_in_place(|| lcd(config, &data, "127.0.0.1:0", &["check"]));
        assert!(run.text.contains(words), "{words} is not in: {}", run.text);
        assert_eq!(run.code, Some(code), "{}", run.text);
    };
    check(&signed, "answers in", 0);
    check(&config(""), "status 401", 1);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    check(&signed, "moderation.hook.signing_key_file", 64);
}

#[test]
fn the_document_shows_the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("docs/moderation.md")).unwrap();
    let example = std::fs::read_to_string(root.join("examples/review_hook.py")).unwrap();
    let code = example.split_once("from pathlib import Path\n\n").unwrap().1;
    assert!(document.contains(code.trim()), "docs/moderation.md has another example");
}
