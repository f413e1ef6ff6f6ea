//! Chooses the comment store and the metadata store.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{CommentsEngine, Config, MetadataEngine};
use crate::daemon::engines::backends::postgres::PostgresServer;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::comments::cassandra::CassandraComments;
use crate::daemon::engines::comments::postgres::PostgresComments;
use crate::daemon::engines::comments::retention::Retention;
use crate::daemon::engines::comments::sqlite::SqliteComments;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::daemon::engines::metadata::postgres::PostgresMetadata;
use crate::daemon::engines::metadata::sqlite::SqliteMetadata;

pub(super) struct Stores {
    pub(super) comments: SharedCommentStore,
    pub(super) metadata: SharedMetadataStore,
}

impl Stores {
    pub(super) async fn open(config: &Config, clock: &SharedClock) -> anyhow::Result<Self> {
        let engines = &config.engines;
        let uses_postgres = engines.comments == CommentsEngine::Postgres
            || engines.metadata == MetadataEngine::Postgres;
        // Both stores share its connections.
        let postgres = if uses_postgres {
            Some(PostgresServer::connect(&config.postgres).await?)
        } else {
            None
        };
        Ok(Self {
            comments: open_comments(config, clock, postgres.as_ref()).await?,
            metadata: open_metadata(config, postgres.as_ref()).await?,
        })
    }
}

async fn open_comments(
    config: &Config,
    clock: &SharedClock,
    postgres: Option<&PostgresServer>,
) -> anyhow::Result<SharedCommentStore> {
    let retention = Retention::new(config.store.retention, clock.clone());
    Ok(match (config.engines.comments, postgres) {
        (CommentsEngine::Postgres, Some(server)) => {
            Arc::new(PostgresComments::open(server, retention).await?)
        }
        (CommentsEngine::Cassandra, _) => {
            let opened = CassandraComments::open(&config.cassandra, config.store.retention).await;
            Arc::new(opened.context("cannot open the comment store")?)
        }
        (CommentsEngine::Sqlite | CommentsEngine::Postgres, _) => {
            let path = config.node.data_dir.join("comments.db");
            let opened = SqliteComments::open_with_retention(&path, retention).await;
            Arc::new(opened.with_context(|| cannot_open("comment store", &path))?)
        }
    })
}

async fn open_metadata(
    config: &Config,
    postgres: Option<&PostgresServer>,
) -> anyhow::Result<SharedMetadataStore> {
    Ok(match (config.engines.metadata, postgres) {
        (MetadataEngine::Postgres, Some(server)) => Arc::new(PostgresMetadata::open(server).await?),
        (MetadataEngine::Sqlite | MetadataEngine::Postgres, _) => {
            let path = config.node.data_dir.join("metadata.db");
            let opened = SqliteMetadata::open(&path).await;
            Arc::new(opened.with_context(|| cannot_open("metadata store", &path))?)
        }
    })
}

/// Describes a file of the data directory that cannot be opened.
pub(super) fn cannot_open(store: &str, path: &Path) -> String {
    format!("cannot open the {store} {}", path.display())
}
