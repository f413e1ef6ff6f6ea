//! The engine on a real server.

use std::sync::Arc;
use std::time::Duration;

use super::day::Day;
use super::select;
use crate::daemon::base::clock::{SystemClock, TokioClock};
use crate::daemon::engines::backends::postgres::PostgresServer;
use crate::daemon::engines::backends::postgres::test_schema::TestSchema;
use crate::daemon::engines::comments::conformance::{
    self, WriteRows as _, comment, comment_id, shown, tombstone,
};
use crate::daemon::engines::comments::postgres::PostgresComments;
use crate::daemon::engines::comments::retention::Retention;
use crate::daemon::engines::comments::{ArchivedComment, CommentStore as _};
use crate::protocol::{CommentId, StreamId};

const DAY: Duration = Duration::from_secs(24 * 3600);
const STREAM: StreamId = StreamId(7);

async fn open_with(schema: &TestSchema, retention: Retention) -> PostgresComments {
    let server = PostgresServer::connect(&schema.config).await.unwrap();
    PostgresComments::open(&server, retention).await.unwrap()
}

fn forever() -> Retention {
    Retention::new(Duration::ZERO, Arc::new(SystemClock))
}

async fn open() -> (PostgresComments, TestSchema) {
    let schema = TestSchema::new();
    (open_with(&schema, forever()).await, schema)
}

conformance::comment_store_suite!(
    #[ignore = "needs scripts/stack up"]
    open()
);

/// Returns a comment `days` after the suite's first.
fn comment_of_day(days: u64, number: u64) -> ArchivedComment {
    let mut row = comment(STREAM, number);
    let ticks = comment_id(number).unix_ticks() + days * DAY.as_nanos() as u64 / 100;
    let made = Arc::make_mut(&mut row.comment);
    made.comment_id = CommentId::from_unix_ticks(ticks, 5, [2, 0, 0, 0, 0, 1]);
    made.created_at = made.comment_id.unix_ms();
    row.seq = days * 10_000 + number;
    row
}

/// Keeps comments for `keep`; the clock is `days` after the suite's first comment.
fn keeping(keep: Duration, days: u32) -> Retention {
    let now = Duration::from_millis(comment_id(0).unix_ms()) + DAY * days;
    Retention::new(keep, Arc::new(TokioClock::starting_at(now)))
}

/// Waits until the upkeep has left exactly these days.
async fn until_days_are(schema: &TestSchema, expected: &[&str]) {
    let reached = async {
        while schema.days().await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), reached).await;
    assert!(waited.is_ok(), "{:?}, expected {expected:?}", schema.days().await);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn partitions_are_made_ahead_of_time() {
    let schema = TestSchema::new();
    let _store = open_with(&schema, keeping(Duration::ZERO, 0)).await;
    until_days_are(&schema, &["20250615", "20250616"]).await;
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn pages_go_from_day_to_day() {
    let (store, _schema) = open().await;
    let days = [0, 1, 2, 9, 40, 400];
    let written: Vec<_> =
        days.iter().flat_map(|day| (0..5).map(|number| comment_of_day(*day, number))).collect();
    store.write_rows(&written, &[]).await.unwrap();
    let newest_first: Vec<u64> = written.iter().rev().map(|row| row.seq).collect();
    let page = store.page(STREAM, None, 100).await.unwrap();
    assert_eq!(page.iter().map(|row| row.seq).collect::<Vec<_>>(), newest_first);
    for (at, row) in written.iter().enumerate() {
        let before = Some(row.comment.comment_id);
        let page = store.page(STREAM, before, 7).await.unwrap();
        let expected: Vec<u64> = written[..at].iter().rev().take(7).map(|row| row.seq).collect();
        assert_eq!(page.iter().map(|row| row.seq).collect::<Vec<_>>(), expected);
        let found = store.get(row.comment.comment_id).await.unwrap().unwrap();
        assert_eq!(found.comment.seq, row.seq);
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn expired_days_are_dropped_and_stay_away() {
    let schema = TestSchema::new();
    let written: Vec<_> = (0..5).map(|day| comment_of_day(day, 1)).collect();
    {
        let store = open_with(&schema, keeping(Duration::ZERO, 0)).await;
        store.write_rows(&written, &[tombstone(STREAM, 1)]).await.unwrap();
        assert_eq!(shown(&store, STREAM).await, 4, "one is deleted");
    }
    let store = open_with(&schema, keeping(DAY * 2, 4)).await;
    until_days_are(&schema, &["20250617", "20250618", "20250619", "20250620"]).await;
    let kept: Vec<_> =
        store.page(STREAM, None, 10).await.unwrap().iter().map(|row| row.seq).collect();
    assert_eq!(kept, [40_001, 30_001, 20_001]);
    assert_eq!(store.tombstones_since(0, 10).await.unwrap(), [], "tombstones go with their day");
    store.write_rows(&written, &[tombstone(STREAM, 1)]).await.unwrap();
    assert_eq!(shown(&store, STREAM).await, 3, "the archiver read the log again");
    assert_eq!(store.get(written[0].comment.comment_id).await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_dropped_partition_is_created_again() {
    let schema = TestSchema::new();
    let store = open_with(&schema, keeping(Duration::ZERO, 0)).await;
    store.write_rows(&[comment_of_day(3, 1)], &[]).await.unwrap();
    schema.execute("DROP TABLE comments_20250618, tombstones_20250618").await.unwrap();
    // The archiver tries again.
    store.write_rows(&[comment_of_day(3, 1)], &[]).await.unwrap_err();
    store.write_rows(&[comment_of_day(3, 1)], &[]).await.unwrap();
    assert_eq!(shown(&store, STREAM).await, 1);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn nodes_that_write_the_same_at_once_store_it_once() {
    let schema = TestSchema::new();
    let (one, other) = tokio::join!(open_with(&schema, forever()), open_with(&schema, forever()));
    for round in 0..5 {
        // Days that have no partition yet, and rows in opposite orders.
        let forwards: Vec<_> =
            (0..2000).map(|number| comment_of_day(round * 4 + number % 4, number)).collect();
        let backwards: Vec<_> = forwards.iter().rev().cloned().collect();
        let (first, second) =
            tokio::join!(one.write_rows(&forwards, &[]), other.write_rows(&backwards, &[]));
        first.unwrap();
        second.unwrap();
    }
    assert_eq!(shown(&one, STREAM).await, 10_000);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn nodes_drop_each_day_once_while_others_write() {
    let schema = TestSchema::new();
    {
        let store = open_with(&schema, keeping(Duration::ZERO, 0)).await;
        let old: Vec<_> = (0..6).map(|day| comment_of_day(day, 1)).collect();
        store.write_rows(&old, &[]).await.unwrap();
    }
    let writer = open_with(&schema, keeping(Duration::ZERO, 6)).await;
    let upkeep = async {
        let nodes =
            futures_util::future::join_all((0..4).map(|_| open_with(&schema, keeping(DAY, 6))));
        let _nodes = nodes.await;
        until_days_are(&schema, &["20250620", "20250621", "20250622"]).await;
    };
    let writing = async {
        for number in 0..200 {
            writer.write_rows(&[comment_of_day(6, number)], &[]).await.unwrap();
        }
    };
    tokio::join!(upkeep, writing);
    assert_eq!(shown(&writer, STREAM).await, 201);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_write_given_up_half_way_leaves_nothing() {
    let (store, _schema) = open().await;
    let comments: Vec<_> = (0..4096).map(|number| comment(STREAM, number)).collect();
    store.write_rows(&comments[..1], &[]).await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(5), store.write_rows(&comments, &[]));
    assert!(given_up.await.is_err());
    store.ping().await.unwrap();
    assert_eq!(shown(&store, STREAM).await, 1);
    store.write_rows(&comments, &[]).await.unwrap();
    assert_eq!(shown(&store, STREAM).await, 4096);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_page_is_read_from_the_index_of_its_days_alone() {
    let (store, schema) = open().await;
    let first = Day::of(comment_id(0));
    for day in 0..6 {
        let comments: Vec<_> = (0..2000).map(|number| comment_of_day(day, number)).collect();
        store.write_rows(&comments, &[tombstone(STREAM, day)]).await.unwrap();
    }
    schema.execute("ANALYZE comments; ANALYZE tombstones").await.unwrap();
    let key = |day: Day| format!("'\\x{:016x}'", u64::from_be_bytes(day.first_key()));
    let page = select::PAGE
        .replace("$1", "7")
        .replace("$2", &key(first.plus(2)))
        .replace("$3", &key(first.plus(4)))
        .replace("$4", &i64::MAX.to_string())
        .replace("$5", &i64::MAX.to_string())
        .replace("$6", "50")
        .replace("$7", "NULL::bigint");
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN {page}"));
    let mut connection = schema.connect().await.unwrap();
    let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap();
    let plan = plan.join("\n");
    assert!(!plan.contains("Sort  (cost"), "the index has the order:\n{plan}");
    assert_eq!(plan.matches("Index Scan Backward").count(), 2, "{plan}");
    for (day, name) in (0..6).map(|day| (day, first.plus(day).name())) {
        let asked = (2..4).contains(&day);
        for table in ["comments", "tombstones"] {
            assert_eq!(plan.contains(&format!("{table}_{name}")), asked, "{table}_{name}:\n{plan}");
        }
    }
}
