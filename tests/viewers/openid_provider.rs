//! Tokens of an OpenID provider that nobody here wrote: npm `oidc-provider`, which signs a user in
//! as a browser does. Discovery, the keys, their rotation, and their withdrawal.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use live_comments::client::viewer::{ConnectError, ViewerConnection, ViewerError, ViewerOptions};
use live_comments::protocol::{CloseCode, ErrorCode};

use crate::support::{Daemon, PATIENCE, Viewer};

/// The shortest time between two readings of the keys.
const REFRESH: Duration = Duration::from_secs(10);

/// The provider of `tests/openid`, which is stopped on drop.
struct Provider {
    child: Child,
    commands: ChildStdin,
    /// The lines that it writes. Ends with it.
    lines: Receiver<String>,
    issuer: String,
}

impl Provider {
    fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openid");
        let packages = folder.join("node_modules");
        assert!(packages.exists(), "{} is missing: run scripts/setup", packages.display());
        let mut child = Command::new("node")
            .arg("provider.js")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is installed");
        let commands = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        // Ends with the provider, or when the test no longer listens.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut provider = Self { child, commands, lines, issuer: String::new() };
        provider.issuer = provider.answer();
        provider
    }

    fn answer(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("the provider answers");
            if let Some(answer) = line.trim_end().strip_prefix("ok") {
                return answer.trim_start().to_owned();
            }
        }
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        self.answer()
    }

    fn config(&self) -> String {
        let issuer = &self.issuer;
        format!("[auth]\noidc_issuer = \"{issuer}\"\naudience = \"chat\"\njwks_refresh = \"10s\"\n")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with(daemon: &Daemon, token: &str) -> ViewerOptions {
    ViewerOptions { token: Some(token.into()), ..daemon.options() }
}

async fn refusal(daemon: &Daemon, token: &str) -> Option<ErrorCode> {
    match ViewerConnection::join(&with(daemon, token)).await {
        Ok(_) => None,
        Err(ConnectError::NotWelcome { error: ViewerError::Refused { code, .. }, .. }) => {
            Some(code)
        }
        Err(other) => panic!("{other}"),
    }
}

/// Follows the stream by server-sent events until the daemon ends them. Returns after the request
/// was answered.
fn follow_events(daemon: &Daemon, token: &str) -> tokio::task::JoinHandle<String> {
    let mut socket = TcpStream::connect(daemon.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        socket,
        "GET /api/streams/1/events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    tokio::task::spawn_blocking(move || {
        let mut events = String::new();
        socket.read_to_string(&mut events).unwrap();
        events
    })
}

#[tokio::test]
async fn users_of_a_real_provider_get_in() {
    let mut provider = Provider::start();
    let daemon = Daemon::start(&provider.config());
    let token = provider.ask("token auth0|5f7c8ec7-c33c-6c00-4bba-fe82");
    let viewer = Viewer::join(with(&daemon, &token)).await;
    let ann = viewer.welcome.user.clone().unwrap();
    assert!(ann.user_id.0 >= 1 << 62, "the user is named by a text: {ann:?}");
    assert_eq!((&*ann.name, ann.avatar.as_deref()), ("ann", Some("https://img.example/ann.png")));
    let again = provider.ask("token auth0|5f7c8ec7-c33c-6c00-4bba-fe82");
    let again = Viewer::join(with(&daemon, &again)).await;
    assert_eq!(again.welcome.user.unwrap().user_id, ann.user_id);
    let other = provider.ask("token b0b");
    let mut other = Viewer::join(with(&daemon, &other)).await;
    assert_ne!(other.welcome.user.clone().unwrap().user_id, ann.user_id);
    other.comment("hello").await;
    let mut forged = token.clone();
    forged.truncate(token.len() - 8);
    forged.push_str("AAAAAAAA");
    assert_eq!(refusal(&daemon, &forged).await, Some(ErrorCode::TokenSignature));
    // A provider that the daemon does not know has the same client, and a key of the same name.
    let mut stranger = Provider::start();
    let foreign = stranger.ask("token auth0|5f7c8ec7-c33c-6c00-4bba-fe82");
    assert_eq!(refusal(&daemon, &foreign).await, Some(ErrorCode::TokenSignature));
}

#[tokio::test]
async fn keys_of_a_real_provider_rotate() {
    let mut provider = Provider::start();
    let daemon = Daemon::start(&provider.config());
    let old = provider.ask("token ann");
    let mut watching = Viewer::join(with(&daemon, &old)).await;
    provider.ask("keys two one");
    let new = provider.ask("token ann");
    let rotated = Instant::now();
    while let Some(code) = refusal(&daemon, &new).await {
        assert_eq!(code, ErrorCode::IdentityUnavailable, "clients retry it");
        assert!(rotated.elapsed() < 3 * REFRESH, "the new key is never read");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(refusal(&daemon, &old).await, None, "both keys are published");
    watching.comment("still here").await;
    let mut staying = Viewer::join(with(&daemon, &new)).await;
    let events = follow_events(&daemon, &old);
    provider.ask("keys two");
    let withdrawn = Instant::now();
    assert_eq!(watching.until_closed().await, CloseCode::TokenExpired.number());
    // One reading more than the pause: it may have begun just before the withdrawal.
    assert!(withdrawn.elapsed() < 2 * REFRESH, "{:?}", withdrawn.elapsed());
    let events = events.await.unwrap();
    assert!(events.contains(r#""type":"bye","code":"token_expired""#), "{events}");
    assert_eq!(refusal(&daemon, &old).await, Some(ErrorCode::TokenSignature));
    assert_eq!(refusal(&daemon, &new).await, None);
    staying.comment("not closed").await;
}
