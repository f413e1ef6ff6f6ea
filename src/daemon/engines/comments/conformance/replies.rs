//! Promises about replies.

use std::sync::Arc;

use super::{STREAM, WriteRows as _, comment, comment_id, numbers, tombstone};
use crate::daemon::engines::comments::{
    ArchivedComment, CommentKey, CommentStore, MAX_COUNTED_REPLIES, Tombstone,
};
use crate::protocol::events::HiddenFrom;
use crate::protocol::{Comment, CommentId, StreamId, UserId};

fn reply(stream_id: StreamId, number: u64, parent: Option<u64>) -> ArchivedComment {
    let archived = comment(stream_id, number);
    let parent_id = parent.map(comment_id);
    let comment = Comment { parent_id, ..(*archived.comment).clone() };
    ArchivedComment { comment: Arc::new(comment), ..archived }
}

fn parent(comment_id: CommentId) -> CommentKey {
    CommentKey { stream_id: STREAM, comment_id }
}

/// Returns the numbers of the replies to a comment, of which the store counts as many.
async fn listed(store: &impl CommentStore, reader: Option<u64>, to: CommentId) -> Vec<u64> {
    let reader = reader.map(UserId);
    let listed = numbers(&store.replies(reader, parent(to), None, 1000).await.unwrap());
    assert_eq!(store.reply_count(reader, parent(to)).await.unwrap(), listed.len());
    listed
}

pub(crate) async fn replies_are_listed_newest_first(store: &impl CommentStore) {
    assert!(listed(store, None, comment_id(1)).await.is_empty());
    let mut comments: Vec<_> = (1..8).map(|number| reply(STREAM, number, None)).collect();
    for number in [2, 4, 5, 6] {
        comments[number as usize - 1] = reply(STREAM, number, Some(1));
    }
    comments[2] = reply(STREAM, 3, Some(2));
    // The parent of a reply need not be there, and may be named in another stream.
    comments[6] = reply(STREAM, 7, Some(90));
    comments[4].shadow = true;
    comments.push(reply(StreamId(8), 9, Some(1)));
    store.write_rows(&comments, &[]).await.unwrap();
    store.write_rows(&comments, &[]).await.unwrap();
    assert_eq!(listed(store, None, comment_id(1)).await, [6, 4, 2]);
    let author = comment(STREAM, 5).comment.user_id.0;
    assert_eq!(listed(store, Some(author), comment_id(1)).await, [6, 5, 4, 2]);
    assert_eq!(listed(store, None, comment_id(2)).await, [3]);
    assert_eq!(listed(store, None, comment_id(90)).await, [7]);
    let page = store.page(STREAM, None, 10).await.unwrap();
    let parents: Vec<_> = page.iter().map(|comment| comment.parent_id).collect();
    let expected = [Some(90), Some(1), Some(1), Some(2), Some(1), None];
    assert_eq!(parents, expected.map(|parent| parent.map(comment_id)));
    let found = store.get(comment_id(6)).await.unwrap().expect("kept");
    assert_eq!(found.comment.parent_id, Some(comment_id(1)));
    let hidden = Tombstone { hidden_from: HiddenFrom::Others, ..tombstone(STREAM, 4) };
    store.write_rows(&[], &[tombstone(STREAM, 6), hidden]).await.unwrap();
    assert_eq!(listed(store, None, comment_id(1)).await, [2]);
    let author = comment(STREAM, 4).comment.user_id.0;
    assert_eq!(listed(store, Some(author), comment_id(1)).await, [4, 2]);
}

/// Returns the numbers of the replies to comment 1, read in pages.
async fn paged(store: &impl CommentStore, limit: usize) -> Vec<u64> {
    let mut all = Vec::new();
    let mut before = None;
    loop {
        let page = store.replies(None, parent(comment_id(1)), before, limit).await.unwrap();
        let Some(last) = page.last() else { return all };
        before = Some(last.comment_id);
        all.extend(numbers(&page));
    }
}

pub(crate) async fn pages_of_replies_join(store: &impl CommentStore) {
    // Among other comments, in the order of the log, and not of the ids.
    let mut comments: Vec<_> = (1..60).map(|number| reply(STREAM, number, None)).collect();
    for number in (10..60).step_by(5) {
        comments[number as usize - 1] = reply(STREAM, number, Some(1));
    }
    comments[9].seq = 900;
    store.write_rows(&comments, &[tombstone(STREAM, 20)]).await.unwrap();
    let expected = [900, 55, 50, 45, 40, 35, 30, 25, 15];
    for limit in [1, 4, 1000] {
        assert_eq!(paged(store, limit).await, expected, "pages of {limit}");
    }
    let before = async |number, limit| {
        let before = Some(comment_id(number));
        numbers(&store.replies(None, parent(comment_id(1)), before, limit).await.unwrap())
    };
    assert_eq!(before(52, 2).await, [50, 45], "before a comment that is no reply");
    assert_eq!(before(20, 9).await, [15], "before a deleted one");
    assert_eq!(before(700, 2).await, [55, 50], "an unknown one stands for the one before it");
    assert!(before(1, 9).await.is_empty());
}

pub(crate) async fn hidden_replies_fill_no_page(store: &impl CommentStore) {
    let mut comments = vec![reply(STREAM, 1, None)];
    comments.extend((2..2_600).map(|number| reply(STREAM, number, Some(1))));
    for hidden in &mut comments[1_300..] {
        hidden.shadow = true;
    }
    store.write_rows(&comments, &[]).await.unwrap();
    let tombstones: Vec<_> = (100..1_301).map(|number| tombstone(STREAM, number)).collect();
    store.write_rows(&[], &tombstones).await.unwrap();
    let expected: Vec<u64> = (2..100).rev().collect();
    assert_eq!(listed(store, None, comment_id(1)).await, expected);
    let first = store.replies(None, parent(comment_id(1)), None, 2).await.unwrap();
    assert_eq!(numbers(&first), [99, 98]);
}

pub(crate) async fn the_number_of_replies_is_bounded(store: &impl CommentStore) {
    let last = MAX_COUNTED_REPLIES as u64 + 10;
    let comments: Vec<_> = (2..=last).map(|number| reply(STREAM, number, Some(1))).collect();
    store.write_rows(&comments, &[]).await.unwrap();
    let count = store.reply_count(None, parent(comment_id(1))).await.unwrap();
    assert_eq!(count, MAX_COUNTED_REPLIES);
    assert_eq!(paged(store, 400).await.len(), comments.len(), "pages go on");
}
