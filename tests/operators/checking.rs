//! `lcd check`: it finds what the start finds, creates nothing, and may run beside a daemon.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use live_comments::protocol::admin::Status;

use crate::support::lcd::{Run, lcd};
use crate::support::{Daemon, PATIENCE, STREAM, archived, history};

/// The configuration is invalid (`EX_USAGE` of sysexits.h).
const INVALID: Option<i32> = Some(64);

#[test]
fn check_and_start_find_the_same_faults() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "no certificate\n").unwrap();
    let empty = empty.display();
    let missing = directory.path().join("missing");
    let missing = missing.display();
    for (config, named) in [
        (
            format!("gateway.tls = {{ certificate = \"{missing}\", key = \"{missing}\" }}"),
            "tls.key",
        ),
        (
            format!("gateway.tls = {{ certificate = \"{empty}\", key = \"{empty}\" }}"),
            "certificate",
        ),
        (format!("moderation.rules.blocked_words_file = \"{missing}\""), "missing"),
        (format!("auth.keys = [{{ algorithm = \"ES256\", file = \"{missing}\" }}]"), "auth.keys"),
        (format!("auth.keys = [{{ algorithm = \"RS256\", file = \"{empty}\" }}]"), "RS256"),
        (format!("auth.signing_key = \"{missing}\""), "auth.signing_key"),
        ("node.roles = [\"edge\"]".to_owned(), "node.roles"),
        ("store.archive_batch = 0\ndelivery.ring_frames = 0".to_owned(), "delivery.ring_frames"),
        ("store.archive_batch = 0\ndelivery.ring_frames = 0".to_owned(), "store.archive_batch"),
        ("nonsense = 1".to_owned(), "nonsense"),
    ] {
        for words in [&["check"][..], &[]] {
            let run = lcd(&config, &data, "127.0.0.1:0", words);
            assert_eq!(run.code, INVALID, "{config} {words:?}: {}", run.text);
            assert!(run.text.contains(named), "{config} {words:?}: {}", run.text);
            assert!(!data.exists(), "{config} {words:?} has created the data directory");
        }
    }
}

#[test]
fn check_reports_everything_and_creates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let fine = lcd("", &data, "127.0.0.1:0", &["check"]);
    assert_eq!(fine.code, Some(0), "{}", fine.text);
    assert!(fine.text.contains("will be created"), "{}", fine.text);
    assert!(!data.exists());
    let config = "auth.keys = [{ algorithm = \"ES256\", file = \"/nowhere/one\" }, \
                  { algorithm = \"ES256\", file = \"/nowhere/two\" }]
        engines.bus = \"redis\"
        redis.nodes = [\"redis://127.0.0.1:1\", \"redis://127.0.0.1:2\"]
        gateway.tls = { certificate = \"/nowhere/chain\", key = \"/nowhere/key\" }";
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let run = lcd(config, &data, &listen, &["check"]);
    assert_eq!(run.code, INVALID);
    for named in [
        "/nowhere/one",
        "/nowhere/two",
        "/nowhere/chain",
        "/nowhere/key",
        "127.0.0.1:1",
        "127.0.0.1:2",
        &listen,
    ] {
        assert!(run.text.contains(named), "{named} is not in:\n{}", run.text);
    }
    assert!(!data.exists());
}

/// Returns the names of all files, without those that a running daemon creates by itself.
fn files(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.path().is_dir() {
            names.extend(files(&entry.path()));
        }
        let name = entry.path().display().to_string();
        names.extend((!name.ends_with(".position")).then_some(name));
    }
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_daemon_is_not_disturbed() {
    let daemon = Daemon::start("");
    let mut viewer = daemon.join(7, "ann").await;
    viewer.comment("before").await;
    archived(&daemon).await;
    let before = files(&daemon.data_dir());
    for _ in 0..3 {
        let listen = daemon.address.to_string();
        let run = lcd("", &daemon.data_dir(), &listen, &["check"]);
        assert_eq!(run.code, Some(0), "{}", run.text);
        assert!(run.text.contains("is in use by the running node"), "{}", run.text);
        viewer.comment("meanwhile").await;
    }
    assert_eq!(files(&daemon.data_dir()), before, "nothing is created or removed");
    archived(&daemon).await;
    assert_eq!(history(&daemon, STREAM).await.len(), 4);
    let status: Status = daemon.admin().get("/v1/status").await.unwrap();
    assert!(status.ready && status.warnings.is_empty(), "{:?}", status.warnings);
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = format!("node.admin_socket = \"{}/s\"", elsewhere.path().display());
    let second = lcd(&elsewhere, &daemon.data_dir(), "127.0.0.1:0", &["check"]);
    assert_eq!(second.code, Some(1), "a check with another socket: {}", second.text);
    assert!(second.text.contains("does not answer on the admin socket"), "{}", second.text);
    let second = lcd("", &daemon.data_dir(), "127.0.0.1:0", &[]);
    assert_eq!(second.code, Some(1), "a second daemon on the directory: {}", second.text);
    assert!(second.text.contains("--data-dir"), "{}", second.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_daemon_that_is_impaired_is_told() {
    let daemon = Daemon::start("");
    daemon.join(7, "ann").await.comment("before").await;
    let listen = daemon.address.to_string();
    let topic = daemon.data_dir().join("log/comment_events");
    let segment = std::fs::read_dir(&topic)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "log"))
        .unwrap();
    let elsewhere = daemon.data_dir().join("elsewhere");
    std::fs::rename(&segment, &elsewhere).unwrap();
    let check = || lcd("", &daemon.data_dir(), &listen, &["check"]);
    let named = segment.to_str().unwrap();
    let text = until(check, |run| run.code == Some(1) && run.text.contains(named));
    assert!(text.contains("running node"), "{text}");
    std::fs::rename(&elsewhere, &segment).unwrap();
    until(check, |run| run.code == Some(0));
}

/// Checks again until the outcome is as wanted, and returns its text.
fn until(check: impl Fn() -> Run, is_wanted: impl Fn(&Run) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let run = check();
        if is_wanted(&run) {
            return run.text;
        }
        assert!(Instant::now() < deadline, "{}", run.text);
        // Each check is a process.
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_data_directory_is_told() {
    let elsewhere = tempfile::tempdir().unwrap();
    let config = format!("node.admin_socket = \"{}/s\"", elsewhere.path().display());
    let daemon = Daemon::start(&config);
    let data = daemon.data_dir();
    let listen = daemon.address.to_string();
    let run = lcd(&config, &data, &listen, &["check"]);
    assert_eq!(run.code, Some(0), "{}", run.text);
    std::fs::rename(&data, elsewhere.path().join("data")).unwrap();
    let run = lcd(&config, &data, &listen, &["check"]);
    assert_eq!(run.code, Some(1), "{}", run.text);
    assert!(run.text.contains("the directory is gone"), "{}", run.text);
    assert!(!data.exists(), "a check creates nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_of_the_past_does_not_fail_the_check() {
    let daemon = Daemon::start("");
    daemon.join(7, "ann").await.comment("before").await;
    archived(&daemon).await;
    let stopped = daemon.kill();
    std::fs::remove_dir_all(stopped.data_dir().join("log/comment_events")).unwrap();
    let daemon = stopped.restart();
    let listen = daemon.address.to_string();
    let run = lcd("", &daemon.data_dir(), &listen, &["check"]);
    assert_eq!(run.code, Some(0), "{}", run.text);
    assert!(run.text.contains("note, ") && run.text.contains("lc acknowledge"), "{}", run.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_of_another_node_is_refused() {
    let daemon = Daemon::start("");
    let other = tempfile::tempdir().unwrap();
    let socket = daemon.data_dir().join("admin.sock");
    let config = format!("node.admin_socket = \"{}\"", socket.display());
    for words in [&["check"][..], &[]] {
        let run = lcd(&config, &other.path().join("data"), "127.0.0.1:0", words);
        assert_eq!(run.code, Some(1), "{words:?}: {}", run.text);
        assert!(run.text.contains(socket.to_str().unwrap()), "{words:?}: {}", run.text);
    }
}

#[test]
fn directories_that_cannot_be_made_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let run = lcd("", Path::new("/proc/lcd"), "127.0.0.1:0", &["check"]);
    assert_eq!(run.code, Some(1), "{}", run.text);
    for part in ["/proc/lcd (node.data_dir)", "in /proc", "--data-dir", "this user can create"] {
        assert!(run.text.contains(part), "{part} is not in:\n{}", run.text);
    }
    let socket = "node.admin_socket = \"/proc/lcd/admin.sock\"";
    let run = lcd(socket, &data, "127.0.0.1:0", &["check"]);
    assert_eq!(run.code, Some(1), "{}", run.text);
    assert!(run.text.contains("/proc/lcd/admin.sock (node.admin_socket)"), "{}", run.text);
    // The log of another user, or on a file system that became read-only.
    std::fs::create_dir_all(data.join("log")).unwrap();
    std::os::unix::fs::symlink("/proc", data.join("log/comment_events")).unwrap();
    let run = lcd("", &data, "127.0.0.1:0", &["check"]);
    assert_eq!(run.code, Some(1), "{}", run.text);
    assert!(run.text.contains("log/comment_events"), "{}", run.text);
    let left: Vec<_> = std::fs::read_dir(&data).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_check() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lcd"))
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .args(["--listen", "127.0.0.1:0", "check"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
