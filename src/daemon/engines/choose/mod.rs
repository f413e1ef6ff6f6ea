//! Opens the engines that the configuration names: the only place that chooses concrete engines.

mod probe;
mod shared;
mod stores;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;

use super::bus::SharedBus;
use super::direct_path::DirectPath;
use super::eventlog::SharedLog;
use super::eventlog::embedded::EmbeddedLog;
use super::reactions::SharedReactionTotals;
use super::registry::SharedRegistry;
use super::reservations::SharedReservations;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{Config, EnginesConfig, NodeRole};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::daemon::engines::recent::SharedRecentCache;

pub(crate) use self::probe::probe_servers;

use self::shared::{OpenedLog, SharedEngines, open_log};
use self::stores::Stores;

/// The contracts through which the stages communicate.
#[derive(Debug, Clone)]
pub struct Engines {
    pub log: SharedLog,
    pub bus: SharedBus,
    pub comments: SharedCommentStore,
    pub metadata: SharedMetadataStore,
    /// Shared by all users of the metadata store.
    pub metadata_breaker: Arc<Breaker>,
    pub totals: SharedReactionTotals,
    pub recent: SharedRecentCache,
    pub registry: SharedRegistry,
    /// Present if several nodes accept comments.
    pub reservations: Option<SharedReservations>,
    /// Carries the messages of bus and registry while Redis is away.
    pub direct: Option<Arc<DirectPath>>,
    /// The embedded log, which needs retention on a timer.
    pub embedded_log: Option<Arc<EmbeddedLog>>,
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
    ) -> anyhow::Result<Self> {
        check_roles(config)?;
        let OpenedLog { log, embedded: embedded_log } = open_log(config, clock).await?;
        let Stores { comments, metadata } = Stores::open(config, clock).await?;
        let shared = SharedEngines::open(config, clock, board, &log).await?;
        let SharedEngines { bus, registry, recent, totals, reservations, direct } = shared;
        let metadata_breaker = board.add_breaker("metadata store");
        Ok(Self {
            log,
            bus,
            comments,
            metadata,
            metadata_breaker,
            totals,
            recent,
            registry,
            reservations,
            direct,
            embedded_log,
        })
    }

    /// Returns the name of the engine behind each contract, for `lc status`.
    pub fn names(engines: &EnginesConfig) -> BTreeMap<String, String> {
        [
            ("event log", engines.eventlog.as_str()),
            ("fan-out bus", engines.bus.as_str()),
            ("comment store", engines.comments.as_str()),
            ("metadata store", engines.metadata.as_str()),
            ("reaction totals", engines.reactions.as_str()),
            ("recent cache", engines.recent.as_str()),
            ("connection registry", engines.registry.as_str()),
        ]
        .map(|(contract, engine)| (contract.to_owned(), engine.to_owned()))
        .into()
    }
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
