//! The promises of every comment store. `comment_store_suite!(open())` tests an engine against
//! them; see [`crate::daemon::testing::engine_suite`].

mod hidden;
mod marks;
mod replies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::{
    ArchiveBatch, Archived, ArchivedComment, ArchivedDeletion, CommentKey, CommentStore,
    StorePositions, Tombstone,
};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::eventlog::Position;
use crate::daemon::testing::engine_suite::check_property;
use crate::protocol::events::HiddenFrom;
use crate::protocol::{Badges, Comment, CommentId, Epoch, Seq, SequencedComment, StreamId, UserId};

pub(crate) use self::hidden::{
    hidden_comments_are_on_their_authors_pages, shadowed_comments_are_on_their_authors_pages,
};
pub(crate) use self::marks::{
    a_restored_comment_is_at_its_place_again, marks_in_any_order_show_the_same,
    marks_of_a_newer_log_count_more, the_last_mark_in_the_log_counts,
};

pub(crate) use self::replies::{
    hidden_replies_fill_no_page, pages_of_replies_join, replies_are_listed_newest_first,
    the_number_of_replies_is_bounded,
};

const NODE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const STREAM: StreamId = StreamId(7);
/// 2025-06-15, in 100 ns ticks.
const EPOCH_TICKS: u64 = 17_500_000_000_000_000;

macro_rules! comment_store_suite {
    ($($engine:tt)*) => {
        $crate::daemon::testing::engine_suite! {
            engine: [$($engine)*],
            promises: [$crate::daemon::engines::comments::conformance],
                pages_are_newest_first_and_join,
                a_moment_ends_before_its_first_place,
                inserting_again_changes_nothing,
                deleted_comments_are_on_no_page,
                shadowed_comments_are_on_their_authors_pages,
                hidden_comments_are_on_their_authors_pages,
                streams_do_not_mix,
                replies_are_listed_newest_first,
                pages_of_replies_join,
                hidden_replies_fill_no_page,
                the_number_of_replies_is_bounded,
                a_comment_is_found_by_its_id,
                tombstones_are_listed_oldest_first,
                large_batches_are_stored_whole,
                text_comes_back_unchanged,
                all_pages_are_all_visible_comments,
                pages_follow_the_log_whatever_the_clocks_said,
                a_newer_log_comes_after_an_older_one,
                positions_are_kept_per_log_and_partition,
                the_positions_of_other_logs_are_told,
                a_position_without_its_newest_comment_is_none,
                a_position_without_an_earlier_comment_is_none,
                a_restored_comment_is_at_its_place_again,
                the_last_mark_in_the_log_counts,
                marks_of_a_newer_log_count_more,
                marks_in_any_order_show_the_same,
        }
    };
}
pub(crate) use comment_store_suite;

/// The log of comments whose test does not care.
pub(crate) const EPOCH: Epoch = Epoch(1);

/// Writes without a position, of the log [`EPOCH`]. A deletion has its place by its time.
#[async_trait::async_trait]
pub(crate) trait WriteRows: CommentStore {
    async fn write_rows(
        &self,
        comments: &[ArchivedComment],
        tombstones: &[Tombstone],
    ) -> Result<(), StoreError> {
        let comments = comments.to_vec();
        let deletions = tombstones.iter().map(|tombstone| deletion(tombstone.clone())).collect();
        self.write(&ArchiveBatch { comments, deletions, ..ArchiveBatch::new(EPOCH) }).await
    }
}

impl<S: CommentStore + ?Sized> WriteRows for S {}

/// Returns the number of the suite's comments with these numbers that the store has, shown or not.
pub(crate) async fn kept(store: &impl CommentStore, numbers: std::ops::Range<u64>) -> usize {
    let mut kept = 0;
    for number in numbers {
        kept += usize::from(store.get(comment_id(number)).await.unwrap().is_some());
    }
    kept
}

/// Ids grow with `number`.
pub(crate) fn comment_id(number: u64) -> CommentId {
    CommentId::from_unix_ticks(EPOCH_TICKS + number * 1000, 5, NODE)
}

pub(crate) fn comment(stream_id: StreamId, number: u64) -> ArchivedComment {
    let id = comment_id(number);
    ArchivedComment {
        comment: Arc::new(Comment {
            stream_id,
            comment_id: id,
            user_id: UserId(1 + number % 10),
            name: format!("user {}", number % 10).into(),
            message: format!("comment {number}").into(),
            created_at: id.unix_ms(),
            badges: Badges::from_bits((number % 16) as u8),
            parent_id: (number % 5 == 4).then(|| comment_id(number - 1)),
        }),
        seq: number,
        shadow: false,
    }
}

pub(crate) fn tombstone(stream_id: StreamId, number: u64) -> Tombstone {
    let comment_id = comment_id(number);
    Tombstone {
        stream_id,
        comment_id,
        reason: "blocked_word".into(),
        deleted_at: 1000 + number,
        hidden_from: HiddenFrom::Everybody,
    }
}

/// Returns a deletion in the log at a place that grows with its time.
pub(crate) fn deletion(tombstone: Tombstone) -> ArchivedDeletion {
    let seq = tombstone.deleted_at;
    ArchivedDeletion { tombstone, seq, author: UserId(1) }
}

fn range(numbers: std::ops::Range<u64>) -> Vec<ArchivedComment> {
    numbers.map(|number| comment(STREAM, number)).collect()
}

/// The numbers of the comments on a page, as [`comment`] gave them.
fn numbers(page: &[SequencedComment]) -> Vec<u64> {
    page.iter().map(|comment| comment.seq).collect()
}

async fn newest(store: &impl CommentStore, stream_id: StreamId) -> Vec<u64> {
    numbers(&store.page(stream_id, None, 1000).await.unwrap())
}

/// Returns the number of comments that pages show of a stream.
pub(crate) async fn shown(store: &impl CommentStore, stream_id: StreamId) -> usize {
    all_pages(store, stream_id, 1000).await.len()
}

/// Every page of a stream, one after the other.
async fn all_pages(store: &impl CommentStore, stream_id: StreamId, limit: usize) -> Vec<u64> {
    let mut all = Vec::new();
    let mut before = None;
    loop {
        let page = store.page(stream_id, before, limit).await.unwrap();
        assert!(page.len() <= limit);
        all.extend(numbers(&page));
        match page.last() {
            Some(last) if page.len() == limit => before = Some(last.comment_id),
            _ => return all,
        }
    }
}

pub(crate) async fn pages_are_newest_first_and_join(store: &impl CommentStore) {
    // The order in which they are written is not the order in which they were made.
    store.write_rows(&range(50..100), &[]).await.unwrap();
    store.write_rows(&range(0..50), &[]).await.unwrap();
    let expected: Vec<u64> = (0..100).rev().collect();
    assert_eq!(newest(store, STREAM).await, expected);
    assert_eq!(all_pages(store, STREAM, 7).await, expected);
    let page = store.page(STREAM, Some(comment_id(40)), 3).await.unwrap();
    assert_eq!(numbers(&page), [39, 38, 37], "`before` itself is not part of the page");
    let absent = CommentId::from_unix_ticks(EPOCH_TICKS + 40 * 1000 + 1, 5, NODE);
    let page = store.page(STREAM, Some(absent), 2).await.unwrap();
    assert_eq!(numbers(&page), [40, 39], "`before` need not exist");
    assert!(store.page(STREAM, Some(comment_id(0)), 10).await.unwrap().is_empty());
}

pub(crate) async fn a_moment_ends_before_its_first_place(store: &impl CommentStore) {
    // One comment per millisecond. The fourth was held for review, and approved at the end.
    let seq = |n| if n == 3 { 200 } else { n };
    let written: Vec<_> = (0..100).map(|n| placed(10 * n, seq(n))).collect();
    store.write_rows(&written, &[tombstone(STREAM, 60)]).await.unwrap();
    store.write_rows(&[comment(StreamId(8), 1_001)], &[]).await.unwrap();
    let first_since = async |ms| {
        let since_ms = EPOCH_TICKS / 10_000 + ms;
        let first = store.first_since(STREAM, since_ms).await.unwrap()?;
        Some((written.iter().find(|row| row.comment.comment_id == first).unwrap().seq, first))
    };
    for (ms, expected) in [(0, 0), (3, 4), (4, 4), (6, 6), (99, 99)] {
        let (seq, first) = first_since(ms).await.expect("there are later ones");
        assert_eq!(seq, expected, "{ms} ms");
        let page = numbers_of(store, Some(first), 1000).await;
        let before: Vec<u64> = (0..expected).rev().filter(|seq| ![3, 6].contains(seq)).collect();
        assert_eq!(page, before, "{ms} ms");
    }
    assert_eq!(first_since(100).await, None, "of this stream only");
    let all = numbers_of(store, None, 2).await;
    assert_eq!(all, [200, 99], "it is shown where it was approved");
}

pub(crate) async fn inserting_again_changes_nothing(store: &impl CommentStore) {
    let comments = range(0..10);
    store.write_rows(&comments, &[]).await.unwrap();
    let before = store.page(STREAM, None, 100).await.unwrap();
    let mut other = comment(STREAM, 3);
    other.seq = 999;
    let again: Vec<_> = comments.into_iter().chain([other]).chain(range(10..11)).collect();
    store.write_rows(&again, &[]).await.unwrap();
    store.write_rows(&again, &[]).await.unwrap();
    assert_eq!(kept(store, 0..20).await, 11);
    let after = store.page(STREAM, Some(comment_id(10)), 100).await.unwrap();
    assert_eq!(after, before);
    let expected: Vec<u64> = (0..11).rev().collect();
    assert_eq!(
        newest(store, STREAM).await,
        expected,
        "a page with both places has it at the first"
    );
    assert_eq!(all_pages(store, STREAM, 4).await, expected);
}

pub(crate) async fn deleted_comments_are_on_no_page(store: &impl CommentStore) {
    store.write_rows(&[], &[tombstone(STREAM, 2)]).await.unwrap();
    store.write_rows(&range(0..6), &[tombstone(STREAM, 4)]).await.unwrap();
    store.write_rows(&[], &[tombstone(STREAM, 0), tombstone(STREAM, 4)]).await.unwrap();
    assert_eq!(newest(store, STREAM).await, [5, 3, 1]);
    store.write_rows(&range(0..6), &[]).await.unwrap();
    assert_eq!(newest(store, STREAM).await, [5, 3, 1], "writing it again does not bring it back");
    assert_eq!(store.page(STREAM, None, 3).await.unwrap().len(), 3, "deleted ones fill no page");
    let deleted = store.get(comment_id(2)).await.unwrap().expect("kept");
    assert!(deleted.deleted);
    assert_eq!(kept(store, 0..10).await, 6);
}

pub(crate) async fn streams_do_not_mix(store: &impl CommentStore) {
    let other = StreamId(i64::MAX as u64);
    store.write_rows(&[comment(STREAM, 1), comment(other, 2)], &[]).await.unwrap();
    store.write_rows(&[], &[tombstone(other, 1)]).await.unwrap();
    assert_eq!(newest(store, STREAM).await, [1]);
    assert_eq!(newest(store, other).await, [2]);
    assert_eq!(newest(store, StreamId(8)).await, [0_u64; 0]);
}

pub(crate) async fn a_comment_is_found_by_its_id(store: &impl CommentStore) {
    assert_eq!(store.get(comment_id(1)).await.unwrap(), None, "the store is empty");
    let written: Vec<_> = (1..=20).map(|n| comment(StreamId(n * n), n)).collect();
    store.write_rows(&written, &[tombstone(StreamId(1), 99)]).await.unwrap();
    for expected in &written {
        let found = store.get(expected.comment.comment_id).await.unwrap().expect("written");
        assert_eq!(found.comment, expected.comment.sequenced(expected.seq));
        assert_eq!(found.stream_id, expected.comment.stream_id);
        assert!(!found.deleted && !found.shadow);
    }
    assert_eq!(store.get(comment_id(21)).await.unwrap(), None);
    assert_eq!(store.get(comment_id(99)).await.unwrap(), None, "a tombstone is no comment");
}

pub(crate) async fn tombstones_are_listed_oldest_first(store: &impl CommentStore) {
    let written: Vec<_> = [5, 1, 3, 2, 4].map(|number| tombstone(STREAM, number)).to_vec();
    store.write_rows(&[], &written).await.unwrap();
    let mut later = tombstone(STREAM, 3);
    later.deleted_at = 9999;
    store.write_rows(&[], &[later]).await.unwrap();
    let listed = store.tombstones_since(1002, 10).await.unwrap();
    let expected: Vec<_> = (2..=5).map(|number| tombstone(STREAM, number)).collect();
    assert_eq!(listed, expected, "the first tombstone of a comment counts");
    assert_eq!(store.tombstones_since(0, 2).await.unwrap().len(), 2);
    assert!(store.tombstones_since(1006, 10).await.unwrap().is_empty());
}

pub(crate) async fn large_batches_are_stored_whole(store: &impl CommentStore) {
    let tombstones: Vec<_> = (0..1000).map(|number| tombstone(STREAM, number)).collect();
    store.write_rows(&range(0..4099), &tombstones).await.unwrap();
    assert_eq!(kept(store, 0..50).await, 50, "deleted ones too");
    let shown: Vec<u64> = (1000..4099).rev().collect();
    assert_eq!(all_pages(store, STREAM, 1000).await, shown);
    store.write_rows(&[], &[]).await.unwrap();
}

pub(crate) async fn text_comes_back_unchanged(store: &impl CommentStore) {
    let mut odd = comment(STREAM, 1);
    Arc::make_mut(&mut odd.comment).message =
        "'; DROP TABLE comments; -- \u{1F469}\u{200D}\u{1F680} \"?\"".into();
    Arc::make_mut(&mut odd.comment).name = "Zoë \u{5D0}".into();
    store.write_rows(std::slice::from_ref(&odd), &[]).await.unwrap();
    let page = store.page(STREAM, None, 1).await.unwrap();
    assert_eq!(page, [odd.comment.sequenced(odd.seq)]);
}

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<u64>),
    Delete(Vec<u64>),
    Both(Vec<u64>, Vec<u64>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = || prop::collection::vec(0_u64..60, 0..20);
    let step = prop_oneof![
        some().prop_map(Step::Insert),
        some().prop_map(Step::Delete),
        (some(), some()).prop_map(|(inserted, deleted)| Step::Both(inserted, deleted)),
    ];
    prop::collection::vec(step, 1..12)
}

/// For random inserts, deletes and page sizes, the pages of a stream together are the comments
/// inserted and not deleted, newest first. Each case has a stream of its own.
pub(crate) async fn all_pages_are_all_visible_comments(store: &impl CommentStore) {
    let stream_ids = AtomicU64::new(1);
    check_property(64, &(steps(), 1_usize..30), async |(steps, limit)| {
        let stream_id = StreamId(stream_ids.fetch_add(1, Ordering::Relaxed));
        let expected = write_steps(store, stream_id, &steps).await;
        prop_assert_eq!(all_pages(store, stream_id, limit).await, expected);
        Ok(())
    });
}

/// Carries out the steps. Returns the numbers of the comments that remain visible, newest first.
async fn write_steps(store: &impl CommentStore, stream_id: StreamId, steps: &[Step]) -> Vec<u64> {
    let mut inserted = BTreeSet::<u64>::new();
    let mut deleted = BTreeSet::<u64>::new();
    for step in steps {
        let (inserts, deletes): (&[u64], &[u64]) = match step {
            Step::Insert(inserts) => (inserts, &[]),
            Step::Delete(deletes) => (&[], deletes),
            Step::Both(inserts, deletes) => (inserts, deletes),
        };
        let comments: Vec<_> = inserts.iter().map(|n| comment(stream_id, *n)).collect();
        let tombstones: Vec<_> = deletes.iter().map(|n| tombstone(stream_id, *n)).collect();
        store.write_rows(&comments, &tombstones).await.unwrap();
        inserted.extend(inserts);
        deleted.extend(deletes);
    }
    inserted.into_iter().rev().filter(|number| !deleted.contains(number)).collect()
}

/// Returns a comment with the time of `number` in its id, at another place in the log.
fn placed(number: u64, seq: Seq) -> ArchivedComment {
    ArchivedComment { seq, ..comment(STREAM, number) }
}

/// Three hours, in the numbers of [`comment`].
const AHEAD: u64 = 3 * 3600 * 10_000;
/// More than two days, in the same.
const DAYS_AHEAD: u64 = 50 * 3600 * 10_000;

pub(crate) async fn pages_follow_the_log_whatever_the_clocks_said(store: &impl CommentStore) {
    // The clock is right, then ahead by hours and by days, then right again, then far behind.
    let offsets = [0, AHEAD, DAYS_AHEAD, 10_000, 0_u64.wrapping_sub(DAYS_AHEAD)];
    let numbers = offsets.iter().zip(0..).flat_map(|(offset, phase)| {
        (0..20_u64).map(move |n| (2 * DAYS_AHEAD + phase * 100 + n).wrapping_add(*offset))
    });
    let written: Vec<_> = numbers.zip(1000..).map(|(number, seq)| placed(number, seq)).collect();
    for batch in written.chunks(7) {
        store.write_rows(batch, &[]).await.unwrap();
    }
    let expected: Vec<u64> = (1000..1100).rev().collect();
    assert_eq!(newest(store, STREAM).await, expected);
    for limit in [1, 7, 30] {
        assert_eq!(all_pages(store, STREAM, limit).await, expected, "pages of {limit}");
    }
    let third = written[40].comment.comment_id;
    assert_eq!(numbers_of(store, Some(third), 3).await, [1039, 1038, 1037]);
}

async fn numbers_of(
    store: &impl CommentStore,
    before: Option<CommentId>,
    limit: usize,
) -> Vec<u64> {
    numbers(&store.page(STREAM, before, limit).await.unwrap())
}

pub(crate) async fn a_newer_log_comes_after_an_older_one(store: &impl CommentStore) {
    let older = Epoch(u32::MAX);
    let newer = Epoch(5);
    let batch = |epoch, comments| ArchiveBatch { comments, ..ArchiveBatch::new(epoch) };
    store.write(&batch(older, (0..10).map(|n| placed(n, 500 + n)).collect())).await.unwrap();
    // The topic was made again, and its sequence begins again.
    store.write(&batch(newer, (10..20).map(|n| placed(n, n - 10)).collect())).await.unwrap();
    store.write(&batch(older, vec![placed(20, 510)])).await.unwrap();
    let expected: Vec<u64> = (0..10).rev().chain((500..511).rev()).collect();
    assert_eq!(newest(store, STREAM).await, expected);
    assert_eq!(all_pages(store, STREAM, 4).await, expected);
}

fn at(partition: u32, offset: u64) -> Archived {
    Archived { next: Position { partition, offset }, newest: None, rewound: false }
}

/// Returns the positions that the store names, in the order of partitions.
async fn positions(store: &impl CommentStore, epoch: Epoch) -> Vec<(u32, u64)> {
    let StorePositions { mut next, has_unplaced } =
        store.positions(epoch, &BTreeMap::new()).await.unwrap();
    assert!(!has_unplaced, "the suite's store is new");
    next.sort();
    next.iter().map(|position| (position.partition, position.offset)).collect()
}

pub(crate) async fn positions_are_kept_per_log_and_partition(store: &impl CommentStore) {
    let one = Epoch(u32::MAX);
    let other = Epoch(3);
    assert_eq!(positions(store, one).await, []);
    let batch = |epoch, archived| ArchiveBatch { archived, ..ArchiveBatch::new(epoch) };
    store.write(&batch(one, vec![at(0, 100), at(2, 7)])).await.unwrap();
    store.write(&batch(other, vec![at(0, 3)])).await.unwrap();
    store.write(&batch(one, vec![at(2, 9)])).await.unwrap();
    assert_eq!(positions(store, one).await, [(0, 100), (2, 9)]);
    assert_eq!(positions(store, other).await, [(0, 3)]);
    assert_eq!(positions(store, EPOCH).await, []);
    // The store begins again, and continues from there.
    store.write(&batch(one, vec![Archived { rewound: true, ..at(0, 40) }])).await.unwrap();
    assert_eq!(positions(store, one).await, [(0, 40), (2, 9)]);
    store.write(&batch(one, vec![at(0, 60)])).await.unwrap();
    assert_eq!(positions(store, one).await, [(0, 60), (2, 9)]);
}

pub(crate) async fn the_positions_of_other_logs_are_told(store: &impl CommentStore) {
    let logs = [Epoch(u32::MAX), Epoch(3), Epoch(4)];
    let others = async |epoch| {
        let positions = store.other_positions(epoch).await.unwrap();
        let plain = |(epoch, at): &(Epoch, Position)| (*epoch, at.partition, at.offset);
        let mut positions: Vec<_> = positions.iter().map(plain).collect();
        positions.sort_unstable();
        positions
    };
    assert_eq!(others(logs[0]).await, []);
    let batch = |epoch, archived| ArchiveBatch { archived, ..ArchiveBatch::new(epoch) };
    store.write(&batch(logs[0], vec![at(0, 100), at(2, 7)])).await.unwrap();
    store.write(&batch(logs[1], vec![at(0, 130)])).await.unwrap();
    let [of_first, of_second] = [vec![(logs[0], 0, 100), (logs[0], 2, 7)], vec![(logs[1], 0, 130)]];
    assert_eq!(others(logs[0]).await, of_second);
    assert_eq!(others(logs[1]).await, of_first);
    assert_eq!(others(logs[2]).await, [of_second, of_first.clone()].concat());
    // As if the row had been deleted by hand.
    let newest = Some(CommentKey { stream_id: STREAM, comment_id: comment_id(15) });
    store.write(&batch(logs[1], vec![Archived { newest, ..at(0, 140) }])).await.unwrap();
    assert_eq!(others(logs[2]).await, of_first);
}

pub(crate) async fn a_position_without_its_newest_comment_is_none(store: &impl CommentStore) {
    let write = async |comments: Vec<ArchivedComment>, offset, newest: u64| {
        let newest = Some(CommentKey { stream_id: STREAM, comment_id: comment_id(newest) });
        let archived = vec![Archived { newest, ..at(0, offset) }];
        let batch = ArchiveBatch { comments, archived, ..ArchiveBatch::new(EPOCH) };
        store.write(&batch).await.unwrap();
    };
    write(range(0..10), 10, 9).await;
    assert_eq!(positions(store, EPOCH).await, [(0, 10)]);
    let without = ArchiveBatch { archived: vec![at(0, 12)], ..ArchiveBatch::new(EPOCH) };
    store.write(&without).await.unwrap();
    assert_eq!(positions(store, EPOCH).await, [(0, 12)], "the newest comment is still that of 10");
    // As if the row had been deleted by hand.
    write(Vec::new(), 20, 15).await;
    assert_eq!(positions(store, EPOCH).await, []);
    let rewound = Archived { rewound: true, ..at(0, 0) };
    let again = ArchiveBatch { archived: vec![rewound], ..ArchiveBatch::new(EPOCH) };
    store.write(&again).await.unwrap();
    assert_eq!(positions(store, EPOCH).await, [(0, 0)]);
    write(range(10..16), 20, 15).await;
    assert_eq!(positions(store, EPOCH).await, [(0, 20)]);
}

/// Comments were stored after the store had lost the earlier ones.
pub(crate) async fn a_position_without_an_earlier_comment_is_none(store: &impl CommentStore) {
    let key = |number| CommentKey { stream_id: STREAM, comment_id: comment_id(number) };
    let newest =
        |partition, offset| Archived { newest: Some(key(offset - 1)), ..at(partition, offset) };
    let archived = vec![newest(0, 10), newest(1, 5)];
    let batch = ArchiveBatch { comments: range(0..10), archived, ..ArchiveBatch::new(EPOCH) };
    store.write(&batch).await.unwrap();
    for (known, expected) in [(9, vec![0, 1]), (10, vec![1])] {
        let known = BTreeMap::from([(0, key(known)), (3, key(1))]);
        let positions = store.positions(EPOCH, &known).await.unwrap();
        let mut partitions: Vec<_> = positions.next.iter().map(|next| next.partition).collect();
        partitions.sort_unstable();
        assert_eq!(partitions, expected);
    }
}
