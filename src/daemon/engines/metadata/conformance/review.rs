//! Promises about the review queue and the audit log.

use serde_json::json;

use super::{actions, audit, no_event};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{MetadataStore, NewAudit};
use crate::protocol::admin::ReviewItem;
use crate::protocol::events::Decision;
use crate::protocol::{CommentId, StreamId, UserId};

pub(super) fn item(number: u64, flagged_at: u64) -> ReviewItem {
    ReviewItem {
        comment_id: CommentId::from_unix_ticks(number * 1000, 5, [2, 0, 0, 0, 0, 1]),
        stream_id: StreamId(7),
        user_id: UserId(number + 1),
        name: "ann".to_owned(),
        message: format!("comment {number}"),
        reason: "link".to_owned(),
        flagged_at,
        held: number.is_multiple_of(2),
    }
}

pub(crate) async fn review_items_are_queued_once_oldest_first(store: &impl MetadataStore) {
    assert_eq!(store.review_count().await.unwrap(), 0);
    for item in [item(3, 30), item(1, 10), item(2, 20), item(1, 40)] {
        store.queue_review(item).await.unwrap();
    }
    assert_eq!(store.review_count().await.unwrap(), 3);
    assert_eq!(store.review_queue(10).await.unwrap(), [item(1, 10), item(2, 20), item(3, 30)]);
    assert_eq!(store.review_queue(2).await.unwrap(), [item(1, 10), item(2, 20)]);
}

pub(crate) async fn a_decided_item_never_returns(store: &impl MetadataStore) {
    store.queue_review(item(1, 10)).await.unwrap();
    store.queue_review(item(2, 20)).await.unwrap();
    let first = item(1, 10).comment_id;
    let (audit_id, decided) =
        store.decide_review(first, Decision::Reject, &no_event, audit(50, "reject")).await.unwrap();
    assert_eq!(decided, item(1, 10));
    let log = store.audit_log(10).await.unwrap();
    assert_eq!((log[0].audit_id, log[0].action.as_str()), (audit_id, "reject"));
    let again = store.decide_review(first, Decision::Accept, &no_event, audit(60, "approve")).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
    store.queue_review(item(1, 10)).await.unwrap();
    assert_eq!(store.review_queue(10).await.unwrap(), [item(2, 20)], "decided stays decided");
    assert_eq!(store.review_count().await.unwrap(), 1);
    assert_eq!(actions(store).await, ["reject"], "no entry without a change");
}

pub(crate) async fn audit_entries_are_listed_newest_first(store: &impl MetadataStore) {
    let entry = NewAudit {
        at: 123,
        actor: "root (uid 0)".to_owned(),
        action: "announce",
        target: "stream 7".to_owned(),
        detail: json!({ "message": "l'été \u{1F3C6}", "nested": [1, null, 0.5] }),
    };
    let first = store.audit(entry.clone()).await.unwrap();
    let second = store.audit(audit(200, "kick")).await.unwrap();
    assert!(second > first);
    let log = store.audit_log(10).await.unwrap();
    assert_eq!(log.iter().map(|entry| entry.audit_id).collect::<Vec<_>>(), [second, first]);
    assert_eq!((log[1].at, &log[1].actor, &log[1].target), (123, &entry.actor, &entry.target));
    assert_eq!((log[1].action.as_str(), &log[1].detail), ("announce", &entry.detail));
    assert_eq!(store.audit_log(1).await.unwrap(), log[..1]);
}
