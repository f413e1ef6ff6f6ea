//! The clients in Python, which are written from `docs/protocol.md` and share no code with the
//! daemon: both encodings see the same comments, over a lost connection and a gap.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::{Role, ServerMessage};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::support::python::python_program;
use crate::support::{Daemon, Viewer, comment};

const COMMENTS: usize = 10_000;
/// Time that the clients may take for all comments; only a failing test reaches it.
const PATIENCE: Duration = Duration::from_secs(90);

/// Forwards connections to a daemon. While it is cut, it has none and takes none.
struct Cable {
    address: SocketAddr,
    whole: Arc<watch::Sender<bool>>,
}

impl Cable {
    async fn to(daemon: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let whole = Arc::new(watch::Sender::new(true));
        let state = whole.clone();
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut state = state.subscribe();
                tokio::spawn(async move {
                    if !*state.borrow() {
                        return;
                    }
                    let mut far = TcpStream::connect(daemon).await.unwrap();
                    tokio::select! {
                        // The connection ended by itself, in whatever way.
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|whole| !*whole) => {}
                    }
                });
            }
        });
        Self { address, whole }
    }

    fn cut(&self) {
        self.whole.send_replace(false);
    }

    fn mend(&self) {
        self.whole.send_replace(true);
    }
}

/// A running example in Python, which is killed on drop.
struct PythonClient {
    child: Child,
    shown: watch::Receiver<Vec<Value>>,
    reports: JoinHandle<String>,
}

impl PythonClient {
    fn start(cable: &Cable, encoding: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(python_program("python3"))
            .arg(root.join("examples/watch_stream.py"))
            .arg(format!("ws://{}/ws/1", cable.address))
            .args(["--encoding", encoding, "--count", &COMMENTS.to_string()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, shown) = watch::channel(Vec::new());
        spawn_blocking(move || {
            for line in lines.map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap();
                sender.send_modify(|shown| shown.push(line));
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let reports = spawn_blocking(move || {
            let mut reports = String::new();
            stderr.read_to_string(&mut reports).unwrap();
            reports
        });
        Self { child, shown, reports }
    }

    async fn until_shown(&mut self, count: usize) {
        let enough = timeout(PATIENCE, self.shown.wait_for(|shown| shown.len() >= count)).await;
        enough.expect("the comments in time").expect("it is still running");
    }

    /// Waits for the end. Returns what it showed and what it reported.
    async fn finish(mut self) -> (Vec<Value>, String) {
        self.until_shown(COMMENTS).await;
        let reports = timeout(PATIENCE, &mut self.reports).await.expect("an end in time").unwrap();
        assert!(self.child.wait().unwrap().success(), "{reports}");
        let shown = self.shown.borrow().clone();
        (shown, reports)
    }
}

impl Drop for PythonClient {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(number: usize) -> String {
    format!("{number} 👍🏽 \"naïve\" \u{1F525}")
}

/// Posts comments and waits until all of them are stored.
async fn post(sender: &mut Viewer, numbers: std::ops::Range<usize>) {
    for batch in numbers.collect::<Vec<_>>().chunks(100) {
        for number in batch {
            sender.send(&comment(&text(*number), &format!("r{number}"))).await;
        }
        for _ in batch {
            sender
                .until(|message| match message {
                    ServerMessage::Ack { .. } => Some(()),
                    ServerMessage::Error { code, message, .. } => panic!("{code}: {message}"),
                    _ => None,
                })
                .await;
        }
    }
}

/// While the connection is cut, the stream moves on further than a returning viewer is served, so
/// the clients also have to fill a gap from the history.
#[tokio::test]
async fn python_clients_see_all_over_a_cut_and_a_gap() {
    let daemon = Daemon::start(
        "[delivery]\nresume_comments = 500\n[store]\nrecent_events = 500\n\
         [[broadcast.throttle]]\nfrom_per_second = 0.0\nsample_rate = 1.0\n",
    );
    let cable = Cable::to(daemon.address).await;
    let mut clients = ["json", "msgpack"].map(|encoding| PythonClient::start(&cable, encoding));
    let token = Some(daemon.token_of(42, "ann \u{1F525}", Role::Admin).into());
    let mut sender = Viewer::join(ViewerOptions { token, ..daemon.options() }).await;
    // The clients begin at the newest comment, so they must be there first.
    let present = |message: &ServerMessage| match message {
        ServerMessage::Presence { viewers: 3 } => Some(()),
        _ => None,
    };
    if sender.welcome.viewers < 3 {
        sender.until(present).await;
    }
    post(&mut sender, 0..4000).await;
    for client in &mut clients {
        client.until_shown(2000).await;
    }
    cable.cut();
    post(&mut sender, 4000..9000).await;
    cable.mend();
    post(&mut sender, 9000..COMMENTS).await;
    let expected: Vec<String> = (0..COMMENTS).map(text).collect();
    let mut all = Vec::new();
    for client in clients {
        let (shown, reports) = client.finish().await;
        let texts: Vec<&str> = shown.iter().map(|it| it["message"].as_str().unwrap()).collect();
        assert!(texts.iter().eq(&expected), "{} shown: {reports}", texts.len());
        assert!(reports.contains("skipped "), "there was no gap: {reports}");
        all.push(shown);
    }
    assert!(all[0] == all[1], "both encodings carry the same comments");
    assert_eq!(all[0][0]["name"], "ann \u{1F525}");
}
