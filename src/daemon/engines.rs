//! The only place that chooses concrete engines.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::bus::SharedBus;
use super::bus::in_process::InProcessBus;
use super::clock::SharedClock;
use super::config::{Config, NodeRole};
use super::eventlog::SharedLog;
use super::eventlog::embedded::EmbeddedLog;
use super::reactions::SharedReactionTotals;
use super::reactions::sqlite::SqliteReactions;
use super::registry::in_process::InProcessRegistry;
use super::store::comments::SharedCommentStore;
use super::store::comments::retention::Retention;
use super::store::comments::sqlite::SqliteComments;
use super::store::metadata::SharedMetadataStore;
use super::store::metadata::sqlite::SqliteMetadata;
use super::store::recent::SharedRecentCache;
use super::store::recent::memory::MemoryRecent;
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
    pub totals: SharedReactionTotals,
    pub recent: SharedRecentCache,
    pub registry: Arc<InProcessRegistry>,
    /// The embedded log, for what only it needs: retention on a timer.
    pub embedded_log: Arc<EmbeddedLog>,
}

impl Engines {
    /// Opens the embedded engines in the data directory.
    pub async fn open(config: &Config, clock: SharedClock) -> anyhow::Result<Self> {
        if NodeRole::ALL.iter().any(|role| !config.node.roles.contains(role)) {
            bail!(
                "the embedded engines live in one process: node.roles must name all of edge, \
                 coordinator, moderator and archiver"
            );
        }
        let dir = config.node.data_dir.clone();
        let retention = Retention::new(config.store.retention, clock.clone());
        let (log_dir, log_config, log_clock) = (dir.join("log"), config.eventlog.clone(), clock);
        let log = tokio::task::spawn_blocking(move || {
            EmbeddedLog::open(&log_dir, &log_config, log_clock)
        })
        .await?
        .with_context(|| format!("cannot open the event log in {}", dir.join("log").display()))?;
        let log = Arc::new(log);
        let path = dir.join("comments.db");
        let comments = SqliteComments::open_keeping(&path, retention)
            .await
            .with_context(|| format!("cannot open the comment store {}", path.display()))?;
        let path = dir.join("metadata.db");
        let metadata = SqliteMetadata::open(&path)
            .await
            .with_context(|| format!("cannot open the metadata store {}", path.display()))?;
        let path = dir.join("reactions.db");
        let totals = SqliteReactions::open(&path)
            .await
            .with_context(|| format!("cannot open the reaction totals {}", path.display()))?;
        Ok(Self {
            log: log.clone(),
            bus: Arc::new(InProcessBus::new(BUS_MESSAGES)),
            comments: Arc::new(comments),
            metadata: Arc::new(metadata),
            totals: Arc::new(totals),
            recent: Arc::new(MemoryRecent::new(&config.store)),
            registry: Arc::new(InProcessRegistry::new(NodeId::new(&config.node.name))),
            embedded_log: log,
        })
    }

    /// Which engine stands behind each contract, for `lc status`.
    pub fn names() -> BTreeMap<String, String> {
        [
            ("event log", "embedded"),
            ("fan-out bus", "in process"),
            ("comment store", "sqlite"),
            ("metadata store", "sqlite"),
            ("reaction totals", "sqlite"),
            ("recent cache", "memory"),
            ("connection registry", "in process"),
        ]
        .map(|(contract, engine)| (contract.to_owned(), engine.to_owned()))
        .into()
    }
}
