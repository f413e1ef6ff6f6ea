//! A daemon on a bad day: its disk is full, or hangs. Acknowledged comments stay, operators are
//! told, and it drains in the end.

#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use live_comments::protocol::admin::{Outcome, SanctionRequest, Status, UserRef};
use live_comments::protocol::{CommentId, ErrorCode, ServerMessage};
use nix::sys::signal::Signal;
use support::{Daemon, PATIENCE, STREAM, SmallDisk, Viewer, archived, comment, history};
use tokio::time::{Instant, sleep, timeout};

/// Nothing is sampled out. Small segments, so that the log needs little of a small disk.
const CONFIG: &str = "broadcast.throttle = [{ from_per_second = 0.0, sample_rate = 1.0 }]\n\
                      eventlog.segment_bytes = \"1 MiB\"\n";
/// Time within which operators are told.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// Waits until a condition holds.
async fn until(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(patience, waiting).await.unwrap_or_else(|_| panic!("{what} within {patience:?}"));
}

/// Returns whether `lc status` of a daemon names a full disk. Without an answer it does not.
async fn disk_is_full(daemon: &Daemon) -> bool {
    let status: Option<Status> = daemon.admin().get("/v1/status").await.ok();
    status.is_some_and(|status| status.problems.iter().any(|problem| problem.code == "disk_full"))
}

fn lc_status(daemon: &Daemon) -> Output {
    let lc = Command::new(env!("CARGO_BIN_EXE_lc"))
        .arg("--socket")
        .arg(daemon.socket())
        .arg("status")
        .stdin(Stdio::null())
        .output();
    lc.unwrap()
}

/// Sends one comment. Returns its id and seq, or the code of its refusal.
async fn try_comment(
    sender: &mut Viewer,
    text: &str,
    client_ref: &str,
) -> Result<(CommentId, u64), ErrorCode> {
    sender.send(&comment(text, client_ref)).await;
    sender
        .until(|message| match message {
            ServerMessage::Ack { client_ref: Some(acked), comment_id, seq }
                if &**acked == client_ref =>
            {
                Some(Ok((*comment_id, *seq)))
            }
            ServerMessage::Error { code, client_ref: Some(refused), .. }
                if &**refused == client_ref =>
            {
                Some(Err(*code))
            }
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts a tmpfs: needs root"]
async fn a_full_disk_is_named_and_loses_nothing() {
    let disk = SmallDisk::mount(48);
    let daemon = Daemon::start_on(disk.for_daemon(), CONFIG);
    let mut viewer = daemon.watch().await;
    let mut sender = daemon.join(42, "ann").await;
    let mut acked = vec![sender.comment("before").await.0];
    assert!(!disk_is_full(&daemon).await);
    disk.fill();
    let full_since = Instant::now();
    // Some comments still fit into what the file system had given to the log before.
    let mut number = 0;
    let refused = loop {
        number += 1;
        match try_comment(&mut sender, &"y".repeat(450), &format!("fits {number}")).await {
            Ok((id, _)) => acked.push(id),
            Err(code) => break code,
        }
        assert!(number < 10_000, "the disk is not full");
    };
    assert_eq!(refused, ErrorCode::StorageFull);
    assert!(refused.retry(), "waiting can help");
    until("lc status names it", TOLD_WITHIN, async || disk_is_full(&daemon).await).await;
    assert!(full_since.elapsed() < PATIENCE);
    let status = lc_status(&daemon);
    let text = String::from_utf8_lossy(&status.stdout);
    assert_eq!(status.status.code(), Some(3), "{text}");
    let first = text.lines().find(|line| line.starts_with("warning:")).unwrap_or_default();
    assert!(first.contains("full") && first.contains("make space"), "named first: {text}");
    // Viewers stay.
    sender.send(&live_comments::protocol::ClientMessage::Ping).await;
    sender.until(|message| matches!(message, ServerMessage::Pong).then_some(())).await;
    disk.empty();
    let recovered = async || match try_comment(&mut sender, "after", "after").await {
        Ok((id, _)) => {
            acked.push(id);
            true
        }
        Err(code) => {
            assert!(code.retry(), "{code}");
            false
        }
    };
    until("comments are accepted again", PATIENCE, recovered).await;
    until("the problem is solved", TOLD_WITHIN, async || !disk_is_full(&daemon).await).await;
    let request =
        SanctionRequest { user: UserRef("77".to_owned()), reason: None, duration_ms: None };
    let banned = async || daemon.admin().post::<_, Outcome>("/v1/ban", &request).await.is_ok();
    until("users can be banned again", PATIENCE, banned).await;
    let (last, seq) = sender.comment("the end").await;
    acked.push(last);
    viewer.until_seq(seq).await;
    assert_eq!(ids(&viewer.comments), acked, "viewers see what was acknowledged");
    let daemon = daemon.terminate().restart();
    archived(&daemon).await;
    assert_eq!(ids(&history(&daemon, STREAM).await), acked, "and history has it, in order");
}

fn ids(comments: &[live_comments::protocol::SequencedComment]) -> Vec<CommentId> {
    comments.iter().map(|comment| comment.comment_id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_reload_does_not_keep_the_daemon_alive() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["chat.test".to_owned()]).unwrap();
    let [certificate, key] = ["fullchain.pem", "key.pem"].map(|name| directory.path().join(name));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let daemon = Daemon::start(&format!(
        "shutdown = {{ deadline = \"2s\", force_after = \"1s\" }}\n\
         gateway.tls = {{ certificate = {certificate:?}, key = {key:?} }}\n"
    ));
    // The certificate's name is now that of a pipe into which nothing is written, so reading it
    // never ends.
    std::fs::remove_file(&certificate).unwrap();
    nix::unistd::mkfifo(&certificate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    daemon.signal(Signal::SIGHUP);
    let mut writer = None;
    let is_read = async || {
        let mut options = std::fs::OpenOptions::new();
        let only_with_a_reader = nix::fcntl::OFlag::O_NONBLOCK.bits();
        writer = options.write(true).custom_flags(only_with_a_reader).open(&certificate).ok();
        writer.is_some()
    };
    until("the certificate is read", PATIENCE, is_read).await;
    let began = Instant::now();
    // The reading thread never ends. It is left behind `force_after` the drain.
    tokio::task::block_in_place(|| daemon.terminate());
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}: it waits for tasks as long as it may");
    assert!(took < Duration::from_secs(10), "{took:?}");
}
