//! Promises about the points of users.

use super::{audit, no_event, review};
use crate::daemon::engines::metadata::{
    AuditPoints, KnownUser, MetadataStore, NewVerdict, PointCause, UserPointChange, UserRecord,
};
use crate::policy::reputation::{KEPT_HALF_LIVES, PointAmount, Reputation, text_key};
use crate::protocol::events::Decision;
use crate::protocol::{CommentId, UserId};

const HALF_LIFE_MS: u64 = 1_000;

fn comment_id(number: u16) -> CommentId {
    CommentId::from_unix_ticks(17_000_000_000_000_000, number, [1; 6])
}

fn removed(user_id: u64, number: u16, points: f64, at: u64) -> UserPointChange {
    let text = text_key(&format!("a removed text {number}"));
    UserPointChange::of_comment(UserId(user_id), comment_id(number), points, text, at)
}

fn points(user_id: u64, cause: PointCause, amount: PointAmount) -> AuditPoints {
    let user_id = Some(UserId(user_id));
    AuditPoints { user_id, cause, amount, text: None, half_life_ms: HALF_LIFE_MS }
}

async fn count(store: &impl MetadataStore, changes: &[UserPointChange]) {
    store.count_points(changes, HALF_LIFE_MS).await.unwrap();
}

async fn reputation(store: &impl MetadataStore, user_id: u64) -> Reputation {
    let known = store.known_users(&[UserId(user_id)]).await.unwrap();
    known.into_iter().next().map(|known| known.reputation).unwrap_or_default()
}

async fn points_at(store: &impl MetadataStore, user_id: u64, now_ms: u64) -> f64 {
    let points = reputation(store, user_id).await.points_at(now_ms, HALF_LIFE_MS);
    (points * 1e6).round() / 1e6
}

pub(crate) async fn points_of_a_cause_count_once(store: &impl MetadataStore) {
    count(store, &[]).await;
    let batch = [
        removed(1, 1, 1.0, 100),
        removed(2, 2, 1.0, 100),
        removed(1, 3, 1.5, 100),
        removed(1, 1, 1.0, 100),
    ];
    count(store, &batch).await;
    assert_eq!((points_at(store, 1, 100).await, points_at(store, 2, 100).await), (2.5, 1.0));
    count(store, &batch).await;
    assert_eq!((points_at(store, 1, 100).await, points_at(store, 2, 100).await), (2.5, 1.0));
    let one = reputation(store, 1).await;
    assert_eq!((one.since, one.at), (Some(100), 100));
    assert!(one.repeats("A removed text, 3") && !one.repeats("a removed text 2"));
}

pub(crate) async fn points_decay_and_are_taken_back(store: &impl MetadataStore) {
    count(store, &[removed(1, 1, 4.0, 100), removed(1, 2, 2.0, 1_100)]).await;
    assert_eq!(points_at(store, 1, 1_100).await, 4.0);
    let restored = points(1, PointCause::Comment(comment_id(1)), PointAmount::Exactly(0.0));
    store.audit(audit(2_100, "restore").with_points(restored)).await.unwrap();
    assert_eq!(points_at(store, 1, 2_100).await, 1.0);
    count(store, &[removed(1, 1, 4.0, 2_100)]).await;
    assert_eq!(points_at(store, 1, 2_100).await, 1.0, "it is read again, and counts no more");
    assert!(!reputation(store, 1).await.repeats("a removed text 1"));
    let long_after = 2_101 + KEPT_HALF_LIVES * HALF_LIFE_MS;
    count(store, &[removed(2, 9, 1.0, long_after)]).await;
    assert_eq!(reputation(store, 1).await, Reputation::default(), "swept away");
}

pub(crate) async fn an_entry_changes_points_with_it(store: &impl MetadataStore) {
    let banned = points(1, PointCause::ThisEntry, PointAmount::Exactly(6.0));
    let ban = store.audit(audit(100, "ban").with_points(banned)).await.unwrap();
    assert_eq!(points_at(store, 1, 100).await, 6.0);
    let forgiven = points(1, PointCause::ThisEntry, PointAmount::Forgiven);
    let forgive = store.audit(audit(100, "forgive").with_points(forgiven)).await.unwrap();
    assert_eq!(points_at(store, 1, 100).await, 0.0);
    let undo = |entry| points(1, PointCause::Entry(entry), PointAmount::Exactly(0.0));
    store.audit(audit(1_100, "undo").with_points(undo(forgive))).await.unwrap();
    assert_eq!(points_at(store, 1, 1_100).await, 3.0);
    store.audit(audit(1_100, "undo").with_points(undo(ban))).await.unwrap();
    assert_eq!(points_at(store, 1, 1_100).await, 0.0);
}

pub(crate) async fn a_decision_costs_the_author_points(store: &impl MetadataStore) {
    let item = review::item(1, 10);
    review::queue(store, item.clone()).await;
    let cause = PointCause::Comment(item.comment_id);
    let amount = PointAmount::Exactly(1.0);
    let of_author = AuditPoints { user_id: None, ..points(1, cause, amount) };
    let entry = audit(100, "reject").with_points(of_author);
    store
        .decide_review(NewVerdict::new(item.comment_id, Decision::Reject), &no_event, entry)
        .await
        .unwrap();
    assert_eq!(points_at(store, item.user_id.0, 100).await, 1.0);
}

pub(crate) async fn known_users_have_points_and_age(store: &impl MetadataStore) {
    assert_eq!(store.known_users(&[]).await.unwrap(), []);
    let seen = |seen_at, account_created| UserRecord {
        user_id: UserId(1),
        name: "ann".into(),
        seen_at,
        account_created,
    };
    store.remember_users(&[seen(10, Some(5))]).await.unwrap();
    store.remember_users(&[seen(20, None)]).await.unwrap();
    assert_eq!(store.user(UserId(1)).await.unwrap(), Some(seen(20, Some(5))), "still known");
    count(store, &[removed(2, 1, 1.0, 100)]).await;
    let users: Vec<_> = (1..=1_000).map(UserId).collect();
    let mut known = store.known_users(&users).await.unwrap();
    known.sort_by_key(|known| known.user_id);
    let reputation = known[1].reputation.clone();
    assert_eq!(reputation.points, 1.0);
    let expected = [
        KnownUser {
            user_id: UserId(1),
            is_recorded: true,
            account_created: Some(5),
            reputation: Reputation::default(),
        },
        KnownUser { user_id: UserId(2), is_recorded: false, account_created: None, reputation },
    ];
    assert_eq!(known, expected);
}
