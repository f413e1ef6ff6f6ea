//! Opening: what is made, and what is said when a setting is wrong.

use std::time::{Duration, Instant};

use super::{CassandraComments, Keyspace, session};
use crate::daemon::base::config::CassandraConfig;
use crate::daemon::engines::comments::CommentStore as _;
use crate::daemon::engines::comments::cassandra::schema;
use crate::daemon::engines::comments::conformance::{WriteRows as _, comment, shown};
use crate::protocol::StreamId;

async fn refusal(config: &CassandraConfig) -> String {
    CassandraComments::open(config, Duration::ZERO).await.unwrap_err().to_string()
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn nodes_that_start_at_once_share_one_schema() {
    let keyspace = Keyspace::new();
    let config = keyspace.config();
    let opening = (0..4).map(|_| CassandraComments::open(&config, Duration::ZERO));
    let opened = futures_util::future::try_join_all(opening).await.unwrap();
    for (store, number) in opened.iter().zip(0..) {
        store.write_rows(&[comment(StreamId(1), number)], &[]).await.unwrap();
    }
    for store in &opened {
        store.ping().await.unwrap();
        assert_eq!(store.page(StreamId(1), None, 10).await.unwrap().len(), opened.len());
    }
    let about = format!("{:?}", opened[0]);
    assert!(about.contains("1 of 1 node connected"), "{about}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn reopening_finds_comments_unless_schema_is_newer() {
    let keyspace = Keyspace::new();
    let store = keyspace.open(Duration::ZERO).await;
    store.write_rows(&[comment(StreamId(1), 1)], &[]).await.unwrap();
    drop(store);
    let store = keyspace.open(Duration::ZERO).await;
    assert_eq!(shown(&store, StreamId(1)).await, 1);
    let newer = format!(
        "INSERT INTO \"{}\".schema_versions (version) VALUES ({})",
        keyspace.name,
        schema::VERSION + 1
    );
    session().await.query_unpaged(newer, ()).await.unwrap();
    let refused = refusal(&keyspace.config()).await;
    assert!(refused.contains("cassandra.keyspace") && refused.contains("newer"), "{refused}");
}

#[tokio::test]
async fn nodes_that_are_down_are_named_within_the_timeout() {
    let timeout = Duration::from_secs(2);
    let nodes = vec!["127.0.0.1:1".to_owned()];
    let config = CassandraConfig { nodes, timeout, ..CassandraConfig::default() };
    let started = Instant::now();
    let refused = refusal(&config).await;
    assert!(refused.contains("cassandra.nodes") && refused.contains("127.0.0.1:1"), "{refused}");
    assert!(started.elapsed() < timeout * 2, "{:?}", started.elapsed());

    // Accepts and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let config = CassandraConfig { nodes: vec![address.clone()], ..config };
    let refused = refusal(&config).await;
    assert!(refused.contains("cassandra.nodes") && refused.contains(&address), "{refused}");

    let refused = refusal(&CassandraConfig { nodes: Vec::new(), ..config }).await;
    assert!(refused.contains("cassandra.nodes"), "{refused}");
}

#[tokio::test]
async fn unusable_files_are_named_by_their_setting() {
    let directory = tempfile::tempdir().unwrap();
    let junk = directory.path().join("junk.pem");
    std::fs::write(&junk, "no certificate").unwrap();
    for path in [junk, directory.path().join("absent.pem")] {
        let tls_ca = Some(path.clone());
        let refused = refusal(&CassandraConfig { tls_ca, ..CassandraConfig::default() }).await;
        assert!(refused.contains("cassandra.tls_ca"), "{refused}");
        assert!(refused.contains(&path.display().to_string()), "{refused}");
    }
    let config = CassandraConfig {
        username: "lcd".to_owned(),
        password_file: Some(directory.path().join("password")),
        ..CassandraConfig::default()
    };
    let refused = refusal(&config).await;
    assert!(refused.contains("cassandra.password_file"), "{refused}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn wrong_settings_of_a_server_that_is_there_are_named() {
    let keyspace = Keyspace::new();
    let config = CassandraConfig { datacenter: "moon".to_owned(), ..keyspace.config() };
    let refused = refusal(&config).await;
    assert!(refused.contains("cassandra.datacenter") && refused.contains("moon"), "{refused}");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let ca = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&path, ca.cert.pem()).unwrap();
    let refused = refusal(&CassandraConfig { tls_ca: Some(path), ..keyspace.config() }).await;
    assert!(refused.contains("cassandra.tls_ca"), "the server has no TLS: {refused}");

    let config = CassandraConfig { replication_factor: 1, ..keyspace.config() };
    let too_long = CassandraComments::open(&config, Duration::from_secs(20 * 365 * 24 * 3600));
    let refused = too_long.await.unwrap_err().to_string();
    assert!(refused.contains("store.retention"), "{refused}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn the_right_data_centre_and_password_are_accepted() {
    let keyspace = Keyspace::new();
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let local = session().await.query_unpaged("SELECT data_center FROM system.local", ()).await;
    let local = local.unwrap().into_rows_result().unwrap();
    let (datacenter,) = local.single_row::<(String,)>().unwrap();
    let config = CassandraConfig {
        datacenter,
        username: "lcd".to_owned(),
        password_file: Some(password),
        ..keyspace.config()
    };
    let store = CassandraComments::open(&config, Duration::ZERO).await.unwrap();
    store.write_rows(&[comment(StreamId(1), 1)], &[]).await.unwrap();
    assert_eq!(shown(&store, StreamId(1)).await, 1);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn the_check_creates_and_leaves_nothing() {
    let keyspace = Keyspace::new();
    let text = CassandraComments::check(&keyspace.config()).await.unwrap();
    assert!(text.contains("to be created"), "{text}");
    let count = async |cql: String| {
        let found = session().await.query_unpaged(cql, ()).await.unwrap();
        found.into_rows_result().unwrap().rows_num()
    };
    let named = |name: &str| {
        format!("SELECT * FROM system_schema.keyspaces WHERE keyspace_name = '{name}'")
    };
    assert_eq!(count(named(&keyspace.name)).await, 0);
    keyspace.open(Duration::ZERO).await;
    CassandraComments::check(&keyspace.config()).await.unwrap();
    let rows = format!("SELECT * FROM \"{}\".bucket_streams", keyspace.name);
    assert_eq!(count(rows).await, 0);
}
