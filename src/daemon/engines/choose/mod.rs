//! Opens the engines that the configuration names: the only place that chooses concrete engines.

#[cfg(feature = "engines")]
mod distributed;
mod embedded;
#[cfg(not(feature = "engines"))]
mod embedded_only;
#[cfg(feature = "engines")]
mod probe;
#[cfg(feature = "engines")]
mod redis_check;
mod stores;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;

use super::announcements::{Announcement, SharedAnnouncements};
use super::backends::sqlite_file::SqliteFile;
use super::bus::SharedBus;
use super::bus::in_process::InProcessBus;
use super::bus::measured::MeasuredBus;
use super::direct_path::DirectPath;
use super::eventlog::embedded::EmbeddedLog;
use super::eventlog::{LogTelemetry, SharedLog};
use super::reactions::SharedReactionTotals;
use super::registry::in_process::InProcessRegistry;
use super::registry::{NodeIdentity, SharedRegistry};
use super::reservations::SharedReservations;
use super::server_settings::{BackendServers, SharedSettingsReader};
use super::timeline::SharedTimelineBlocks;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{Config, EnginesConfig, NodeRole};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::base::telemetry::StoreMeter;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::comments::measured::MeasuredComments;
use crate::daemon::engines::comments::retention::Retention;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::daemon::engines::metadata::measured::MeasuredMetadata;
use crate::daemon::engines::reactions::measured::MeasuredTotals;
use crate::daemon::engines::recent::SharedRecentCache;
use crate::daemon::engines::recent::measured::MeasuredRecent;
use crate::daemon::engines::recent::memory::MemoryRecent;
use crate::daemon::engines::registry::measured::MeasuredRegistry;
use crate::protocol::NodeId;
use crate::protocol::admin::StageName;
use crate::protocol::admin::dependency::{
    COMMENT_STORE, CONNECTION_REGISTRY, EVENT_LOG, FAN_OUT_BUS, METADATA_STORE, REACTION_TOTALS,
    RECENT_CACHE,
};

pub use self::embedded::embedded_log_directory;
pub use super::eventlog::embedded::{Damage, Findings, Missing, MissingPart, repair};

#[cfg(feature = "engines")]
use self::distributed::{claim_name, open_log};
#[cfg(not(feature = "engines"))]
use self::embedded_only as probe;
#[cfg(not(feature = "engines"))]
use self::embedded_only::{claim_name, open_log};

/// The contracts through which the stages communicate.
#[derive(Debug, Clone)]
pub struct Engines {
    pub log: SharedLog,
    /// Tells operators of records that a consumer passed over.
    pub log_telemetry: LogTelemetry,
    pub bus: SharedBus,
    pub comments: SharedCommentStore,
    /// Shared by all that write to the comment store. Reads do not close it.
    pub comments_breaker: Arc<Breaker>,
    pub metadata: SharedMetadataStore,
    /// Shared by all that write to the metadata store. Reads do not close it.
    pub metadata_breaker: Arc<Breaker>,
    pub totals: SharedReactionTotals,
    pub recent: SharedRecentCache,
    pub registry: SharedRegistry,
    /// Present if several nodes accept comments.
    pub reservations: Option<SharedReservations>,
    /// Present if several nodes share the metadata.
    pub announcements: Option<SharedAnnouncements>,
    /// Carries the messages of bus and registry while Redis is away.
    pub direct: Option<Arc<DirectPath>>,
    /// Present if several nodes share the registry.
    pub timeline: Option<SharedTimelineBlocks>,
    /// The servers of the engines, for checks of their settings.
    pub servers: BackendServers,
    /// The embedded log, which needs retention on a timer.
    pub embedded_log: Option<Arc<EmbeddedLog>>,
    /// The files of the embedded stores, to be closed at the end.
    pub(crate) files: Vec<SqliteFile>,
}

/// The engines on servers, for the contracts that the configuration puts there.
#[derive(Debug, Default)]
struct Distributed {
    bus: Option<SharedBus>,
    comments: Option<SharedCommentStore>,
    metadata: Option<SharedMetadataStore>,
    totals: Option<SharedReactionTotals>,
    recent: Option<SharedRecentCache>,
    registry: Option<SharedRegistry>,
    reservations: Option<SharedReservations>,
    announcements: Option<SharedAnnouncements>,
    direct: Option<Arc<DirectPath>>,
    timeline: Option<SharedTimelineBlocks>,
    settings: Vec<SharedSettingsReader>,
}

/// The result of probing one server.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The kind of server, such as `redis`.
    pub(crate) server: &'static str,
    /// A description of the server, or the reason why it cannot be used.
    pub(crate) result: Result<String, String>,
}

impl Engines {
    /// Opens the engines that the configuration names.
    ///
    /// # Errors
    /// A dependency does not answer or refuses the settings; the text names the setting. Of several
    /// Redis nodes one must answer.
    pub async fn open(
        config: &Config,
        clock: &SharedClock,
        board: &StatusBoard,
        identity: &NodeIdentity,
    ) -> anyhow::Result<Self> {
        check_roles(config)?;
        claim_name(config, identity).await?;
        let telemetry = LogTelemetry::new(board);
        telemetry.set_node(NodeId::new(&config.node.name));
        telemetry.set_max_pending_bytes(config.eventlog.max_pending_bytes.as_u64());
        let (log, embedded_log): (SharedLog, _) = match open_log(config, telemetry.clone()).await? {
            Some(log) => (log, None),
            None => {
                let log = embedded::open_log(config, clock, telemetry.clone()).await?;
                (log.clone(), Some(log))
            }
        };
        stores::describe(config, board);
        let distributed = Distributed::open(config, clock, board, &log, identity).await?;
        let retention = Retention::new(config.store.retention, clock.clone());
        let mut files = Vec::new();
        let meter = |contract| board.telemetry().store(contract);
        let comments = match distributed.comments {
            Some(comments) => comments,
            None => {
                let comments = embedded::open_comments(config, retention, &mut files).await?;
                read_connections(&meter(COMMENT_STORE), files.last());
                comments
            }
        };
        let metadata = match distributed.metadata {
            Some(metadata) => metadata,
            None => {
                let metadata = embedded::open_metadata(config, &log, board, &mut files).await?;
                read_connections(&meter(METADATA_STORE), files.last());
                metadata
            }
        };
        let totals = match distributed.totals {
            Some(totals) => totals,
            None => {
                let totals = embedded::open_totals(config, &mut files).await?;
                read_connections(&meter(REACTION_TOTALS), files.last());
                totals
            }
        };
        let recent = distributed.recent.unwrap_or_else(|| {
            let recent = Arc::new(MemoryRecent::new(&config.store));
            Arc::new(MeasuredRecent::new(recent, meter(RECENT_CACHE)))
        });
        let node = NodeId::new(&config.node.name);
        let bus =
            distributed.bus.unwrap_or_else(|| Arc::new(InProcessBus::new(embedded::BUS_MESSAGES)));
        let bus = MeasuredBus::new(bus, board.telemetry().stage(StageName::Bus));
        let registry =
            distributed.registry.unwrap_or_else(|| Arc::new(InProcessRegistry::new(node)));
        let registry = MeasuredRegistry::new(registry, meter(CONNECTION_REGISTRY));
        let comments = MeasuredComments::new(comments, meter(COMMENT_STORE));
        let metadata = MeasuredMetadata::new(metadata, meter(METADATA_STORE));
        let totals = MeasuredTotals::new(totals, meter(REACTION_TOTALS));
        Ok(Self {
            bus: Arc::new(bus),
            registry: Arc::new(registry),
            recent,
            log,
            log_telemetry: telemetry,
            comments: Arc::new(comments),
            comments_breaker: board.add_breaker(COMMENT_STORE),
            metadata: Arc::new(metadata),
            metadata_breaker: board.add_breaker(METADATA_STORE),
            totals: Arc::new(totals),
            reservations: distributed.reservations,
            announcements: distributed.announcements,
            direct: distributed.direct,
            timeline: distributed.timeline,
            servers: BackendServers::new(distributed.settings),
            embedded_log,
            files,
        })
    }

    /// Returns the faults of the configuration that show before anything is opened.
    pub fn configuration_faults(config: &Config) -> Vec<String> {
        let roles = check_roles(config).err().map(|error| error.to_string());
        roles.into_iter().chain(probe::faults(config)).collect()
    }

    /// Returns the name of the engine behind each contract, for `lc status`.
    pub fn names(engines: &EnginesConfig) -> BTreeMap<String, String> {
        [
            (EVENT_LOG, engines.eventlog.as_str()),
            (FAN_OUT_BUS, engines.bus.as_str()),
            (COMMENT_STORE, engines.comments.as_str()),
            (METADATA_STORE, engines.metadata.as_str()),
            (REACTION_TOTALS, engines.reactions.as_str()),
            (RECENT_CACHE, engines.recent.as_str()),
            (CONNECTION_REGISTRY, engines.registry.as_str()),
        ]
        .map(|(contract, engine)| (contract.to_owned(), engine.to_owned()))
        .into()
    }
}

/// Makes the meter of a store read the connections to its file.
fn read_connections(meter: &StoreMeter, file: Option<&SqliteFile>) {
    if let Some(file) = file.cloned() {
        meter.read_pool_with(move || file.connections());
    }
}

/// Tries what the engines of the configuration will do, without opening one.
pub(crate) async fn probe_engines(config: &Config) -> Vec<Probe> {
    let mut probes = embedded::check(config).await;
    probes.extend(probe::probe(config).await);
    probes
}

/// Returns the processes that run on the same metadata, as they announce themselves.
pub(crate) async fn running_nodes(config: &Config) -> anyhow::Result<Vec<Announcement>> {
    probe::running_nodes(config).await
}

/// Fails if roles are split over processes but an engine lives in one process.
fn check_roles(config: &Config) -> anyhow::Result<()> {
    let all = NodeRole::ALL.iter().all(|role| config.node.roles.contains(role));
    let embedded = config.engines.embedded();
    if !all && !embedded.is_empty() {
        bail!(
            "node.roles names some of edge, coordinator, moderator and archiver, but the engine of {} \
             lives in one process: choose a distributed engine (docs/lcd.toml lists them), or give \
             this node all roles",
            embedded.join(", ")
        );
    }
    Ok(())
}
