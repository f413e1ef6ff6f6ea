//! The promises of every comment store. `comment_store_suite!(open())` tests an engine against
//! them; see [`crate::daemon::testing::engine_suite`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::{ArchivedComment, CommentStore, Tombstone};
use crate::daemon::testing::engine_suite::check_property;
use crate::protocol::{Comment, CommentId, SequencedComment, StreamId, UserId};

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
                inserting_again_changes_nothing,
                deleted_comments_are_on_no_page,
                shadowed_comments_are_kept_and_on_no_page,
                streams_do_not_mix,
                a_comment_is_found_by_its_id,
                tombstones_are_listed_oldest_first,
                large_batches_are_stored_whole,
                text_comes_back_unchanged,
                all_pages_are_all_visible_comments,
        }
    };
}
pub(crate) use comment_store_suite;

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
        }),
        seq: number,
        shadow: false,
    }
}

pub(crate) fn tombstone(stream_id: StreamId, number: u64) -> Tombstone {
    let comment_id = comment_id(number);
    Tombstone { stream_id, comment_id, reason: "blocked_word".into(), deleted_at: 1000 + number }
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
    store.write(&range(50..100), &[]).await.unwrap();
    store.write(&range(0..50), &[]).await.unwrap();
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

pub(crate) async fn inserting_again_changes_nothing(store: &impl CommentStore) {
    let comments = range(0..10);
    store.write(&comments, &[]).await.unwrap();
    let before = store.page(STREAM, None, 100).await.unwrap();
    let mut other = comment(STREAM, 3);
    other.seq = 999;
    let again: Vec<_> = comments.into_iter().chain([other]).chain(range(10..11)).collect();
    store.write(&again, &[]).await.unwrap();
    store.write(&again, &[]).await.unwrap();
    assert_eq!(store.count(STREAM).await.unwrap(), 11);
    let after = store.page(STREAM, Some(comment_id(10)), 100).await.unwrap();
    assert_eq!(after, before);
}

pub(crate) async fn deleted_comments_are_on_no_page(store: &impl CommentStore) {
    store.write(&[], &[tombstone(STREAM, 2)]).await.unwrap();
    store.write(&range(0..6), &[tombstone(STREAM, 4)]).await.unwrap();
    store.write(&[], &[tombstone(STREAM, 0), tombstone(STREAM, 4)]).await.unwrap();
    assert_eq!(newest(store, STREAM).await, [5, 3, 1]);
    store.write(&range(0..6), &[]).await.unwrap();
    assert_eq!(newest(store, STREAM).await, [5, 3, 1], "writing it again does not bring it back");
    assert_eq!(store.page(STREAM, None, 3).await.unwrap().len(), 3, "deleted ones fill no page");
    let deleted = store.get(comment_id(2)).await.unwrap().expect("kept");
    assert!(deleted.deleted);
    assert_eq!(store.count(STREAM).await.unwrap(), 6);
}

pub(crate) async fn shadowed_comments_are_kept_and_on_no_page(store: &impl CommentStore) {
    let mut comments = range(0..3);
    comments[1].shadow = true;
    store.write(&comments, &[]).await.unwrap();
    assert_eq!(newest(store, STREAM).await, [2, 0]);
    let shadowed = store.get(comment_id(1)).await.unwrap().expect("kept");
    assert!(shadowed.shadow && !shadowed.deleted);
    assert_eq!(store.count(STREAM).await.unwrap(), 3);
}

pub(crate) async fn streams_do_not_mix(store: &impl CommentStore) {
    let other = StreamId(i64::MAX as u64);
    store.write(&[comment(STREAM, 1), comment(other, 2)], &[]).await.unwrap();
    store.write(&[], &[tombstone(other, 1)]).await.unwrap();
    assert_eq!(newest(store, STREAM).await, [1]);
    assert_eq!(newest(store, other).await, [2]);
    assert_eq!(newest(store, StreamId(8)).await, [0_u64; 0]);
    assert_eq!(store.count(StreamId(8)).await.unwrap(), 0);
}

pub(crate) async fn a_comment_is_found_by_its_id(store: &impl CommentStore) {
    assert_eq!(store.get(comment_id(1)).await.unwrap(), None, "the store is empty");
    let written: Vec<_> = (1..=20).map(|n| comment(StreamId(n * n), n)).collect();
    store.write(&written, &[tombstone(StreamId(1), 99)]).await.unwrap();
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
    store.write(&[], &written).await.unwrap();
    let mut later = tombstone(STREAM, 3);
    later.deleted_at = 9999;
    store.write(&[], &[later]).await.unwrap();
    let listed = store.tombstones_since(1002, 10).await.unwrap();
    let expected: Vec<_> = (2..=5).map(|number| tombstone(STREAM, number)).collect();
    assert_eq!(listed, expected, "the first tombstone of a comment counts");
    assert_eq!(store.tombstones_since(0, 2).await.unwrap().len(), 2);
    assert!(store.tombstones_since(1006, 10).await.unwrap().is_empty());
}

pub(crate) async fn large_batches_are_stored_whole(store: &impl CommentStore) {
    let tombstones: Vec<_> = (0..1000).map(|number| tombstone(STREAM, number)).collect();
    store.write(&range(0..4099), &tombstones).await.unwrap();
    assert_eq!(store.count(STREAM).await.unwrap(), 4099);
    let shown: Vec<u64> = (1000..4099).rev().collect();
    assert_eq!(all_pages(store, STREAM, 1000).await, shown);
    store.write(&[], &[]).await.unwrap();
}

pub(crate) async fn text_comes_back_unchanged(store: &impl CommentStore) {
    let mut odd = comment(STREAM, 1);
    Arc::make_mut(&mut odd.comment).message =
        "'; DROP TABLE comments; -- \u{1F469}\u{200D}\u{1F680} \"?\"".into();
    Arc::make_mut(&mut odd.comment).name = "Zoë \u{5D0}".into();
    store.write(std::slice::from_ref(&odd), &[]).await.unwrap();
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
        store.write(&comments, &tombstones).await.unwrap();
        inserted.extend(inserts);
        deleted.extend(deletes);
    }
    inserted.into_iter().rev().filter(|number| !deleted.contains(number)).collect()
}
