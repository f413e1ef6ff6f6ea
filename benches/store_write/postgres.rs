//! The PostgreSQL comment store: batches written, and pages of a stream among them read. In a schema
//! that stays for the next run: made anew each time, it would measure an empty table.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use live_comments::daemon::base::clock::SystemClock;
use live_comments::daemon::base::config::PostgresConfig;
use live_comments::daemon::engines::backends::postgres::PostgresStores;
use live_comments::daemon::engines::comments::SharedCommentStore;
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
    let stores = match PostgresStores::open(&config).await {
        Ok(stores) => stores,
        Err(error) => {
            eprintln!("PostgreSQL is left out: {error}");
            return None;
        }
    };
    let retention = Retention::new(Duration::ZERO, Arc::new(SystemClock));
    Some(Arc::new(stores.comments(retention).await.expect("tables")))
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
