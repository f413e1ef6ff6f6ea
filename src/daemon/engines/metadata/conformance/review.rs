//! Promises about the review queue and the audit log.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::sanctions::sanction;
use super::{actions, audit, event, no_event};
use crate::daemon::engines::metadata::{
    HeldReviews, MAX_ALIKE, MetadataStore, NewAudit, NewClaim, NewReason, NewReview, NewVerdict,
    ReviewError, ReviewRefusal, ReviewVerdict,
};
use crate::protocol::admin::{
    EXPIRED, REOPENED, ReviewEvidence, ReviewItem, Sanction, SanctionKind, Shadow,
};
use crate::protocol::events::Decision;
use crate::protocol::room::UNCHECKED;
use crate::protocol::{Badge, Badges, CommentId, StreamId, UserId};

fn by_models() -> ReviewEvidence {
    ReviewEvidence {
        stage: Some("models".to_owned()),
        score: Some(0.61),
        scores: [("spam".to_owned(), 0.02), ("toxicity".to_owned(), 0.61)].into(),
        model: Some("3".to_owned()),
    }
}

fn subscribed() -> Badges {
    Badges::from_iter([Badge::Moderator, Badge::Subscriber])
}

fn parent() -> CommentId {
    CommentId::from_unix_ticks(1500, 5, [2, 0, 0, 0, 0, 1])
}

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
        shadowed: number == 3,
        badges: if number == 2 { subscribed() } else { Badges::default() },
        parent_id: (number == 2).then(parent),
        evidence: if number == 2 { by_models() } else { ReviewEvidence::default() },
        claimed_by: None,
        claim_expires_at: None,
        claimed_by_you: false,
        alike: 0,
    }
}

/// Queues an item with a text of its own.
pub(super) async fn queue(store: &impl MetadataStore, item: ReviewItem) {
    let text_key = item.user_id.0 as i64;
    store.queue_review(item, text_key).await.unwrap();
}

pub(super) fn refusal<T: std::fmt::Debug>(outcome: Result<T, ReviewError>) -> ReviewRefusal {
    match outcome.expect_err("a refusal") {
        ReviewError::Refused(refusal) => refusal,
        ReviewError::Store(error) => panic!("{error}"),
    }
}

fn audit_by(actor: &str, at: u64, action: &'static str) -> NewAudit {
    NewAudit { actor: actor.to_owned(), ..audit(at, action) }
}

pub(crate) async fn review_items_are_queued_once_oldest_first(store: &impl MetadataStore) {
    assert_eq!(store.review_count().await.unwrap(), 0);
    for item in [item(3, 30), item(1, 10), item(2, 20), item(1, 40)] {
        queue(store, item).await;
    }
    assert_eq!(store.review_count().await.unwrap(), 3);
    assert_eq!(store.review_queue(10).await.unwrap(), [item(1, 10), item(2, 20), item(3, 30)]);
    assert_eq!(store.review_queue(2).await.unwrap(), [item(1, 10), item(2, 20)]);
}

pub(super) fn batch(items: impl IntoIterator<Item = ReviewItem>) -> Vec<NewReview> {
    let new = |item: ReviewItem| NewReview { text_key: item.user_id.0 as i64, item };
    items.into_iter().map(new).collect()
}

pub(crate) async fn reviews_are_queued_in_batches(store: &impl MetadataStore) {
    store.queue_reviews(&[]).await.unwrap();
    assert_eq!(store.review_count().await.unwrap(), 0);
    queue(store, item(2, 20)).await;
    let decided = NewVerdict::new(item(2, 20).comment_id, Decision::Accept);
    store.decide_review(decided, &no_event, audit(50, "approve")).await.unwrap();
    // More than one statement of an engine has, with one that is decided, and one that comes twice.
    let mut items: Vec<_> = (0..300).map(|number| item(number, 1_000 + number)).collect();
    items.reverse();
    items.push(item(7, 1));
    store.queue_reviews(&batch(items)).await.unwrap();
    let expected: Vec<_> = (0..300).filter(|number| *number != 2).collect();
    let expected: Vec<_> = expected.iter().map(|number| item(*number, 1_000 + number)).collect();
    assert_eq!(store.review_queue(1_000).await.unwrap(), expected);
    let held = store.held_reviews(HeldReviews::WaitingSince(1_006), 9).await.unwrap();
    assert_eq!(held, [item(0, 1_000), item(4, 1_004)]);
    let again = [item(7, 5), item(2, 5), item(500, 5_000)];
    store.queue_reviews(&batch(again)).await.unwrap();
    let queued = store.review_queue(1_000).await.unwrap();
    assert_eq!(queued[..299], expected, "what is stored stays as it is");
    assert_eq!(queued[299..], [item(500, 5_000)]);
}

/// The text of an item that a store under test is made to refuse.
pub(crate) const REFUSED: &str = "comment 170";

/// Queues a batch in which the store refuses an item.
pub(crate) async fn assert_a_refused_batch_stores_nothing(store: &impl MetadataStore) {
    let items = batch((0..200).map(|number| item(number, number)));
    assert!(store.queue_reviews(&items).await.is_err());
    assert_eq!(store.review_count().await.unwrap(), 0);
    store.queue_reviews(&items[..170]).await.unwrap();
    assert_eq!(store.review_count().await.unwrap(), 170);
}

pub(crate) async fn a_sanctioned_author_publishes_nothing(store: &impl MetadataStore) {
    use SanctionKind::{Ban, Timeout};
    let author = item(2, 20).user_id.0;
    let verdict = |as_author| NewVerdict {
        as_author,
        ..NewVerdict::new(item(2, 20).comment_id, Decision::Accept)
    };
    let publish = async |as_author, at| {
        store.decide_review(verdict(as_author), &|_| Some(event(1)), audit(at, "approve")).await
    };
    queue(store, item(2, 20)).await;
    for (kind, user_id, until) in [(Ban, author, None), (Timeout, author + 1, None)] {
        store.sanction(sanction(user_id, kind, 30, until), audit(30, "put")).await.unwrap();
    }
    assert_eq!(refusal(publish(true, 40).await), ReviewRefusal::AuthorSanctioned);
    assert_eq!(store.review_queue(9).await.unwrap(), [item(2, 20)], "nothing has changed");
    assert!(!store.has_pending_event(event(1).stream_id).await.unwrap());
    assert_eq!(actions(store).await, ["put", "put"]);
    publish(false, 50).await.unwrap();
    store.reopen_review(item(2, 20).comment_id, None, audit(60, "undo")).await.unwrap();
    store.lift(UserId(author), &[Ban], &[None], audit(70, "lift")).await.unwrap();
    let timeout = sanction(author, Timeout, 70, Some(100));
    store.sanction(timeout, audit(70, "put")).await.unwrap();
    assert_eq!(refusal(publish(true, 99).await), ReviewRefusal::AuthorSanctioned);
    publish(true, 100).await.unwrap();
    let on = |stream_id| Sanction { stream_id, ..sanction(author, Ban, 110, None) };
    let reopened = store.reopen_review(item(2, 20).comment_id, None, audit(110, "undo")).await;
    reopened.unwrap();
    let elsewhere = Some(StreamId(999));
    store.sanction(on(elsewhere), audit(110, "put")).await.unwrap();
    publish(true, 120).await.unwrap();
    let reopened = store.reopen_review(item(2, 20).comment_id, None, audit(130, "undo")).await;
    reopened.unwrap();
    store.sanction(on(Some(item(2, 20).stream_id)), audit(130, "put")).await.unwrap();
    assert_eq!(refusal(publish(true, 140).await), ReviewRefusal::AuthorSanctioned);
}

pub(crate) async fn a_shadowed_author_publishes_for_one(store: &impl MetadataStore) {
    let here = item(2, 20).stream_id;
    let elsewhere = StreamId(999);
    let shadow = |number: u64, stream_id, expires_at| Shadow {
        user_id: item(number, 0).user_id,
        stream_id,
        name: None,
        created_by: "ann".to_owned(),
        created_at: 10,
        expires_at,
    };
    let shadows = [
        shadow(2, Some(here), None),
        shadow(4, None, None),
        shadow(6, Some(elsewhere), None),
        shadow(8, Some(here), Some(50)),
    ];
    store.put_shadows(&shadows, audit(10, "shadow")).await.unwrap();
    for (number, is_shadowed) in [(2, true), (4, true), (6, false), (8, false), (10, false)] {
        queue(store, item(number, 20)).await;
        let verdict = |as_author| NewVerdict {
            as_author,
            ..NewVerdict::new(item(number, 20).comment_id, Decision::Accept)
        };
        let seen = AtomicBool::new(!is_shadowed);
        let look = |item: &ReviewItem| {
            seen.store(item.shadowed, Ordering::SeqCst);
            None
        };
        let decided = store.decide_review(verdict(true), &look, audit(50, "approve")).await;
        assert_eq!(decided.unwrap().1.shadowed, is_shadowed, "{number}");
        assert_eq!(seen.load(Ordering::SeqCst), is_shadowed, "{number}");
        store.reopen_review(item(number, 20).comment_id, None, audit(60, "undo")).await.unwrap();
        let decided = store.decide_review(verdict(false), &look, audit(70, "approve")).await;
        assert!(!decided.unwrap().1.shadowed, "it is not stored");
    }
}

pub(crate) async fn badges_of_an_author_are_kept(store: &impl MetadataStore) {
    queue(store, item(2, 20)).await;
    let held = store.held_reviews(HeldReviews::WaitingSince(30), 9).await.unwrap();
    assert_eq!(held[0].badges, subscribed());
    let verdict = NewVerdict::new(item(2, 20).comment_id, Decision::Accept);
    let entry = audit(50, "approve");
    let (_, decided) = store.decide_review(verdict, &no_event, entry).await.unwrap();
    assert_eq!(decided.badges, subscribed(), "the release shows them");
    assert_eq!((held[0].parent_id, decided.parent_id), (Some(parent()), Some(parent())));
}

pub(crate) async fn a_decided_item_never_returns(store: &impl MetadataStore) {
    queue(store, item(1, 10)).await;
    queue(store, item(2, 20)).await;
    let first = item(1, 10).comment_id;
    let (audit_id, decided) = store
        .decide_review(NewVerdict::new(first, Decision::Reject), &no_event, audit(50, "reject"))
        .await
        .unwrap();
    assert_eq!(decided, item(1, 10));
    let log = store.audit_log(10).await.unwrap();
    assert_eq!((log[0].audit_id, log[0].action.as_str()), (audit_id, "reject"));
    let again = store
        .decide_review(NewVerdict::new(first, Decision::Accept), &no_event, audit(60, "approve"))
        .await;
    let verdict =
        ReviewVerdict { decision: Decision::Reject, by: "ann".to_owned(), at: 50, reason: None };
    assert_eq!(refusal(again), ReviewRefusal::Decided(verdict));
    let unknown = item(3, 30).comment_id;
    let entry = audit(60, "approve");
    let unknown =
        store.decide_review(NewVerdict::new(unknown, Decision::Accept), &no_event, entry).await;
    assert_eq!(refusal(unknown), ReviewRefusal::NotQueued);
    queue(store, item(1, 10)).await;
    assert_eq!(store.review_queue(10).await.unwrap(), [item(2, 20)], "decided stays decided");
    assert_eq!(store.review_count().await.unwrap(), 1);
    assert_eq!(actions(store).await, ["reject"], "no entry without a change");
}

pub(crate) async fn a_claim_keeps_others_away_until_it_runs_out(store: &impl MetadataStore) {
    let comment_id = item(1, 10).comment_id;
    let claim = |by: &'static str, now_ms, expires_at| {
        store.claim_review(NewClaim { comment_id, by, now_ms, expires_at })
    };
    assert_eq!(refusal(claim("ann", 5, Some(65)).await), ReviewRefusal::NotQueued);
    queue(store, item(1, 10)).await;
    let by_ann = |expires_at| ReviewItem {
        claimed_by: Some("ann".to_owned()),
        claim_expires_at: Some(expires_at),
        ..item(1, 10)
    };
    assert_eq!(claim("ann", 10, Some(70)).await.unwrap(), by_ann(70));
    assert_eq!(claim("ann", 20, Some(80)).await.unwrap(), by_ann(80), "renewed");
    assert_eq!(store.review_queue(10).await.unwrap(), [by_ann(80)]);
    let claimed = ReviewRefusal::Claimed { by: "ann".to_owned(), expires_at: 80 };
    assert_eq!(refusal(claim("bob", 79, Some(139)).await), claimed);
    assert_eq!(refusal(claim("bob", 79, None).await), claimed, "only the holder ends a claim");
    let entry = audit_by("bob", 79, "reject");
    let decided =
        store.decide_review(NewVerdict::new(comment_id, Decision::Reject), &no_event, entry).await;
    assert_eq!(refusal(decided), claimed);
    assert_eq!(store.review_queue(10).await.unwrap(), [by_ann(80)], "nothing has changed");
    assert_eq!(actions(store).await, Vec::<String>::new());

    assert_eq!(claim("ann", 30, None).await.unwrap(), item(1, 10));
    claim("ann", 40, Some(100)).await.unwrap();
    let of_bob = claim("bob", 100, Some(160)).await.unwrap();
    assert_eq!(of_bob.claimed_by.as_deref(), Some("bob"), "a claim that ran out is nobody's");
    let entry = audit_by("bob", 110, "approve");
    store
        .decide_review(NewVerdict::new(comment_id, Decision::Accept), &no_event, entry)
        .await
        .unwrap();
    let by = "bob".to_owned();
    let verdict = ReviewVerdict { decision: Decision::Accept, by, at: 110, reason: None };
    assert_eq!(refusal(claim("ann", 120, Some(180)).await), ReviewRefusal::Decided(verdict));
}

pub(crate) async fn of_two_decisions_at_once_one_is_refused(store: &impl MetadataStore) {
    for number in 0..10 {
        queue(store, item(number, number)).await;
        let comment_id = item(number, number).comment_id;
        let decide = |actor, decision, action| {
            let entry = audit_by(actor, 50, action);
            store.decide_review(NewVerdict::new(comment_id, decision), &no_event, entry)
        };
        let (one, other) = tokio::join!(
            decide("ann", Decision::Reject, "reject"),
            decide("bob", Decision::Accept, "approve"),
        );
        assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1);
        let refused = if one.is_ok() { other } else { one };
        assert!(matches!(refusal(refused), ReviewRefusal::Decided(_)));
    }
    assert_eq!(actions(store).await.len(), 10, "one entry for each item");
}

pub(crate) async fn items_of_the_same_text_are_counted(store: &impl MetadataStore) {
    for number in 0..4 {
        store.queue_review(item(number, number), (number % 3) as i64).await.unwrap();
    }
    let alike = async || {
        let queue = store.review_queue(10).await.unwrap();
        queue.into_iter().map(|item| item.alike).collect::<Vec<_>>()
    };
    assert_eq!(alike().await, [1, 0, 0, 1]);
    let first = item(0, 0).comment_id;
    let entry = audit(50, "reject");
    store.decide_review(NewVerdict::new(first, Decision::Reject), &no_event, entry).await.unwrap();
    assert_eq!(alike().await, [0, 0, 0], "decided items do not count");
    for number in 10..MAX_ALIKE + 20 {
        store.queue_review(item(number, number), -7).await.unwrap();
    }
    let last = store.review_queue(1_000).await.unwrap().pop().unwrap();
    assert_eq!(last.alike, MAX_ALIKE);
}

pub(crate) async fn a_decision_taken_back_waits_again(store: &impl MetadataStore) {
    queue(store, item(1, 10)).await;
    queue(store, item(2, 20)).await;
    let comment_id = item(1, 10).comment_id;
    let reopen = async |comment_id, at| {
        store.reopen_review(comment_id, Some(event(1)), audit(at, "undo")).await
    };
    assert_eq!(refusal(reopen(comment_id, 30).await), ReviewRefusal::NotDecided);
    assert_eq!(refusal(reopen(item(3, 30).comment_id, 30).await), ReviewRefusal::NotQueued);
    let claim = NewClaim { comment_id, by: "ann", now_ms: 30, expires_at: Some(1_000) };
    store.claim_review(claim).await.unwrap();
    let entry = audit(40, "reject");
    store
        .decide_review(NewVerdict::new(comment_id, Decision::Reject), &no_event, entry)
        .await
        .unwrap();
    let decided = store.decided_review(comment_id).await.unwrap().expect("decided");
    assert_eq!((decided.item.comment_id, decided.verdict.at), (comment_id, 40));
    let audit_id = reopen(comment_id, 50).await.unwrap();
    assert_eq!(store.review_queue(10).await.unwrap(), [item(1, 10), item(2, 20)], "at its place");
    assert_eq!(store.decided_review(comment_id).await.unwrap(), None);
    assert_eq!(store.decided_reviews(None, 10).await.unwrap(), []);
    assert_eq!(store.claim_events(200, 50, 10).await.unwrap(), [(audit_id, event(1))]);
    assert_eq!(actions(store).await, ["undo", "reject"], "no entry without a change");
    let entry = audit_by("bob", 60, "approve");
    store
        .decide_review(NewVerdict::new(comment_id, Decision::Accept), &no_event, entry)
        .await
        .unwrap();
    store.reopen_review(comment_id, None, audit(70, "undo")).await.unwrap();
    assert_eq!(store.review_count().await.unwrap(), 2);
}

pub(crate) async fn an_unchecked_item_is_reopened_for_people(store: &impl MetadataStore) {
    let held = ReviewItem { reason: UNCHECKED.to_owned(), held: true, ..item(2, 10) };
    let comment_id = held.comment_id;
    queue(store, held.clone()).await;
    for (decision, action) in [(Decision::Accept, "approve"), (Decision::Reject, "reject")] {
        let verdict = NewVerdict::new(comment_id, decision);
        store.decide_review(verdict, &no_event, audit(40, action)).await.unwrap();
        store.reopen_review(comment_id, None, audit(50, "undo")).await.unwrap();
        let all = HeldReviews::Unchecked { after: None };
        assert_eq!(store.held_reviews(all, 9).await.unwrap(), [], "moderation leaves it alone");
        let waiting = ReviewItem { reason: REOPENED.to_owned(), ..held.clone() };
        assert_eq!(store.review_queue(9).await.unwrap(), [waiting]);
    }
}

pub(crate) async fn a_reopened_item_waits_since_then(store: &impl MetadataStore) {
    for number in [2, 4] {
        queue(store, item(number, number * 10)).await;
    }
    let waiting = async |since| {
        let held = store.held_reviews(HeldReviews::WaitingSince(since), 9).await.unwrap();
        held.into_iter().map(|item| (item.comment_id, item.flagged_at)).collect::<Vec<_>>()
    };
    let first = item(2, 20).comment_id;
    let verdict = NewVerdict { reason: Some(EXPIRED), ..NewVerdict::new(first, Decision::Reject) };
    store.decide_review(verdict, &no_event, audit(50, "reject")).await.unwrap();
    let decided = store.decided_review(first).await.unwrap().expect("decided");
    assert_eq!((decided.reason(), &*decided.item.reason), (EXPIRED, "link"));
    store.reopen_review(first, None, audit(60, "undo")).await.unwrap();
    let second = (item(4, 40).comment_id, 40);
    assert_eq!(waiting(60).await, [second]);
    assert_eq!(waiting(61).await, [second, (first, 20)], "the longest first");
    let verdict = NewVerdict::new(first, Decision::Reject);
    store.decide_review(verdict, &no_event, audit(70, "reject")).await.unwrap();
    let decided = store.decided_review(first).await.unwrap().expect("decided");
    assert_eq!(decided.reason(), "link", "the earlier reason was taken back too");
}

pub(crate) async fn decided_items_are_listed_latest_first(store: &impl MetadataStore) {
    for number in 1..=4 {
        queue(store, item(number, number)).await;
    }
    assert_eq!(store.decided_reviews(None, 10).await.unwrap(), []);
    for (number, at) in [(2, 20), (1, 30), (4, 40)] {
        let comment_id = item(number, number).comment_id;
        let entry = audit(at, "reject");
        store
            .decide_review(NewVerdict::new(comment_id, Decision::Reject), &no_event, entry)
            .await
            .unwrap();
    }
    let listed = async |before, limit| {
        let decided = store.decided_reviews(before, limit).await.unwrap();
        decided.into_iter().map(|review| (review.item, review.verdict.at)).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 10).await, [(item(4, 4), 40), (item(1, 1), 30), (item(2, 2), 20)]);
    assert_eq!(listed(None, 1).await, [(item(4, 4), 40)]);
    assert_eq!(listed(Some(40), 1).await, [(item(1, 1), 30)]);
    assert_eq!(listed(Some(20), 10).await, []);
}

pub(crate) async fn audit_entries_are_listed_newest_first(store: &impl MetadataStore) {
    let entry = NewAudit {
        at: 123,
        actor: "root (uid 0)".to_owned(),
        action: "announce",
        target: "stream 7".to_owned(),
        detail: json!({ "message": "l'été \u{1F3C6}", "nested": [1, null, 0.5] }),
        points: None,
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

pub(crate) async fn held_items_are_listed_by_kind(store: &impl MetadataStore) {
    let unchecked = |number, flagged_at| ReviewItem {
        reason: UNCHECKED.to_owned(),
        held: true,
        ..item(number, flagged_at)
    };
    let listed = async |which, limit| store.held_reviews(which, limit).await.unwrap();
    let all = HeldReviews::Unchecked { after: None };
    assert_eq!(listed(all, 9).await, []);
    let visible = ReviewItem { held: false, ..unchecked(7, 2) };
    for item in [unchecked(3, 10), unchecked(1, 30), item(2, 20), item(5, 1), visible] {
        queue(store, item).await;
    }
    let both = [unchecked(1, 30), unchecked(3, 10)];
    assert_eq!(listed(all, 9).await, both, "in the order of their creation");
    assert_eq!(listed(all, 1).await, both[..1]);
    let behind = |item: &ReviewItem| HeldReviews::Unchecked { after: Some(item.comment_id) };
    assert_eq!(listed(behind(&both[0]), 9).await, both[1..]);
    assert_eq!(listed(behind(&both[1]), 9).await, []);
    let old = [unchecked(3, 10), item(2, 20)];
    assert_eq!(listed(HeldReviews::WaitingSince(30), 9).await, old, "the oldest first");
    assert_eq!(listed(HeldReviews::WaitingSince(10), 9).await, []);

    let first = unchecked(1, 30).comment_id;
    let evidence = by_models();
    let change = |comment_id, expected, reason| {
        store.set_review_reason(NewReason { comment_id, expected, reason, evidence: &evidence })
    };
    assert!(change(first, UNCHECKED, "spam").await.unwrap());
    assert!(!change(first, UNCHECKED, "link").await.unwrap(), "another node was faster");
    let again = NewReason {
        comment_id: first,
        expected: "spam",
        reason: "link",
        evidence: &ReviewEvidence::default(),
    };
    assert!(store.set_review_reason(again).await.unwrap());
    let queue = store.review_queue(9).await.unwrap();
    let changed = queue.iter().find(|item| item.comment_id == first).expect("queued");
    assert_eq!((&*changed.reason, &changed.evidence), ("link", &evidence), "it is kept");
    let expected_reason = Some(UNCHECKED);
    let late = NewVerdict { expected_reason, ..NewVerdict::new(first, Decision::Accept) };
    let late = store.decide_review(late, &no_event, audit(35, "approve")).await;
    assert_eq!(refusal(late), ReviewRefusal::OtherReason);
    let expected_stream = Some(StreamId(999));
    let foreign = NewVerdict { expected_stream, ..NewVerdict::new(first, Decision::Accept) };
    let foreign = store.decide_review(foreign, &no_event, audit(35, "approve")).await;
    assert_eq!(refusal(foreign), ReviewRefusal::OtherStream);
    assert_eq!(listed(all, 9).await, both[1..]);
    let third = unchecked(3, 10).comment_id;
    let entry = audit(40, "approve");
    let expected_reason = Some(UNCHECKED);
    let verdict = NewVerdict { expected_reason, ..NewVerdict::new(third, Decision::Accept) };
    store.decide_review(verdict, &|_| Some(event(3)), entry).await.unwrap();
    assert_eq!(listed(all, 9).await, []);
    assert!(!change(third, UNCHECKED, "link").await.unwrap(), "it is decided");
    assert!(!change(item(4, 1).comment_id, UNCHECKED, "link").await.unwrap());
}

pub(crate) async fn pending_events_of_a_stream_are_known(store: &impl MetadataStore) {
    let stream_id = event(1).stream_id;
    assert!(!store.has_pending_event(stream_id).await.unwrap());
    let number = store.audit_with_event(event(1), None, audit(10, "delete")).await.unwrap();
    assert!(store.has_pending_event(stream_id).await.unwrap());
    assert!(!store.has_pending_event(StreamId(999)).await.unwrap());
    store.event_published(number).await.unwrap();
    assert!(!store.has_pending_event(stream_id).await.unwrap());
}
