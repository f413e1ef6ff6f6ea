//! Load and replays: their reports where output is not taken, their ends by signals, and the
//! certificate that they accept.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use live_comments::protocol::admin::Status;
use serde_json::Value;

use super::{ENDING, Running, closed_pipe, dev_full};
use crate::support::{Daemon, PATIENCE, lc};

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
