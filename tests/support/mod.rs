//! A real daemon in a directory of its own, and viewers on real sockets.
//!
//! Every wait is bounded by [`PATIENCE`], which only a failing test reaches. It is not used to
//! measure time.

#![allow(clippy::print_stderr, reason = "the log of a daemon belongs to a failed test")]
#![allow(clippy::unwrap_used, reason = "a test panics where a program would report")]
// Each test program uses only a part of this module.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use live_comments::client::Endpoint;
use live_comments::client::admin::AdminClient;
use live_comments::client::token::{Claims, mint};
use live_comments::client::viewer::{ViewerConnection, ViewerError, ViewerOptions, Welcome};
use live_comments::protocol::admin::Who;
use live_comments::protocol::message::Encoding;
use live_comments::protocol::{
    ClientMessage, Role, SequencedComment, ServerMessage, StreamId, StreamPosition, UserId,
};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

pub mod cluster;
pub mod lcd;
pub mod moderation;
pub mod python;
pub mod recorder;
pub mod sender;
pub mod socket;
pub mod terminal;
pub mod topics;

pub const PATIENCE: Duration = Duration::from_secs(60);
pub const STREAM: StreamId = StreamId(1);
/// Starts that a service manager tries.
const STARTS: usize = 5;

/// A running `lcd`, which is killed on drop.
pub struct Daemon {
    child: Child,
    pub address: SocketAddr,
    directory: Arc<TempDir>,
    config: String,
}

impl Daemon {
    /// Starts a daemon with the given settings (TOML) in an empty directory.
    pub fn start(config: &str) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Self::start_in(directory, config, None)
    }

    fn start_in(directory: Arc<TempDir>, config: &str, address: Option<SocketAddr>) -> Self {
        let command = Self::command_in(&directory, address);
        Self::start_command(directory, config, command)
    }

    fn command_in(directory: &TempDir, address: Option<SocketAddr>) -> Command {
        let file = directory.path().join("lcd.toml");
        let listen = address.unwrap_or_else(free_address).to_string();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(directory.path().join("lcd.log"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lcd"));
        command
            .arg("--config")
            .arg(&file)
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .args(["--listen", &listen])
            .stderr(log);
        command
    }

    /// Starts a daemon with its settings and data in a directory.
    pub fn start_on(directory: Arc<TempDir>, config: &str) -> Self {
        Self::start_in(directory, config, None)
    }

    /// Runs a command that starts a daemon with the settings in `lcd.toml` and the data in `data`
    /// of a directory.
    pub fn start_command(directory: Arc<TempDir>, config: &str, command: Command) -> Self {
        let log = directory.clone();
        Self::try_start(directory, config, command)
            .unwrap_or_else(|| panic!("lcd did not start:\n{}", read_log(log.path())))
    }

    /// Returns `None` if the daemon ends before it is ready.
    fn try_start(directory: Arc<TempDir>, config: &str, mut command: Command) -> Option<Self> {
        std::fs::write(directory.path().join("lcd.toml"), config).unwrap();
        let mut child = command
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find_map(|line| address_in(&line));
        let Some(address) = address else {
            child.wait().unwrap();
            return None;
        };
        Some(Self { child, address, directory, config: config.to_owned() })
    }

    /// Sends SIGKILL and starts the daemon again on the same data and address.
    pub fn kill_and_restart(self) -> Self {
        self.kill().restart()
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) -> StoppedDaemon {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        StoppedDaemon {
            address: self.address,
            directory: self.directory.clone(),
            config: self.config.clone(),
        }
    }

    /// Sends SIGTERM and waits for a successful exit.
    pub fn terminate(self) -> StoppedDaemon {
        self.signal_term();
        self.stopped()
    }

    /// Waits for the successful exit of a daemon that was told to stop. A second signal would end
    /// it at once.
    pub fn stopped(mut self) -> StoppedDaemon {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
        StoppedDaemon {
            address: self.address,
            directory: self.directory.clone(),
            config: self.config.clone(),
        }
    }

    pub fn signal_term(&self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Returns whether it is still running.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Takes the pipe of its log, if the command made one.
    pub fn take_stderr(&mut self) -> Option<std::process::ChildStderr> {
        self.child.stderr.take()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn socket(&self) -> PathBuf {
        self.data_dir().join("admin.sock")
    }

    pub fn admin(&self) -> AdminClient {
        AdminClient::new(self.socket())
    }

    /// Returns the file of its own secret, or the one in its settings.
    fn signing_key(&self) -> PathBuf {
        let named = self.config.lines().find_map(|line| line.strip_prefix("auth.signing_key = "));
        match named {
            Some(path) => PathBuf::from(path.trim_matches('"')),
            None => self.data_dir().join("signing.key"),
        }
    }

    pub fn log(&self) -> String {
        read_log(self.directory.path())
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns a token without a limit on comments.
    pub fn token(&self, user_id: u64, name: &str) -> String {
        self.token_with(user_id, name, |claims| claims.comments_per_minute = Some(0))
    }

    pub fn token_of(&self, user_id: u64, name: &str, role: Role) -> String {
        self.token_with(user_id, name, |claims| claims.role = role)
    }

    pub fn token_with(&self, user_id: u64, name: &str, change: impl FnOnce(&mut Claims)) -> String {
        let secret = std::fs::read(self.signing_key()).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut claims = Claims::new(UserId(user_id), name, now, Duration::from_secs(3600));
        change(&mut claims);
        mint(secret.trim_ascii(), &claims)
    }

    pub fn options(&self) -> ViewerOptions {
        ViewerOptions::new(
            Endpoint::plain(&self.address.ip().to_string(), self.address.port()),
            STREAM,
        )
    }

    /// Connects an anonymous viewer.
    pub async fn watch(&self) -> Viewer {
        Viewer::join(self.options()).await
    }

    /// Connects a viewer with a token.
    pub async fn join(&self, user_id: u64, name: &str) -> Viewer {
        let token = Some(self.token(user_id, name).into());
        Viewer::join(ViewerOptions { token, ..self.options() }).await
    }

    /// Connects a viewer with a token, and waits until it can be found by its name: names are
    /// stored a moment after the connection.
    pub async fn join_known(&self, user_id: u64, name: &str) -> Viewer {
        let viewer = self.join(user_id, name).await;
        let path = format!("/v1/who/{name}");
        let known = async {
            while self.admin().get::<Who>(&path).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, known).await.expect("the name is known");
        viewer
    }

    /// Connects a viewer that resumes from a position.
    pub async fn resume(&self, position: StreamPosition) -> Viewer {
        Viewer::join(ViewerOptions { resume: Some(position), ..self.options() }).await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of lcd ---\n{}", self.log());
        }
    }
}

/// A file system of its own, which a test may fill. It is unmounted on drop.
pub struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    pub fn mount(mebibytes: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(directory.path())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&mount.stderr);
        assert!(mount.status.success(), "mounting a tmpfs needs root: {errors}");
        Self { directory }
    }

    /// Returns a directory on it for a daemon.
    pub fn for_daemon(&self) -> Arc<TempDir> {
        Arc::new(tempfile::tempdir_in(self.directory.path()).unwrap())
    }

    /// Writes until nothing fits any more.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        for bytes in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; bytes]).is_ok() {}
        }
    }

    /// Makes the space free again.
    pub fn empty(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.directory.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Files that are still open keep the disk until they are closed.
        let _ = Command::new("umount").arg("--lazy").arg(self.directory.path()).output();
    }
}

/// Returns an address to listen on below the range of ephemeral ports, so that no outgoing
/// connection can take the port of a stopped daemon before it starts again. Programs that run at
/// once have ports of their own: 6,000 from `LC_FIRST_TEST_PORT`, which is 20,000 by default.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::env::var("LC_FIRST_TEST_PORT");
    let first: u16 = first.map_or(20_000, |text| text.parse().expect("a port"));
    loop {
        // Each test process begins at another port.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let step = std::process::id().wrapping_mul(97).wrapping_add(number);
        let address = SocketAddr::from(([127, 0, 0, 1], first + (step % 6_000) as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Raises the limit of open files as far as the system allows; daemons inherit it.
pub fn raise_limit_of_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

/// A stopped daemon, whose data is still there.
pub struct StoppedDaemon {
    address: SocketAddr,
    directory: Arc<TempDir>,
    config: String,
}

impl StoppedDaemon {
    pub fn restart(self) -> Daemon {
        Daemon::start_in(self.directory, &self.config, Some(self.address))
    }

    /// Starts it as a service manager does: again, if a server does not answer it in time.
    pub fn restart_until_ready(self) -> Daemon {
        let Self { address, directory, config } = self;
        for _ in 1..STARTS {
            let command = Daemon::command_in(&directory, Some(address));
            if let Some(daemon) = Daemon::try_start(directory.clone(), &config, command) {
                return daemon;
            }
        }
        Daemon::start_in(directory, &config, Some(address))
    }

    /// Starts it again with other settings.
    pub fn restart_with(self, config: &str) -> Daemon {
        Daemon::start_in(self.directory, config, Some(self.address))
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("://")?;
    rest.split('/').next()?.parse().ok()
}

fn read_log(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("lcd.log")).unwrap_or_default()
}

/// A viewer that records the messages it receives.
pub struct Viewer {
    connection: ViewerConnection,
    pub welcome: Welcome,
    /// Everything up to this position was received or reported as a gap.
    pub position: StreamPosition,
    pub comments: Vec<SequencedComment>,
    pub gaps: Vec<(u64, u64)>,
    next_ref: u64,
}

impl Viewer {
    pub async fn join(options: ViewerOptions) -> Self {
        let joined = timeout(PATIENCE, ViewerConnection::join(&options)).await.expect("a welcome");
        let (connection, welcome) = joined.unwrap();
        let position = StreamPosition { epoch: welcome.epoch, seq: welcome.seq };
        Self { connection, welcome, position, comments: Vec::new(), gaps: Vec::new(), next_ref: 0 }
    }

    /// Returns the next message. Ranges that do not join fail the test.
    pub async fn next(&mut self) -> Result<ServerMessage, ViewerError> {
        let message =
            timeout(PATIENCE, self.connection.next()).await.expect("a message in time")?;
        match &message {
            ServerMessage::Comments(batch) if !batch.echo => {
                assert_eq!(batch.from_seq, self.position.seq + 1, "ranges must join");
                self.position.seq = batch.to_seq;
                self.comments.extend(batch.comments.iter().cloned());
            }
            ServerMessage::Gap { from_seq, to_seq, .. } => {
                assert_eq!(*from_seq, self.position.seq + 1, "a gap must join");
                self.position.seq = *to_seq;
                self.gaps.push((*from_seq, *to_seq));
            }
            _ => {}
        }
        Ok(message)
    }

    /// Reads until a message matches.
    pub async fn until<T>(&mut self, mut pick: impl FnMut(&ServerMessage) -> Option<T>) -> T {
        loop {
            let message = self.next().await.unwrap();
            if let Some(found) = pick(&message) {
                return found;
            }
        }
    }

    /// Reads until everything up to `seq` was received or reported as a gap.
    pub async fn until_seq(&mut self, seq: u64) {
        while self.position.seq < seq {
            self.next().await.unwrap();
        }
    }

    /// Reads until the connection is closed. Returns the close code.
    pub async fn until_closed(&mut self) -> u16 {
        loop {
            match self.next().await {
                Ok(_) => {}
                Err(ViewerError::Closed(closure)) => return closure.number,
                Err(error) => panic!("broken instead of closed: {error}"),
            }
        }
    }

    pub async fn send(&mut self, message: &ClientMessage) {
        self.connection.send(message).await.unwrap();
    }

    pub async fn try_send(&mut self, message: &ClientMessage) -> Result<(), ViewerError> {
        self.connection.send(message).await
    }

    /// Sends a comment and waits for its ack. Returns the comment id and seq.
    pub async fn comment(&mut self, text: &str) -> (live_comments::protocol::CommentId, u64) {
        self.next_ref += 1;
        let client_ref = format!("r{}", self.next_ref);
        self.comment_as(text, &client_ref).await
    }

    pub async fn comment_as(
        &mut self,
        text: &str,
        client_ref: &str,
    ) -> (live_comments::protocol::CommentId, u64) {
        self.send(&comment(text, client_ref)).await;
        self.until(|message| match message {
            ServerMessage::Ack { client_ref: Some(acked), comment_id, seq }
                if &**acked == client_ref =>
            {
                Some((*comment_id, *seq))
            }
            ServerMessage::Error { code, message, .. } => panic!("{code}: {message}"),
            _ => None,
        })
        .await
    }

    /// Returns the texts of the comments it received, in order.
    pub fn texts(&self) -> Vec<&str> {
        self.comments.iter().map(|comment| &*comment.message).collect()
    }
}

pub fn comment(text: &str, client_ref: &str) -> ClientMessage {
    ClientMessage::Comment {
        message: text.to_owned(),
        client_ref: Some(client_ref.to_owned()),
        parent_id: None,
    }
}

pub fn msgpack(options: ViewerOptions) -> ViewerOptions {
    ViewerOptions { encoding: Encoding::Msgpack, ..options }
}

/// Prepares `lc` for a daemon, with the words of a line.
pub fn lc(daemon: &Daemon, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lc"));
    command.args(line.split_whitespace()).arg("--data-dir").arg(daemon.data_dir());
    command
}

/// Returns all comments of a stream's history, oldest first.
pub async fn history(daemon: &Daemon, stream: StreamId) -> Vec<SequencedComment> {
    use live_comments::protocol::admin::HistoryPage;
    let admin = daemon.admin();
    let mut all = Vec::new();
    let mut before = String::new();
    loop {
        let path = format!("/v1/history/{stream}?limit=1000{before}");
        let page: HistoryPage = admin.get(&path).await.unwrap();
        all.extend(page.comments);
        match page.next_before {
            Some(id) => before = format!("&before={id}"),
            None => break,
        }
    }
    all.reverse();
    all
}

/// Returns the texts in history, the oldest first.
pub async fn history_texts(daemon: &Daemon) -> Vec<String> {
    let history = history(daemon, STREAM).await;
    history.iter().map(|comment| comment.message.to_string()).collect()
}

/// Waits until history has exactly these comments.
pub async fn history_becomes(daemon: &Daemon, expected: &[String]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = format!("/api/streams/{STREAM}/comments");
        let (status, _) = http(daemon, "GET", &page, &[], None).await;
        assert!(Instant::now() < deadline, "no history: {status}");
        // A store that was away may not answer yet.
        if status == 200 {
            let found = history_texts(daemon).await;
            if found == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{found:?}, expected {expected:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the archiver has read the whole log.
pub async fn archived(daemon: &Daemon) {
    caught_up(daemon, "archiver").await;
}

/// Waits until every comment was moderated and the decisions are in history.
pub async fn moderated(daemon: &Daemon) {
    caught_up(daemon, "moderator").await;
    archived(daemon).await;
}

/// Waits until a consumer has read the whole log.
async fn caught_up(daemon: &Daemon, name: &str) {
    use live_comments::protocol::admin::{Cluster, ConsumerLag};
    let admin = daemon.admin();
    let wait = async {
        loop {
            let lag: Cluster<ConsumerLag> = admin.get("/v1/lag").await.unwrap();
            let groups: Vec<_> = lag.items.iter().filter(|lag| lag.group == name).collect();
            if !groups.is_empty() && groups.iter().all(|group| group.lag == 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("the {name} does not catch up"));
}

/// Sends an HTTP request. Returns the status and the body as JSON (null if it is not JSON).
pub async fn http(
    daemon: &Daemon,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> (u16, serde_json::Value) {
    let body = body.unwrap_or_default();
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    if !body.is_empty() {
        head.push_str(&format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        ));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let answer = raw(daemon, format!("{head}\r\n{body}").as_bytes()).await;
    parse_answer(&answer)
}

/// Sends bytes unchanged and reads until the connection ends.
pub async fn raw(daemon: &Daemon, bytes: &[u8]) -> Vec<u8> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer also ends the connection.
    let _ = timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("an answer in time");
    answer
}

fn parse_answer(answer: &[u8]) -> (u16, serde_json::Value) {
    let text = String::from_utf8_lossy(answer);
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).unwrap_or_default())
}
