//! On real Redis servers.

use super::*;
use crate::daemon::bus::conformance;
use crate::daemon::test_stack;

const PATIENCE: Duration = Duration::from_secs(20);
const STREAM: StreamId = StreamId(3);

fn config(nodes: Vec<String>) -> RedisConfig {
    let prefix = format!("{}:", test_stack::unique("bus"));
    let (timeout, listener_messages) = (Duration::from_millis(500), 64);
    RedisConfig { nodes, prefix, timeout, listener_messages, ..RedisConfig::default() }
}

fn bus(config: &RedisConfig) -> RedisBus {
    RedisBus::new(RedisNodes::open(config).unwrap(), config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn one_node_keeps_the_contract() {
    let nodes = || test_stack::redis().into_iter().take(1).collect();
    conformance::suite(64, async || Arc::new(bus(&config(nodes()))) as _).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn three_nodes_keep_the_contract() {
    conformance::suite(64, async || Arc::new(bus(&config(test_stack::redis()))) as _).await;
}

fn viewers(viewers: u64) -> BusMessage {
    BusMessage::Presence { viewers }
}

async fn hear(listener: &mut Box<dyn BusListener>) -> Heard {
    timeout(PATIENCE, listener.receive()).await.expect("in time").unwrap()
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn only_shards_with_listeners_are_published_to() {
    let config = config(test_stack::redis());
    let bus = bus(&config);
    let (subscriptions, mut listener) = bus.listen(&NodeId::new("edge-1")).await.unwrap();
    subscriptions.subscribe(STREAM).await.unwrap();
    // A spy on every shard would be a listener, so the counters of the servers are asked instead.
    bus.publish(STREAM, vec![viewers(1)]).await.unwrap();
    assert_eq!(hear(&mut listener).await, Heard::Message(STREAM, viewers(1)));
    let active = bus.publisher.active_shards(STREAM);
    assert_eq!(active, [shard_of(&NodeId::new("edge-1"), config.shards)]);
    subscriptions.unsubscribe(STREAM).await.unwrap();
    bus.publish(STREAM, vec![viewers(2)]).await.unwrap();
    assert!(bus.publisher.active_shards(STREAM).is_empty());
}

/// A Redis server of the test's own.
struct Server {
    child: std::process::Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Server {
    fn start(port: Option<u16>) -> Self {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = port.unwrap_or_else(|| free().port());
        let directory = tempfile::tempdir().unwrap();
        let child = std::process::Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"])
            .current_dir(directory.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Self { child, port, directory };
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        server
    }

    fn url(&self) -> String {
        assert!(self.directory.path().exists());
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Publishes until it succeeds (or fails).
async fn until_published(bus: &RedisBus, succeeds: bool) {
    let publish = async {
        while bus.publish(STREAM, vec![viewers(0)]).await.is_ok() != succeeds {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, publish).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn a_listener_is_told_of_a_killed_server_and_hears_again_when_it_is_back() {
    let server = Server::start(None);
    let (url, port) = (server.url(), server.port);
    let bus = bus(&config(vec![url]));
    let (subscriptions, mut listener) = bus.listen(&NodeId::new("edge-1")).await.unwrap();
    subscriptions.subscribe(STREAM).await.unwrap();
    drop(server);
    assert_eq!(hear(&mut listener).await, Heard::Interrupted);
    until_published(&bus, false).await;
    let other = StreamId(4);
    let noted = subscriptions.subscribe(other).await;
    assert!(matches!(noted, Err(BusError::Unavailable(_))), "{noted:?}");
    let _server = Server::start(Some(port));
    assert_eq!(hear(&mut listener).await, Heard::Restored);
    until_published(&bus, true).await;
    assert_eq!(hear(&mut listener).await, Heard::Message(STREAM, viewers(0)));
    bus.publish(other, vec![viewers(9)]).await.unwrap();
    assert_eq!(hear(&mut listener).await, Heard::Message(other, viewers(9)), "as was noted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn a_server_that_hangs_is_as_good_as_dead_and_holds_nobody_up() {
    use nix::sys::signal::Signal;
    let server = Server::start(None);
    let bus = bus(&config(vec![server.url()]));
    let (subscriptions, mut listener) = bus.listen(&NodeId::new("edge-1")).await.unwrap();
    subscriptions.subscribe(STREAM).await.unwrap();
    server.signal(Signal::SIGSTOP);
    assert_eq!(hear(&mut listener).await, Heard::Interrupted);
    until_published(&bus, false).await;
    let started = tokio::time::Instant::now();
    for _ in 0..1000 {
        assert!(bus.publish(STREAM, vec![viewers(1)]).await.is_err());
    }
    assert!(started.elapsed() < PATIENCE, "known to be down, it is not waited for");
    server.signal(Signal::SIGCONT);
    loop {
        // What was under way when it stopped may still come.
        if hear(&mut listener).await == Heard::Restored {
            break;
        }
    }
    until_published(&bus, true).await;
}
