//! The settings of a Redis node: from `INFO`, which every user of lcd may call, and from `CONFIG
//! GET`, which managed servers refuse.

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::future::join_all;

use super::{GuardedConnection, RedisFailure};
use crate::daemon::engines::server_settings::{
    OutputLimit, RedisSettings, ServerSettings, SettingsReader, Unread,
};

/// The settings that only `CONFIG GET` tells. Before Redis 7 a call takes one name.
const CONFIGURED: [&str; 3] = [PUBSUB_LIMIT, "tcp-backlog", "timeout"];
const PUBSUB_LIMIT: &str = "client-output-buffer-limit";

/// Reads the settings of one Redis node, on the connection that the engines share.
#[derive(Debug)]
pub(super) struct RedisSettingsReader(pub(super) GuardedConnection);

#[async_trait]
impl SettingsReader for RedisSettingsReader {
    fn server(&self) -> String {
        format!("Redis {}", self.0.address())
    }

    async fn read(&self) -> Result<ServerSettings, String> {
        let address = self.0.address().to_owned();
        let mut settings = RedisSettings { address, ..RedisSettings::default() };
        match self.0.query::<String>(&redis::cmd("INFO")).await {
            Ok(info) => settings.read_info(&info),
            Err(RedisFailure::Unavailable { reason, .. }) => return Err(reason),
            Err(failure) => settings.add_unread("version, maxmemory", reason_of(failure)),
        }
        let asked = CONFIGURED.map(|name| async move {
            let mut get = redis::cmd("CONFIG");
            get.arg("GET").arg(name);
            (name, self.0.query::<HashMap<String, String>>(&get).await)
        });
        let mut refused: Vec<(&str, String)> = Vec::new();
        for (name, answer) in join_all(asked).await {
            let reason = match answer.map(|found| found.get(name).cloned()) {
                Ok(Some(value)) if settings.read_configured(name, &value) => continue,
                Ok(Some(value)) => format!("its value is {value:?}"),
                Ok(None) => "CONFIG GET does not tell it".to_owned(),
                Err(failure) => format!("CONFIG GET: {}", reason_of(failure)),
            };
            refused.push((name, reason));
        }
        for reason in distinct(refused.iter().map(|(_, reason)| reason)) {
            let alike = refused.iter().filter(|(_, other)| other == reason);
            let names: Vec<_> = alike.map(|(name, _)| *name).collect();
            settings.add_unread(&names.join(", "), reason.clone());
        }
        Ok(ServerSettings::Redis(settings))
    }
}

/// Returns the reason without the address, which is in the name of the server.
fn reason_of(failure: RedisFailure) -> String {
    let (RedisFailure::Unavailable { reason, .. }
    | RedisFailure::Refused { reason, .. }
    | RedisFailure::Unexpected { reason, .. }) = failure;
    reason
}

fn distinct<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut distinct = Vec::new();
    for text in texts {
        if !distinct.contains(&text) {
            distinct.push(text);
        }
    }
    distinct
}

impl RedisSettings {
    fn read_info(&mut self, info: &str) {
        let text = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned())
        };
        let number = |name: &str| text(name)?.parse().ok();
        self.version = text("redis_version");
        self.used_memory = number("used_memory");
        self.total_system_memory = number("total_system_memory");
        self.maxmemory = number("maxmemory");
        self.maxmemory_policy = text("maxmemory_policy");
        self.connected_clients = number("connected_clients");
    }

    /// Takes a setting of [`CONFIGURED`]. Returns whether its value is understood.
    fn read_configured(&mut self, name: &str, value: &str) -> bool {
        match name {
            PUBSUB_LIMIT => {
                self.pubsub_limit = pubsub_limit(value);
                self.pubsub_limit.is_some()
            }
            "tcp-backlog" => {
                self.tcp_backlog = value.parse().ok();
                self.tcp_backlog.is_some()
            }
            _ => {
                self.timeout_s = value.parse().ok();
                self.timeout_s.is_some()
            }
        }
    }

    fn add_unread(&mut self, settings: &str, reason: String) {
        self.unread.push(Unread { settings: settings.to_owned(), reason });
    }
}

/// Finds the limit of subscribers in `normal 0 0 0 slave … pubsub 33554432 8388608 60`.
fn pubsub_limit(value: &str) -> Option<OutputLimit> {
    let mut words = value.split_whitespace().skip_while(|word| *word != "pubsub").skip(1);
    let mut number = || words.next()?.parse().ok();
    Some(OutputLimit { hard_bytes: number()?, soft_bytes: number()?, soft_s: number()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::RedisConfig;
    use crate::daemon::engines::backends::redis_nodes::RedisNodes;
    use crate::daemon::testing::redis_server::{RedisServer, TIMEOUT, config_of};

    async fn read(config: &RedisConfig) -> RedisSettings {
        let readers = RedisNodes::open(config).unwrap().settings_readers();
        match readers[0].read().await {
            Ok(ServerSettings::Redis(settings)) => settings,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_limit_of_subscribers_is_the_one_read() {
        let value = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        let limit = OutputLimit { hard_bytes: 33_554_432, soft_bytes: 8_388_608, soft_s: 60 };
        assert_eq!(pubsub_limit(value), Some(limit));
        assert_eq!(pubsub_limit("normal 0 0 0"), None);
        assert_eq!(pubsub_limit("pubsub 1 2"), None);
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn settings_are_those_of_the_server() {
        let server = RedisServer::start().await;
        for (name, value) in [
            ("maxmemory", "64mb"),
            ("maxmemory-policy", "allkeys-lru"),
            ("timeout", "300"),
            ("client-output-buffer-limit", "pubsub 32mb 8mb 60"),
        ] {
            server.ask::<()>(redis::cmd("CONFIG").arg("SET").arg(name).arg(value)).await;
        }
        let settings = read(&config_of(&[&server], TIMEOUT)).await;
        assert_eq!(settings.unread, []);
        let version = settings.version.unwrap();
        assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{version}");
        assert_eq!(settings.maxmemory, Some(64 << 20));
        assert_eq!(settings.maxmemory_policy.as_deref(), Some("allkeys-lru"));
        assert_eq!((settings.timeout_s, settings.tcp_backlog), (Some(300), Some(511)));
        let limit = OutputLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_s: 60 };
        assert_eq!(settings.pubsub_limit, Some(limit));
        assert!(settings.used_memory < settings.total_system_memory);
        assert!(settings.connected_clients >= Some(1));
    }

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn a_server_without_config_tells_the_rest() {
        let server = RedisServer::start().await;
        let rights = ["on", ">pw", "~*", "+@all", "-config"];
        let mut user = redis::cmd("ACL");
        server.ask::<()>(user.arg("SETUSER").arg("lcd").arg(&rights)).await;
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("password");
        std::fs::write(&password, "pw\n").unwrap();
        let settings = read(&RedisConfig {
            username: "lcd".to_owned(),
            password_file: Some(password),
            ..config_of(&[&server], TIMEOUT)
        })
        .await;
        assert!(settings.version.is_some() && settings.maxmemory.is_some(), "{settings:?}");
        assert_eq!((settings.pubsub_limit, settings.tcp_backlog), (None, None));
        let [unread] = &settings.unread[..] else { panic!("{settings:?}") };
        assert_eq!(unread.settings, "client-output-buffer-limit, tcp-backlog, timeout");
        assert!(unread.reason.contains("CONFIG GET"), "{}", unread.reason);
        assert!(unread.reason.contains("NOPERM") || unread.reason.contains("permissions"));
    }

    #[tokio::test]
    async fn a_server_that_is_down_tells_nothing() {
        let nodes = vec!["redis://127.0.0.1:1".to_owned()];
        let config = RedisConfig { nodes, ..RedisConfig::default() };
        let readers = RedisNodes::open(&config).unwrap().settings_readers();
        assert_eq!(readers[0].server(), "Redis 127.0.0.1:1");
        assert!(readers[0].read().await.is_err());
    }
}
