//! Opening, migrating, and living through outages, on a real server. Outages are made by a proxy in
//! front of it, which others can go on using.

use std::time::{Duration, Instant};

use super::test_proxy::Proxy;
use super::test_schema::TestSchema;
use super::{PostgresSetupError, PostgresStores};
use crate::daemon::base::config::PostgresConfig;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::conformance::comment;
use crate::daemon::engines::comments::retention::Retention;
use crate::daemon::engines::comments::{ArchivedComment, CommentStore as _};
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::daemon::engines::metadata::conformance::audit;
use crate::protocol::StreamId;
use crate::protocol::stream::NewStream;

const STREAM: StreamId = StreamId(7);
/// Of a call while the server is away; the tests' own limits are far above it.
const TIMEOUT: Duration = Duration::from_millis(500);

fn for_good() -> Retention {
    Retention::new(Duration::ZERO, std::sync::Arc::new(crate::daemon::base::clock::SystemClock))
}

async fn refusal(config: PostgresConfig) -> String {
    PostgresStores::open(&config).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_names_the_setting() {
    let url = "postgres://lcd:secret@127.0.0.1:9/lcd".to_owned();
    let error = refusal(PostgresConfig { url, ..PostgresConfig::default() }).await;
    assert!(error.starts_with("`postgres.url`: 127.0.0.1:9 does not answer"), "{error}");
    assert!(error.contains("refused") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
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
async fn what_the_server_refuses_names_the_setting() {
    let schema = TestSchema::new();
    let url = schema.config.url.strip_suffix("/lcd").unwrap();
    let url = format!("{url}/no_such_database");
    let config = PostgresConfig { url, ..schema.config.clone() };
    let refused = PostgresStores::open(&config).await.unwrap_err();
    assert!(matches!(refused, PostgresSetupError::NoDatabase { .. }), "{refused}");
    assert!(refused.to_string().contains("`postgres.url`"), "{refused}");
    let url = schema.config.url.replace("lcd@", "no_such_user@");
    let config = PostgresConfig { url, ..schema.config.clone() };
    let refused = PostgresStores::open(&config).await.unwrap_err();
    assert!(matches!(refused, PostgresSetupError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("no_such_user"), "{refused}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_user_that_may_not_make_the_schema_is_told_so() {
    let schema = TestSchema::new();
    let user = format!("{}_guest", schema.config.schema);
    schema.execute(&format!("CREATE ROLE {user} LOGIN")).await.unwrap();
    let url = schema.config.url.replace("lcd@", &format!("{user}@"));
    let config = PostgresConfig { url, ..schema.config.clone() };
    let stores = PostgresStores::open(&config).await.unwrap();
    let refused = stores.metadata().await.unwrap_err();
    drop(stores);
    schema.execute(&format!("DROP ROLE {user}")).await.unwrap();
    assert!(matches!(refused, PostgresSetupError::NoRights { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("`postgres.schema`") && text.contains("GRANT CREATE"), "{text}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn nodes_that_start_at_once_share_one_schema() {
    let schema = TestSchema::new();
    let start = async || {
        let stores = PostgresStores::open(&schema.config).await.unwrap();
        let metadata = stores.metadata().await.unwrap();
        let comments = stores.comments(for_good()).await.unwrap();
        metadata.ping().await.unwrap();
        comments.ping().await.unwrap();
        // A start that finds everything up to date changes nothing.
        stores.metadata().await.unwrap();
    };
    futures_util::future::join_all((0..6).map(|_| start())).await;
    let tables = schema.ask("SELECT count(*) FROM metadata_migrations").await;
    assert_eq!(tables, 1, "each migration was made once");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn tables_of_a_newer_lcd_or_another_program_are_left_alone() {
    let schema = TestSchema::new();
    let stores = PostgresStores::open(&schema.config).await.unwrap();
    stores.metadata().await.unwrap();
    let newer = "INSERT INTO metadata_migrations SELECT 999, description, installed_on, success,
        checksum, execution_time FROM metadata_migrations";
    schema.execute(newer).await.unwrap();
    let refused = stores.metadata().await.unwrap_err();
    assert!(matches!(refused, PostgresSetupError::Newer { version: 999, .. }), "{refused}");
    assert!(refused.to_string().contains("start a newer lcd"), "{refused}");
    let other = "DELETE FROM metadata_migrations WHERE version = 999;
        UPDATE metadata_migrations SET checksum = 'x'";
    schema.execute(other).await.unwrap();
    let refused = stores.metadata().await.unwrap_err();
    assert!(matches!(refused, PostgresSetupError::Different { version: 1, .. }), "{refused}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_commit_is_on_disk_even_where_the_server_would_not_wait() {
    let schema = TestSchema::new();
    let url = format!("{}?options[synchronous_commit]=off", schema.config.url);
    let config = PostgresConfig { url, ..schema.config.clone() };
    let stores = PostgresStores::open(&config).await.unwrap();
    let mut session = stores.pool.session().await.unwrap();
    let setting: String = sqlx::query_scalar("SELECT current_setting('synchronous_commit')")
        .fetch_one(session.connection())
        .await
        .unwrap();
    assert_eq!(setting, "on");
}

/// Both stores behind a proxy, with something in them and connections in use a moment ago.
struct Behind {
    proxy: Proxy,
    stores: PostgresStores,
    metadata: crate::daemon::engines::metadata::postgres::PostgresMetadata,
    comments: crate::daemon::engines::comments::postgres::PostgresComments,
    _schema: TestSchema,
}

fn batch(first: u64) -> Vec<ArchivedComment> {
    (first..first + 100).map(|number| comment(STREAM, number)).collect()
}

impl Behind {
    async fn open() -> Self {
        let schema = TestSchema::new();
        let proxy = Proxy::start().await;
        let url = format!("postgres://lcd@{}/lcd", proxy.address());
        let patient = PostgresConfig { url, ..schema.config.clone() };
        PostgresStores::open(&patient).await.unwrap().metadata().await.unwrap();
        let hasty = PostgresConfig { timeout: TIMEOUT, ..patient };
        let stores = PostgresStores::open(&hasty).await.unwrap();
        let (metadata, comments) = tokio::join!(stores.metadata(), stores.comments(for_good()));
        let behind = Self {
            proxy,
            stores,
            metadata: metadata.unwrap(),
            comments: comments.unwrap(),
            _schema: schema,
        };
        behind.works_again(0).await;
        let busy = (0..4).map(|_| behind.comments.count(STREAM));
        assert!(futures_util::future::join_all(busy).await.iter().all(Result::is_ok));
        behind
    }

    /// Every call fails, and soon.
    async fn is_unavailable(&self) {
        let started = Instant::now();
        let outcomes = tokio::join!(
            async { self.comments.write(&batch(9000), &[]).await.map(drop) },
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

    /// Within a few seconds calls succeed, without anything having been opened anew.
    async fn works_again(&self, first: u64) {
        let again = async {
            while self.comments.write(&batch(first), &[]).await.is_err()
                || self.metadata.ping().await.is_err()
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), again).await.expect("it came back");
        assert_eq!(self.comments.count(STREAM).await.unwrap(), first + 100);
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_server_that_goes_down_is_unavailable_until_it_is_back() {
    let mut behind = Behind::open().await;
    for first in [100, 200] {
        behind.proxy.cut().await;
        behind.is_unavailable().await;
        let url = format!("postgres://lcd@{}/lcd", behind.proxy.address());
        let refused = refusal(PostgresConfig { url, ..PostgresConfig::default() }).await;
        assert!(refused.contains("`postgres.url`"), "{refused}");
        behind.is_unavailable().await;
        behind.proxy.restore().await;
        behind.works_again(first).await;
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_server_that_hangs_is_unavailable_until_it_goes_on() {
    let behind = Behind::open().await;
    for first in [100, 200] {
        behind.proxy.hang();
        // More often than there are connections: each gets its place back.
        for _ in 0..3 {
            behind.is_unavailable().await;
        }
        behind.proxy.go_on();
        behind.works_again(first).await;
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_restart_of_the_server_costs_no_more_than_a_call() {
    let mut behind = Behind::open().await;
    behind.proxy.cut().await;
    behind.proxy.restore().await;
    let outcomes =
        [behind.comments.ping().await, behind.comments.ping().await, behind.comments.ping().await];
    assert!(outcomes[1..].iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn calls_that_find_every_connection_busy_name_the_setting() {
    let behind = Behind::open().await;
    let mut busy = Vec::new();
    for _ in 0..behind.stores.pool.max_connections() {
        busy.push(behind.stores.pool.session().await.unwrap());
    }
    let error = behind.metadata.ping().await.unwrap_err().to_string();
    assert!(error.contains("`postgres.max_connections`"), "{error}");
    drop(busy);
    behind.metadata.ping().await.unwrap();
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_lock_that_another_holds_for_too_long_is_not_waited_for() {
    let behind = Behind::open().await;
    let mut other = behind._schema.connect().await.unwrap();
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
