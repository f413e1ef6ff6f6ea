//! The settings that are read from the servers for `lc doctor`.

use std::time::Duration;

use super::{CassandraComments, Keyspace, session};
use crate::daemon::engines::server_settings::{
    CassandraSettings, ServerSettings, SettingsReader as _,
};

async fn read(store: &CassandraComments) -> CassandraSettings {
    match store.read().await {
        Ok(ServerSettings::Cassandra(settings)) => settings,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_created_keyspace_has_what_was_asked_for() {
    let keyspace = Keyspace::new();
    let store = keyspace.open(Duration::from_secs(7 * 24 * 3600)).await;
    let found = read(&store).await;
    assert_eq!((&found.keyspace, found.unread.len()), (&keyspace.name, 0), "{found:?}");
    assert_eq!(found.strategy, "NetworkTopologyStrategy");
    assert_eq!(found.copies, Some(found.asked.copies));
    assert_eq!((found.servers, found.datacenters), (1, 1), "{found:?}");
    assert_eq!(found.schema_agrees, Some(true));
    assert_eq!(found.asked.retention_s, 7 * 24 * 3600);
    let comments = found.comments.unwrap();
    let asked = found.asked.compaction.unwrap();
    assert!(asked.contains(&format!("'{}'", comments.compaction)), "{asked}: {comments:?}");
    let change = format!(
        "ALTER TABLE \"{}\".comments WITH gc_grace_seconds = 60
         AND compaction = {{'class': 'SizeTieredCompactionStrategy'}}",
        keyspace.name
    );
    session().await.query_unpaged(change, ()).await.unwrap();
    let changed = read(&store).await.comments.unwrap();
    assert_eq!(changed.compaction, "SizeTieredCompactionStrategy");
    assert_eq!(changed.gc_grace_s, 60);
    // The command that mends it is one that the server takes.
    let mend = format!("ALTER TABLE \"{}\".comments WITH compaction = {asked}", keyspace.name);
    session().await.query_unpaged(mend, ()).await.unwrap();
    assert_eq!(read(&store).await.comments.unwrap().compaction, comments.compaction);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn comments_kept_forever_ask_for_no_compaction() {
    let keyspace = Keyspace::new();
    let store = keyspace.open(Duration::ZERO).await;
    let found = read(&store).await;
    assert_eq!((found.asked.retention_s, found.asked.compaction), (0, None));
    assert!(store.server().starts_with("Cassandra 127.0.0.1:"), "{}", store.server());
}
