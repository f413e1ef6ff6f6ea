//! Promises about deletions and restorations.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::{EPOCH, STREAM, WriteRows as _, comment_id, newest, range, tombstone};
use crate::daemon::engines::comments::{
    ArchiveBatch, ArchivedDeletion, ArchivedRestoration, CommentStore, Tombstone,
};
use crate::daemon::testing::engine_suite::check_property;
use crate::protocol::{Epoch, Seq, UserId};

/// Writes marks of comments of [`STREAM`] without comments: deletions and restorations, each as the
/// comment's number and the place in the log.
async fn mark(
    store: &impl CommentStore,
    epoch: Epoch,
    deleted: &[(u64, Seq)],
    restored: &[(u64, Seq)],
) {
    let at = |(number, seq): &(u64, Seq)| {
        let tombstone = Tombstone { deleted_at: 1000 + seq, ..tombstone(STREAM, *number) };
        ArchivedDeletion { tombstone, seq: *seq, author: UserId(1) }
    };
    let deletions = deleted.iter().map(at).collect();
    let again = |(number, seq): &(u64, Seq)| {
        let comment_id = comment_id(*number);
        ArchivedRestoration { stream_id: STREAM, comment_id, seq: *seq }
    };
    let restorations = restored.iter().map(again).collect();
    store
        .write(&ArchiveBatch { deletions, restorations, ..ArchiveBatch::new(epoch) })
        .await
        .unwrap();
}

pub(crate) async fn a_restored_comment_is_at_its_place_again(store: &impl CommentStore) {
    store.write_rows(&range(0..6), &[]).await.unwrap();
    let before = store.page(STREAM, None, 10).await.unwrap();
    mark(store, EPOCH, &[(2, 10), (4, 11)], &[]).await;
    assert_eq!(newest(store, STREAM).await, [5, 3, 1, 0]);
    let hidden = store.get(comment_id(2)).await.unwrap().expect("kept");
    assert!(hidden.deleted);
    assert_eq!(&*hidden.comment.message, "comment 2", "the text stays, for moderators");
    mark(store, EPOCH, &[], &[(2, 12)]).await;
    mark(store, EPOCH, &[], &[(2, 12), (5, 13)]).await;
    assert_eq!(newest(store, STREAM).await, [5, 3, 2, 1, 0]);
    assert!(!store.get(comment_id(2)).await.unwrap().unwrap().deleted);
    let listed = store.tombstones_since(0, 10).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|tombstone| tombstone.comment_id).collect();
    assert_eq!(listed, [comment_id(4)], "a restored comment has none");
    mark(store, EPOCH, &[], &[(4, 14)]).await;
    assert_eq!(store.page(STREAM, None, 10).await.unwrap(), before);
    store.write_rows(&range(0..6), &[]).await.unwrap();
    assert_eq!(store.page(STREAM, None, 10).await.unwrap(), before);
}

pub(crate) async fn the_last_mark_in_the_log_counts(store: &impl CommentStore) {
    store.write_rows(&range(0..4), &[]).await.unwrap();
    // In one batch: deleted, restored and deleted again; restored before its only deletion.
    mark(store, EPOCH, &[(1, 10), (1, 14), (2, 20)], &[(1, 12), (2, 13)]).await;
    assert_eq!(newest(store, STREAM).await, [3, 0]);
    // The log is read again from an earlier place, and a node writes an old batch late.
    mark(store, EPOCH, &[(1, 10)], &[(1, 12)]).await;
    mark(store, EPOCH, &[], &[(2, 13)]).await;
    assert_eq!(newest(store, STREAM).await, [3, 0]);
    let listed = store.tombstones_since(0, 10).await.unwrap();
    assert_eq!(listed.len(), 2, "each comment once: {listed:?}");
    let lately = store.tombstones_since(1014, 10).await.unwrap();
    assert_eq!(lately.len(), 2, "the first deletion of 1 counts no longer: {lately:?}");
    mark(store, EPOCH, &[], &[(1, 15), (2, 21)]).await;
    mark(store, EPOCH, &[(1, 10), (1, 14), (2, 20)], &[]).await;
    assert_eq!(newest(store, STREAM).await, [3, 2, 1, 0], "deletions from before count no longer");
    mark(store, EPOCH, &[(2, 30)], &[]).await;
    assert_eq!(newest(store, STREAM).await, [3, 1, 0]);
}

pub(crate) async fn marks_of_a_newer_log_count_more(store: &impl CommentStore) {
    let newer = Epoch(5);
    store.write_rows(&range(0..3), &[]).await.unwrap();
    mark(store, EPOCH, &[(0, 700), (1, 800)], &[(2, 900)]).await;
    // The sequence of the newer log begins again.
    mark(store, newer, &[(2, 4)], &[(1, 3)]).await;
    assert_eq!(newest(store, STREAM).await, [1]);
    mark(store, EPOCH, &[(1, 800)], &[(2, 900)]).await;
    assert_eq!(newest(store, STREAM).await, [1]);
}

/// For random deletions and restorations, written in another order and in parts, what is shown is
/// what the last mark of each comment says. Each case has a log of its own, newer than the others.
pub(crate) async fn marks_in_any_order_show_the_same(store: &impl CommentStore) {
    store.write_rows(&range(0..5), &[]).await.unwrap();
    let marks = prop::collection::vec((0_u64..5, any::<bool>()), 1..12);
    let inputs = marks.prop_flat_map(|marks| {
        let placed: Vec<_> = marks.into_iter().zip(1_u64..).collect();
        (Just(placed.clone()), Just(placed).prop_shuffle(), 1_usize..5)
    });
    let epochs = AtomicU64::new(100);
    check_property(24, &inputs, async |(marks, shuffled, part)| {
        let epoch = Epoch(epochs.fetch_add(1, Ordering::Relaxed) as u32);
        let first: Vec<_> = (0..5).map(|number| (number, 0)).collect();
        mark(store, epoch, &[], &first).await;
        let mut is_shown = [true; 5];
        for ((number, deletes), _) in &marks {
            is_shown[*number as usize] = !deletes;
        }
        let of = |part: &[((u64, bool), Seq)], wanted: bool| {
            let same = part.iter().filter(|((_, deletes), _)| *deletes == wanted);
            same.map(|((number, _), seq)| (*number, *seq)).collect::<Vec<_>>()
        };
        for part in shuffled.chunks(part) {
            mark(store, epoch, &of(part, true), &of(part, false)).await;
        }
        let expected: Vec<u64> = (0..5).rev().filter(|number| is_shown[*number as usize]).collect();
        prop_assert_eq!(newest(store, STREAM).await, expected);
        Ok(())
    });
}
