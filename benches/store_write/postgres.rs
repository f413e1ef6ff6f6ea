//! The PostgreSQL comment store: writes of batches, and reads of pages of one of their streams. The
//! schema is kept for the next run, because a fresh one would measure an empty table.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use live_comments::daemon::base::clock::SystemClock;
use live_comments::daemon::base::config::PostgresConfig;
use live_comments::daemon::engines::backends::postgres::PostgresServer;
use live_comments::daemon::engines::comments::SharedCommentStore;
use live_comments::daemon::engines::comments::postgres::PostgresComments;
use live_comments::daemon::engines::comments::retention::Retention;
use live_comments::protocol::StreamId;

use super::{first_of_this_run, two_threads, write_batches};

async fn open() -> Option<SharedCommentStore> {
    let port = std::env::var("LC_STACK_PORT").ok().and_then(|port| port.parse::<u16>().ok());
    let config = PostgresConfig {
        url: format!("postgres://lcd@127.0.0.1:{}/lcd", port.unwrap_or(17_000) + 10),
        schema: "bench_store_write".to_owned(),
        timeout: Duration::from_secs(30),
        ..PostgresConfig::default()
    };
    let server = match PostgresServer::connect(&config).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("PostgreSQL is left out: {error}");
            return None;
        }
    };
    let retention = Retention::new(Duration::ZERO, Arc::new(SystemClock));
    Some(Arc::new(PostgresComments::open(&server, retention).await.expect("migrated tables")))
}

pub(super) fn write_and_page(criterion: &mut Criterion) {
    let runtime = two_threads();
    let Some(store) = runtime.block_on(open()) else { return };
    let mut next = first_of_this_run();
    let mut group = criterion.benchmark_group("store_write_postgres");
    for streams in [1, 100] {
        write_batches(&mut group, &runtime, &store, streams, &mut next);
    }
    group.finish();
    let mut group = criterion.benchmark_group("page_postgres");
    for limit in [50, 1000] {
        group.bench_function(BenchmarkId::new("newest", limit), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let page = store.page(StreamId(1), None, limit).await.expect("read");
                assert_eq!(page.len(), limit);
            });
        });
    }
    group.finish();
}
