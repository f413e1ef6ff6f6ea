//! Tests of the content of the tables.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::open;
use crate::daemon::engines::comments::cassandra::bucket::bucket_of;
use crate::daemon::engines::comments::cassandra::waves::Walk as _;
use crate::daemon::engines::comments::conformance::{WriteRows as _, comment, shown, tombstone};
use crate::daemon::engines::comments::{
    ArchivedComment, CommentStore as _, StoredComment, Tombstone, cassandra::CassandraComments,
};
use crate::protocol::events::HiddenFrom;
use crate::protocol::{CommentId, Seq, SequencedComment, StreamId};

const STREAM: StreamId = StreamId(7);
const NODE: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// 2025-06-15, in milliseconds.
const START_MS: u64 = 1_750_000_000_000;
const HOUR_MS: u64 = 3_600_000;

fn made_at(stream_id: StreamId, unix_ms: u64, seq: Seq) -> ArchivedComment {
    with_id(stream_id, CommentId::from_unix_ticks(unix_ms * 10_000, 5, NODE), seq)
}

fn with_id(stream_id: StreamId, comment_id: CommentId, seq: Seq) -> ArchivedComment {
    let mut archived = comment(stream_id, seq);
    let made = Arc::make_mut(&mut archived.comment);
    (made.comment_id, made.created_at) = (comment_id, comment_id.unix_ms());
    archived
}

async fn all_pages(
    store: &CassandraComments,
    stream_id: StreamId,
    limit: usize,
) -> Vec<SequencedComment> {
    let mut all: Vec<SequencedComment> = Vec::new();
    loop {
        let before = all.last().map(|comment| comment.comment_id);
        let page = store.page(stream_id, before, limit).await.unwrap();
        let is_last = page.len() < limit;
        all.extend(page);
        if is_last {
            return all;
        }
    }
}

fn seqs(comments: &[SequencedComment]) -> Vec<Seq> {
    comments.iter().map(|comment| comment.seq).collect()
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn pages_of_a_busy_stream_join_over_partitions() {
    let (store, _keyspace) = open().await;
    // 100 comments/s for two minutes.
    let comments: Vec<_> = (0..12_000).map(|n| made_at(STREAM, START_MS + n * 10, n)).collect();
    for batch in comments.chunks(4096) {
        store.write_rows(batch, &[]).await.unwrap();
    }
    let buckets = store.inner.walk_buckets(STREAM, i32::MAX, 0).next(1000).await.unwrap();
    assert_eq!(buckets.len(), 12);
    assert_eq!(shown(&store, STREAM).await, 12_000);
    for limit in [997, 1000] {
        let shown = seqs(&all_pages(&store, STREAM, limit).await);
        assert_eq!(shown, (0..12_000).rev().collect::<Vec<_>>());
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn pages_of_a_quiet_stream_read_no_empty_buckets() {
    let (store, _keyspace) = open().await;
    // Two comments close together, and then nothing for 9 to 20 hours: buckets in 9 periods.
    let times = (0..400_u64).map(|n| START_MS + n / 2 * (9 + n % 12) * HOUR_MS + n % 2);
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    times.dedup();
    let made = |(seq, ms): (usize, &u64)| made_at(STREAM, *ms, seq as u64);
    let comments: Vec<_> = times.iter().enumerate().map(made).collect();
    store.write_rows(&comments, &[]).await.unwrap();
    let newest_first: Vec<Seq> = (0..times.len() as u64).rev().collect();
    for limit in [1, 50, 1000] {
        assert_eq!(seqs(&all_pages(&store, STREAM, limit).await), newest_first, "{limit}");
    }
    assert_eq!(shown(&store, STREAM).await, times.len());

    let mut expected: Vec<i32> =
        comments.iter().rev().map(|archived| bucket_of(archived.comment.comment_id)).collect();
    expected.dedup();
    let mut walk = store.inner.walk_buckets(STREAM, i32::MAX, 0);
    assert_eq!(walk.next(7).await.unwrap(), expected[..7]);
    assert_eq!(walk.next(10_000).await.unwrap(), expected[7..], "each once, and no other");
    assert!(walk.next(1).await.unwrap().is_empty());
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn ids_of_the_same_tick_keep_the_contracts_order() {
    let (store, _keyspace) = open().await;
    // The server takes bytes of 0x80 and more for negative.
    let nodes = [0x00_u8, 0x01, 0x7F, 0x80, 0xFE, 0xFF];
    let ids = (0..3_u64).flat_map(|tick| {
        nodes.map(|byte| {
            let node = [byte, 0xFF - byte, 0, 0, 0, 1];
            CommentId::from_unix_ticks(START_MS * 10_000 + tick, 5, node)
        })
    });
    let mut ids: Vec<CommentId> = ids.collect();
    let comments: Vec<_> = ids.iter().zip(1..).map(|(id, seq)| with_id(STREAM, *id, seq)).collect();
    store.write_rows(&comments, &[]).await.unwrap();
    ids.sort_by_key(|id| std::cmp::Reverse(id.sort_key()));
    for limit in 1..=ids.len() + 1 {
        let shown = all_pages(&store, STREAM, limit).await;
        let shown: Vec<CommentId> = shown.iter().map(|comment| comment.comment_id).collect();
        assert_eq!(shown, ids, "pages of {limit}");
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn an_id_that_cannot_be_stored_blocks_no_other() {
    let (store, _keyspace) = open().await;
    let odd = CommentId(uuid::Uuid::from_u128(0x1234_5678_9ABC_4DEF_8000_0000_0000_0001));
    let comments = [with_id(STREAM, odd, 1), comment(STREAM, 2)];
    let odd_tombstone = Tombstone { comment_id: odd, ..tombstone(STREAM, 1) };
    store.write_rows(&comments, &[odd_tombstone, tombstone(STREAM, 3)]).await.unwrap();
    assert_eq!(seqs(&store.page(STREAM, None, 10).await.unwrap()), [2]);
    assert_eq!(store.get(odd).await.unwrap(), None);
    assert_eq!(store.tombstones_since(0, 10).await.unwrap(), [tombstone(STREAM, 3)]);
    assert!(store.page(STREAM, Some(odd), 10).await.is_ok(), "it may be named by a viewer");
}

#[derive(Debug, Clone)]
enum Write {
    /// A comment, appended to the log again as this number.
    Comment(u64, Seq),
    /// A deletion at this time.
    Deletion(u64, u64),
}

fn writes() -> impl Strategy<Value = (Vec<Write>, Vec<Write>)> {
    let write = prop_oneof![
        2 => (0_u64..12, 1_u64..5).prop_map(|(number, seq)| Write::Comment(number, seq)),
        1 => (0_u64..12, 1_u64..5).prop_map(|(number, time)| Write::Deletion(number, time)),
    ];
    prop::collection::vec(write, 1..40)
        .prop_flat_map(|writes| (Just(writes.clone()), Just(writes).prop_shuffle()))
}

impl Write {
    fn rows(&self, stream_id: StreamId) -> (Vec<ArchivedComment>, Vec<Tombstone>) {
        match *self {
            // Spread over buckets; what differs between two of one comment is its number, which no
            // other comment has.
            Self::Comment(number, seq) => {
                let made_ms = START_MS + number * 4000;
                (vec![made_at(stream_id, made_ms, number * 10 + seq)], Vec::new())
            }
            Self::Deletion(number, deleted_at) => {
                let comment_id = made_at(stream_id, START_MS + number * 4000, 0).comment.comment_id;
                let reason = format!("reason {deleted_at}").into();
                let hidden_from = HiddenFrom::Everybody;
                let deletion = Tombstone { stream_id, comment_id, reason, deleted_at, hidden_from };
                (Vec::new(), vec![deletion])
            }
        }
    }
}

/// All that can be asked about a stream.
type Contents = (Vec<SequencedComment>, Vec<Option<StoredComment>>, Vec<Tombstone>);

async fn contents(store: &CassandraComments, stream_id: StreamId) -> Contents {
    let mut found = Vec::new();
    for number in 0..12 {
        // Not by `get`, which would find the other streams' too.
        let id = made_at(stream_id, START_MS + number * 4000, 0).comment.comment_id;
        let mut stored = store.inner.find_in(stream_id, id).await.unwrap();
        if let Some(stored) = &mut stored {
            stored.stream_id = STREAM;
        }
        found.push(stored);
    }
    let mut deleted = store.tombstones_since(0, 100_000).await.unwrap();
    deleted.retain(|tombstone| tombstone.stream_id == stream_id);
    deleted.iter_mut().for_each(|tombstone| tombstone.stream_id = STREAM);
    let shown = store.page(stream_id, None, 1000).await.unwrap();
    (shown, found, deleted)
}

#[test]
#[ignore = "needs scripts/stack up"]
fn the_order_of_writes_makes_no_difference() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (store, _keyspace) = runtime.block_on(open());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let stream_ids = std::cell::RefCell::new((1..).map(StreamId));
    let checked = runner.run(&writes(), |(one, other)| {
        runtime.block_on(async {
            let [a, b] = std::array::from_fn(|_| stream_ids.borrow_mut().next().unwrap());
            for write in &one {
                let (comments, tombstones) = write.rows(a);
                store.write_rows(&comments, &tombstones).await.unwrap();
            }
            // In another order, in one batch, and all of it again.
            let (comments, tombstones): (Vec<_>, Vec<_>) =
                other.iter().map(|write| write.rows(b)).unzip();
            for _ in 0..2 {
                store.write_rows(&comments.concat(), &tombstones.concat()).await.unwrap();
            }
            let of_one = contents(&store, a).await;
            let of_other = contents(&store, b).await;
            prop_assert_eq!(of_one, of_other);
            Ok(())
        })
    });
    checked.unwrap();
}
