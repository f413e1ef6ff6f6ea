//! A daemon whose log nobody takes, and one that is signalled.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use live_comments::client::Endpoint;
use live_comments::client::admin::AdminClient;
use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::admin::{ProblemCode, Status};
use live_comments::protocol::{CloseCode, UserId};
use nix::sys::signal::Signal;

use super::{LC, LCD, Running, closed_pipe, dev_full, full_pipe};
use crate::support::{PATIENCE, STREAM, Viewer};

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
