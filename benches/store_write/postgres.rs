//! The PostgreSQL comment store: batches written, and pages of a stream among them read. In a schema
//! that stays for the next run: made anew each time, it would measure an empty table.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use live_comments::daemon::clock::SystemClock;
use live_comments::daemon::config::PostgresConfig;
use live_comments::daemon::store::comments::CommentStore as _;
use live_comments::daemon::store::comments::postgres::PostgresComments;
use live_comments::daemon::store::comments::retention::Retention;
use live_comments::daemon::store::postgres::PostgresStores;
use live_comments::protocol::StreamId;

use super::{BATCH, batch};

async fn open() -> Option<PostgresComments> {
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
    Some(stores.comments(retention).await.expect("tables"))
}

pub(super) fn write_and_page(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("two threads");
    let Some(store) = runtime.block_on(open()) else { return };
    // Comments of this run are younger than those of any before: ids count in 10 microseconds.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let mut next = since.as_millis() as u64 * 100 - 175_000_000_000_000;
    let mut group = criterion.benchmark_group("store_write_postgres");
    group.throughput(Throughput::Elements(BATCH)).sample_size(20);
    for streams in [1, 100] {
        group.bench_function(BenchmarkId::new("streams", streams), |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || {
                    next += BATCH;
                    batch(next, streams)
                },
                |comments| {
                    let store = store.clone();
                    async move { store.write(&comments, &[]).await.expect("written") }
                },
                BatchSize::LargeInput,
            );
        });
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
