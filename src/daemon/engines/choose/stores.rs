//! The comment store and the metadata store.

use std::sync::Arc;

use anyhow::Context as _;

use super::files::open_file;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{CommentsEngine, Config, MetadataEngine};
use crate::daemon::engines::backends::postgres::PostgresStores;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::comments::cassandra::CassandraComments;
use crate::daemon::engines::comments::retention::Retention;
use crate::daemon::engines::comments::sqlite::SqliteComments;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::daemon::engines::metadata::sqlite::SqliteMetadata;

pub(super) struct Stores {
    pub(super) comments: SharedCommentStore,
    pub(super) metadata: SharedMetadataStore,
}

impl Stores {
    pub(super) async fn open(config: &Config, clock: &SharedClock) -> anyhow::Result<Self> {
        let engines = &config.engines;
        let on_postgres = engines.comments == CommentsEngine::Postgres
            || engines.metadata == MetadataEngine::Postgres;
        // Both stores share its connections.
        let postgres = match on_postgres {
            true => Some(PostgresStores::open(&config.postgres).await?),
            false => None,
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
    postgres: Option<&PostgresStores>,
) -> anyhow::Result<SharedCommentStore> {
    let retention = Retention::new(config.store.retention, clock.clone());
    Ok(match (config.engines.comments, postgres) {
        (CommentsEngine::Postgres, Some(stores)) => Arc::new(stores.comments(retention).await?),
        (CommentsEngine::Cassandra, _) => {
            let opened = CassandraComments::open(&config.cassandra, config.store.retention).await;
            Arc::new(opened.context("cannot open the comment store")?)
        }
        (CommentsEngine::Sqlite | CommentsEngine::Postgres, _) => {
            let open = async |path: &_| SqliteComments::open_keeping(path, retention).await;
            let dir = &config.node.data_dir;
            Arc::new(open_file(dir, "comments.db", "comment store", open).await?)
        }
    })
}

async fn open_metadata(
    config: &Config,
    postgres: Option<&PostgresStores>,
) -> anyhow::Result<SharedMetadataStore> {
    Ok(match (config.engines.metadata, postgres) {
        (MetadataEngine::Postgres, Some(stores)) => Arc::new(stores.metadata().await?),
        (MetadataEngine::Sqlite | MetadataEngine::Postgres, _) => {
            let open = async |path: &_| SqliteMetadata::open(path).await;
            let dir = &config.node.data_dir;
            Arc::new(open_file(dir, "metadata.db", "metadata store", open).await?)
        }
    })
}
