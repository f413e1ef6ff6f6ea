//! Moderation as tests see it: rules, the review queue, checks before publication, deletions, and
//! moderators with `lc`.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::admin::{AuditEntry, Cluster, Outcome, ReviewItem};
use live_comments::protocol::comment::Deletion;
use live_comments::protocol::{ServerMessage, StreamPosition};
use serde_json::json;
use tokio::time::timeout;

use super::{Daemon, PATIENCE, STREAM, Viewer, history, moderated, msgpack};

/// Rules that reject a word.
pub const BLOCKED: &str = "[moderation.rules]\nblocked_words = [\"badword\"]\n";
/// Rules that put comments with a word into the review queue.
pub const HOLD: &str =
    "[moderation.rules]\nblocked_words = [\"badword\"]\nblocked_word_action = \"flag\"\n";

/// Returns the review queue, which may lack what was queued within the last second.
pub async fn queue(daemon: &Daemon) -> Vec<ReviewItem> {
    let queue: Cluster<ReviewItem> = daemon.admin().get("/v1/mod/queue?limit=200").await.unwrap();
    queue.items
}

/// Waits until this many comments are in the review queue.
pub async fn queue_of(daemon: &Daemon, length: usize) -> Vec<ReviewItem> {
    let filled = async {
        loop {
            let items = queue(daemon).await;
            if items.len() >= length {
                return items;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let items = timeout(PATIENCE, filled).await.expect("a review");
    assert_eq!(items.len(), length, "{items:?}");
    items
}

/// Lets stream 1 check comments before they are shown, with a deadline that a busy machine keeps.
pub async fn check_before_showing(daemon: &Daemon) {
    let patient = json!({"checks": {"deadline_ms": 10_000}});
    let _: Outcome = daemon.admin().post("/v1/streams/1/room", &patient).await.unwrap();
    let sync = json!({"moderation": "sync"});
    let _: Outcome = daemon.admin().post("/v1/streams/1", &sync).await.unwrap();
}

/// Returns the deletion that a message tells of.
pub fn deletion(message: &ServerMessage) -> Option<Deletion> {
    match message {
        ServerMessage::CommentDeleted(deletion) => Some(deletion.clone()),
        _ => None,
    }
}

/// Starts a daemon whose comments only the rules check, so that what the model thinks of a text
/// changes nothing.
pub fn rules_only(config: &str) -> Daemon {
    Daemon::start(&format!("[moderation]\nstages = [\"rules\"]\n{config}"))
}

/// Makes a change over the admin socket.
pub async fn post(daemon: &Daemon, path: &str, body: serde_json::Value) -> Outcome {
    daemon.admin().post(path, &body).await.unwrap()
}

/// Returns the texts in history once every comment was moderated.
pub async fn stored_texts(daemon: &Daemon) -> Vec<String> {
    moderated(daemon).await;
    history(daemon, STREAM).await.into_iter().map(|comment| comment.message.to_string()).collect()
}

/// Returns what a viewer sees that connects with a position, up to `seq`.
pub async fn seen_since(daemon: &Daemon, start: StreamPosition, seq: u64) -> Vec<String> {
    let mut seen = Vec::new();
    for options in [daemon.options(), msgpack(daemon.options())] {
        let mut late = Viewer::join(ViewerOptions { resume: Some(start), ..options }).await;
        late.until_seq(seq).await;
        seen.push(late.texts().iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    }
    assert_eq!(seen[0], seen[1], "both encodings show the same");
    seen.swap_remove(0)
}

/// Prepares `lc` as a moderator of this name runs it.
pub fn lc_of(name: &str, daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lc"));
    command
        .arg("--socket")
        .arg(daemon.socket())
        .args(arguments)
        .env("USER", name)
        .env_remove("SUDO_USER")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs `lc` as a moderator of this name.
pub fn run_lc_of(name: &str, daemon: &Daemon, arguments: &[&str]) -> Output {
    let mut command = lc_of(name, daemon, arguments);
    tokio::task::block_in_place(|| command.output().unwrap())
}

/// Returns what a program wrote on standard error.
pub fn errors_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the actions in the audit log, the newest first.
pub async fn audit_actions(daemon: &Daemon) -> Vec<String> {
    let log: Cluster<AuditEntry> = daemon.admin().get("/v1/audit").await.unwrap();
    log.items.into_iter().map(|entry| entry.action).collect()
}
