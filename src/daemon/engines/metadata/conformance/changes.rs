//! Promises about changes, their audit entries and their events: all or nothing.

use super::{actions, audit, event, grants, review, sanctions, views};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{
    MetadataStore, NewVerdict, PendingEvent, ReviewChange, ReviewError,
};
use crate::protocol::admin::{ReviewItem, SanctionKind};
use crate::protocol::events::Decision;
use crate::protocol::room::{RoomPatch, RoomTerm, TermAction, TermsPatch};
use crate::protocol::stream::{NewStream, StreamPatch};
use crate::protocol::throttle::{FixedRate, SampleRate};
use crate::protocol::{Role, StreamId, UserId};

/// The decision has no event.
pub(crate) fn no_event(_: &ReviewItem) -> Option<PendingEvent> {
    None
}

fn event_of(item: &ReviewItem) -> Option<PendingEvent> {
    Some(PendingEvent { stream_id: item.stream_id, payload: item.message.clone().into_bytes() })
}

pub(crate) async fn pending_events_are_claimed_until_published(store: &impl MetadataStore) {
    assert_eq!(store.claim_events(1_000, 0, 10).await.unwrap(), []);
    let first = store.audit_with_event(event(1), None, audit(100, "delete")).await.unwrap();
    let second = store.audit_with_event(event(2), None, audit(200, "delete")).await.unwrap();
    let item = review::item(3, 10);
    review::queue(store, item.clone()).await;
    let entry = audit(300, "reject");
    let decided = store
        .decide_review(NewVerdict::new(item.comment_id, Decision::Reject), &event_of, entry)
        .await;
    let third = (decided.unwrap().0, event_of(&item).unwrap());
    assert_eq!(actions(store).await, ["reject", "delete", "delete"]);
    let claimed = async |now_ms, limit| store.claim_events(now_ms, 50, limit).await.unwrap();
    assert_eq!(claimed(149, 10).await, [], "its creator publishes it");
    assert_eq!(claimed(250, 10).await, [(first, event(1)), (second, event(2))]);
    assert_eq!(claimed(299, 10).await, [], "somebody else tries");
    assert!(store.is_event_pending(first).await.unwrap());
    store.event_published(first).await.unwrap();
    store.event_published(first).await.unwrap();
    assert!(!store.is_event_pending(first).await.unwrap());
    assert!(store.is_event_pending(second).await.unwrap());
    assert_eq!(claimed(900, 1).await, [(second, event(2))]);
    assert_eq!(claimed(900, 10).await, [third], "the other was claimed just now");
    store.event_published(second).await.unwrap();
    assert_eq!(claimed(2_000, 10).await.len(), 1);
}

pub(crate) async fn audit_entries_are_found_by_number_and_target(store: &impl MetadataStore) {
    let first = store.audit(audit(100, "ban")).await.unwrap();
    let of_stream = audit(200, "throttle").of_stream(StreamId(7));
    let other = store.audit(of_stream).await.unwrap();
    let last = store.audit(audit(300, "unban")).await.unwrap();
    let found = store.audit_entry(other).await.unwrap().unwrap();
    assert_eq!((found.target.as_str(), found.at), ("stream 7", 200));
    assert_eq!(store.audit_entry(last + 1_000).await.unwrap(), None);
    let about = async |limit| {
        let entries = store.audit_about("user 42", limit).await.unwrap();
        entries.into_iter().map(|entry| entry.audit_id).collect::<Vec<_>>()
    };
    assert_eq!(about(10).await, [last, first]);
    assert_eq!(about(1).await, [last]);
    assert_eq!(store.audit_about("user 4", 10).await.unwrap(), []);
}

/// Makes what [`assert_changes_fail`] tries to change, and returns the contents of the store.
pub(crate) async fn prepare_changes(store: &impl MetadataStore) -> String {
    store.create_stream(NewStream::default(), audit(1, "create_stream")).await.unwrap();
    let word = RoomTerm { term: "word".to_owned(), action: TermAction::Reject };
    let terms = TermsPatch { add: vec![word], remove: Vec::new() };
    store.change_terms(StreamId(1), &terms, audit(1, "room_terms")).await.unwrap();
    let ban = sanctions::sanction(1, SanctionKind::Ban, 2, None);
    store.sanction(ban, audit(2, "ban")).await.unwrap();
    let moderator = grants::grant(1, 7, Role::Moderator, 2);
    store.put_grant(&moderator, audit(2, "grant")).await.unwrap();
    review::queue(store, review::item(1, 10)).await;
    review::queue(store, review::item(3, 10)).await;
    let decided = review::item(3, 10).comment_id;
    let entry = audit(3, "reject");
    store
        .decide_review(NewVerdict::new(decided, Decision::Reject), &no_event, entry)
        .await
        .unwrap();
    let view = views::saved_view("final", "", 3);
    store.save_view(view, audit(3, "save_view")).await.unwrap();
    contents(store).await
}

/// Returns everything that a change by an operator can change.
pub(crate) async fn contents(store: &impl MetadataStore) -> String {
    let streams = store.streams().await.unwrap();
    let ids: Vec<_> = streams.iter().map(|stream| stream.stream_id).collect();
    let terms = store.room_terms(&ids).await.unwrap();
    let versions = store.terms_versions().await.unwrap();
    let overrides = store.throttle_overrides().await.unwrap();
    let sanctions = store.sanctions(5).await.unwrap();
    let grants = store.grants().await.unwrap();
    let reviews = store.review_queue(10).await.unwrap();
    let views = store.saved_views().await.unwrap();
    let audit = store.audit_log(100).await.unwrap();
    let events = store.claim_events(u64::MAX >> 2, 0, 10).await.unwrap();
    format!(
        "{streams:?}\n{terms:?}\n{versions:?}\n{overrides:?}\n{sanctions:?}\n{grants:?}\n{reviews:?}\n{views:?}\n{audit:?}\n{events:?}"
    )
}

/// Tries every change while audit entries cannot be stored.
pub(crate) async fn assert_changes_fail(store: &impl MetadataStore) {
    let stream = StreamId(1);
    refused(store.create_stream(NewStream::default(), audit(5, "create_stream")).await);
    let patch = StreamPatch { title: Some("new".to_owned()), ..StreamPatch::default() };
    refused(store.update_stream(stream, patch, audit(5, "update_stream")).await);
    let slow = RoomPatch { slow_ms: Some(Some(30_000)), ..RoomPatch::default() };
    refused(store.update_room(stream, slow, audit(5, "room")).await);
    let terms = TermsPatch { remove: vec!["word".to_owned()], ..TermsPatch::default() };
    refused(store.change_terms(stream, &terms, audit(5, "room_terms")).await);
    let half = SampleRate::from_share(0.5).map(FixedRate::from);
    refused(store.set_throttle_override(stream, half, audit(5, "throttle")).await);
    let role = Role::Broadcaster;
    refused(store.put_grant(&grants::grant(1, 7, role, 5), audit(5, "grant")).await);
    refused(store.revoke_grant(UserId(1), StreamId(7), audit(5, "revoke")).await);
    let timeout = sanctions::sanction(2, SanctionKind::Timeout, 3, Some(100));
    refused(store.sanction(timeout, audit(5, "timeout")).await);
    refused(store.lift(UserId(1), &[SanctionKind::Ban], &[None], audit(5, "unban")).await);
    let comment_id = review::item(1, 10).comment_id;
    let entry = audit(5, "reject");
    refused(stored(
        store.decide_review(NewVerdict::new(comment_id, Decision::Reject), &no_event, entry).await,
    ));
    let view = views::saved_view("final", "late>1%", 5);
    refused(store.save_view(view, audit(5, "save_view")).await);
    refused(store.forget_view("final", audit(5, "forget_view")).await);
    assert_changes_with_events_fail(store).await;
    refused(store.audit(audit(5, "kick")).await);
}

/// Tries every change that has an event while events, or audit entries, cannot be stored.
pub(crate) async fn assert_changes_with_events_fail(store: &impl MetadataStore) {
    let comment_id = review::item(1, 10).comment_id;
    let withdrawn = Some(ReviewChange::Withdraw(comment_id));
    refused(store.audit_with_event(event(1), withdrawn, audit(5, "delete")).await);
    let entry = audit(5, "approve");
    refused(stored(
        store.decide_review(NewVerdict::new(comment_id, Decision::Accept), &event_of, entry).await,
    ));
    let decided = review::item(3, 10).comment_id;
    refused(stored(store.reopen_review(decided, Some(event(1)), audit(5, "undo")).await));
}

/// Returns the outcome of a decision that nobody refuses.
fn stored<T>(outcome: Result<T, ReviewError>) -> Result<T, StoreError> {
    outcome.map_err(|error| match error {
        ReviewError::Store(error) => error,
        ReviewError::Refused(refusal) => panic!("{refusal}"),
    })
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    let error = outcome.expect_err("a refusal");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}
