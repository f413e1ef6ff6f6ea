//! Comments a second that the comment stores take, in the archiver's batches. Cassandra and PostgreSQL
//! are measured where `scripts/stack up` has started them.

#[path = "store_write/cassandra.rs"]
mod cassandra;
#[path = "store_write/postgres.rs"]
mod postgres;

use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use live_comments::daemon::store::comments::sqlite::SqliteComments;
use live_comments::daemon::store::comments::{ArchivedComment, CommentStore as _};
use live_comments::protocol::{Comment, CommentId, StreamId, UserId};

const BATCH: u64 = 4096;
const NODE: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn batch(first: u64, streams: u64) -> Vec<ArchivedComment> {
    (first..first + BATCH)
        .map(|number| {
            let comment_id =
                CommentId::from_unix_ticks(17_500_000_000_000_000 + number * 100, 5, NODE);
            ArchivedComment {
                comment: Arc::new(Comment {
                    stream_id: StreamId(1 + number % streams),
                    comment_id,
                    user_id: UserId(1 + number % 100_000),
                    name: format!("viewer{}", number % 100_000).into(),
                    message: format!("what a goal, that is number {number} of the evening!").into(),
                    created_at: comment_id.unix_ms(),
                }),
                seq: number,
                shadow: false,
            }
        })
        .collect()
}

fn store_write(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("two threads");
    let mut group = criterion.benchmark_group("store_write");
    group.throughput(Throughput::Elements(BATCH)).sample_size(20);
    for streams in [1, 100] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = runtime
            .block_on(SqliteComments::open(&dir.path().join("comments.db")))
            .expect("an empty store");
        let mut next = 0;
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
}

criterion_group!(benches, store_write, cassandra::write_and_page, postgres::write_and_page);
criterion_main!(benches);
