//! The trial of `lcd check` on Redis: on each Redis node, every engine does what it does in
//! service, under keys and channels of the check, which are removed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, FromRedisValue, Value};
use tokio::time::timeout;

use crate::daemon::base::config::{
    BusEngine, Config, ReactionsEngine, RecentEngine, RedisConfig, RegistryEngine,
};
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::bus::redis::RedisBus;
use crate::daemon::engines::bus::{BusEvent, BusMessage, FanoutBus as _};
use crate::daemon::engines::reactions::redis::RedisReactions;
use crate::daemon::engines::reactions::{ReactionTotals as _, Totals};
use crate::daemon::engines::recent::RecentCache as _;
use crate::daemon::engines::recent::redis::RedisRecent;
use crate::daemon::engines::registry::redis::RedisRegistry;
use crate::daemon::engines::registry::{
    CommandHandler, ConnectionRegistry as _, NodeCommand, NodeIdentity,
};
use crate::protocol::admin::{ConnectionInfo, TransportKind};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, NodeId, Role, StreamId, UserId};

const STREAM: StreamId = StreamId(1);
const USER: UserId = UserId(1);
/// The commands that scripts use, the kind of key that they are tried on, and further arguments.
const SCRIPTED_COMMANDS: &[(&str, &str, &[&str])] = &[
    ("SET", "string", &["1"]),
    ("GET", "string", &[]),
    ("INCR", "string", &[]),
    ("EXISTS", "string", &[]),
    ("PEXPIRE", "string", &["60000"]),
    ("PTTL", "string", &[]),
    ("HSET", "hash", &["field", "1"]),
    ("HGET", "hash", &["field"]),
    ("HMGET", "hash", &["field"]),
    ("HGETALL", "hash", &[]),
    ("HKEYS", "hash", &[]),
    ("HLEN", "hash", &[]),
    ("HINCRBY", "hash", &["field", "1"]),
    ("HDEL", "hash", &["field"]),
    ("ZADD", "set", &["1", "member"]),
    ("ZCARD", "set", &[]),
    ("ZSCORE", "set", &["member"]),
    ("ZMSCORE", "set", &["member"]),
    ("ZRANGE", "set", &["0", "-1"]),
    ("ZRANGEBYSCORE", "set", &["0", "1"]),
    ("ZREM", "set", &["member"]),
    ("ZREMRANGEBYSCORE", "set", &["0", "1"]),
    ("ZREMRANGEBYRANK", "set", &["0", "1"]),
    ("DEL", "string", &[]),
];
/// Keys per `SCAN`.
const SCAN_COUNT: usize = 1000;

/// Checks one Redis node. Returns its address, and a description or the reason.
pub(super) async fn check(config: &Config, url: &str) -> (String, Result<String, String>) {
    let prefix = format!("{}check:{:016x}:", config.redis.prefix, rand::random::<u64>());
    let redis =
        RedisConfig { nodes: vec![url.to_owned()], prefix: prefix.clone(), ..config.redis.clone() };
    let nodes = match RedisNodes::open(&redis) {
        Ok(nodes) => nodes,
        Err(error) => return ("redis".to_owned(), Err(error.to_string())),
    };
    let address = nodes.address(0).to_owned();
    let check = RedisCheck { config, redis, nodes };
    let tried = check.try_engines().await;
    let removed = check.remove_keys().await;
    let result = match tried.and(removed) {
        Ok(()) => Ok(address.clone()),
        Err(error) => Err(format!("Redis at {address} (redis.nodes): {}", check.explain(&error))),
    };
    (address, result)
}

struct RedisCheck<'a> {
    config: &'a Config,
    /// The one node, under the prefix of the check.
    redis: RedisConfig,
    nodes: RedisNodes,
}

impl RedisCheck<'_> {
    async fn try_engines(&self) -> Result<(), String> {
        let _: String = self.command(&redis::cmd("PING")).await?;
        self.try_commands().await?;
        let engines = &self.config.engines;
        if engines.bus == BusEngine::Redis {
            self.try_bus().await.map_err(|error| format!("fan-out bus: {error}"))?;
        }
        if engines.registry == RegistryEngine::Redis {
            self.try_registry().await.map_err(|error| format!("connection registry: {error}"))?;
            self.try_reservations().await.map_err(|error| format!("reservations: {error}"))?;
        }
        if engines.recent == RecentEngine::Redis {
            self.try_recent().await.map_err(|error| format!("recent cache: {error}"))?;
        }
        if engines.reactions == ReactionsEngine::Redis {
            self.try_reactions().await.map_err(|error| format!("reaction totals: {error}"))?;
        }
        Ok(())
    }

    /// Runs each command of the scripts by itself: Redis does not say which command a script may
    /// not run.
    async fn try_commands(&self) -> Result<(), String> {
        self.command::<Value>(&redis::cmd("TIME")).await?;
        for (name, key, arguments) in SCRIPTED_COMMANDS {
            let mut command = redis::cmd(name);
            command.arg(self.nodes.key(&format!("commands:{key}"))).arg(*arguments);
            self.command::<Value>(&command).await.map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(())
    }

    /// Subscribes, publishes, and receives.
    async fn try_bus(&self) -> Result<(), String> {
        let bus = RedisBus::new(self.nodes.clone(), &self.redis).map_err(text)?;
        bus.probe().await.map_err(text)?;
        let (subscriptions, mut listener) =
            bus.listen(&NodeId::new("lcd check")).await.map_err(text)?;
        subscriptions.subscribe(STREAM).await.map_err(text)?;
        let message = BusMessage::Throttle { sample_rate: SampleRate::ALL };
        bus.publish(STREAM, vec![message.clone()]).await.map_err(text)?;
        let receive = async {
            loop {
                match listener.receive().await.map_err(text)? {
                    BusEvent::Message(STREAM, received) if received == message => return Ok(()),
                    _ => {}
                }
            }
        };
        timeout(self.patience(), receive)
            .await
            .unwrap_or_else(|_| Err("a published message does not arrive".to_owned()))?;
        self.try_unsubscribe().await.map_err(|error| format!("UNSUBSCRIBE: {error}"))
    }

    /// Unsubscribes on a connection of its own: the bus would try again until it succeeds.
    async fn try_unsubscribe(&self) -> Result<(), String> {
        let unsubscribe = async {
            let mut connection = self.nodes.client(0).get_async_pubsub().await.map_err(text)?;
            let channel = self.nodes.key("unsubscribe");
            connection.subscribe(&channel).await.map_err(text)?;
            connection.unsubscribe(&channel).await.map_err(text)
        };
        timeout(self.patience(), unsubscribe).await.unwrap_or_else(|_| Err("no answer".to_owned()))
    }

    /// Two nodes of the check register, find each other, and send a command.
    async fn try_registry(&self) -> Result<(), String> {
        let a = self.open_registry("lcd check a").await?;
        let b = self.open_registry("lcd check b").await?;
        let info = ConnectionInfo {
            node: NodeId::new("lcd check a"),
            stream_id: STREAM,
            connected_at: 0,
            role: Role::Viewer,
            transport: TransportKind::Websocket,
            address: None,
            everywhere: Role::Viewer,
        };
        let used = async {
            let id = a.register(USER, info, 1).await.map_err(text)?;
            let found = b.locate(USER).await.map_err(text)?;
            a.unregister(USER, id).await.map_err(text)?;
            a.report_viewers(&NodeId::new("lcd check a"), vec![(STREAM, 1)]).await.map_err(text)?;
            b.viewers().await.map_err(text)?;
            let nodes = b.nodes().await.map_err(text)?;
            if found.len() != 1 || nodes.len() != 2 {
                return Err("a registered connection is not found".to_owned());
            }
            b.command(&NodeId::new("lcd check a"), NodeCommand::ReloadSanctions)
                .await
                .map(drop)
                .map_err(text)
        };
        let used = used.await;
        let left = a.leave().await.and(b.leave().await).map_err(text);
        used.and(left)
    }

    async fn open_registry(&self, name: &str) -> Result<RedisRegistry, String> {
        let identity = NodeIdentity {
            node: NodeId::new(name),
            identity: name.to_owned(),
            about: name.to_owned(),
        };
        let breaker = Arc::new(Breaker::new("check"));
        let registry = RedisRegistry::open(identity, self.nodes.clone(), breaker).await;
        let registry = registry.map_err(text)?;
        registry.set_command_handler(Arc::new(NoCommand));
        Ok(registry)
    }

    async fn try_reservations(&self) -> Result<(), String> {
        let mut reserve = redis::cmd("SET");
        reserve.arg(self.nodes.key("ref:1:1:check")).arg("id").arg("NX").arg("GET");
        reserve.arg("PX").arg(60_000);
        self.command::<Option<String>>(&reserve).await?;
        for section in ["server", "stats"] {
            self.command::<String>(redis::cmd("INFO").arg(section)).await?;
        }
        Ok(())
    }

    async fn try_recent(&self) -> Result<(), String> {
        // The log is not opened here. Any epoch serves for keys of a check.
        let redis = &self.redis;
        let store = &self.config.store;
        let recent = RedisRecent::new(self.nodes.clone(), redis, store, Epoch(1));
        let comment_id = CommentId::from_unix_ticks(17_500_000_000_000_000, 0, [2, 0, 0, 0, 0, 1]);
        recent.append(STREAM, 1, 2, Vec::new()).await.map_err(text)?;
        recent.head(STREAM).await.map_err(text)?;
        let next = RedisRecent::new(self.nodes.clone(), redis, store, Epoch(2));
        next.earlier(STREAM).await.map_err(text)?;
        recent.add_tombstone(STREAM, comment_id, 1).await.map_err(text)?;
        recent.restore_comment(STREAM, comment_id, 2).await.map_err(text)?;
        recent.is_complete().await.map_err(text)?;
        recent.mark_complete().await.map_err(text)?;
        recent.after(STREAM, 0, 10).await.map_err(text)?;
        recent.deletion_states(STREAM, &[comment_id]).await.map_err(text)?;
        recent.mark_incomplete().await.map_err(text)
    }

    async fn try_reactions(&self) -> Result<(), String> {
        let reactions = RedisReactions::new(self.nodes.clone());
        let counts: [(StreamId, Totals); 1] = [(STREAM, [(Arc::from("check"), 1)].into())];
        reactions.add(&counts).await.map_err(text)?;
        reactions.totals(STREAM).await.map_err(text)?;
        reactions.all().await.map(drop).map_err(text)
    }

    /// Removes every key of the check. Those that remain if it fails expire within a day.
    async fn remove_keys(&self) -> Result<(), String> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(self.nodes.key("*")).arg("COUNT").arg(SCAN_COUNT);
            let (next, keys): (u64, Vec<String>) = self.command(&scan).await?;
            if !keys.is_empty() {
                let mut remove = redis::cmd("DEL");
                remove.arg(keys);
                self.command::<u64>(&remove).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        self.nodes.guarded(0).query(command).await.map_err(text)
    }

    fn patience(&self) -> Duration {
        self.redis.timeout * 2
    }

    /// Adds the rights that the user needs if the server refused something for lack of one.
    fn explain(&self, error: &str) -> String {
        let lacks_right =
            ["NOPERM", "No permissions", "no permissions", "ACL failure", "can't run this"];
        if !lacks_right.iter().any(|words| error.contains(words)) {
            return error.to_owned();
        }
        let user = match self.redis.username.as_str() {
            "" => "default",
            user => user,
        };
        let prefix = &self.config.redis.prefix;
        format!(
            "{error}. The user \"{user}\" (redis.username) needs the keys `~{prefix}*`, the channels \
             `&{prefix}*` and the commands listed in docs/rights.md"
        )
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Executes the command of the check, which does nothing.
#[derive(Debug)]
struct NoCommand;

#[async_trait]
impl CommandHandler for NoCommand {
    async fn handle(&self, _: NodeCommand) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::EnginesConfig;
    use crate::daemon::testing::redis_server::RedisServer;

    /// The commands of docs/rights.md.
    fn documented_commands() -> String {
        let document = include_str!("../../../../docs/rights.md");
        let line = document.lines().find(|line| line.contains("ACL SETUSER"));
        let commands = line.expect("the document has the line to copy");
        commands.split(' ').filter(|word| word.starts_with('+')).collect::<Vec<_>>().join(" ")
    }

    fn config(server: &RedisServer, username: &str) -> (tempfile::TempDir, Config) {
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("password");
        std::fs::write(&password, "pw\n").unwrap();
        let engines = EnginesConfig {
            bus: BusEngine::Redis,
            registry: RegistryEngine::Redis,
            recent: RecentEngine::Redis,
            reactions: ReactionsEngine::Redis,
            ..EnginesConfig::default()
        };
        let redis = RedisConfig {
            nodes: vec![server.url()],
            prefix: "lc:".to_owned(),
            username: username.to_owned(),
            password_file: Some(password),
            ..RedisConfig::default()
        };
        let config = Config { engines, redis, ..Config::default() };
        (directory, config)
    }

    async fn set_user(server: &RedisServer, name: &str, rules: &str) {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(name).arg("on").arg(">pw");
        for rule in rules.split(' ') {
            command.arg(rule);
        }
        server.ask::<()>(&mut command).await;
    }

    async fn checked(server: &RedisServer, user: &str) -> Result<String, String> {
        let (_directory, config) = config(server, user);
        check(&config, &server.url()).await.1
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs scripts/stack up"]
    async fn the_documented_rights_are_enough_and_needed() {
        let server = RedisServer::start().await;
        let commands = documented_commands();
        let all = format!("resetchannels &lc:* ~lc:* {commands}");
        set_user(&server, "enough", &all).await;
        checked(&server, "enough").await.unwrap();
        let mut keys = redis::cmd("KEYS");
        let left: Vec<String> = server.ask(keys.arg("*")).await;
        assert!(left.is_empty(), "the check leaves nothing behind: {left:?}");

        for (user, rules, named) in [
            ("nochannels", "resetchannels ~* +@all".to_owned(), "channel"),
            ("otherchannels", "resetchannels &x:* ~* +@all".to_owned(), "channel"),
            ("nokeys", format!("resetchannels &lc:* ~x:* {commands}"), "key"),
        ] {
            assert_refused(&server, user, &rules, named).await;
        }
        // Redis lets everybody run the commands that log in.
        let for_all = ["hello", "auth"];
        for command in commands.split(' ').map(|right| right.trim_start_matches('+')) {
            if for_all.contains(&command) {
                continue;
            }
            server.ask::<()>(redis::cmd("SCRIPT").arg("FLUSH")).await;
            let user = format!("no-{}", command.replace('|', "-"));
            let named = command.split('|').next().unwrap_or(command);
            assert_refused(&server, &user, &format!("{all} -{command}"), named).await;
        }
    }

    /// Checks that a user with these rights is refused, and that the text says what it lacks.
    async fn assert_refused(server: &RedisServer, user: &str, rules: &str, named: &str) {
        set_user(server, user, rules).await;
        let refused = checked(server, user).await;
        let error = refused.expect_err(user);
        assert!(error.to_lowercase().contains(named), "{user}: {error}");
        assert!(error.contains("~lc:*") && error.contains("&lc:*"), "{user}: {error}");
        assert!(error.contains(&format!("\"{user}\"")), "{user}: {error}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs scripts/stack up"]
    async fn a_node_without_tls_is_named() {
        let server = RedisServer::start().await;
        let mut config = Config::default();
        config.engines.bus = BusEngine::Redis;
        let url = server.url().replace("redis://", "rediss://");
        let (address, result) = check(&config, &url).await;
        assert!(result.unwrap_err().contains(&address));
    }

    #[tokio::test]
    async fn a_node_that_is_down_is_named() {
        let mut config = Config::default();
        config.engines.bus = BusEngine::Redis;
        let (address, result) = check(&config, "redis://127.0.0.1:1").await;
        let error = result.unwrap_err();
        assert_eq!(address, "127.0.0.1:1");
        assert!(error.contains("redis.nodes") && error.contains("127.0.0.1:1"), "{error}");
    }
}
