//! For tests on Redis: a prefix of one's own on the stack's nodes, or a server of one's own that
//! may be killed, stopped and started again.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::{Cmd, FromRedisValue};
use tempfile::TempDir;

use crate::daemon::base::config::RedisConfig;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::testing::stack;

/// For what a test waits for: far longer than it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// `redis.timeout` of what is kept on servers that tests break.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(500);
/// The same for connections by themselves, where tests wait for it to pass.
pub(crate) const SHORT_TIMEOUT: Duration = Duration::from_millis(300);

/// Some nodes of the stack, under a prefix whose keys are removed in the end.
pub(crate) struct Prefixed {
    config: RedisConfig,
}

impl Prefixed {
    pub(crate) fn on_stack(nodes: usize) -> Self {
        let nodes: Vec<_> = stack::redis().into_iter().take(nodes).collect();
        let prefix = format!("{}:", stack::unique("test"));
        // The machine may be busy with other tests; nothing here waits for it to pass.
        let timeout = Duration::from_secs(10);
        Self { config: RedisConfig { nodes, prefix, timeout, ..RedisConfig::default() } }
    }

    /// Connections of their own, as another process would have.
    pub(crate) fn nodes(&self) -> RedisNodes {
        RedisNodes::open(&self.config).unwrap()
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.config.prefix)
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, node: usize, command: &mut Cmd) -> T {
        ask(&self.config.nodes[node], command).await
    }

    fn remove_keys(&self, url: &str) -> redis::RedisResult<()> {
        let mut connection = redis::Client::open(url)?.get_connection()?;
        let mut scan = redis::cmd("SCAN");
        let scan = scan.cursor_arg(0).arg("MATCH").arg(self.key("*")).arg("COUNT").arg(1000);
        let keys: Vec<String> =
            scan.clone().iter(&mut connection)?.collect::<redis::RedisResult<_>>()?;
        for some in keys.chunks(1000) {
            redis::cmd("UNLINK").arg(some).exec(&mut connection)?;
        }
        Ok(())
    }
}

impl Drop for Prefixed {
    fn drop(&mut self) {
        for url in &self.config.nodes {
            // Keys that stay behind disturb no other test.
            let _ = self.remove_keys(url);
        }
    }
}

async fn ask<T: FromRedisValue>(url: &str, command: &mut Cmd) -> T {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    command.query_async(&mut connection).await.unwrap()
}

/// A server of the test's own, on a free port.
#[derive(Debug)]
pub(crate) struct RedisServer {
    port: u16,
    dir: TempDir,
    child: Child,
}

impl RedisServer {
    /// It keeps on disk what was there at the last [`Self::save`].
    pub(crate) async fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let dir = tempfile::tempdir().unwrap();
        let server = Self { port, child: spawn(port, &dir), dir };
        server.await_answer().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).unwrap()
    }

    pub(crate) fn nodes(&self) -> RedisNodes {
        Self::together(&[self])
    }

    pub(crate) fn together(servers: &[&Self]) -> RedisNodes {
        RedisNodes::open(&config_of(servers, TIMEOUT)).unwrap()
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &mut Cmd) -> T {
        ask(&self.url(), command).await
    }

    /// Returns the number of calls of a command, as the server counts.
    pub(crate) async fn calls(&self, command: &str) -> u64 {
        let stats: String = self.ask(redis::cmd("INFO").arg("commandstats")).await;
        let name = format!("cmdstat_{command}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    pub(crate) async fn save(&self) {
        let _: () = self.ask(&mut redis::cmd("SAVE")).await;
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// With what it saved.
    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(self.port, &self.dir);
        self.await_answer().await;
    }

    pub(crate) async fn start_again_empty(&mut self) {
        let _ = std::fs::remove_file(self.dir.path().join("dump.rdb"));
        self.start_again().await;
    }

    /// It keeps its connections and answers nothing.
    pub(crate) fn hang(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    async fn await_answer(&self) {
        let client = self.client();
        let answering = async {
            while client.get_multiplexed_async_connection().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answering).await.expect("redis answers");
    }
}

/// The settings that name some servers.
pub(crate) fn config_of(servers: &[&RedisServer], timeout: Duration) -> RedisConfig {
    let nodes = servers.iter().map(|server| server.url()).collect();
    RedisConfig { nodes, timeout, ..RedisConfig::default() }
}

fn spawn(port: u16, dir: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(dir.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed, as scripts/stack needs it")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
