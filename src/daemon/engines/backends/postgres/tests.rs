//! Opening, migrating and outages on a real server. A proxy in front of it makes the outages, so
//! that other tests can keep using the server.

use std::time::{Duration, Instant};

use super::test_proxy::Proxy;
use super::test_schema::TestSchema;
use super::{PostgresServer, PostgresSetupError};
use crate::daemon::base::config::PostgresConfig;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::conformance::{WriteRows as _, comment, shown};
use crate::daemon::engines::comments::postgres::PostgresComments;
use crate::daemon::engines::comments::retention::Retention;
use crate::daemon::engines::comments::{ArchivedComment, CommentStore as _};
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::daemon::engines::metadata::conformance::audit;
use crate::daemon::engines::metadata::postgres::PostgresMetadata;
use crate::protocol::StreamId;
use crate::protocol::stream::NewStream;

const STREAM: StreamId = StreamId(7);
/// Timeout of a call while the server is away; the limits of the tests are far above it.
const TIMEOUT: Duration = Duration::from_millis(500);

fn forever() -> Retention {
    Retention::new(Duration::ZERO, std::sync::Arc::new(crate::daemon::base::clock::SystemClock))
}

async fn refusal(config: PostgresConfig) -> String {
    PostgresServer::connect(&config).await.unwrap_err().to_string()
}

#[tokio::test]
async fn an_absent_server_names_the_setting() {
    let url = "postgres://lcd:secret@127.0.0.1:9/lcd".to_owned();
    let error = refusal(PostgresConfig { url, ..PostgresConfig::default() }).await;
    assert!(error.starts_with("`postgres.url`: 127.0.0.1:9 does not answer"), "{error}");
    assert!(error.contains("refused") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://lcd@{}/lcd", listener.local_addr().unwrap());
    let config = PostgresConfig { url, timeout: TIMEOUT, ..PostgresConfig::default() };
    let started = Instant::now();
    let error = refusal(config).await;
    assert!(error.contains("`postgres.url`") && error.contains("`postgres.timeout`"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_refusal_names_the_setting() {
    let schema = TestSchema::new();
    let url = schema.config.url.strip_suffix("/lcd").unwrap();
    let url = format!("{url}/no_such_database");
    let config = PostgresConfig { url, ..schema.config.clone() };
    let refused = PostgresServer::connect(&config).await.unwrap_err();
    assert!(matches!(refused, PostgresSetupError::NoDatabase { .. }), "{refused}");
    assert!(refused.to_string().contains("`postgres.url`"), "{refused}");
    let url = schema.config.url.replace("lcd@", "no_such_user@");
    let config = PostgresConfig { url, ..schema.config.clone() };
    let refused = PostgresServer::connect(&config).await.unwrap_err();
    assert!(matches!(refused, PostgresSetupError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("no_such_user"), "{refused}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_user_without_rights_names_the_schema() {
    let schema = TestSchema::new();
    let user = format!("{}_guest", schema.config.schema);
    schema.execute(&format!("CREATE ROLE {user} LOGIN")).await.unwrap();
    let url = schema.config.url.replace("lcd@", &format!("{user}@"));
    let config = PostgresConfig { url, ..schema.config.clone() };
    let server = PostgresServer::connect(&config).await.unwrap();
    let refused = PostgresMetadata::open(&server).await.unwrap_err();
    drop(server);
    schema.execute(&format!("DROP ROLE {user}")).await.unwrap();
    assert!(matches!(refused, PostgresSetupError::NoRights { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("`postgres.schema`") && text.contains("GRANT CREATE"), "{text}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn nodes_starting_at_once_share_one_schema() {
    let schema = TestSchema::new();
    let start = async || {
        let server = PostgresServer::connect(&schema.config).await.unwrap();
        let metadata = PostgresMetadata::open(&server).await.unwrap();
        let comments = PostgresComments::open(&server, forever()).await.unwrap();
        metadata.ping().await.unwrap();
        comments.ping().await.unwrap();
        // A start on migrated tables changes nothing.
        PostgresMetadata::open(&server).await.unwrap();
    };
    futures_util::future::join_all((0..6).map(|_| start())).await;
    let tables = schema.query_integer("SELECT count(*) FROM metadata_migrations").await;
    let migrations = std::fs::read_dir("migrations/postgres/metadata").unwrap().count();
    assert_eq!(tables, migrations as i64, "each migration ran once");
    let older = "DROP TABLE subjects; DROP TABLE grants;
        DELETE FROM metadata_migrations WHERE version IN (15, 17)";
    schema.execute(older).await.unwrap();
    start().await;
    let tables = schema.query_integer("SELECT count(*) FROM metadata_migrations").await;
    assert_eq!(tables, migrations as i64, "those that were missing ran after newer ones");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn foreign_or_newer_tables_are_left_alone() {
    let schema = TestSchema::new();
    let server = PostgresServer::connect(&schema.config).await.unwrap();
    PostgresMetadata::open(&server).await.unwrap();
    let newer = "INSERT INTO metadata_migrations SELECT 999, description, installed_on, success,
        checksum, execution_time FROM metadata_migrations LIMIT 1";
    schema.execute(newer).await.unwrap();
    let refused = PostgresMetadata::open(&server).await.unwrap_err();
    assert!(matches!(refused, PostgresSetupError::Newer { version: 999, .. }), "{refused}");
    assert!(refused.to_string().contains("start a newer lcd"), "{refused}");
    let other = "DELETE FROM metadata_migrations WHERE version = 999;
        UPDATE metadata_migrations SET checksum = 'x'";
    schema.execute(other).await.unwrap();
    let refused = PostgresMetadata::open(&server).await.unwrap_err();
    assert!(matches!(refused, PostgresSetupError::Different { version: 1, .. }), "{refused}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn commits_wait_for_disk_whatever_the_default() {
    let schema = TestSchema::new();
    let url = format!("{}?options[synchronous_commit]=off", schema.config.url);
    let config = PostgresConfig { url, ..schema.config.clone() };
    let server = PostgresServer::connect(&config).await.unwrap();
    let mut session = server.pool.session().await.unwrap();
    let setting: String = sqlx::query_scalar("SELECT current_setting('synchronous_commit')")
        .fetch_one(session.connection())
        .await
        .unwrap();
    assert_eq!(setting, "on");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_pooler_that_ignores_settings_is_named() {
    let schema = TestSchema::new();
    let proxy = Proxy::ignoring_options().await;
    // Without TLS, as the proxy reads the first message.
    let url = format!("postgres://lcd@{}/lcd?sslmode=disable", proxy.address());
    let refused = refusal(PostgresConfig { url, ..schema.config.clone() }).await;
    for said in ["`postgres.url`", "`search_path`", &schema.config.schema, "PgBouncer"] {
        assert!(refused.contains(said), "{refused}");
    }
}

/// A server that was set to read only has no replica's state, and yet takes no writes.
#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_read_only_server_is_named_and_read_from() {
    let schema = TestSchema::new();
    let server = PostgresServer::connect(&schema.config).await.unwrap();
    let metadata = PostgresMetadata::open(&server).await.unwrap();
    metadata.create_stream(NewStream::default(), audit(1, "create")).await.unwrap();
    PostgresComments::open(&server, forever()).await.unwrap();
    let url = format!("{}?options[default_transaction_read_only]=on", schema.config.url);
    let config = PostgresConfig { url, ..schema.config.clone() };
    let server = PostgresServer::connect(&config).await.unwrap();
    // The schema is current, so a start writes nothing.
    let metadata = PostgresMetadata::open(&server).await.unwrap();
    let comments = PostgresComments::open(&server, forever()).await.unwrap();
    assert_eq!(metadata.streams().await.unwrap().len(), 1);
    assert_eq!(comments.page(STREAM, None, 10).await.unwrap(), []);
    for refused in [metadata.ping().await, comments.ping().await] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("read-only"), "{error}");
    }
}

/// A user that may read and not write.
#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_user_without_the_right_to_write_is_named() {
    let schema = TestSchema::new();
    let server = PostgresServer::connect(&schema.config).await.unwrap();
    PostgresMetadata::open(&server).await.unwrap();
    PostgresComments::open(&server, forever()).await.unwrap();
    let name = &schema.config.schema;
    let guest = format!("{name}_guest");
    let grant = format!(
        "CREATE ROLE {guest} LOGIN; GRANT USAGE ON SCHEMA {name} TO {guest};
         GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {guest}"
    );
    schema.execute(&grant).await.unwrap();
    let url = schema.config.url.replace("lcd@", &format!("{guest}@"));
    let guests = PostgresServer::connect(&PostgresConfig { url, ..schema.config.clone() }).await;
    let guests = guests.unwrap();
    let metadata = PostgresMetadata::open(&guests).await.unwrap().ping().await;
    let comments = PostgresComments::open(&guests, forever()).await.unwrap().ping().await;
    drop(guests);
    schema.execute(&format!("DROP OWNED BY {guest}; DROP ROLE {guest}")).await.unwrap();
    for refused in [metadata, comments] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("may not write") && error.contains("GRANT"), "{error}");
    }
}

/// Both stores behind a proxy, with some contents and recently used connections.
struct ThroughProxy {
    proxy: Proxy,
    server: PostgresServer,
    metadata: PostgresMetadata,
    comments: PostgresComments,
    schema: TestSchema,
}

fn batch(first: u64) -> Vec<ArchivedComment> {
    (first..first + 100).map(|number| comment(STREAM, number)).collect()
}

impl ThroughProxy {
    async fn open() -> Self {
        let schema = TestSchema::new();
        let proxy = Proxy::start().await;
        let url = format!("postgres://lcd@{}/lcd", proxy.address());
        let patient = PostgresConfig { url, ..schema.config.clone() };
        let server = PostgresServer::connect(&patient).await.unwrap();
        PostgresMetadata::open(&server).await.unwrap();
        let hasty = PostgresConfig { timeout: TIMEOUT, ..patient };
        let server = PostgresServer::connect(&hasty).await.unwrap();
        let (metadata, comments) = tokio::join!(
            PostgresMetadata::open(&server),
            PostgresComments::open(&server, forever())
        );
        let behind = Self {
            proxy,
            server,
            metadata: metadata.unwrap(),
            comments: comments.unwrap(),
            schema,
        };
        behind.wait_until_available(0).await;
        let busy = (0..4).map(|_| behind.comments.page(STREAM, None, 1));
        assert!(futures_util::future::join_all(busy).await.iter().all(Result::is_ok));
        behind
    }

    /// Asserts that every call fails within its timeout.
    async fn assert_unavailable(&self) {
        let started = Instant::now();
        let outcomes = tokio::join!(
            async { self.comments.write_rows(&batch(9000), &[]).await.map(drop) },
            async { self.comments.page(STREAM, None, 10).await.map(drop) },
            async { self.comments.ping().await },
            async { self.metadata.streams().await.map(drop) },
            async { self.metadata.audit(audit(1, "kick")).await.map(drop) },
            async {
                self.metadata.create_stream(NewStream::default(), audit(1, "c")).await.map(drop)
            },
        );
        let outcomes: [_; 6] = outcomes.into();
        for outcome in outcomes {
            assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        }
        assert!(started.elapsed() < TIMEOUT * 6, "{:?}", started.elapsed());
    }

    /// Waits until calls succeed again without opening anything again.
    async fn wait_until_available(&self, first: u64) {
        let again = async {
            while self.comments.write_rows(&batch(first), &[]).await.is_err()
                || self.metadata.ping().await.is_err()
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), again)
            .await
            .expect("the server is available again");
        assert_eq!(shown(&self.comments, STREAM).await as u64, first + 100);
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_server_that_goes_down_is_used_once_it_is_back() {
    let mut behind = ThroughProxy::open().await;
    for first in [100, 200] {
        behind.proxy.cut().await;
        behind.assert_unavailable().await;
        let url = format!("postgres://lcd@{}/lcd", behind.proxy.address());
        let refused = refusal(PostgresConfig { url, ..PostgresConfig::default() }).await;
        assert!(refused.contains("`postgres.url`"), "{refused}");
        behind.assert_unavailable().await;
        behind.proxy.restore().await;
        behind.wait_until_available(first).await;
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_hanging_server_is_used_once_it_continues() {
    let behind = ThroughProxy::open().await;
    for first in [100, 200] {
        behind.proxy.hang();
        // More often than there are connections: each permit comes back.
        for _ in 0..3 {
            behind.assert_unavailable().await;
        }
        behind.proxy.resume();
        behind.wait_until_available(first).await;
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_restart_of_the_server_costs_one_call() {
    let mut behind = ThroughProxy::open().await;
    behind.proxy.cut().await;
    behind.proxy.restore().await;
    let outcomes =
        [behind.comments.ping().await, behind.comments.ping().await, behind.comments.ping().await];
    assert!(outcomes[1..].iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn exhausted_connections_name_the_setting() {
    let behind = ThroughProxy::open().await;
    let mut busy = Vec::new();
    for _ in 0..behind.server.pool.max_connections() {
        busy.push(behind.server.pool.session().await.unwrap());
    }
    let error = behind.metadata.ping().await.unwrap_err().to_string();
    assert!(error.contains("`postgres.max_connections`"), "{error}");
    drop(busy);
    behind.metadata.ping().await.unwrap();
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_foreign_lock_is_not_waited_for() {
    let behind = ThroughProxy::open().await;
    let mut other = behind.schema.connect().await.unwrap();
    let mut locked = sqlx::Connection::begin(&mut other).await.unwrap();
    let lock = "LOCK TABLE streams IN ACCESS EXCLUSIVE MODE";
    sqlx::Executor::execute(&mut *locked, lock).await.unwrap();
    let started = Instant::now();
    let outcome = behind.metadata.streams().await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    assert!(started.elapsed() < TIMEOUT * 6);
    behind.comments.ping().await.unwrap();
    locked.rollback().await.unwrap();
    behind.metadata.streams().await.unwrap();
}
