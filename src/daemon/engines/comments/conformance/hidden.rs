//! Promises about comments that are hidden from others than their authors.

use super::{
    EPOCH, STREAM, WriteRows as _, comment, comment_id, kept, newest, numbers, range, tombstone,
};
use crate::daemon::engines::comments::{
    ArchiveBatch, ArchivedDeletion, ArchivedRestoration, CommentStore, Tombstone,
};
use crate::protocol::events::HiddenFrom;
use crate::protocol::{Seq, StreamId, UserId};

/// The author of a comment of the suite.
fn author(number: u64) -> UserId {
    comment(STREAM, number).comment.user_id
}

async fn newest_for(store: &impl CommentStore, reader: UserId, limit: usize) -> Vec<u64> {
    numbers(&store.page_for(reader, STREAM, None, limit).await.unwrap())
}

pub(crate) async fn shadowed_comments_are_on_their_authors_pages(store: &impl CommentStore) {
    let mut comments = range(0..3);
    comments[1].shadow = true;
    assert_eq!(store.hidden_authors(STREAM).await.unwrap(), []);
    store.write_rows(&comments, &[]).await.unwrap();
    store.write_rows(&comments, &[]).await.unwrap();
    assert_eq!(newest(store, STREAM).await, [2, 0]);
    assert_eq!(newest_for(store, author(1), 10).await, [2, 1, 0]);
    assert_eq!(newest_for(store, author(1), 2).await, [2, 1]);
    assert_eq!(newest_for(store, author(2), 10).await, [2, 0]);
    let before = store.page_for(author(1), STREAM, Some(comment_id(1)), 10).await.unwrap();
    assert_eq!(numbers(&before), [0]);
    assert_eq!(store.hidden_authors(STREAM).await.unwrap(), [author(1)]);
    assert_eq!(store.hidden_authors(StreamId(8)).await.unwrap(), []);
    let shadowed = store.get(comment_id(1)).await.unwrap().expect("kept");
    assert!(shadowed.shadow && !shadowed.deleted && !shadowed.only_hidden);
    assert_eq!(kept(store, 0..5).await, 3);
}

/// A comment that is hidden from others after it was shown. Marks may come before it.
pub(crate) async fn hidden_comments_are_on_their_authors_pages(store: &impl CommentStore) {
    let hidden =
        |number| Tombstone { hidden_from: HiddenFrom::Others, ..tombstone(STREAM, number) };
    let at = |tombstone, seq| ArchivedDeletion { tombstone, seq, author: author(1) };
    let write = async |deletions: Vec<ArchivedDeletion>, restored: Option<Seq>| {
        let restored = restored.map(|seq| ArchivedRestoration {
            stream_id: STREAM,
            comment_id: comment_id(1),
            seq,
        });
        let restorations = restored.into_iter().collect();
        let batch = ArchiveBatch { deletions, restorations, ..ArchiveBatch::new(EPOCH) };
        store.write(&batch).await.unwrap();
    };
    let listed = async || {
        let listed = store.tombstones_since(0, 10).await.unwrap();
        listed.iter().map(|tombstone| tombstone.hidden_from).collect::<Vec<_>>()
    };
    write(vec![at(hidden(1), 10)], None).await;
    store.write_rows(&range(0..3), &[]).await.unwrap();
    assert_eq!(newest(store, STREAM).await, [2, 0]);
    assert_eq!(newest_for(store, author(1), 10).await, [2, 1, 0]);
    assert_eq!(newest_for(store, author(0), 10).await, [2, 0]);
    assert_eq!(store.hidden_authors(STREAM).await.unwrap(), [author(1)]);
    assert_eq!(listed().await, [HiddenFrom::Others]);
    write(Vec::new(), Some(11)).await;
    assert_eq!(newest(store, STREAM).await, [2, 1, 0], "restored for all");
    assert_eq!(listed().await, []);
    write(vec![at(tombstone(STREAM, 1), 12), at(hidden(1), 13)], None).await;
    assert_eq!(newest_for(store, author(1), 10).await, [2, 0], "deleted for everybody");
    assert_eq!(listed().await, [HiddenFrom::Everybody]);
    assert!(store.get(comment_id(1)).await.unwrap().expect("kept").deleted);
}
