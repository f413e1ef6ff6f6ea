//! The Cassandra comment store: writes of batches, then reads of the newest page of one of their
//! streams. The keyspace is kept for the next run, because a fresh one would measure empty tables.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use live_comments::daemon::base::config::CassandraConfig;
use live_comments::daemon::engines::comments::SharedCommentStore;
use live_comments::daemon::engines::comments::cassandra::CassandraComments;
use live_comments::protocol::StreamId;

use super::{first_of_this_run, two_threads, write_batches};

const PAGE: usize = 50;

/// Returns `None` if no server answers.
async fn open() -> Option<SharedCommentStore> {
    let first_port = std::env::var("LC_STACK_PORT").ok().and_then(|port| port.parse().ok());
    let config = CassandraConfig {
        nodes: vec![format!("127.0.0.1:{}", first_port.unwrap_or(17_000_u16) + 40)],
        keyspace: "bench_store_write".to_owned(),
        timeout: Duration::from_secs(30),
        ..CassandraConfig::default()
    };
    match CassandraComments::open(&config, Duration::ZERO).await {
        Ok(store) => Some(Arc::new(store)),
        Err(error) => {
            eprintln!("Cassandra is left out: {error}");
            None
        }
    }
}

pub(super) fn write_and_page(criterion: &mut Criterion) {
    let runtime = two_threads();
    let Some(store) = runtime.block_on(open()) else { return };
    let mut next = first_of_this_run();
    let mut group = criterion.benchmark_group("store_write_cassandra");
    for streams in [1, 100] {
        write_batches(&mut group, &runtime, &store, streams, &mut next);
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
