//! Promises about the review queue of one stream, and about counts of held comments.

use super::review::{item, queue};
use super::{audit, no_event};
use crate::daemon::engines::metadata::{HeldScope, MetadataStore, NewVerdict};
use crate::protocol::admin::ReviewItem;
use crate::protocol::events::Decision;
use crate::protocol::{CommentId, StreamId, UserId};

pub(crate) async fn the_queue_of_a_stream_is_read_by_itself(store: &impl MetadataStore) {
    let of = |stream, number, flagged_at| ReviewItem {
        stream_id: StreamId(stream),
        ..item(number, flagged_at)
    };
    // A raid on another stream came first.
    for number in 10..30 {
        store.queue_review(of(1, number, number), -7).await.unwrap();
    }
    for (number, flagged_at) in [(3, 90), (1, 100), (2, 80)] {
        queue(store, of(2, number, flagged_at)).await;
    }
    let all = [of(2, 2, 80), of(2, 3, 90), of(2, 1, 100)];
    assert_eq!(store.review_queue_of(StreamId(2), 10).await.unwrap(), all);
    assert_eq!(store.review_queue_of(StreamId(2), 2).await.unwrap(), all[..2]);
    assert_eq!(store.review_queue_of(StreamId(3), 10).await.unwrap(), []);
    let raid = store.review_queue_of(StreamId(1), 100).await.unwrap();
    assert_eq!((raid.len(), raid[0].alike), (20, 19));
    let verdict = NewVerdict::new(all[0].comment_id, Decision::Reject);
    store.decide_review(verdict, &no_event, audit(200, "reject")).await.unwrap();
    assert_eq!(store.review_queue_of(StreamId(2), 10).await.unwrap(), all[1..]);
}

pub(crate) async fn held_items_are_counted_in_a_scope(store: &impl MetadataStore) {
    let written_at = |ms| CommentId::from_unix_ticks(ms * 10_000, 5, [2, 0, 0, 0, 0, 1]);
    for (stream, user, ms, held) in [
        (1, 7, 100, true),
        (1, 7, 200, true),
        (1, 8, 300, true),
        (2, 7, 400, true),
        (1, 7, 500, false),
    ] {
        let comment_id = written_at(ms);
        let of =
            ReviewItem { stream_id: StreamId(stream), user_id: UserId(user), held, ..item(1, ms) };
        queue(store, ReviewItem { comment_id, ..of }).await;
    }
    let count = async |stream: Option<u64>, user: Option<u64>, since_ms| {
        let stream_id = stream.map(StreamId);
        let scope = HeldScope { user_id: user.map(UserId), stream_id, since_ms };
        store.held_count(scope).await.unwrap()
    };
    assert_eq!(count(None, None, 0).await, 4);
    assert_eq!(count(Some(1), None, 0).await, 3);
    assert_eq!(count(None, Some(7), 0).await, 3);
    assert_eq!(count(Some(1), Some(7), 0).await, 2);
    assert_eq!(count(Some(1), Some(7), 200).await, 1, "the time itself is included");
    assert_eq!(count(None, None, 401).await, 0);
    assert_eq!(count(None, None, u64::MAX).await, 0);
    let verdict = NewVerdict::new(written_at(400), Decision::Reject);
    store.decide_review(verdict, &no_event, audit(600, "reject")).await.unwrap();
    assert_eq!(count(None, Some(7), 0).await, 2);
}
