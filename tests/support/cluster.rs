//! Several `lcd` processes on the servers that `scripts/stack up` starts. Each test has topics,
//! keys, tables and a keyspace of its own.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use live_comments::client::admin::AdminClient;
use live_comments::client::token::{Claims, mint};
use live_comments::protocol::UserId;
use live_comments::protocol::admin::TopSnapshot;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use super::{Daemon, PATIENCE, StoppedDaemon};

/// Returns the first port of the stack, as `scripts/stack` chooses it.
pub fn first_port() -> u16 {
    std::env::var("LC_STACK_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(17_000)
}

/// Runs `scripts/stack` with arguments. A failure fails the test with its output.
pub fn stack(arguments: &[&str]) {
    run_stack(arguments, &[]);
}

fn run_stack(arguments: &[&str], environment: &[(&str, &str)]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/stack");
    let mut command = Command::new(script);
    let output =
        command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/stack {arguments:?}: {text}");
}

/// Kafka brokers for one test, beside the stack. They are removed on drop.
pub struct Brokers {
    count: u16,
    directory: TempDir,
}

impl Brokers {
    /// Starts one broker or three.
    pub fn start(count: u16) -> Self {
        Self::start_with(count, |_| String::new())
    }

    /// Starts brokers with more settings, which are made with the first port of the stack.
    pub fn start_with(count: u16, settings: impl FnOnce(u16) -> String) -> Self {
        let brokers = Self { count, directory: tempfile::tempdir().unwrap() };
        std::fs::write(brokers.settings(), settings(brokers.first_port())).unwrap();
        brokers.stack(&["up", "--brokers", &count.to_string(), "kafka"]);
        brokers
    }

    fn settings(&self) -> PathBuf {
        self.directory.path().join("more.properties")
    }

    /// Returns `host:port` of each broker.
    pub fn addresses(&self) -> Vec<String> {
        let ports = (20..20 + self.count).map(|broker| self.first_port() + broker);
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// Clusters of different sizes may run at the same time.
    pub fn first_port(&self) -> u16 {
        first_port() + if self.count == 1 { 200 } else { 100 }
    }

    pub fn stack(&self, arguments: &[&str]) {
        let port = self.first_port().to_string();
        let directory = self.directory.path().to_str().unwrap();
        let settings = self.settings();
        let environment = [
            ("LC_STACK_PORT", &*port),
            ("LC_STACK_DIR", directory),
            ("LC_STACK_KAFKA", settings.to_str().unwrap()),
        ];
        run_stack(arguments, &environment);
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        self.stack(&["down", "--wipe"]);
    }
}

/// The settings that differ between tests.
pub struct Shape {
    pub comments: &'static str,
    pub guarantee: &'static str,
    /// `host:port` of the Kafka brokers. Empty: the broker of the stack.
    pub brokers: Vec<String>,
    pub replication_factor: u8,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            comments: "cassandra",
            guarantee: "at_least_once",
            brokers: Vec::new(),
            replication_factor: 1,
        }
    }
}

/// Returns the lag of each known consumer group, over all its partitions.
fn lag_of_groups(top: &TopSnapshot) -> BTreeMap<&str, u64> {
    let mut lags = BTreeMap::new();
    for lag in &top.lag {
        *lags.entry(lag.group.as_str()).or_default() += lag.lag;
    }
    lags
}

/// The processes of one system, by name. All are killed on drop.
pub struct Cluster {
    nodes: BTreeMap<&'static str, Daemon>,
    stopped: BTreeMap<&'static str, StoppedDaemon>,
    directory: TempDir,
    shape: Shape,
    name: String,
}

/// The name of a node, and its roles.
pub type NodeRoles = (&'static str, &'static [&'static str]);

/// The nodes of a cluster: two edges and two coordinators, one moderator, one archiver.
pub const NODES: [NodeRoles; 6] = [
    ("edge-1", &["edge"]),
    ("edge-2", &["edge"]),
    ("coordinator-1", &["coordinator"]),
    ("coordinator-2", &["coordinator"]),
    ("moderator-1", &["moderator"]),
    ("archiver-1", &["archiver"]),
];

impl Cluster {
    /// Deletes keys of this cluster in Redis, by pattern. Returns their number.
    pub fn forget_in_redis(&self, pattern: &str) -> usize {
        let forget = |mut connection: redis::Connection| {
            let pattern = format!("{}:{pattern}", self.name);
            let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query(&mut connection).unwrap();
            for key in &keys {
                redis::cmd("DEL").arg(key).exec(&mut connection).unwrap();
            }
            keys.len()
        };
        self.redis().map(forget).sum()
    }

    /// Makes the reservations in Redis look as if they had been complete for days.
    pub fn age_reservations(&self) {
        let lifetime_ms = 20_u64 * 24 * 3600 * 1000;
        for mut connection in self.redis() {
            let key = format!("{}:refs", self.name);
            let mut set = redis::cmd("SET");
            set.arg(key).arg(1).arg("PX").arg(lifetime_ms).exec(&mut connection).unwrap();
        }
    }

    fn redis(&self) -> impl Iterator<Item = redis::Connection> {
        (1..=3).map(|n| {
            let url = format!("redis://127.0.0.1:{}", first_port() + n);
            redis::Client::open(url).unwrap().get_connection().unwrap()
        })
    }

    /// Starts all of [`NODES`]. Each is ready when this returns.
    pub fn start(name: &str, shape: Shape) -> Self {
        Self::start_nodes(name, shape, &NODES)
    }

    pub fn start_nodes(name: &str, shape: Shape, nodes: &[NodeRoles]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("signing.key");
        std::fs::write(&key, "a secret of the tests, which is long enough for HS256").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let name = format!("{name}_{:x}", std::process::id());
        let mut cluster =
            Self { nodes: BTreeMap::new(), stopped: BTreeMap::new(), directory, shape, name };
        // The first node creates topics and tables, the others find them.
        for (node, roles) in nodes {
            let config = cluster.config(node, roles);
            cluster.nodes.insert(node, Daemon::start(&config));
        }
        cluster
    }

    fn config(&self, node: &str, roles: &[&str]) -> String {
        let port = first_port();
        let redis = (1..=3).map(|n| format!("\"redis://127.0.0.1:{}\"", port + n));
        let brokers = self.brokers();
        let Self { name, shape, .. } = self;
        let copies = shape.replication_factor;
        format!(
            r#"
node = {{ name = "{node}", roles = {roles:?} }}
auth.signing_key = "{key}"
broadcast.throttle = [{{ from_per_second = 0.0, sample_rate = 1.0 }}]
engines = {{ eventlog = "kafka", bus = "redis", registry = "redis", recent = "redis", reactions = "redis", comments = "{comments}", metadata = "postgres" }}
redis = {{ nodes = [{redis}], prefix = "{name}:" }}
postgres = {{ url = "postgres://lcd@127.0.0.1:{postgres}/lcd", schema = "{name}" }}
cassandra = {{ nodes = ["127.0.0.1:{cassandra}"], keyspace = "{name}" }}
# In a debug build the model takes as long for a comment as everything else together.
moderation.stages = ["rules"]
moderation.rules.blocked_words = ["forbiddenword"]
eventlog.guarantee = "{guarantee}"

[kafka]
brokers = {brokers:?}
prefix = "{name}."
replication_factor = {copies}
min_insync_replicas = {in_sync}
session_timeout = "3s"
partitions = {{ comment_events = 12, moderation_events = 3, ws_messages = 1, dead_letters = 1 }}
"#,
            key = self.directory.path().join("signing.key").display(),
            redis = redis.collect::<Vec<_>>().join(", "),
            postgres = port + 10,
            cassandra = port + 40,
            comments = shape.comments,
            in_sync = copies.div_ceil(2),
            guarantee = shape.guarantee,
        )
    }

    /// Returns the settings of a node, as TOML.
    pub fn config_of(&self, name: &str) -> String {
        let known = NODES.iter().find(|(node, _)| *node == name);
        let (_, roles) = known.unwrap_or_else(|| panic!("{name} has a role"));
        self.config(name, roles)
    }

    /// Returns the addresses of the brokers of this cluster.
    pub fn brokers(&self) -> Vec<String> {
        if self.shape.brokers.is_empty() {
            return vec![format!("127.0.0.1:{}", first_port() + 20)];
        }
        self.shape.brokers.clone()
    }

    /// Returns the name of a topic on the brokers.
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    pub fn node(&self, name: &str) -> &Daemon {
        self.nodes.get(name).unwrap_or_else(|| panic!("{name} runs"))
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.nodes.keys().copied()
    }

    pub fn admin(&self, name: &str) -> AdminClient {
        self.node(name).admin()
    }

    /// Returns a token that every node accepts, without a limit on comments.
    pub fn token(&self, user_id: u64, name: &str) -> String {
        let secret = std::fs::read(self.directory.path().join("signing.key")).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut claims = Claims::new(UserId(user_id), name, now, Duration::from_secs(3600));
        claims.comments_per_minute = Some(0);
        mint(secret.trim_ascii(), &claims)
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self, name: &'static str) {
        let node = self.nodes.remove(name).unwrap_or_else(|| panic!("{name} runs"));
        self.stopped.insert(name, node.kill());
    }

    /// Sends SIGTERM and returns when the node has drained.
    pub fn terminate(&mut self, name: &'static str) {
        let node = self.nodes.remove(name).unwrap_or_else(|| panic!("{name} runs"));
        self.stopped.insert(name, node.terminate());
    }

    /// Starts a node that was stopped, on its old address.
    pub fn restart(&mut self, name: &'static str) {
        let stopped = self.stopped.remove(name).unwrap_or_else(|| panic!("{name} was stopped"));
        self.nodes.insert(name, stopped.restart_until_ready());
    }

    /// Returns what `lc top` shows on a node now.
    pub async fn top(&self, name: &str) -> TopSnapshot {
        let admin = self.admin(name);
        let lines = admin.lines::<TopSnapshot>("/v1/top?interval_ms=1000");
        let mut lines = timeout(PATIENCE, lines).await.expect("an answer in time").unwrap();
        timeout(PATIENCE, lines.next()).await.expect("a line in time").unwrap().unwrap()
    }

    /// Waits until `lc top` on a node satisfies a condition. Returns the time it took.
    pub async fn until_top(
        &self,
        name: &str,
        what: &str,
        patience: Duration,
        is_so: impl Fn(&TopSnapshot) -> bool,
    ) -> Duration {
        let started = Instant::now();
        loop {
            let top = self.top(name).await;
            if is_so(&top) {
                return started.elapsed();
            }
            let waited = started.elapsed();
            assert!(
                waited < patience,
                "{what} within {patience:?}; lc top on {name} shows breakers {:?}, unreachable {:?}, \
                 lag {:?}",
                top.breakers,
                top.unreachable,
                lag_of_groups(&top)
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
