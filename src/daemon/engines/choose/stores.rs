//! The meters of the stores: which engine is behind a contract, and where it is.

use crate::daemon::base::config::{
    CommentsEngine, Config, MetadataEngine, ReactionsEngine, RecentEngine, RegistryEngine,
};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::telemetry::StoreAbout;
use crate::daemon::engines::choose::embedded::{COMMENTS_FILE, METADATA_FILE, REACTIONS_FILE};
use crate::protocol::admin::dependency::{
    COMMENT_STORE, CONNECTION_REGISTRY, METADATA_STORE, REACTION_TOTALS, RECENT_CACHE,
};

/// Tells the meter of each store what it measures.
pub(super) fn describe(config: &Config, board: &StatusBoard) {
    let engines = &config.engines;
    let file = |name: &str| config.node.data_dir.join(name).display().to_string();
    let postgres = || host_of(&config.postgres.url);
    let redis = || hosts_of(&config.redis.nodes);
    let in_process = || "in this process".to_owned();
    let comments = match engines.comments {
        CommentsEngine::Sqlite => file(COMMENTS_FILE),
        CommentsEngine::Cassandra => hosts_of(&config.cassandra.nodes),
        CommentsEngine::Postgres => postgres(),
    };
    let metadata = match engines.metadata {
        MetadataEngine::Sqlite => file(METADATA_FILE),
        MetadataEngine::Postgres => postgres(),
    };
    let totals = match engines.reactions {
        ReactionsEngine::Sqlite => file(REACTIONS_FILE),
        ReactionsEngine::Redis => redis(),
    };
    let recent = match engines.recent {
        RecentEngine::Memory => in_process(),
        RecentEngine::Redis => redis(),
    };
    let registry = match engines.registry {
        RegistryEngine::InProcess => in_process(),
        RegistryEngine::Redis => redis(),
    };
    for (contract, engine, address) in [
        (COMMENT_STORE, engines.comments.as_str(), comments),
        (METADATA_STORE, engines.metadata.as_str(), metadata),
        (REACTION_TOTALS, engines.reactions.as_str(), totals),
        (RECENT_CACHE, engines.recent.as_str(), recent),
        (CONNECTION_REGISTRY, engines.registry.as_str(), registry),
    ] {
        let about = StoreAbout { engine: engine.to_owned(), address };
        board.telemetry().store(contract).set_about(about);
    }
}

fn hosts_of(urls: &[String]) -> String {
    urls.iter().map(|url| host_of(url)).collect::<Vec<_>>().join(", ")
}

/// Returns host and port of a URL or an address, without what may be secret: user, password, and
/// parameters.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    // A password may contain any of the characters that end a host.
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let end = host.find(['/', '?', '#']).unwrap_or(host.len());
    host[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_secret() {
        for (url, host) in [
            ("postgres://lcd:se/c?r@et@10.0.5.1:5432/lcd?sslmode=require", "10.0.5.1:5432"),
            ("rediss://:secret@redis-1:6380", "redis-1:6380"),
            ("redis://127.0.0.1:6379", "127.0.0.1:6379"),
            ("10.0.4.2:9042", "10.0.4.2:9042"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }

    #[test]
    fn every_store_has_an_engine_and_an_address() {
        let board = StatusBoard::default();
        describe(&Config::default(), &board);
        board.sample(std::path::Path::new("/"));
        let stores = board.telemetry().latest().stores.clone();
        assert_eq!(stores.len(), 5);
        for store in stores {
            assert!(!store.engine.is_empty() && !store.address.is_empty(), "{store:?}");
        }
    }
}
