//! Comments per second that the comment stores accept in the archiver's batches. Cassandra and
//! PostgreSQL are measured if `scripts/stack up` has started them.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

mod cassandra;
mod postgres;

use std::sync::Arc;
use std::time::SystemTime;

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use live_comments::daemon::engines::comments::sqlite::SqliteComments;
use live_comments::daemon::engines::comments::{ArchiveBatch, ArchivedComment, SharedCommentStore};
use live_comments::protocol::{Comment, CommentId, Epoch, StreamId, UserId};
use tokio::runtime::Runtime;

const BATCH: u64 = 4096;
const NODE: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn batch(first: u64, streams: u64) -> ArchiveBatch {
    let comments = (first..first + BATCH)
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
                    badges: Default::default(),
                    parent_id: None,
                }),
                seq: number,
                shadow: false,
            }
        })
        .collect();
    ArchiveBatch { comments, ..ArchiveBatch::new(Epoch(1)) }
}

fn two_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("two threads")
}

/// Returns the first number of a run on kept tables, so that its comments are newer than those of
/// earlier runs. One number is 10 microseconds of id time.
fn first_of_this_run() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    since.as_millis() as u64 * 100 - 175_000_000_000_000
}

/// Measures batches over `streams` streams, numbered from `next`.
fn write_batches(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    store: &SharedCommentStore,
    streams: u64,
    next: &mut u64,
) {
    group.throughput(Throughput::Elements(BATCH)).sample_size(20);
    group.bench_function(BenchmarkId::new("streams", streams), |bencher| {
        bencher.to_async(runtime).iter_batched(
            || {
                *next += BATCH;
                batch(*next, streams)
            },
            |batch| {
                let store = store.clone();
                async move { store.write(&batch).await.expect("written") }
            },
            BatchSize::LargeInput,
        );
    });
}

fn store_write(criterion: &mut Criterion) {
    let runtime = two_threads();
    let mut group = criterion.benchmark_group("store_write");
    for streams in [1, 100] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("comments.db");
        let store = runtime.block_on(SqliteComments::open(&file)).expect("an empty store");
        let store: SharedCommentStore = Arc::new(store);
        write_batches(&mut group, &runtime, &store, streams, &mut 0);
    }
    group.finish();
}

criterion_group!(benches, store_write, cassandra::write_and_page, postgres::write_and_page);
criterion_main!(benches);
