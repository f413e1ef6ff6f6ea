//! The settings that must be equal on all nodes of a cluster, as digests that can be compared.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{
    CommentsEngine, Config, EventLogEngine, MetadataEngine, NodeRole, ReactionsEngine, RecentEngine,
};
use crate::protocol::paths::SIGNING_SECRET;

const ALL_NODES: &[&str] = &[
    "cluster.name",
    "cluster.colour",
    "engines.eventlog",
    "engines.bus",
    "engines.registry",
    "engines.recent",
    "engines.reactions",
    "engines.comments",
    "engines.metadata",
];
const EDGES: &[&str] = &[
    "gateway.max_connections_per_user",
    "auth.issuer",
    "auth.audience",
    "auth.account_created_claim",
    "auth.claims",
    "auth.jwks_url",
    "auth.oidc_issuer",
    "ingest.comments_per_minute",
    "ingest.max_comment_chars",
    "ingest.max_comment_bytes",
    "ingest.ref_lifetime",
    "reactions.kinds",
    "reactions.per_second",
    "messages.between_users",
    "messages.per_minute",
];
const COORDINATORS: &[&str] =
    &["broadcast.throttle", "broadcast.hysteresis", "broadcast.step_down_after"];

impl Config {
    /// Returns a digest of each setting that must be equal on all nodes, by its key. Only settings
    /// that this node's roles and engines use are in it. Files count by their contents. Reads
    /// files.
    pub fn shared_settings(&self) -> BTreeMap<String, String> {
        let all = serde_json::to_value(self).unwrap_or_default();
        let mut digests = Digests { all: &all, by_key: BTreeMap::new() };
        let has = |role| self.node.roles.contains(&role);
        digests.add_settings(ALL_NODES);
        self.add_engine_settings(&mut digests);
        if has(NodeRole::Edge) {
            digests.add_settings(EDGES);
            self.add_keys(&mut digests);
        }
        if has(NodeRole::Coordinator) {
            digests.add_settings(COORDINATORS);
        }
        if has(NodeRole::Edge) || has(NodeRole::Moderator) {
            // A stream in synchronous mode is moderated by its edges.
            digests.add_settings(&["moderation.stages"]);
            digests.add_section("moderation.rules", &["blocked_words_file"]);
            digests.add_section("moderation.reputation", &[]);
            if let Some(path) = &self.moderation.rules.blocked_words_file {
                digests.add_file("moderation.rules.blocked_words_file", path);
            }
            let model = &self.moderation.model;
            digests.add_section("moderation.model", &["file", "calibration"]);
            for (key, path) in [
                ("moderation.model.file", &model.file),
                ("moderation.model.calibration", &model.calibration),
            ] {
                if let Some(path) = path {
                    digests.add_file(key, path);
                }
            }
            if self.moderation.uses_hook() {
                digests.add_settings(&[
                    "moderation.hook.ask",
                    "moderation.hook.borderline",
                    "moderation.hook.on_failure",
                ]);
            }
        }
        if has(NodeRole::Edge) || has(NodeRole::Archiver) {
            digests.add_settings(&["store.retention"]);
        }
        digests.by_key
    }

    fn add_engine_settings(&self, digests: &mut Digests<'_>) {
        let engines = &self.engines;
        if engines.eventlog == EventLogEngine::Kafka {
            digests.add_settings(&["kafka.prefix", "eventlog.guarantee"]);
        }
        if engines.uses_redis() {
            digests.add_settings(&["redis.prefix", "redis.shards"]);
            let nodes: Vec<_> =
                self.redis.nodes.iter().map(|url| without_credentials(url)).collect();
            digests.add("redis.nodes", &nodes.join(" "));
        }
        if engines.recent == RecentEngine::Redis {
            digests.add_settings(&["redis.recent_lifetime", "store.recent_events"]);
        }
        if engines.reactions == ReactionsEngine::Redis {
            digests.add_settings(&["reactions.window"]);
        }
        if engines.comments == CommentsEngine::Cassandra {
            digests.add_settings(&["cassandra.keyspace"]);
        }
        if engines.comments == CommentsEngine::Postgres
            || engines.metadata == MetadataEngine::Postgres
        {
            digests.add_settings(&["postgres.schema"]);
        }
    }

    /// Adds the keys of tokens by their contents. A token minted on one node must be valid on all.
    fn add_keys(&self, digests: &mut Digests<'_>) {
        let own = self.node.data_dir.join(SIGNING_SECRET);
        let configured = &self.auth.signing_key;
        let is_own = configured.as_os_str().is_empty();
        digests.add_file("auth.signing_key", if is_own { &own } else { configured });
        let mut keys = String::new();
        for key in &self.auth.keys {
            let content = std::fs::read(&key.file).unwrap_or_default();
            let content = crc32c::crc32c(content.trim_ascii());
            keys.push_str(&format!("{:?} {:?} {content:08x};", key.algorithm, key.kid));
        }
        digests.add("auth.keys", &keys);
    }
}

struct Digests<'a> {
    /// The whole configuration.
    all: &'a Value,
    by_key: BTreeMap<String, String>,
}

impl Digests<'_> {
    fn add(&mut self, key: &str, text: &str) {
        self.by_key.insert(key.to_owned(), digest(text.as_bytes()));
    }

    fn add_settings(&mut self, keys: &[&str]) {
        for key in keys {
            if let Some(value) = self.value(key) {
                self.add(key, &value.to_string());
            }
        }
    }

    /// Adds every setting of a section except some.
    fn add_section(&mut self, section: &str, except: &[&str]) {
        let Some(Value::Object(settings)) = self.value(section) else { return };
        for (name, value) in settings.iter().filter(|(name, _)| !except.contains(&name.as_str())) {
            self.add(&format!("{section}.{name}"), &value.to_string());
        }
    }

    /// Adds a file. One that cannot be read is left out; the start fails or warns because of it.
    fn add_file(&mut self, key: &str, path: &Path) {
        if let Ok(content) = std::fs::read(path) {
            self.by_key.insert(key.to_owned(), digest(content.trim_ascii()));
        }
    }

    fn value(&self, key: &str) -> Option<Value> {
        key.split('.').try_fold(self.all, |value, name| value.get(name)).cloned()
    }
}

/// Returns 32 bits, which show a difference and say next to nothing about a secret.
fn digest(bytes: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(bytes))
}

/// Returns a URL without user and password, which may differ.
fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
            format!("{scheme}://{}", place.trim_end_matches('/'))
        }
        None => url.to_owned(),
    }
}

/// Returns the keys that both nodes have and that differ.
pub fn differing_settings<'a>(
    own: &'a BTreeMap<String, String>,
    other: &BTreeMap<String, String>,
) -> Vec<&'a str> {
    let differs = |(key, value): &(&String, &String)| {
        other.get(key.as_str()).is_some_and(|other| other != *value)
    };
    own.iter().filter(differs).map(|(key, _)| key.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::{
        BusEngine, KeyAlgorithm, KeyConfig, RegistryEngine, RuleAction,
    };
    use crate::protocol::admin::ClusterColour;

    fn cluster_config() -> Config {
        let mut config = Config::default();
        config.engines.eventlog = EventLogEngine::Kafka;
        config.engines.bus = BusEngine::Redis;
        config.engines.registry = RegistryEngine::Redis;
        config.engines.recent = RecentEngine::Redis;
        config.engines.comments = CommentsEngine::Cassandra;
        config.engines.metadata = MetadataEngine::Postgres;
        config.redis.nodes = vec!["redis://a:1".to_owned(), "redis://b:2".to_owned()];
        config
    }

    #[test]
    fn each_setting_that_must_be_equal_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        std::fs::write(&key, "one").unwrap();
        let own = cluster_config().shared_settings();
        type Change<'a> = (&'a str, Box<dyn Fn(&mut Config)>);
        let changes: Vec<Change<'_>> = vec![
            ("cluster.name", Box::new(|config| config.cluster.name = "prod-eu".to_owned())),
            ("cluster.colour", {
                Box::new(|config| config.cluster.colour = Some(ClusterColour::Red))
            }),
            ("redis.nodes", Box::new(|config| config.redis.nodes.reverse())),
            ("redis.prefix", Box::new(|config| config.redis.prefix = "x:".to_owned())),
            ("redis.shards", Box::new(|config| config.redis.shards = 4)),
            ("kafka.prefix", Box::new(|config| config.kafka.prefix = "x.".to_owned())),
            ("postgres.schema", Box::new(|config| config.postgres.schema = "x".to_owned())),
            ("cassandra.keyspace", Box::new(|config| config.cassandra.keyspace = "x".to_owned())),
            ("engines.recent", Box::new(|config| config.engines.recent = RecentEngine::Memory)),
            ("reactions.kinds", Box::new(|config| config.reactions.kinds.clear())),
            ("ingest.comments_per_minute", {
                Box::new(|config| config.ingest.comments_per_minute.viewer = 7)
            }),
            ("auth.claims", Box::new(|config| config.auth.claims.user = "uid".to_owned())),
            ("auth.jwks_url", Box::new(|config| config.auth.jwks_url = "https://x".to_owned())),
            ("moderation.rules.link_action", {
                Box::new(|config| config.moderation.rules.link_action = RuleAction::Reject)
            }),
            ("auth.keys", {
                let file = key.clone();
                Box::new(move |config| {
                    let algorithm = KeyAlgorithm::HS256;
                    config.auth.keys = vec![KeyConfig { algorithm, file: file.clone(), kid: None }];
                })
            }),
        ];
        for (expected, change) in changes {
            let mut config = cluster_config();
            change(&mut config);
            let other = config.shared_settings();
            assert_eq!(differing_settings(&own, &other), [expected]);
        }
    }

    #[test]
    fn what_may_differ_is_not_compared() {
        let own = cluster_config().shared_settings();
        let mut config = cluster_config();
        config.node.name = "other".to_owned();
        config.redis.nodes = vec!["redis://ann:pw@a:1/".to_owned(), "redis://b:2".to_owned()];
        config.kafka.brokers = vec!["elsewhere:1".to_owned()];
        config.postgres.url = "postgres://other@elsewhere/lcd".to_owned();
        config.gateway.max_connections = 5;
        config.delivery.workers = 3;
        assert!(differing_settings(&own, &config.shared_settings()).is_empty());
        config.node.roles = vec![NodeRole::Archiver];
        config.reactions.kinds.clear();
        assert!(differing_settings(&own, &config.shared_settings()).is_empty(), "not its role");
    }

    #[test]
    fn files_count_by_their_contents() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let with = |name: &str, content: &str| {
            std::fs::write(path(name), content).unwrap();
            let mut config = cluster_config();
            config.auth.signing_key = path(name);
            config.shared_settings()
        };
        let one = with("one", "a");
        let copy = with("copy", "a\n");
        let other = with("other", "b");
        assert!(differing_settings(&one, &copy).is_empty());
        assert_eq!(differing_settings(&one, &other), ["auth.signing_key"]);
    }
}
