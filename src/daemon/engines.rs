//! The only place that chooses concrete engines.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::bus::SharedBus;
use super::bus::in_process::InProcessBus;
use super::clock::SharedClock;
use super::config::{Config, EnginesConfig, NodeRole};
use super::direct_path::DirectPath;
use super::eventlog::SharedLog;
use super::eventlog::embedded::EmbeddedLog;
use super::reactions::SharedReactionTotals;
use super::reactions::sqlite::SqliteReactions;
use super::registry::SharedRegistry;
use super::registry::in_process::InProcessRegistry;
use super::status::StatusBoard;
use super::store::comments::SharedCommentStore;
use super::store::comments::sqlite::SqliteComments;
use super::store::metadata::SharedMetadataStore;
use super::store::metadata::sqlite::SqliteMetadata;
use super::store::recent::SharedRecentCache;
use super::store::recent::memory::MemoryRecent;
use super::supervise::breaker::Breaker;
use crate::protocol::NodeId;

/// Messages the in-process bus holds for the one listener there is.
const BUS_MESSAGES: usize = 16_384;

/// Everything the stages meet in.
#[derive(Debug, Clone)]
pub struct Engines {
    pub log: SharedLog,
    pub bus: SharedBus,
    pub comments: SharedCommentStore,
    pub metadata: SharedMetadataStore,
    /// Shared by everybody who asks the metadata store.
    pub metadata_breaker: Arc<Breaker>,
    pub totals: SharedReactionTotals,
    pub recent: SharedRecentCache,
    pub registry: SharedRegistry,
    /// Where bus and registry can be out of reach, what carries their messages then.
    pub direct: Option<Arc<DirectPath>>,
    /// The embedded log, for what only it needs: retention on a timer.
    pub embedded_log: Option<Arc<EmbeddedLog>>,
}

impl Engines {
    /// Opens what the configuration names.
    pub async fn open(
        config: &Config,
        clock: &SharedClock,
        board: &StatusBoard,
    ) -> anyhow::Result<Self> {
        check_roles(config)?;
        let dir = &config.node.data_dir;
        let (log, embedded_log) = open_log(config, clock).await?;
        Ok(Self {
            log,
            embedded_log,
            bus: Arc::new(InProcessBus::new(BUS_MESSAGES)),
            comments: Arc::new(
                open_file(dir, "comments.db", "comment store", async |path| {
                    SqliteComments::open(path).await
                })
                .await?,
            ),
            metadata: Arc::new(
                open_file(dir, "metadata.db", "metadata store", async |path| {
                    SqliteMetadata::open(path).await
                })
                .await?,
            ),
            metadata_breaker: board.add_breaker("metadata store"),
            totals: Arc::new(
                open_file(dir, "reactions.db", "reaction totals", async |path| {
                    SqliteReactions::open(path).await
                })
                .await?,
            ),
            recent: Arc::new(MemoryRecent::new(&config.store)),
            registry: Arc::new(InProcessRegistry::new(NodeId::new(&config.node.name))),
            direct: None,
        })
    }

    /// Which engine stands behind each contract, for `lc status`.
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

/// Roles that are split over processes need engines that processes can share.
fn check_roles(config: &Config) -> anyhow::Result<()> {
    let all = NodeRole::ALL.iter().all(|role| config.node.roles.contains(role));
    let embedded = config.engines.embedded();
    if !all && !embedded.is_empty() {
        bail!(
            "node.roles names some of edge, coordinator, moderator and archiver, but {} lives in one \
             process: choose a distributed engine for it (docs/lcd.toml lists them), or give this \
             node all roles",
            embedded.join(", ")
        );
    }
    Ok(())
}

async fn open_log(
    config: &Config,
    clock: &SharedClock,
) -> anyhow::Result<(SharedLog, Option<Arc<EmbeddedLog>>)> {
    let dir = config.node.data_dir.join("log");
    let (log_dir, log_config, clock) = (dir.clone(), config.eventlog.clone(), clock.clone());
    let open = move || EmbeddedLog::open(&log_dir, &log_config, clock);
    let log = tokio::task::spawn_blocking(open)
        .await?
        .with_context(|| format!("cannot open the event log in {}", dir.display()))?;
    let log = Arc::new(log);
    Ok((log.clone(), Some(log)))
}

async fn open_file<T, E: Into<anyhow::Error>>(
    dir: &Path,
    file: &str,
    what: &str,
    open: impl AsyncFnOnce(&Path) -> Result<T, E>,
) -> anyhow::Result<T> {
    let path = dir.join(file);
    let opened = open(&path).await.map_err(Into::into);
    opened.with_context(|| format!("cannot open the {what} {}", path.display()))
}
