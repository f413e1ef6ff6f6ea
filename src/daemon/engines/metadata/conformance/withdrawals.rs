//! Promises about comments that are deleted while they wait for review, or before.

use super::review::{batch, item, queue, refusal};
use super::{actions, audit, event, no_event};
use crate::daemon::engines::metadata::{
    MetadataStore, NewClaim, NewVerdict, ReviewChange, ReviewRefusal,
};
use crate::protocol::events::Decision;

pub(crate) async fn a_deletion_withdraws_what_waits(store: &impl MetadataStore) {
    for number in 1..=3 {
        queue(store, item(number, number * 10)).await;
    }
    let id = |number| item(number, 0).comment_id;
    let claim = NewClaim { comment_id: id(1), by: "bob", now_ms: 30, expires_at: Some(1_000) };
    store.claim_review(claim).await.unwrap();
    let record = async |change, at, action| {
        store.audit_with_event(event(1), Some(change), audit(at, action)).await.unwrap();
    };
    // The second is held, and the last was never queued.
    for number in [1, 2, 9] {
        record(ReviewChange::Withdraw(id(number)), 40, "delete").await;
    }
    assert_eq!(store.review_queue(10).await.unwrap(), [item(2, 20), item(3, 30)]);
    assert_eq!(store.decided_reviews(None, 10).await.unwrap(), [], "it is no decision to list");
    let late = NewVerdict::new(id(1), Decision::Accept);
    let late = store.decide_review(late, &no_event, audit(50, "approve")).await;
    assert!(matches!(refusal(late), ReviewRefusal::Decided(_)));
    let decided = NewVerdict::new(id(3), Decision::Reject);
    store.decide_review(decided, &no_event, audit(60, "reject")).await.unwrap();
    for number in [1, 2, 3, 9] {
        record(ReviewChange::PutBack(id(number)), 70, "restore").await;
    }
    assert_eq!(store.review_queue(10).await.unwrap(), [item(1, 10), item(2, 20)]);
    record(ReviewChange::Withdraw(id(1)), 80, "delete").await;
    assert_eq!(store.review_count().await.unwrap(), 1);
    assert_eq!(actions(store).await.len(), 9, "each entry is stored");
}

/// Moderation may be behind the moderator who deletes.
pub(crate) async fn a_deletion_before_the_flag_counts(store: &impl MetadataStore) {
    let id = |number| item(number, 0).comment_id;
    let record = async |change, at, action| {
        store.audit_with_event(event(1), Some(change), audit(at, action)).await.unwrap();
    };
    for number in [1, 3, 5] {
        record(ReviewChange::Withdraw(id(number)), 10, "delete").await;
    }
    record(ReviewChange::Withdraw(id(1)), 20, "delete").await;
    assert_eq!(store.review_count().await.unwrap(), 0);
    assert_eq!(store.decided_review(id(1)).await.unwrap(), None);
    let claim = NewClaim { comment_id: id(1), by: "bob", now_ms: 20, expires_at: Some(90) };
    assert_eq!(refusal(store.claim_review(claim).await), ReviewRefusal::NotQueued);
    let reopened = store.reopen_review(id(1), None, audit(20, "undo")).await;
    assert_eq!(refusal(reopened), ReviewRefusal::NotQueued);
    record(ReviewChange::PutBack(id(5)), 25, "restore").await;

    // A batch may have a comment twice, and be repeated.
    let flagged = batch((1..=5).flat_map(|number| [item(number, 30), item(number, 31)]));
    for _ in 0..2 {
        store.queue_reviews(&flagged).await.unwrap();
    }
    let waiting = [item(2, 30), item(4, 30), item(5, 30)];
    assert_eq!(store.review_queue(10).await.unwrap(), waiting, "the other two are deleted");
    assert_eq!(store.review_count().await.unwrap(), 3);
    assert_eq!(store.decided_reviews(None, 10).await.unwrap(), [], "it is no decision to list");
    let late = NewVerdict::new(id(1), Decision::Accept);
    let late = store.decide_review(late, &no_event, audit(40, "approve")).await;
    let ReviewRefusal::Decided(verdict) = refusal(late) else { panic!("it is deleted") };
    assert_eq!((verdict.decision, verdict.at), (Decision::Reject, 10));
    record(ReviewChange::PutBack(id(3)), 50, "restore").await;
    let queue = store.review_queue(10).await.unwrap();
    assert_eq!(queue, [item(2, 30), item(3, 30), item(4, 30), item(5, 30)], "with its flag");
}
