//! The engine behind each contract. By default all are embedded, on one machine.

use serde::{Deserialize, Serialize};

/// One engine per contract. The section named after a distributed engine has its address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnginesConfig {
    pub eventlog: EventLogEngine,
    pub bus: BusEngine,
    pub registry: RegistryEngine,
    pub recent: RecentEngine,
    pub reactions: ReactionsEngine,
    pub comments: CommentsEngine,
    pub metadata: MetadataEngine,
}

macro_rules! engines {
    ($($(#[$doc:meta])* $name:ident { $default:ident = $default_text:literal $(, $other:ident = $text:literal)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            #[default]
            $default,
            $($other,)*
        }

        impl $name {
            /// Returns the name used in the configuration and shown to operators.
            pub fn as_str(self) -> &'static str {
                match self {
                    Self::$default => $default_text,
                    $(Self::$other => $text,)*
                }
            }
        }
    )*};
}

engines! {
    EventLogEngine { Embedded = "embedded", Kafka = "kafka" }
    BusEngine { InProcess = "in_process", Redis = "redis" }
    RegistryEngine { InProcess = "in_process", Redis = "redis" }
    RecentEngine { Memory = "memory", Redis = "redis" }
    ReactionsEngine { Sqlite = "sqlite", Redis = "redis" }
    CommentsEngine { Sqlite = "sqlite", Cassandra = "cassandra", Postgres = "postgres" }
    MetadataEngine { Sqlite = "sqlite", Postgres = "postgres" }
}

impl EnginesConfig {
    /// Returns whether any engine uses Redis.
    pub fn uses_redis(&self) -> bool {
        self.bus == BusEngine::Redis
            || self.registry == RegistryEngine::Redis
            || self.recent == RecentEngine::Redis
            || self.reactions == ReactionsEngine::Redis
    }

    /// Returns whether any engine keeps its data in the data directory.
    pub fn write_to_data_dir(&self) -> bool {
        self.eventlog == EventLogEngine::Embedded
            || self.reactions == ReactionsEngine::Sqlite
            || self.comments == CommentsEngine::Sqlite
            || self.metadata == MetadataEngine::Sqlite
    }

    /// Returns the keys whose engine lives in one process, so that no other node can share it.
    pub fn embedded(&self) -> Vec<&'static str> {
        self.keys(true)
    }

    /// Returns the keys whose engine is on a server.
    pub fn distributed(&self) -> Vec<&'static str> {
        self.keys(false)
    }

    fn keys(&self, embedded: bool) -> Vec<&'static str> {
        let keys = [
            ("engines.eventlog", self.eventlog == EventLogEngine::Embedded),
            ("engines.bus", self.bus == BusEngine::InProcess),
            ("engines.registry", self.registry == RegistryEngine::InProcess),
            ("engines.recent", self.recent == RecentEngine::Memory),
            ("engines.reactions", self.reactions == ReactionsEngine::Sqlite),
            ("engines.comments", self.comments == CommentsEngine::Sqlite),
            ("engines.metadata", self.metadata == MetadataEngine::Sqlite),
        ];
        keys.into_iter().filter(|(_, local)| *local == embedded).map(|(key, _)| key).collect()
    }
}
