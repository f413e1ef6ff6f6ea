//! Opens the engines that live in this process and its data directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, bail};

use super::Probe;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{
    CommentsEngine, Config, EventLogEngine, MetadataEngine, ReactionsEngine,
};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::comments::retention::Retention;
use crate::daemon::engines::comments::sqlite::SqliteComments;
use crate::daemon::engines::eventlog::LogTelemetry;
use crate::daemon::engines::eventlog::embedded::EmbeddedLog;
use crate::daemon::engines::eventlog::{SharedLog, Topic};
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::daemon::engines::metadata::sqlite::SqliteMetadata;
use crate::daemon::engines::reactions::SharedReactionTotals;
use crate::daemon::engines::reactions::sqlite::SqliteReactions;
use crate::protocol::admin::ProblemCode;

/// Messages that the in-process bus holds for its only listener.
pub(super) const BUS_MESSAGES: usize = 16_384;

const LOG_DIRECTORY: &str = "log";
pub(super) const COMMENTS_FILE: &str = "comments.db";
pub(super) const METADATA_FILE: &str = "metadata.db";
pub(super) const REACTIONS_FILE: &str = "reactions.db";

/// Returns the directory of the embedded event log.
pub fn embedded_log_directory(config: &Config) -> PathBuf {
    config.node.data_dir.join(LOG_DIRECTORY)
}

pub(super) async fn open_log(
    config: &Config,
    clock: &SharedClock,
    telemetry: LogTelemetry,
) -> anyhow::Result<Arc<EmbeddedLog>> {
    let dir = embedded_log_directory(config);
    let log = tokio::task::spawn_blocking({
        let dir = dir.clone();
        let config = config.eventlog.clone();
        let clock = clock.clone();
        move || EmbeddedLog::open(&dir, &config, clock, telemetry)
    })
    .await?
    .with_context(|| format!("cannot open the event log in {}", dir.display()))?;
    Ok(Arc::new(log))
}

/// Opens the comment store, and adds its file to those to be closed.
pub(super) async fn open_comments(
    config: &Config,
    retention: Retention,
    files: &mut Vec<SqliteFile>,
) -> anyhow::Result<SharedCommentStore> {
    let path = config.node.data_dir.join(COMMENTS_FILE);
    let opened = SqliteComments::open_with_retention(&path, retention).await;
    let store = opened.with_context(|| cannot_open("comment store", &path))?;
    files.push(store.file().clone());
    Ok(Arc::new(store))
}

/// Opens the metadata store, and adds its file to those to be closed. Raises a problem if it begins
/// empty beside an event log that does not: then the streams, the bans and the audit log are lost.
pub(super) async fn open_metadata(
    config: &Config,
    log: &SharedLog,
    board: &StatusBoard,
    files: &mut Vec<SqliteFile>,
) -> anyhow::Result<SharedMetadataStore> {
    let path = config.node.data_dir.join(METADATA_FILE);
    // Once the tables are there, a later start cannot tell that they were missing.
    if !SqliteFile::has_tables(&path).await
        && let Some(end) = end_of_records(log).await?
    {
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        let text = format!(
            "{file} was missing at {now} and begins empty, although the event log has records: \
             bans, streams, user names and the audit log are lost, and stream 1 is open to \
             everybody. Stop lcd, remove {file} and what begins with {file}-, and restore it from a \
             backup, or set them again. {hint}",
            file = path.display(),
            hint = ProblemCode::StoreMissing.acknowledge_hint()
        );
        // A start that fails after this finds the same loss again.
        let subject = format!("metadata store, epoch {} before {end}", log.epoch());
        board.problems().raise(ProblemCode::StoreMissing, &subject, &*text);
        if !board.problems().losses_written().await {
            bail!("{text}. This start ends because the loss cannot be written to losses.json");
        }
    }
    let opened = SqliteMetadata::open(&path).await;
    let store = opened.with_context(|| cannot_open("metadata store", &path))?;
    files.push(store.file().clone());
    Ok(Arc::new(store))
}

/// Returns the sum of the ends of all partitions; `None` if there has never been a record.
async fn end_of_records(log: &SharedLog) -> anyhow::Result<Option<u64>> {
    let mut sum = 0;
    let mut is_used = false;
    for partition in 0..log.partitions(Topic::CommentEvents) {
        let end = log.bounds(Topic::CommentEvents, partition).await?.end;
        // The first offset is 1, so an empty partition ends there.
        is_used |= end > 1;
        sum += end;
    }
    Ok(is_used.then_some(sum))
}

/// Opens the reaction totals, and adds their file to those to be closed.
pub(super) async fn open_totals(
    config: &Config,
    files: &mut Vec<SqliteFile>,
) -> anyhow::Result<SharedReactionTotals> {
    let path = config.node.data_dir.join(REACTIONS_FILE);
    let opened = SqliteReactions::open(&path).await;
    let totals = opened.with_context(|| cannot_open("reaction totals", &path))?;
    files.push(totals.file().clone());
    Ok(Arc::new(totals))
}

/// Tells of each file of the data directory whether its engine could open it. Creates nothing.
pub(super) async fn check(config: &Config) -> Vec<Probe> {
    let engines = &config.engines;
    let path = |name: &str| config.node.data_dir.join(name);
    let mut probes = Vec::new();
    let mut add = |server, result: Result<String, String>| probes.push(Probe { server, result });
    if engines.eventlog == EventLogEngine::Embedded {
        let directory = embedded_log_directory(config);
        let checked = tokio::task::spawn_blocking(move || EmbeddedLog::check(&directory)).await;
        let checked = checked.map_err(|error| error.to_string());
        add("embedded log", checked.and_then(|checked| checked.map_err(|e| e.to_string())));
    }
    if engines.comments == CommentsEngine::Sqlite {
        let checked = SqliteComments::check(&path(COMMENTS_FILE)).await;
        add("sqlite comments", checked.map_err(|error| error.to_string()));
    }
    if engines.metadata == MetadataEngine::Sqlite {
        add("sqlite metadata", check_metadata(config).await);
    }
    if engines.reactions == ReactionsEngine::Sqlite {
        let checked = SqliteReactions::check(&path(REACTIONS_FILE)).await;
        add("sqlite reactions", checked.map_err(|error| error.to_string()));
    }
    probes
}

/// Fails also if a start would begin with an empty store beside a log with records.
async fn check_metadata(config: &Config) -> Result<String, String> {
    let path = config.node.data_dir.join(METADATA_FILE);
    let checked = SqliteMetadata::check(&path).await.map_err(|error| error.to_string())?;
    if config.engines.eventlog != EventLogEngine::Embedded || SqliteFile::has_tables(&path).await {
        return Ok(checked);
    }
    let directory = embedded_log_directory(config);
    let asked = tokio::task::spawn_blocking(move || EmbeddedLog::has_records(&directory));
    if !asked.await.unwrap_or(false) {
        return Ok(checked);
    }
    Err(format!(
        "{} is missing, although the event log has records: restore it from a backup, or a start \
         begins without bans, streams, user names and audit log",
        path.display()
    ))
}

/// Describes a file of the data directory that cannot be opened.
fn cannot_open(store: &str, path: &Path) -> String {
    format!("cannot open the {store} {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::testing::event_log::InMemoryLog;

    #[tokio::test]
    async fn a_missing_store_is_told_before_it_is_created() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.data_dir = directory.path().to_owned();
        let log = Arc::new(InMemoryLog::shaped(1, 1));
        (0..3).for_each(|_| log.put(Topic::CommentEvents, 1, 0, Vec::new()));
        let board = StatusBoard::default();
        let losses = directory.path().join("losses.json");
        board.problems().keep_losses_in(&losses);
        let closed: SharedLog = Arc::new(InMemoryLog::shaped(1, 1));
        closed.close().await.unwrap();
        let mut files = Vec::new();
        assert!(open_metadata(&config, &closed, &board, &mut files).await.is_err());
        let file = directory.path().join(METADATA_FILE);
        assert!(!file.exists() && !losses.exists(), "the next start can still tell");
        let log: SharedLog = log;
        let unwritable = StatusBoard::default();
        unwritable.problems().keep_losses_in(&directory.path().join("absent/losses.json"));
        assert!(open_metadata(&config, &log, &unwritable, &mut files).await.is_err());
        assert!(!file.exists(), "a loss that would be forgotten ends the start");
        // As a disk leaves it on which a copy was broken off.
        std::fs::write(&file, "").unwrap();
        for _ in 0..2 {
            open_metadata(&config, &log, &board, &mut files).await.unwrap();
        }
        assert_eq!(board.problems().list().len(), 1, "told once");
        assert!(std::fs::read_to_string(&losses).unwrap().contains("store_missing"));
    }
}
