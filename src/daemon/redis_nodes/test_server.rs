//! A Redis of a test's own, on a free port, that it may kill, stop and start again empty.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::RedisNodes;
use crate::daemon::config::RedisConfig;

/// For what a test waits for: far longer than it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Short, as tests wait for it to pass.
const TIMEOUT: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(crate) struct TestServer {
    port: u16,
    child: Child,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        let port = free_port();
        let server = Self { port, child: spawn(port) };
        server.await_answer().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).unwrap()
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    pub(crate) async fn start_again_empty(&mut self) {
        self.child = spawn(self.port);
        self.await_answer().await;
    }

    /// It keeps its connections and answers nothing.
    pub(crate) fn hang(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// How often a command ran since the server started.
    pub(crate) async fn calls(&self, command: &str) -> u64 {
        let mut connection = self.client().get_multiplexed_async_connection().await.unwrap();
        let info = redis::cmd("INFO").arg("commandstats").to_owned();
        let info: String = info.query_async(&mut connection).await.unwrap();
        let prefix = format!("cmdstat_{command}:calls=");
        let count = info.lines().find_map(|line| line.strip_prefix(&prefix));
        count.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
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
        tokio::time::timeout(PATIENCE, answering).await.expect("redis-server answers");
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(port: u16) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir", "/"])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed, as scripts/stack needs it")
}

/// What tests set for servers they break.
pub(crate) fn config_of(servers: &[&TestServer]) -> RedisConfig {
    let nodes = servers.iter().map(|server| server.url()).collect();
    RedisConfig { nodes, timeout: TIMEOUT, ..RedisConfig::default() }
}

pub(crate) fn nodes_of(servers: &[&TestServer]) -> RedisNodes {
    RedisNodes::open(&config_of(servers)).unwrap()
}
