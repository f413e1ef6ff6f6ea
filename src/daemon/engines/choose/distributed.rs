//! Opens the engines on Kafka, Redis, Cassandra and PostgreSQL that the configuration names.

use std::sync::Arc;

use anyhow::Context as _;

use super::Distributed;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{
    BusEngine, CommentsEngine, Config, EventLogEngine, MetadataEngine, ReactionsEngine,
    RecentEngine, RegistryEngine,
};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::announcements::postgres::PostgresAnnouncements;
use crate::daemon::engines::backends::postgres::PostgresServer;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::bus::redis::RedisBus;
use crate::daemon::engines::comments::cassandra::CassandraComments;
use crate::daemon::engines::comments::postgres::PostgresComments;
use crate::daemon::engines::comments::retention::Retention;
use crate::daemon::engines::direct_path::{DirectPath, FallbackBus, FallbackRegistry};
use crate::daemon::engines::eventlog::kafka::{KafkaLog, KafkaSettingsReader};
use crate::daemon::engines::eventlog::{LogTelemetry, SharedLog};
use crate::daemon::engines::metadata::postgres::PostgresMetadata;
use crate::daemon::engines::reactions::redis::RedisReactions;
use crate::daemon::engines::recent::guarded::GuardedRecent;
use crate::daemon::engines::recent::measured::MeasuredRecent;
use crate::daemon::engines::recent::redis::RedisRecent;
use crate::daemon::engines::registry::NodeIdentity;
use crate::daemon::engines::registry::redis::RedisRegistry;
use crate::daemon::engines::reservations::redis::RedisReservations;
use crate::daemon::engines::timeline::redis::RedisTimelineBlocks;
use crate::protocol::NodeId;
use crate::protocol::admin::dependency::{
    COMMENT_STORE, CONNECTION_REGISTRY, FAN_OUT_BUS, METADATA_STORE, RECENT_CACHE,
};

/// Opens the event log on Kafka, if the configuration puts it there.
pub(super) async fn open_log(
    config: &Config,
    telemetry: LogTelemetry,
) -> anyhow::Result<Option<SharedLog>> {
    if config.engines.eventlog != EventLogEngine::Kafka {
        return Ok(None);
    }
    let node = NodeId::new(&config.node.name);
    let log = KafkaLog::open(&config.kafka, &config.eventlog, &node, telemetry).await;
    Ok(Some(Arc::new(log.context("cannot open the event log on Kafka")?)))
}

/// Waits until no other running node has this node's name.
pub(super) async fn claim_name(config: &Config, identity: &NodeIdentity) -> anyhow::Result<()> {
    if config.engines.registry == RegistryEngine::Redis {
        let redis = RedisNodes::open(&config.redis)?;
        RedisRegistry::claim_name(identity.clone(), redis).await?;
    }
    Ok(())
}

/// The parts of the node that the engines on Redis share.
struct Shared<'a> {
    board: &'a StatusBoard,
    log: &'a SharedLog,
    identity: &'a NodeIdentity,
}

impl Distributed {
    pub(super) async fn open(
        config: &Config,
        clock: &SharedClock,
        board: &StatusBoard,
        log: &SharedLog,
        identity: &NodeIdentity,
    ) -> anyhow::Result<Self> {
        let mut distributed = Self::default();
        distributed.open_stores(config, clock, board).await?;
        if config.engines.eventlog == EventLogEngine::Kafka {
            let node = &identity.node;
            let reader = KafkaSettingsReader::new(&config.kafka, &config.eventlog, node)?;
            distributed.settings.push(Arc::new(reader));
        }
        if config.engines.uses_redis() {
            let redis = RedisNodes::open(&config.redis)?;
            distributed.settings.extend(redis.settings_readers());
            let shared = Shared { board, log, identity };
            distributed.open_redis(config, clock, shared, redis).await?;
        }
        Ok(distributed)
    }

    async fn open_stores(
        &mut self,
        config: &Config,
        clock: &SharedClock,
        board: &StatusBoard,
    ) -> anyhow::Result<()> {
        let engines = &config.engines;
        let retention = || Retention::new(config.store.retention, clock.clone());
        let comments_on_postgres = engines.comments == CommentsEngine::Postgres;
        let metadata_on_postgres = engines.metadata == MetadataEngine::Postgres;
        if comments_on_postgres || metadata_on_postgres {
            // Both stores share its connections.
            let server = PostgresServer::connect(&config.postgres).await?;
            self.settings.push(Arc::new(server.clone()));
            let read_connections = |contract| {
                let pool = server.pool().clone();
                let meter = board.telemetry().store(contract);
                meter.read_pool_with(move || Some(pool.connections()));
            };
            if comments_on_postgres {
                let comments = PostgresComments::open(&server, retention()).await?;
                self.comments = Some(Arc::new(comments));
                read_connections(COMMENT_STORE);
            }
            if metadata_on_postgres {
                self.metadata = Some(Arc::new(PostgresMetadata::open(&server).await?));
                read_connections(METADATA_STORE);
                let announcements = PostgresAnnouncements::open(&server).await?;
                self.announcements = Some(Arc::new(announcements));
            }
        }
        if engines.comments == CommentsEngine::Cassandra {
            let opened = CassandraComments::open(&config.cassandra, config.store.retention).await;
            let comments = Arc::new(opened.context("cannot open the comment store")?);
            self.settings.push(comments.clone());
            self.comments = Some(comments);
        }
        Ok(())
    }

    async fn open_redis(
        &mut self,
        config: &Config,
        clock: &SharedClock,
        shared: Shared<'_>,
        redis: RedisNodes,
    ) -> anyhow::Result<()> {
        let engines = &config.engines;
        let Shared { board, log, identity } = shared;
        let dropped = board.metrics().direct_messages_dropped.clone();
        let direct = DirectPath::new(identity.node.clone(), log.clone(), clock.clone(), dropped);
        if engines.bus == BusEngine::Redis {
            let bus = Arc::new(RedisBus::new(redis.clone(), &config.redis)?);
            let breaker = board.add_breaker(FAN_OUT_BUS);
            self.bus = Some(Arc::new(FallbackBus::new(bus, direct.clone(), &breaker)));
        }
        if engines.registry == RegistryEngine::Redis {
            let breaker = board.add_breaker(CONNECTION_REGISTRY);
            let registry =
                Arc::new(RedisRegistry::open(identity.clone(), redis.clone(), breaker).await?);
            self.registry = Some(Arc::new(FallbackRegistry::new(registry, direct.clone())));
            // Several nodes can exist only if they share the registry.
            let lifetime = config.ingest.ref_lifetime;
            self.reservations = Some(Arc::new(RedisReservations::new(redis.clone(), lifetime)));
            self.timeline = Some(Arc::new(RedisTimelineBlocks::new(redis.clone())));
        }
        if engines.recent == RecentEngine::Redis {
            let cache = Arc::new(RedisRecent::new(
                redis.clone(),
                &config.redis,
                &config.store,
                log.epoch(),
            ));
            let breaker = board.add_breaker(RECENT_CACHE);
            let meter = board.telemetry().store(RECENT_CACHE);
            let cache = Arc::new(MeasuredRecent::new(cache, meter));
            self.recent = Some(Arc::new(GuardedRecent::new(cache, breaker)));
        }
        if engines.reactions == ReactionsEngine::Redis {
            self.totals = Some(Arc::new(RedisReactions::new(redis)));
        }
        self.direct = Some(direct);
        Ok(())
    }
}
