//! The server away, and back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Keyspace;
use super::proxy::{Mode, Proxy};
use crate::daemon::base::config::CassandraConfig;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::cassandra::CassandraComments;
use crate::daemon::engines::comments::conformance::{EPOCH, WriteRows as _, comment, comment_id};
use crate::daemon::engines::comments::{ArchivedComment, CommentStore as _};
use crate::protocol::StreamId;

const STREAM: StreamId = StreamId(7);
const TIMEOUT: Duration = Duration::from_secs(2);
/// The driver tries again every ten seconds at last.
const RECOVERY: Duration = Duration::from_secs(30);

fn range(numbers: std::ops::Range<u64>) -> Vec<ArchivedComment> {
    numbers.map(|number| comment(STREAM, number)).collect()
}

async fn assert_unavailable<T>(call: impl Future<Output = Result<T, StoreError>>) {
    let started = Instant::now();
    let failed = call.await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{:?}", failed.err());
    // The machine of a test run is busy.
    assert!(started.elapsed() < TIMEOUT + Duration::from_secs(2), "{:?}", started.elapsed());
}

async fn assert_everything_unavailable(store: &CassandraComments) {
    assert_unavailable(store.write_rows(&range(1000..1100), &[])).await;
    assert_unavailable(store.page(STREAM, None, 10)).await;
    assert_unavailable(store.get(comment_id(1))).await;
    assert_unavailable(store.tombstones_since(0, 10)).await;
    assert_unavailable(store.positions(EPOCH, &BTreeMap::new())).await;
    assert_unavailable(store.ping()).await;
}

async fn time_to_write(store: &CassandraComments, comments: &[ArchivedComment]) -> Duration {
    let started = Instant::now();
    while let Err(error) = store.write_rows(comments, &[]).await {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(started.elapsed() < RECOVERY, "not back after {RECOVERY:?}: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    started.elapsed()
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn calls_fail_in_time_while_the_server_is_away() {
    let keyspace = Keyspace::new();
    let proxy = Proxy::start(keyspace.config().nodes.remove(0)).await;
    drop(keyspace.open(Duration::ZERO).await);
    let config = CassandraConfig {
        nodes: vec![proxy.address.clone()],
        timeout: TIMEOUT,
        ..keyspace.config()
    };
    let store = CassandraComments::open(&config, Duration::ZERO).await.unwrap();
    store.write_rows(&range(0..100), &[]).await.unwrap();

    proxy.set(Mode::Cut);
    assert_everything_unavailable(&store).await;
    proxy.set(Mode::Pass);
    let back = time_to_write(&store, &range(100..200)).await;
    println!("cut: back after {back:?}");

    proxy.set(Mode::Hang);
    assert_everything_unavailable(&store).await;
    proxy.set(Mode::Pass);
    let back = time_to_write(&store, &range(200..300)).await;
    println!("hung: back after {back:?}");

    // Hangs until the driver has closed its connections, and longer.
    proxy.set(Mode::Hang);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_unavailable(store.ping()).await;
    proxy.set(Mode::Pass);
    let back = time_to_write(&store, &range(300..400)).await;
    println!("hung for 12 s: back after {back:?}");

    // A write that failed may be there or not; every acknowledged one is.
    let shown = store.page(STREAM, Some(comment_id(400)), 1000).await.unwrap();
    let seqs: Vec<u64> = shown.iter().map(|comment| comment.seq).collect();
    assert_eq!(seqs, (0..400).rev().collect::<Vec<_>>());
}
