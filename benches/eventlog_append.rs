//! Measures how fast the event log makes records durable: batches of 1, 64 and 1024 records of 200
//! bytes, from one caller and from 64 callers at a time. Embedded, with an fsync before every
//! answer; and on Kafka under each guarantee, if a broker of `scripts/stack up` answers, with the
//! time of one append at 1 000 comments/s.
//!
//! `cargo bench --bench eventlog_append`. Set `TMPDIR` to a directory on a real disk. `-- kafka`
//! runs only the Kafka benchmarks.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use live_comments::daemon::base::clock::SystemClock;
use live_comments::daemon::base::config::{
    EventLogConfig, Guarantee, KafkaConfig, PartitionCounts,
};
use live_comments::daemon::engines::eventlog::embedded::EmbeddedLog;
use live_comments::daemon::engines::eventlog::kafka::KafkaLog;
use live_comments::daemon::engines::eventlog::{LogTelemetry, NewRecord, SharedLog, Topic};
use live_comments::protocol::NodeId;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PAYLOAD_BYTES: usize = 200;
const CALLERS: usize = 64;

fn batch(records: usize) -> Vec<NewRecord> {
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let timestamp_ms = now.as_millis() as u64;
    let record = |key| NewRecord { key: key % 8, timestamp_ms, payload: payload.clone() };
    (0..records as u64).map(record).collect()
}

fn open() -> (TempDir, SharedLog) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Old segments are removed, so that a long run does not fill the disk.
    let config =
        EventLogConfig { retention_bytes: bytesize::ByteSize::mib(256), ..Default::default() };
    let log = EmbeddedLog::open(
        directory.path(),
        &config,
        Arc::new(SystemClock),
        LogTelemetry::default(),
    );
    (directory, Arc::new(log.expect("a log")))
}

async fn append(log: &SharedLog, batch: &[NewRecord]) {
    let positions = log.append(Topic::CommentEvents, batch.to_vec()).await.expect("an append");
    black_box(positions);
}

/// One caller that appends a batch when the one before is durable.
fn append_sequentially(criterion: &mut Criterion, runtime: &Runtime) {
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

/// Many callers at a time, which exercises group commit.
fn append_concurrently(criterion: &mut Criterion, runtime: &Runtime) {
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

/// Opens a log under a unique prefix, if a broker answers.
async fn open_kafka(guarantee: Guarantee) -> Option<SharedLog> {
    let port = std::env::var("LC_STACK_PORT").ok().and_then(|port| port.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let kafka = KafkaConfig {
        brokers: vec![format!("127.0.0.1:{}", port.unwrap_or(17_000_u16) + 20)],
        prefix: format!("bench-{}-", now.as_millis()),
        partitions: PartitionCounts { comment_events: 8, ..PartitionCounts::default() },
        append_timeout: Duration::from_secs(2),
        ..KafkaConfig::default()
    };
    let config = EventLogConfig { guarantee, ..EventLogConfig::default() };
    match KafkaLog::open(&kafka, &config, &NodeId::new("bench"), LogTelemetry::default()).await {
        Ok(log) => Some(Arc::new(log)),
        Err(error) => {
            println!("skipping Kafka: {error}");
            None
        }
    }
}

/// Many batches in flight, as ingest has them.
fn kafka(criterion: &mut Criterion, runtime: &Runtime) {
    let guarantees = [
        ("at_most_once", Guarantee::AtMostOnce),
        ("at_least_once", Guarantee::AtLeastOnce),
        ("exactly_once", Guarantee::ExactlyOnce),
    ];
    for (name, guarantee) in guarantees {
        let Some(log) = runtime.block_on(open_kafka(guarantee)) else { return };
        let mut group = criterion.benchmark_group(format!("kafka_{name}_{CALLERS}_callers"));
        group.sample_size(10);
        for records in [1, 500] {
            let batch = batch(records);
            group.throughput(Throughput::Elements((records * CALLERS) as u64));
            group.bench_function(BenchmarkId::from_parameter(records), |bencher| {
                let appends = || join_all((0..CALLERS).map(|_| append(&log, &batch)));
                bencher.to_async(runtime).iter(appends);
            });
        }
        group.finish();
        for rate in [10, 1000] {
            runtime.block_on(time_at_rate(&log, name, rate));
        }
        runtime.block_on(time_of_pages(&log, name));
        runtime.block_on(log.close()).expect("the log closes");
    }
}

/// Appends single comments at an even rate for five seconds.
async fn time_at_rate(log: &SharedLog, name: &str, per_second: u32) {
    let mut due = tokio::time::interval(Duration::from_secs(1) / per_second);
    let mut appends = Vec::new();
    for _ in 0..5 * per_second {
        due.tick().await;
        let log = log.clone();
        let batch = batch(1);
        let began = Instant::now();
        appends.push(tokio::spawn(async move {
            append(&log, &batch).await;
            began.elapsed()
        }));
    }
    let mut times: Vec<_> =
        join_all(appends).await.into_iter().map(|time| time.expect("an append")).collect();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "kafka {name}, {per_second}/s: p50 {:?}, p99 {:?}, max {:?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// Reads pages of 100 records from the whole partition, one after another.
async fn time_of_pages(log: &SharedLog, name: &str) {
    const PAGES: u64 = 300;
    let partition = log.partition_of(Topic::CommentEvents, 0);
    let bounds = log.bounds(Topic::CommentEvents, partition).await.expect("bounds");
    let step = (bounds.end - bounds.earliest) / PAGES;
    let mut times = Vec::new();
    for page in 0..PAGES {
        let offset = bounds.earliest + page * step;
        let began = Instant::now();
        let page = log.read_partition(Topic::CommentEvents, partition, offset, 100).await;
        black_box(page.expect("a page"));
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let p50 = times[times.len() / 2];
    let p99 = times[times.len() * 99 / 100];
    println!("kafka {name}, a page of 100: p50 {p50:?}, p99 {p99:?}");
}

fn benchmarks(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    append_sequentially(criterion, &runtime);
    append_concurrently(criterion, &runtime);
    kafka(criterion, &runtime);
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
