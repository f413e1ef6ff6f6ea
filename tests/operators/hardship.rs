//! A daemon on a bad day: its disk is full or hangs, nobody reads its log, its admin socket is
//! deleted, and its clock jumps. Acknowledged comments stay, operators are told, and it drains in
//! the end.

#![allow(clippy::unwrap_used)]

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use live_comments::client::viewer::ViewerOptions;
use live_comments::daemon::base::clock::{Clock, SystemClock};
use live_comments::daemon::base::config::{self, Overrides};
use live_comments::daemon::base::log_output::Log;
use live_comments::daemon::node::{process, run};
use live_comments::protocol::admin::{Outcome, SanctionRequest, Status, UserRef};
use live_comments::protocol::{CommentId, ErrorCode, ServerMessage};
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::{
    Daemon, PATIENCE, STREAM, SmallDisk, Viewer, archived, comment, free_address, history, http,
};

/// Nothing is sampled out. Small segments, so that the log needs little of a small disk.
const CONFIG: &str = "broadcast.throttle = [{ from_per_second = 0.0, sample_rate = 1.0 }]\n\
                      eventlog.segment_bytes = \"1 MiB\"\n";
/// Time within which operators are told.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
const SENDERS: u64 = 4;

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

async fn readyz(daemon: &Daemon) -> u16 {
    http(daemon, "GET", "/readyz", &[], None).await.0
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
    let shown: Status = serde_json::from_str(&text).unwrap();
    let first = &shown.warnings[0];
    assert!(first.contains("full") && first.contains("make space"), "named first: {text}");
    until("it is not ready", TOLD_WITHIN, async || readyz(&daemon).await == 503).await;
    // Viewers stay.
    sender.send(&live_comments::protocol::ClientMessage::Ping).await;
    sender.until(|message| matches!(message, ServerMessage::Pong).then_some(())).await;
    disk.empty();
    // Also while nobody comments: no viewer is sent to a node that is not ready.
    let well = async || readyz(&daemon).await == 200 && !disk_is_full(&daemon).await;
    until("it is ready and the problem is solved", PATIENCE, well).await;
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
    let request = SanctionRequest {
        stream_id: None,
        user: UserRef("77".to_owned()),
        reason: None,
        note: None,
        duration_ms: None,
    };
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

/// A clock that a test sets: the system's, and an offset that is read from a file.
#[derive(Debug)]
struct JumpingClock {
    offset: PathBuf,
    last_s: std::sync::atomic::AtomicI64,
}

impl Clock for JumpingClock {
    fn now(&self) -> Duration {
        use std::sync::atomic::Ordering;
        let read = std::fs::read_to_string(&self.offset).ok();
        if let Some(offset_s) = read.and_then(|text| text.trim().parse().ok()) {
            self.last_s.store(offset_s, Ordering::Relaxed);
        }
        let offset_s = self.last_s.load(Ordering::Relaxed);
        let offset = Duration::from_secs(offset_s.unsigned_abs());
        if offset_s < 0 { SystemClock.now() - offset } else { SystemClock.now() + offset }
    }
}

/// Runs the daemon in a process of its own, as `lcd` does, on a [`JumpingClock`].
#[test]
#[ignore = "is started by another test"]
fn child_daemon_with_a_clock() {
    let Some(directory) = std::env::var_os("TEST_DIRECTORY") else { return };
    let directory = Path::new(&directory);
    let listen = std::env::var("TEST_LISTEN").unwrap().parse().unwrap();
    let offset = PathBuf::from(std::env::var_os("TEST_CLOCK").unwrap());
    let _log = Log::start("info");
    let overrides = Overrides {
        listen: Some(listen),
        data_dir: Some(directory.join("data")),
        ..Overrides::default()
    };
    let config = config::load(Some(&directory.join("lcd.toml")), overrides).unwrap();
    let force_after = config.shutdown.force_after;
    let clock = Arc::new(JumpingClock { offset, last_s: 0.into() });
    let node = run::run_with_clock(config, clock, run::termination());
    process::run_to_end(node, force_after).unwrap();
    // The test harness would print to a pipe that nobody reads any more.
    std::process::exit(0);
}

/// The comments that were acknowledged, and what was refused.
#[derive(Debug, Default)]
struct Sent {
    acked: Vec<(u64, CommentId, String)>,
    refused: usize,
}

/// Sends comments one after another, and each again until it is acknowledged.
async fn send(options: ViewerOptions, user: u64, sent: Arc<Mutex<Sent>>, stop: CancellationToken) {
    let mut sender = Viewer::join(options).await;
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        let text = format!("{user} says {number}");
        loop {
            match try_comment(&mut sender, &text, &format!("r{number}")).await {
                Ok((comment_id, seq)) => {
                    sent.lock().acked.push((seq, comment_id, text));
                    break;
                }
                Err(code) => {
                    assert!(code.retry(), "{code}");
                    sent.lock().refused += 1;
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        sleep(Duration::from_millis(10)).await;
    }
}

struct Load {
    sent: Arc<Mutex<Sent>>,
    senders: JoinSet<()>,
    viewers: JoinSet<Viewer>,
    stop: CancellationToken,
}

impl Load {
    async fn start(daemon: &Daemon) -> Self {
        let mut viewers = JoinSet::new();
        for _ in 0..2 {
            let mut viewer = daemon.watch().await;
            viewers.spawn(async move {
                while viewer.next().await.is_ok() {}
                viewer
            });
        }
        let sent = Arc::<Mutex<Sent>>::default();
        let stop = CancellationToken::new();
        let mut senders = JoinSet::new();
        for user in 1..=SENDERS {
            let token = daemon.token_with(user, &format!("user {user}"), |claims| {
                claims.comments_per_minute = Some(0);
                // Valid whatever the daemon's clock says.
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
                claims.iat = now - 24 * 3600;
                claims.exp = now + 24 * 3600;
            });
            let options = ViewerOptions { token: Some(token.into()), ..daemon.options() };
            senders.spawn(send(options, user, sent.clone(), stop.clone()));
        }
        Self { sent, senders, viewers, stop }
    }

    /// Waits until many more comments were acknowledged.
    async fn goes_on(&self, what: &str) {
        let before = self.sent.lock().acked.len();
        let more = async || self.sent.lock().acked.len() > before + 100;
        until(&format!("comments are acknowledged {what}"), PATIENCE, more).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts a tmpfs: needs root"]
async fn nothing_acknowledged_is_lost_on_a_bad_day() {
    let disk = SmallDisk::mount(64);
    let directory = disk.for_daemon();
    let elsewhere = tempfile::tempdir().unwrap();
    let clock = elsewhere.path().join("clock");
    let set_clock = |hours: i64| {
        let new = clock.with_extension("new");
        std::fs::write(&new, (hours * 3600).to_string()).unwrap();
        std::fs::rename(&new, &clock).unwrap();
    };
    set_clock(0);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "operators::hardship::child_daemon_with_a_clock",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("TEST_DIRECTORY", directory.path())
        .env("TEST_LISTEN", free_address().to_string())
        .env("TEST_CLOCK", &clock)
        .stderr(Stdio::piped());
    let mut daemon = Daemon::start_command(directory, CONFIG, command);
    let mut log = daemon.take_stderr().unwrap();
    let mut load = Load::start(&daemon).await;
    load.goes_on("at first").await;

    // Whoever reads its log goes away, as a log collector that is restarted.
    let mut some = [0; 16];
    let _ = log.read(&mut some).unwrap();
    drop(log);
    set_clock(3);
    load.goes_on("with the clock three hours ahead").await;
    disk.fill();
    until("comments are refused", PATIENCE, async || load.sent.lock().refused > 0).await;
    until("status names it", TOLD_WITHIN, async || disk_is_full(&daemon).await).await;
    disk.empty();
    load.goes_on("when there is space again").await;
    set_clock(-3);
    load.goes_on("with the clock three hours behind").await;
    std::fs::remove_file(daemon.socket()).unwrap();
    daemon.signal(Signal::SIGHUP);
    let answers = async || daemon.admin().get::<Status>("/v1/status").await.is_ok();
    until("the admin socket is made again", PATIENCE, answers).await;
    until("the problem is solved", TOLD_WITHIN, async || !disk_is_full(&daemon).await).await;
    set_clock(0);
    load.goes_on("with the right clock").await;

    load.stop.cancel();
    while let Some(sender) = load.senders.join_next().await {
        sender.unwrap();
    }
    // SIGTERM drains, within the deadline.
    let began = Instant::now();
    let stopped = tokio::task::block_in_place(|| daemon.terminate());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let mut acked = std::mem::take(&mut load.sent.lock().acked);
    acked.sort_unstable_by_key(|(seq, _, _)| *seq);
    let acked_ids: Vec<_> = acked.iter().map(|(_, id, _)| *id).collect();
    println!("{} comments acknowledged, {} refusals", acked.len(), load.sent.lock().refused);
    while let Some(viewer) = load.viewers.join_next().await {
        let viewer = viewer.unwrap();
        assert_eq!(viewer.gaps, []);
        assert!(ids(&viewer.comments) == acked_ids, "viewers see each once, in the log's order");
    }
    let daemon = stopped.restart();
    archived(&daemon).await;
    let stored = history(&daemon, STREAM).await;
    assert_eq!(stored.len(), acked_ids.len());
    assert!(ids(&stored) == acked_ids, "history is in the log's order, whatever the clock said");
}
