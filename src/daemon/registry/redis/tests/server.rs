//! A Redis of the test's own, on a free port, that it may kill, stop and start again empty.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(super) struct Server {
    port: u16,
    child: Child,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let server = Self { port, child: Self::spawn(port) };
        server.await_answer().await;
        server
    }

    fn spawn(port: u16) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir", "/"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed, as scripts/stack needs it")
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    pub(super) async fn start_again_empty(&mut self) {
        self.child = Self::spawn(self.port);
        self.await_answer().await;
    }

    /// It keeps its connections and answers nothing.
    pub(super) fn hang(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(super) fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    async fn await_answer(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        let answering = async {
            while client.get_multiplexed_async_connection().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), answering).await.expect("redis answers");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
