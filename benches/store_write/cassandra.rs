//! The Cassandra comment store: batches written, and the newest page of one of the streams read then.
//! In a keyspace that stays for the next run: made anew each time, it would measure empty tables.

use std::time::{Duration, SystemTime};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use live_comments::daemon::config::CassandraConfig;
use live_comments::daemon::store::comments::CommentStore as _;
use live_comments::daemon::store::comments::cassandra::CassandraComments;
use live_comments::protocol::StreamId;

use super::{BATCH, batch};

const PAGE: usize = 50;

/// None if no server answers.
async fn open() -> Option<CassandraComments> {
    let first_port = std::env::var("LC_STACK_PORT").ok().and_then(|port| port.parse().ok());
    let config = CassandraConfig {
        nodes: vec![format!("127.0.0.1:{}", first_port.unwrap_or(17_000_u16) + 40)],
        keyspace: "bench_store_write".to_owned(),
        timeout: Duration::from_secs(30),
        ..CassandraConfig::default()
    };
    match CassandraComments::open(&config, Duration::ZERO).await {
        Ok(store) => Some(store),
        Err(error) => {
            eprintln!("Cassandra is left out: {error}");
            None
        }
    }
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
    let mut group = criterion.benchmark_group("store_write_cassandra");
    for streams in [1, 100] {
        group.throughput(Throughput::Elements(BATCH)).sample_size(20);
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
        group.throughput(Throughput::Elements(1)).sample_size(50);
        group.bench_function(BenchmarkId::new("newest page of streams", streams), |bencher| {
            bencher.to_async(&runtime).iter(|| {
                let store = store.clone();
                async move { store.page(StreamId(1), None, PAGE).await.expect("a page").len() }
            });
        });
    }
    group.finish();
}
