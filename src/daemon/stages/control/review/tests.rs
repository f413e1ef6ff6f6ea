//! The promises of claims, decisions and offenders, tested with contracts in memory.

use std::slice;
use std::time::Duration;

use super::CLAIM_MS;
use crate::daemon::engines::eventlog::{EventLog as _, LogError, Topic};
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::daemon::engines::metadata::in_memory::stream;
use crate::daemon::stages::control::fakes::{STARTED_MS, World, comment_id, operator, submitted};
use crate::daemon::stages::control::{Actor, ControlError};
use crate::protocol::admin::{
    ClaimRequest, DeleteRequest, ModerationDecision, RestoreRequest, ReviewEvidence, ReviewItem,
    ReviewRequest, Shadow, UndoRequest,
};
use crate::protocol::events::{CommentModerated, CommentRestored, Decision, Event, Told};
use crate::protocol::stream::ModerationMode;
use crate::protocol::{Badge, Badges, ErrorCode, StreamId, UserId};

fn item(number: u64, held: bool) -> ReviewItem {
    ReviewItem {
        comment_id: comment_id(number),
        stream_id: StreamId(1),
        user_id: UserId(40 + number),
        name: format!("user_{number}"),
        message: format!("text {number}"),
        reason: "link".to_owned(),
        flagged_at: STARTED_MS + number,
        held,
        shadowed: false,
        badges: Default::default(),
        parent_id: None,
        evidence: Default::default(),
        claimed_by: None,
        claim_expires_at: None,
        claimed_by_you: false,
        alike: 0,
    }
}

async fn world(items: u64, held: bool) -> World {
    let world = World::new().await;
    for number in 1..=items {
        world.metadata.queue_review(item(number, held), 0).await.unwrap();
    }
    world
}

fn bob() -> Actor {
    Actor::operator(Some("bob"), 1001)
}

fn decide(number: u64) -> ReviewRequest {
    ReviewRequest { comment_id: comment_id(number), reason: None, note: None }
}

fn claim(number: u64) -> ClaimRequest {
    ClaimRequest { comment_id: comment_id(number), release: false }
}

fn release(number: u64) -> ClaimRequest {
    ClaimRequest { release: true, ..claim(number) }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_holds_nobody_else_decides() {
    let world = world(1, false).await;
    let claimed = world.control.claim(&bob(), &claim(1)).await.unwrap();
    assert_eq!(claimed.holder(STARTED_MS), Some("bob (uid 1001)"));
    assert!(claimed.claimed_by_you && claimed.claim_expires_at > Some(STARTED_MS));
    let seen = world.control.review_queue(&operator(), 10).await.unwrap();
    assert_eq!(seen[0].other_holder(STARTED_MS), Some("bob (uid 1001)"));

    tokio::time::advance(Duration::from_secs(19)).await;
    let before = world.state();
    let control = &world.control;
    for refused in [
        control.claim(&operator(), &claim(1)).await.map(drop),
        control.claim(&operator(), &release(1)).await.map(drop),
        control.approve(&operator(), &decide(1)).await.map(drop),
        control.reject(&operator(), &decide(1)).await.map(drop),
    ] {
        let body = refused.unwrap_err().body();
        assert_eq!((body.code, body.code.http_status()), (ErrorCode::ReviewClaimed, 409));
        let expected = "claimed by bob (uid 1001) for another 41s";
        assert!(body.message.contains(expected), "{}", body.message);
        assert_eq!(body.retry_after_ms, Some(41_000));
    }
    assert_eq!(world.state(), before);

    world.control.claim(&bob(), &claim(1)).await.unwrap();
    tokio::time::advance(Duration::from_millis(CLAIM_MS - 1)).await;
    assert!(control.claim(&operator(), &claim(1)).await.is_err(), "it was renewed");
    tokio::time::advance(Duration::from_millis(1)).await;
    let seen = control.review_queue(&bob(), 10).await.unwrap();
    assert_eq!(seen, [item(1, false)], "a claim that has run out is not shown");
    control.reject(&operator(), &decide(1)).await.unwrap();
    let late = control.approve(&bob(), &decide(1)).await.unwrap_err().body();
    assert_eq!(late.code, ErrorCode::ReviewDecided);
    assert!(late.message.contains("was rejected by op (uid 0)"), "{}", late.message);
}

#[tokio::test(start_paused = true)]
async fn a_raid_hides_no_queue_of_another_stream() {
    let world = world(1_200, true).await;
    world.metadata.put_stream(stream(2, ModerationMode::Async));
    let elsewhere = ReviewItem { stream_id: StreamId(2), ..item(2_000, false) };
    world.metadata.queue_review(elsewhere.clone(), 1).await.unwrap();
    let control = &world.control;
    let before = world.metadata.calls();
    for actor in [operator(), bob()] {
        let seen = control.review_queue_of(&actor, StreamId(2), 10).await.unwrap();
        assert_eq!(seen, slice::from_ref(&elsewhere));
    }
    // Each also looks for the stream.
    assert_eq!(world.metadata.calls() - before, 2 + 1, "they share a reading");
    assert_eq!(control.review_queue_of(&bob(), StreamId(1), 7).await.unwrap().len(), 7);
    control.reject(&bob(), &decide(2_000)).await.unwrap();
    assert_eq!(control.review_queue_of(&bob(), StreamId(2), 10).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn all_readers_share_one_reading_per_second() {
    let world = world(3, false).await;
    let control = &world.control;
    let before = world.metadata.calls();
    for limit in [200, 1, 100] {
        for actor in [operator(), bob()] {
            let seen = control.review_queue(&actor, limit).await.unwrap();
            assert_eq!(seen.len(), limit.min(3));
        }
    }
    assert_eq!(world.metadata.calls() - before, 1);
    // Another node flags a comment, which is seen when the reading is a second old.
    world.metadata.queue_review(item(4, false), 0).await.unwrap();
    let length = async || control.review_queue(&bob(), 200).await.unwrap().len();
    assert_eq!(length().await, 3);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(length().await, 4);
    // A change of this node is seen at once, and the claim by each reader as its own or not.
    control.claim(&bob(), &claim(1)).await.unwrap();
    let claims = [
        control.review_queue(&bob(), 1).await.unwrap()[0].claimed_by_you,
        control.review_queue(&operator(), 1).await.unwrap()[0].claimed_by_you,
    ];
    assert_eq!(claims, [true, false]);
    control.approve(&bob(), &decide(1)).await.unwrap();
    assert_eq!(length().await, 3);
    let before = world.metadata.calls();
    assert_eq!(control.review_queue(&bob(), 1_000).await.unwrap().len(), 3);
    assert_eq!(world.metadata.calls() - before, 1, "more rows than were read");
}

fn shadow_of(number: u64, stream_id: Option<StreamId>) -> Shadow {
    Shadow {
        user_id: item(number, false).user_id,
        stream_id,
        name: None,
        created_by: "ann".to_owned(),
        created_at: STARTED_MS,
        expires_at: None,
    }
}

#[tokio::test(start_paused = true)]
async fn items_of_shadow_banned_users_are_marked() {
    let world = world(3, true).await;
    world.metadata.put_shadow(shadow_of(1, Some(StreamId(1))));
    world.metadata.put_shadow(shadow_of(2, Some(StreamId(2))));
    let hidden = ReviewItem { shadowed: true, ..item(4, false) };
    world.metadata.queue_review(hidden, 0).await.unwrap();
    // Shown before its sender was shadow-banned.
    world.metadata.queue_review(item(5, false), 0).await.unwrap();
    world.metadata.put_shadow(shadow_of(5, None));
    let queue = world.control.review_queue(&operator(), 10).await.unwrap();
    let marked: Vec<_> = queue.iter().map(|item| item.shadowed).collect();
    assert_eq!(marked, [true, false, false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_hidden_comment_is_told_its_author() {
    let world = world(1, false).await;
    let hidden = ReviewItem { shadowed: true, ..item(2, false) };
    world.metadata.queue_review(hidden, 0).await.unwrap();
    for number in [1, 2] {
        world.control.reject(&operator(), &decide(number)).await.unwrap();
    }
    let told: Vec<_> = world
        .log
        .events(Topic::CommentEvents)
        .into_iter()
        .filter_map(|(_, event)| match event {
            Event::CommentModerated(event) => event.removal().map(|removal| removal.told),
            _ => None,
        })
        .collect();
    assert_eq!(told, [Told::Everybody, Told::Only(UserId(42))]);
}

#[tokio::test(start_paused = true)]
async fn a_released_item_is_free_at_once() {
    let world = world(1, false).await;
    world.control.claim(&bob(), &claim(1)).await.unwrap();
    let released = world.control.claim(&bob(), &release(1)).await.unwrap();
    assert_eq!(released, item(1, false));
    world.control.approve(&operator(), &decide(1)).await.unwrap();
    assert_eq!(world.metadata.audits().len(), 1, "claims leave no entry");
    let unknown = world.control.claim(&bob(), &claim(9)).await.unwrap_err();
    assert_eq!(unknown.body().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn two_decisions_at_once_delete_once() {
    let world = world(1, false).await;
    let request = decide(1);
    let actors = [operator(), bob()];
    let (one, other) = tokio::join!(
        world.control.reject(&actors[0], &request),
        world.control.reject(&actors[1], &request),
    );
    let refused = one.err().xor(other.err()).expect("one refusal");
    assert_eq!(refused.body().code, ErrorCode::ReviewDecided);
    for topic in [Topic::CommentEvents, Topic::ModerationEvents] {
        assert_eq!(world.log.events(topic).len(), 1, "{topic:?}");
    }
    assert_eq!(world.metadata.audits().len(), 1);
}

fn by_rules(number: u64, decision: Decision, at: u64) -> CommentModerated {
    let comment = submitted(StreamId(1), number, "badword").comment;
    CommentModerated {
        stream_id: StreamId(1),
        comment_id: comment.comment_id,
        user_id: UserId(number % 3 + 7),
        decision,
        reason: "blocked_word".into(),
        timestamp: at,
        decided_by: "rules".into(),
        text: Some((&*comment).into()),
        was_hidden: false,
        in_bulk: false,
    }
}

fn put(world: &World, event: CommentModerated) {
    let key = event.user_id.0;
    let at = event.timestamp;
    world.log.put(Topic::ModerationEvents, key, at, Event::CommentModerated(event).encode());
}

#[tokio::test(start_paused = true)]
async fn decisions_of_rules_and_people_are_one_list() {
    let world = world(2, false).await;
    world.log.put(Topic::ModerationEvents, 1, 0, b"\xc1 not an event".to_vec());
    for (number, decision) in [(11, Decision::Reject), (12, Decision::ShadowBan)] {
        put(&world, by_rules(number, decision, STARTED_MS - number));
    }
    // Appended twice after a crash; and one that a person decides.
    put(&world, by_rules(11, Decision::Reject, STARTED_MS - 11));
    put(&world, by_rules(13, Decision::Flag, STARTED_MS));
    tokio::time::advance(Duration::from_secs(1)).await;
    world.control.reject(&bob(), &decide(1)).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    world.control.approve(&operator(), &decide(2)).await.unwrap();

    let decisions = world.control.decisions(None, 10).await.unwrap();
    let shown: Vec<_> = decisions
        .iter()
        .map(|one| (one.decision, one.decided_by.as_str(), one.message.as_deref().unwrap()))
        .collect();
    let expected = [
        (Decision::Accept, "op (uid 0)", "text 2"),
        (Decision::Reject, "bob (uid 1001)", "text 1"),
        (Decision::Reject, "rules", "badword"),
        (Decision::ShadowBan, "rules", "badword"),
    ];
    assert_eq!(shown, expected);
    assert_eq!(world.control.decisions(None, 2).await.unwrap(), decisions[..2]);
    let before = Some(decisions[1].decided_at);
    assert_eq!(world.control.decisions(before, 1).await.unwrap(), decisions[2..3]);
    let by_person: Vec<_> = decisions.iter().map(|one| one.by_person).collect();
    assert_eq!(by_person, [true, true, false, false]);
}

/// The log has no event of the flag, as if it were the one before the last 20,000.
#[tokio::test(start_paused = true)]
async fn a_decided_item_keeps_what_it_was_flagged_by() {
    let world = world(0, false).await;
    let evidence = ReviewEvidence {
        stage: Some("models".to_owned()),
        score: Some(0.61),
        scores: [("toxicity".to_owned(), 0.61)].into(),
        model: Some("3".to_owned()),
    };
    let flagged = ReviewItem { evidence: evidence.clone(), ..item(1, true) };
    world.metadata.queue_review(flagged, 0).await.unwrap();
    world.control.reject(&bob(), &decide(1)).await.unwrap();
    let decided = world.control.decisions(None, 10).await.unwrap().remove(0);
    let ModerationDecision { stage, score, scores, model, .. } = decided;
    assert_eq!(ReviewEvidence { stage, score, scores, model }, evidence);
}

/// The word says what the text is; the stage that flagged it may have meant something else.
#[tokio::test(start_paused = true)]
async fn a_moderators_word_is_the_reason() {
    for held in [false, true] {
        let world = world(3, held).await;
        for (number, word) in [(1, Some("spam")), (2, Some("expired")), (3, None)] {
            let request = ReviewRequest { reason: word.map(str::to_owned), ..decide(number) };
            world.control.reject(&bob(), &request).await.unwrap();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let decisions = world.control.decisions_for_training(None, 10).await.unwrap();
        let reasons: Vec<_> = decisions.iter().map(|one| one.reason.as_str()).collect();
        assert_eq!(reasons, ["link", "expired", "spam"], "held: {held}");
        let offenders = world.control.offenders(10).await.unwrap();
        assert_eq!(offenders.len(), 3, "a person has looked at each of them");
    }
}

#[tokio::test(start_paused = true)]
async fn deletions_taken_back_are_not_counted() {
    let world = world(2, false).await;
    (1..=3).for_each(|number| drop(world.comment(number, "text")));
    let delete = DeleteRequest { comment_id: comment_id(3), reason: None, note: None };
    let deleted = world.control.delete(&bob(), &delete).await.unwrap();
    let rejected = world.control.reject(&bob(), &decide(1)).await.unwrap();
    world.control.reject(&bob(), &decide(2)).await.unwrap();
    let counts = async || {
        tokio::time::advance(Duration::from_secs(1)).await;
        let decisions = world.control.decisions(None, 10).await.unwrap().len();
        let offenders = world.control.offenders(10).await.unwrap();
        (decisions, offenders.iter().map(|user| user.removed).sum::<u64>())
    };
    assert_eq!(counts().await, (3, 3));
    for audit_id in [deleted.audit_id, rejected.audit_id] {
        world.control.undo(&operator(), &UndoRequest { audit_id, note: None }).await.unwrap();
    }
    assert_eq!(counts().await, (1, 1));
    let restore = RestoreRequest { comment_id: comment_id(2), note: None };
    world.control.restore(&operator(), &restore).await.unwrap();
    assert_eq!(counts().await, (0, 0), "its rejection stands in the queue, and counts no more");
}

#[tokio::test(start_paused = true)]
async fn restored_comments_train_as_accepted() {
    let world = World::new().await;
    let removed = by_rules(1, Decision::Reject, STARTED_MS - 9);
    let in_bulk = by_rules(2, Decision::Reject, STARTED_MS - 9);
    let in_bulk = CommentModerated { in_bulk: true, ..in_bulk };
    for event in [removed, in_bulk] {
        let CommentModerated { stream_id, comment_id, user_id, .. } = event;
        let restored = CommentRestored {
            stream_id,
            comment_id,
            user_id,
            reason: None,
            timestamp: STARTED_MS - 1,
            restored_by: "bob (uid 1001)".into(),
            stays_hidden: false,
        };
        put(&world, event);
        let payload = Event::CommentRestored(restored).encode();
        world.log.put(Topic::ModerationEvents, user_id.0, STARTED_MS - 1, payload);
    }
    assert_eq!(world.control.decisions(None, 10).await.unwrap(), []);
    let accepted = world.control.decisions_for_training(None, 10).await.unwrap();
    assert_eq!(accepted.len(), 1, "what was deleted in bulk was not looked at");
    let ModerationDecision { decision, reason, by_person, decided_at, message, .. } = &accepted[0];
    assert_eq!((*decision, reason.as_str(), *by_person), (Decision::Accept, "blocked_word", true));
    assert_eq!((*decided_at, message.as_deref()), (STARTED_MS - 1, Some("badword")));
    let before = world.control.decisions_for_training(Some(STARTED_MS - 1), 10).await.unwrap();
    assert_eq!(before, []);
}

/// The deletion of a hidden comment is taken back, and the comment stays hidden from others.
#[tokio::test(start_paused = true)]
async fn a_comment_that_stays_hidden_is_counted() {
    let world = World::new().await;
    let hidden = by_rules(1, Decision::ShadowBan, STARTED_MS - 3);
    let CommentModerated { stream_id, comment_id, user_id, .. } = hidden;
    let restored = CommentRestored {
        stream_id,
        comment_id,
        user_id,
        reason: None,
        timestamp: STARTED_MS - 1,
        restored_by: "bob (uid 1001)".into(),
        stays_hidden: true,
    };
    put(&world, hidden);
    put(&world, by_rules(1, Decision::Reject, STARTED_MS - 2));
    let payload = Event::CommentRestored(restored).encode();
    world.log.put(Topic::ModerationEvents, user_id.0, STARTED_MS - 1, payload);
    let decisions = world.control.decisions(None, 10).await.unwrap();
    let left: Vec<_> = decisions.iter().map(|one| one.decision).collect();
    assert_eq!(left, [Decision::ShadowBan]);
    assert_eq!(world.control.offenders(10).await.unwrap()[0].removed, 1);
}

#[tokio::test(start_paused = true)]
async fn the_log_is_read_on_once_a_second() {
    let world = World::new().await;
    put(&world, by_rules(1, Decision::Reject, STARTED_MS));
    let count = async || world.control.decisions(None, 100).await.unwrap().len();
    assert_eq!(count().await, 1);
    put(&world, by_rules(2, Decision::Reject, STARTED_MS));
    assert_eq!(count().await, 1, "not read again within a second");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(count().await, 2);
    let decision = DeleteRequest { comment_id: comment_id(3), reason: None, note: None };
    world.comment(3, "fresh");
    world.control.delete(&bob(), &decision).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let newest = world.control.decisions(None, 1).await.unwrap().remove(0);
    assert_eq!((newest.message.as_deref(), &*newest.decided_by), (Some("fresh"), "bob (uid 1001)"));
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_cost_what_one_costs() {
    let world = world(1, false).await;
    world.control.reject(&bob(), &decide(1)).await.unwrap();
    world.control.decisions(None, 10).await.unwrap();
    let before = world.metadata.calls();
    for _ in 0..20 {
        assert_eq!(world.control.decisions(None, 10).await.unwrap().len(), 1);
        assert_eq!(world.control.offenders(10).await.unwrap().len(), 1);
    }
    assert_eq!(world.metadata.calls(), before);
}

#[tokio::test(start_paused = true)]
async fn offenders_are_counted_over_the_last_hour() {
    let world = world(1, true).await;
    put(&world, by_rules(1, Decision::Reject, STARTED_MS - 3_600_001));
    for number in [3, 6, 9, 4] {
        put(&world, by_rules(number, Decision::Reject, STARTED_MS - number));
    }
    put(&world, by_rules(9, Decision::Reject, STARTED_MS - 9));
    put(&world, by_rules(5, Decision::Flag, STARTED_MS));
    // It was held, so the log has no deletion of it.
    world.control.reject(&bob(), &decide(1)).await.unwrap();
    let offenders = world.control.offenders(10).await.unwrap();
    let counts: Vec<_> = offenders.iter().map(|one| (one.user_id.0, one.removed)).collect();
    assert_eq!(counts, [(7, 3), (41, 1), (8, 1)]);
    assert_eq!(
        (offenders[0].name.as_deref(), &*offenders[0].reason),
        (Some("ann"), "blocked_word")
    );
    assert_eq!(
        (offenders[0].last_at, offenders[1].name.as_deref()),
        (STARTED_MS - 3, Some("user_1"))
    );
    assert_eq!(world.control.offenders(1).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_away_is_an_error() {
    let world = World::new().await;
    world.log.set_down(true);
    assert_eq!(world.control.decisions(None, 1).await.unwrap(), [], "it can still be read");
    world.log.close().await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let error = world.control.decisions(None, 1).await.unwrap_err();
    assert!(matches!(error, ControlError::Log(LogError::Closed)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_approved_comment_has_its_badges() {
    let world = world(0, true).await;
    let badges = Badges::from_iter([Badge::Subscriber]);
    let held = ReviewItem { badges, ..item(1, true) };
    world.metadata.queue_review(held, 0).await.unwrap();
    world.control.approve(&operator(), &decide(1)).await.unwrap();
    let events = world.log.events(Topic::CommentEvents);
    let Some((_, Event::CommentSubmitted(released))) = events.last() else {
        panic!("nothing was released");
    };
    assert_eq!(released.comment.badges, badges);
}
