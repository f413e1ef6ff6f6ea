//! Chooses the event log, and the engines that nodes share through Redis.

use std::sync::Arc;

use anyhow::Context as _;

use super::stores::cannot_open;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{
    BusEngine, Config, EventLogEngine, ReactionsEngine, RecentEngine, RegistryEngine,
};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::bus::SharedBus;
use crate::daemon::engines::bus::in_process::InProcessBus;
use crate::daemon::engines::bus::redis::RedisBus;
use crate::daemon::engines::direct_path::{DirectPath, FallbackBus, FallbackRegistry};
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::engines::eventlog::embedded::EmbeddedLog;
use crate::daemon::engines::eventlog::kafka::KafkaLog;
use crate::daemon::engines::reactions::SharedReactionTotals;
use crate::daemon::engines::reactions::redis::RedisReactions;
use crate::daemon::engines::reactions::sqlite::SqliteReactions;
use crate::daemon::engines::recent::SharedRecentCache;
use crate::daemon::engines::recent::guarded::GuardedRecent;
use crate::daemon::engines::recent::memory::MemoryRecent;
use crate::daemon::engines::recent::redis::RedisRecent;
use crate::daemon::engines::registry::SharedRegistry;
use crate::daemon::engines::registry::in_process::InProcessRegistry;
use crate::daemon::engines::registry::redis::RedisRegistry;
use crate::daemon::engines::reservations::SharedReservations;
use crate::daemon::engines::reservations::redis::RedisReservations;
use crate::protocol::NodeId;

/// Messages that the in-process bus holds for its only listener.
const BUS_MESSAGES: usize = 16_384;

/// The event log that was opened.
pub(super) struct OpenedLog {
    pub(super) log: SharedLog,
    /// The same log, if it is the embedded one.
    pub(super) embedded: Option<Arc<EmbeddedLog>>,
}

pub(super) async fn open_log(config: &Config, clock: &SharedClock) -> anyhow::Result<OpenedLog> {
    if config.engines.eventlog == EventLogEngine::Kafka {
        let node = NodeId::new(&config.node.name);
        let log = KafkaLog::open(&config.kafka, &config.eventlog, &node).await;
        let log = Arc::new(log.context("cannot open the event log on Kafka")?);
        return Ok(OpenedLog { log, embedded: None });
    }
    let dir = config.node.data_dir.join("log");
    let log = tokio::task::spawn_blocking({
        let dir = dir.clone();
        let config = config.eventlog.clone();
        let clock = clock.clone();
        move || EmbeddedLog::open(&dir, &config, clock)
    })
    .await?
    .with_context(|| format!("cannot open the event log in {}", dir.display()))?;
    let log = Arc::new(log);
    Ok(OpenedLog { log: log.clone(), embedded: Some(log) })
}

pub(super) struct SharedEngines {
    pub(super) bus: SharedBus,
    pub(super) registry: SharedRegistry,
    pub(super) recent: SharedRecentCache,
    pub(super) totals: SharedReactionTotals,
    pub(super) reservations: Option<SharedReservations>,
    pub(super) direct: Option<Arc<DirectPath>>,
}

/// The inputs of the choices below.
struct Opening<'a> {
    config: &'a Config,
    board: &'a StatusBoard,
    /// Present if any engine is on Redis.
    redis: Option<RedisNodes>,
    direct: Option<Arc<DirectPath>>,
}

impl SharedEngines {
    pub(super) async fn open(
        config: &Config,
        clock: &SharedClock,
        board: &StatusBoard,
        log: &SharedLog,
    ) -> anyhow::Result<Self> {
        let redis =
            if config.engines.uses_redis() { Some(RedisNodes::open(&config.redis)?) } else { None };
        let node = NodeId::new(&config.node.name);
        let direct = redis.is_some().then(|| DirectPath::new(node, log.clone(), clock.clone()));
        let opening = Opening { config, board, redis, direct };
        Ok(Self {
            bus: opening.bus()?,
            registry: opening.registry().await?,
            recent: opening.recent(),
            totals: opening.totals().await?,
            reservations: opening.reservations(),
            direct: opening.direct,
        })
    }
}

impl Opening<'_> {
    fn bus(&self) -> anyhow::Result<SharedBus> {
        match (self.config.engines.bus, &self.redis, &self.direct) {
            (BusEngine::Redis, Some(redis), Some(direct)) => {
                let bus = Arc::new(RedisBus::new(redis.clone(), &self.config.redis)?);
                let breaker = self.board.add_breaker("fan-out bus");
                Ok(Arc::new(FallbackBus::new(bus, direct.clone(), breaker)))
            }
            _ => Ok(Arc::new(InProcessBus::new(BUS_MESSAGES))),
        }
    }

    async fn registry(&self) -> anyhow::Result<SharedRegistry> {
        let node = NodeId::new(&self.config.node.name);
        match (self.config.engines.registry, &self.redis, &self.direct) {
            (RegistryEngine::Redis, Some(redis), Some(direct)) => {
                let breaker = self.board.add_breaker("connection registry");
                let registry = RedisRegistry::open(node, redis.clone(), breaker).await?;
                Ok(Arc::new(FallbackRegistry::new(Arc::new(registry), direct.clone())))
            }
            _ => Ok(Arc::new(InProcessRegistry::new(node))),
        }
    }

    fn recent(&self) -> SharedRecentCache {
        let Config { redis: settings, store, .. } = self.config;
        match (self.config.engines.recent, &self.redis) {
            (RecentEngine::Redis, Some(redis)) => {
                let cache = Arc::new(RedisRecent::new(redis.clone(), settings, store));
                Arc::new(GuardedRecent::new(cache, self.board.add_breaker("recent cache")))
            }
            _ => Arc::new(MemoryRecent::new(store)),
        }
    }

    async fn totals(&self) -> anyhow::Result<SharedReactionTotals> {
        if let (ReactionsEngine::Redis, Some(redis)) = (self.config.engines.reactions, &self.redis)
        {
            return Ok(Arc::new(RedisReactions::new(redis.clone())));
        }
        let path = self.config.node.data_dir.join("reactions.db");
        let opened = SqliteReactions::open(&path).await;
        Ok(Arc::new(opened.with_context(|| cannot_open("reaction totals", &path))?))
    }

    /// Several nodes can exist only if the registry is on Redis.
    fn reservations(&self) -> Option<SharedReservations> {
        let several = self.config.engines.registry == RegistryEngine::Redis;
        let redis = self.redis.clone().filter(|_| several)?;
        let lifetime = self.config.ingest.ref_lifetime;
        Some(Arc::new(RedisReservations::new(redis, lifetime)))
    }
}
