//! Nodes that must agree and do not, on real servers: settings that differ, one name twice, a Redis
//! user without channels. Each is told by every node.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use live_comments::protocol::admin::{BreakerState, Status};
use support::cluster::{Cluster, NodeRoles, Shape, first_port};
use support::lcd::lcd;
use support::{Daemon, PATIENCE};
use tokio::time::Instant;

/// PostgreSQL is the quickest store to set up. Each cluster below has a moderator as well: without
/// one, every node has the problem `moderation_down`, and these tests expect no problems.
fn shape() -> Shape {
    Shape { comments: "postgres", ..Shape::default() }
}

async fn status(daemon: &Daemon) -> Status {
    daemon.admin().get("/v1/status").await.unwrap()
}

/// Waits until the status of a node satisfies a condition.
async fn until(daemon: &Daemon, what: &str, is_so: impl Fn(&Status) -> bool) {
    let began = Instant::now();
    loop {
        let status = status(daemon).await;
        if is_so(&status) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: {:?}\n{}", status.warnings, daemon.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn has_problem(status: &Status, code: &str, subject: &str) -> bool {
    status.problems.iter().any(|known| known.code == code && known.subject == subject)
}

/// The Redis nodes in the form of the configuration, in this order.
fn redis_nodes(order: [u16; 3]) -> String {
    let urls = order.map(|node| format!("\"redis://127.0.0.1:{}\"", first_port() + node));
    format!("nodes = [{}]", urls.join(", "))
}

/// Returns the settings with another `redis.prefix`.
fn with_redis_prefix(config: &str, prefix: &str) -> String {
    let line = config.lines().find(|line| line.starts_with("redis = {")).unwrap();
    let (kept, _) = line.split_once("prefix = ").unwrap();
    config.replace(line, &format!("{kept}prefix = \"{prefix}{}\" }}", std::process::id()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn settings_that_differ_are_told_by_every_node() {
    let nodes: [NodeRoles; 2] =
        [("coordinator-1", &["coordinator", "moderator"]), ("edge-1", &["edge"])];
    let cluster = Cluster::start_nodes("differ", shape(), &nodes);
    for name in ["coordinator-1", "edge-1"] {
        let status = status(cluster.node(name)).await;
        assert!(status.problems.is_empty(), "{:?}", status.problems);
    }
    type Change = fn(&str) -> String;
    let changes: [(&str, Change); 2] = [
        ("redis.nodes", |config| {
            let wrong = config.replace(&redis_nodes([1, 2, 3]), &redis_nodes([1, 3, 2]));
            assert_ne!(wrong, config);
            wrong
        }),
        ("redis.prefix", |config| with_redis_prefix(config, "other:")),
    ];
    for (setting, change) in changes {
        let config = change(&cluster.config_of("edge-2"));
        let directory = tempfile::tempdir().unwrap();
        let run = lcd(&config, &directory.path().join("data"), "127.0.0.1:0", &["check"]);
        assert_eq!(run.code, Some(1), "{}", run.text);
        assert!(run.text.contains(&format!("`{setting}` is not the same")), "{}", run.text);
        assert!(run.text.contains("edge-1"), "{}", run.text);

        let other = Daemon::start(&config);
        for daemon in [cluster.node("coordinator-1"), cluster.node("edge-1"), &other] {
            until(daemon, setting, |status| {
                has_problem(status, "settings_differ", setting) && !status.warnings.is_empty()
            })
            .await;
        }
        drop(other.terminate());
        for name in ["coordinator-1", "edge-1"] {
            let solved = |status: &Status| status.problems.is_empty();
            until(cluster.node(name), "it is solved", solved).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn a_name_belongs_to_one_node() {
    let mut cluster = Cluster::start_nodes("name", shape(), &[("edge-1", &["edge", "moderator"])]);
    let config = cluster.config_of("edge-1");
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let run = lcd(&config, &data, "127.0.0.1:0", &[]);
    assert_eq!(run.code, Some(1), "{}", run.text);
    assert!(run.text.contains("`node.name` edge-1"), "{}", run.text);
    let address = cluster.node("edge-1").address.port().to_string();
    assert!(run.text.contains("process"), "which other one, at port {address}: {}", run.text);
    let run = lcd(&config, &data, "127.0.0.1:0", &["check"]);
    assert!(run.text.contains("a running node has the name edge-1"), "{}", run.text);

    // A crash and a restart are no second node.
    cluster.kill("edge-1");
    cluster.restart("edge-1");
    // Long enough for two heartbeats and announcements.
    until(cluster.node("edge-1"), "it runs", |status| status.uptime_ms > 5_000).await;
    let restarted = status(cluster.node("edge-1")).await;
    assert!(restarted.problems.is_empty(), "{:?}", restarted.problems);

    // With other Redis keys it does not see the first one in the registry. Both say so.
    let apart = Daemon::start(&with_redis_prefix(&cluster.config_of("edge-1"), "apart:"));
    for daemon in [cluster.node("edge-1"), &apart] {
        let told = |status: &Status| has_problem(status, "node_name_shared", "edge-1");
        until(daemon, "two have one name", told).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn without_redis_channels_viewers_are_served_at_once() {
    let nodes: [NodeRoles; 1] = [("coordinator-1", &["coordinator", "moderator"])];
    let cluster = Cluster::start_nodes("channels", shape(), &nodes);
    let user = RedisUser::without_channels().await;
    let config = cluster.config_of("edge-1");
    let config = config.replace("redis = { ", &format!("redis = {{ {}, ", user.settings()));
    let directory = tempfile::tempdir().unwrap();
    let run = lcd(&config, &directory.path().join("data"), "127.0.0.1:0", &["check"]);
    assert_eq!(run.code, Some(1), "{}", run.text);
    assert!(run.text.contains("channel") && run.text.contains(&user.name), "{}", run.text);

    let edge = Daemon::start(&config);
    let mut ann = edge.join(7, "ann").await;
    let mut bob = edge.join(8, "bob").await;
    until(&edge, "the breaker opens", |status| {
        let bus = status.breakers.iter().find(|known| known.dependency == "fan-out bus");
        let bus = bus.filter(|bus| bus.state != BreakerState::Closed);
        bus.and_then(|bus| bus.last_error.as_deref()).is_some_and(|error| error.contains("channel"))
    })
    .await;
    for n in 0..20 {
        let sent = Instant::now();
        let text = format!("comment {n}");
        ann.comment(&text).await;
        while !bob.texts().contains(&text.as_str()) {
            bob.next().await.unwrap();
        }
        assert!(sent.elapsed() < Duration::from_secs(3), "{n}: {:?}", sent.elapsed());
    }
    let still = status(&edge).await;
    let bus = still.breakers.iter().find(|known| known.dependency == "fan-out bus").unwrap();
    assert_ne!(bus.state, BreakerState::Closed, "publishing does not close it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn a_check_beside_a_node_fences_and_creates_nothing() {
    let shape = Shape { guarantee: "exactly_once", ..shape() };
    let nodes: [NodeRoles; 2] =
        [("coordinator-1", &["coordinator", "moderator"]), ("edge-1", &["edge"])];
    let cluster = Cluster::start_nodes("beside", shape, &nodes);
    let edge = cluster.node("edge-1");
    let mut ann = edge.join(7, "ann").await;
    ann.comment("before").await;
    let config = cluster.config_of("edge-1");
    let data_dir = edge.data_dir();
    let listen = edge.address.to_string();
    let checking = tokio::task::spawn_blocking(move || {
        for _ in 0..3 {
            let run = lcd(&config, &data_dir, &listen, &["check"]);
            assert_eq!(run.code, Some(0), "{}", run.text);
        }
    });
    let mut sent = 0;
    while !checking.is_finished() {
        let began = Instant::now();
        sent += 1;
        ann.comment(&format!("meanwhile {sent}")).await;
        // A fenced producer was away for more than five seconds.
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    checking.await.unwrap();
    for name in ["coordinator-1", "edge-1"] {
        let status = status(cluster.node(name)).await;
        assert!(status.problems.is_empty(), "{name}: {:?}", status.problems);
        let log = cluster.node(name).log();
        assert!(!log.contains("fenced"), "{log}");
    }
}

/// A user on each Redis node of the stack, removed on drop.
struct RedisUser {
    name: String,
    directory: tempfile::TempDir,
}

impl RedisUser {
    async fn without_channels() -> Self {
        let name = format!("nochannels{}", std::process::id());
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("password"), "pw").unwrap();
        let mut rule = redis::cmd("ACL");
        rule.arg("SETUSER").arg(&name).arg(&["on", ">pw", "resetchannels", "~*", "+@all"]);
        on_every_node(&rule);
        Self { name, directory }
    }

    fn settings(&self) -> String {
        let password = self.directory.path().join("password");
        format!("username = \"{}\", password_file = \"{}\"", self.name, password.display())
    }
}

impl Drop for RedisUser {
    fn drop(&mut self) {
        on_every_node(redis::cmd("ACL").arg("DELUSER").arg(&self.name));
    }
}

fn on_every_node(command: &redis::Cmd) {
    for node in 1..=3 {
        let url = format!("redis://127.0.0.1:{}", first_port() + node);
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        command.exec(&mut connection).unwrap();
    }
}
