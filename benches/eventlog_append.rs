//! How fast the embedded event log makes records durable: batches of 1, 64 and 1024 records of 200
//! bytes, one after the other and with 64 callers side by side, an fsync before every answer.
//!
//! `cargo bench --bench eventlog_append`; the directory is the system's temporary one (`TMPDIR`),
//! which should be on a real disk.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use live_comments::daemon::clock::SystemClock;
use live_comments::daemon::config::EventLogConfig;
use live_comments::daemon::eventlog::embedded::EmbeddedLog;
use live_comments::daemon::eventlog::{NewRecord, SharedLog, Topic};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PAYLOAD_BYTES: usize = 200;
const CALLERS: usize = 64;

fn batch(records: usize) -> Vec<NewRecord> {
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    let record = |key| NewRecord { key, timestamp_ms: 0, payload: payload.clone() };
    (0..records as u64).map(record).collect()
}

fn open() -> (TempDir, SharedLog) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Old segments go, so that a long run does not fill the disk.
    let config =
        EventLogConfig { retention_bytes: bytesize::ByteSize::mib(256), ..Default::default() };
    let log = EmbeddedLog::open(directory.path(), &config, Arc::new(SystemClock));
    (directory, Arc::new(log.expect("a log")))
}

async fn append(log: &SharedLog, batch: &[NewRecord]) {
    let positions = log.append(Topic::CommentEvents, batch.to_vec()).await.expect("an append");
    black_box(positions);
}

/// One caller: a batch is appended when the one before is durable.
fn one_after_the_other(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("append_sequential");
    for records in [1, 64, 1024] {
        let (_directory, log) = open();
        let batch = batch(records);
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(BenchmarkId::from_parameter(records), |bencher| {
            bencher.to_async(runtime).iter(|| append(&log, &batch));
        });
    }
    group.finish();
}

/// Many callers at once: group commit.
fn side_by_side(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("append_64_callers");
    for records in [1, 64, 1024] {
        let (_directory, log) = open();
        let batch = batch(records);
        group.throughput(Throughput::Elements((records * CALLERS) as u64));
        group.bench_function(BenchmarkId::from_parameter(records), |bencher| {
            bencher.to_async(runtime).iter(|| join_all((0..CALLERS).map(|_| append(&log, &batch))));
        });
    }
    group.finish();
}

fn benchmarks(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    one_after_the_other(criterion, &runtime);
    side_by_side(criterion, &runtime);
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
