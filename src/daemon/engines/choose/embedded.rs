//! Opens the engines that live in this process and its data directory.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::Config;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::comments::retention::Retention;
use crate::daemon::engines::comments::sqlite::SqliteComments;
use crate::daemon::engines::eventlog::embedded::EmbeddedLog;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::daemon::engines::metadata::sqlite::SqliteMetadata;
use crate::daemon::engines::reactions::SharedReactionTotals;
use crate::daemon::engines::reactions::sqlite::SqliteReactions;

/// Messages that the in-process bus holds for its only listener.
pub(super) const BUS_MESSAGES: usize = 16_384;

pub(super) async fn open_log(
    config: &Config,
    clock: &SharedClock,
) -> anyhow::Result<Arc<EmbeddedLog>> {
    let dir = config.node.data_dir.join("log");
    let log = tokio::task::spawn_blocking({
        let dir = dir.clone();
        let config = config.eventlog.clone();
        let clock = clock.clone();
        move || EmbeddedLog::open(&dir, &config, clock)
    })
    .await?
    .with_context(|| format!("cannot open the event log in {}", dir.display()))?;
    Ok(Arc::new(log))
}

pub(super) async fn open_comments(
    config: &Config,
    retention: Retention,
) -> anyhow::Result<SharedCommentStore> {
    let path = config.node.data_dir.join("comments.db");
    let opened = SqliteComments::open_with_retention(&path, retention).await;
    Ok(Arc::new(opened.with_context(|| cannot_open("comment store", &path))?))
}

pub(super) async fn open_metadata(config: &Config) -> anyhow::Result<SharedMetadataStore> {
    let path = config.node.data_dir.join("metadata.db");
    let opened = SqliteMetadata::open(&path).await;
    Ok(Arc::new(opened.with_context(|| cannot_open("metadata store", &path))?))
}

pub(super) async fn open_totals(config: &Config) -> anyhow::Result<SharedReactionTotals> {
    let path = config.node.data_dir.join("reactions.db");
    let opened = SqliteReactions::open(&path).await;
    Ok(Arc::new(opened.with_context(|| cannot_open("reaction totals", &path))?))
}

/// Describes a file of the data directory that cannot be opened.
fn cannot_open(store: &str, path: &Path) -> String {
    format!("cannot open the {store} {}", path.display())
}
