//! Decisions about held comments without a person, with contracts in memory.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::daemon::engines::eventlog::Topic;
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::daemon::engines::metadata::in_memory::sanction;
use crate::daemon::stages::control::fakes::{STARTED_MS, World, comment_id, operator};
use crate::protocol::admin::{
    ClaimRequest, REOPENED, ReviewEvidence, SanctionKind, SanctionRequest, ShadowRequest,
    UnbanRequest, UndoRequest, UserRef,
};
use crate::protocol::events::{Evidence, ModeratedText, Score};
use crate::protocol::stream::StreamPatch;
use crate::protocol::{Comment, UserId};

const STREAM: StreamId = StreamId(1);

async fn world(unchecked: u64) -> World {
    let world = World::new().await;
    for number in 1..=unchecked {
        let item = ReviewItem {
            comment_id: comment_id(number),
            stream_id: STREAM,
            user_id: UserId(42),
            name: "ann".to_owned(),
            message: format!("text {number}"),
            reason: UNCHECKED.to_owned(),
            flagged_at: STARTED_MS + number,
            held: true,
            claimed_by: None,
            claim_expires_at: None,
            claimed_by_you: false,
            alike: 0,
            shadowed: false,
            badges: Default::default(),
            parent_id: None,
            evidence: ReviewEvidence::default(),
        };
        world.metadata.queue_review(item, 0).await.unwrap();
    }
    world
}

async fn points(world: &World) -> f64 {
    world.control.reputation_of(UserId(42)).await.unwrap().unwrap().points
}

fn decided(number: u64, decision: Decision, reason: &str) -> CommentModerated {
    CommentModerated {
        stream_id: STREAM,
        comment_id: comment_id(number),
        user_id: UserId(42),
        decision,
        reason: reason.into(),
        timestamp: STARTED_MS,
        decided_by: "rules".into(),
        text: None,
        was_hidden: false,
        in_bulk: false,
    }
}

async fn decide(world: &World, decided: CommentModerated) -> Result<Option<Decision>, ErrorBody> {
    HeldComments::decide(&world.control, decided).await
}

async fn unchecked(world: &World) -> Vec<Comment> {
    world.control.unchecked(None, 10).await.unwrap().comments
}

/// The texts of the comments in the log, with their visibility.
fn published(world: &World) -> Vec<(String, bool)> {
    let submitted = |(_, event)| match event {
        Event::CommentSubmitted(event) => {
            assert!(event.screened, "it was checked");
            Some((event.comment.message.to_string(), event.shadow))
        }
        _ => None,
    };
    world.log.events(Topic::CommentEvents).into_iter().filter_map(submitted).collect()
}

#[tokio::test(start_paused = true)]
async fn each_decision_about_an_unchecked_comment_is_made() {
    let world = world(4).await;
    let unchecked = async || unchecked(&world).await.len();
    assert_eq!(unchecked().await, 4);
    for (number, decision, reason) in [
        (1, Decision::Accept, ""),
        (2, Decision::Reject, "blocked_word"),
        (3, Decision::ShadowBan, "repeat"),
        (4, Decision::Flag, "link"),
    ] {
        let made = decide(&world, decided(number, decision, reason)).await.unwrap();
        assert_eq!(made, Some(decision));
    }
    assert_eq!(unchecked().await, 0);
    let shown = [("text 1".to_owned(), false), ("text 3".to_owned(), true)];
    assert_eq!(published(&world), shown);
    let queue = world.control.review_queue(&operator(), 10).await.unwrap();
    let left: Vec<_> = queue.iter().map(|item| (item.comment_id, &*item.reason)).collect();
    assert_eq!(left, [(comment_id(4), "link")], "a person decides about it");
    assert_eq!(world.log.events(Topic::ModerationEvents).len(), 3, "all but the accepted one");
    let again = decide(&world, decided(1, Decision::Reject, "blocked_word")).await.unwrap();
    assert_eq!(again, None, "it is decided");
    let actors: Vec<_> = world.metadata.audits().iter().map(|entry| entry.actor.clone()).collect();
    assert_eq!(actors, ["moderation"; 3]);
    let log = world.control.audit_log(10).await.unwrap();
    let actions: Vec<_> = log.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, [audit_action::HIDE, audit_action::REJECT, audit_action::APPROVE]);
    assert_eq!(points(&world).await, 0.0, "moderation counts what it decides");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_for_a_banned_author() {
    let world = world(2).await;
    let user = UserRef("42".to_owned());
    let ban = SanctionRequest {
        user: user.clone(),
        stream_id: None,
        reason: None,
        note: None,
        duration_ms: None,
    };
    world.control.ban(&operator(), &ban).await.unwrap();
    let made = decide(&world, decided(1, Decision::Accept, "")).await.unwrap();
    assert_eq!(made, Some(Decision::Flag));
    assert_eq!(published(&world), []);
    let queue = world.control.review_queue(&operator(), 10).await.unwrap();
    let waiting = queue.iter().find(|item| item.comment_id == comment_id(1)).unwrap();
    assert_eq!((&*waiting.reason, waiting.held), (AUTHOR_BANNED, true), "a person decides");
    world
        .control
        .unban(&operator(), &UnbanRequest { user, stream_id: None, note: None })
        .await
        .unwrap();
    let made = decide(&world, decided(2, Decision::Accept, "")).await.unwrap();
    assert_eq!(made, Some(Decision::Accept));
    assert_eq!(published(&world), [("text 2".to_owned(), false)]);
}

#[tokio::test(start_paused = true)]
async fn a_ban_after_the_check_holds_what_is_hidden() {
    let world = world(1).await;
    world.metadata.put_sanction(sanction(42, SanctionKind::Timeout, None));
    let made = decide(&world, decided(1, Decision::ShadowBan, "repeat")).await.unwrap();
    assert_eq!(made, Some(Decision::Flag));
    assert_eq!(published(&world), []);
    assert!(!world.control.is_stream_pending(STREAM).await.unwrap(), "nothing is released later");
    let queue = world.control.review_queue(&operator(), 10).await.unwrap();
    assert_eq!((&*queue[0].reason, queue[0].held), (AUTHOR_BANNED, true));
    let recorded = world.log.events(Topic::ModerationEvents);
    let [(42, Event::CommentModerated(event))] = &recorded[..] else { panic!("{recorded:?}") };
    assert_eq!((event.decision, &*event.reason), (Decision::Flag, AUTHOR_BANNED));
}

#[tokio::test(start_paused = true)]
async fn a_shadowed_author_alone_sees_what_is_released() {
    let world = world(3).await;
    for number in 1..=2 {
        if number == 2 {
            let shadow = ShadowRequest {
                user: UserRef("42".to_owned()),
                stream_id: Some(STREAM),
                note: None,
                duration_ms: None,
            };
            world.control.shadow(&operator(), &shadow).await.unwrap();
        }
        let made = decide(&world, decided(number, Decision::Accept, "")).await.unwrap();
        assert_eq!(made, Some(Decision::Accept));
    }
    let shown = [("text 1".to_owned(), false), ("text 2".to_owned(), true)];
    assert_eq!(published(&world), shown);
}

#[tokio::test(start_paused = true)]
async fn a_release_reads_no_list_of_sanctions() {
    let world = world(100).await;
    let before = world.metadata.calls();
    for number in 1..=100 {
        let made = decide(&world, decided(number, Decision::Accept, "")).await.unwrap();
        assert_eq!(made, Some(Decision::Accept));
    }
    // The decision, and the removal of its event.
    assert_eq!(world.metadata.calls() - before, 200);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_into_an_ended_stream() {
    let world = world(1).await;
    let end = StreamPatch { state: Some(StreamState::Ended), ..StreamPatch::default() };
    world.control.update_stream(&operator(), STREAM, &end).await.unwrap();
    let made = decide(&world, decided(1, Decision::ShadowBan, "repeat")).await.unwrap();
    assert_eq!(made, Some(Decision::Flag));
    assert_eq!(published(&world), []);
    let queue = world.control.review_queue(&operator(), 10).await.unwrap();
    assert_eq!(&*queue[0].reason, STREAM_NOT_LIVE);
}

#[tokio::test(start_paused = true)]
async fn unchecked_comments_are_read_page_by_page() {
    let world = world(3).await;
    let claim = ClaimRequest { comment_id: comment_id(2), release: false };
    world.control.claim(&operator(), &claim).await.unwrap();
    let page = async |after, limit| {
        let UncheckedPage { comments, next } = world.control.unchecked(after, limit).await.unwrap();
        (comments.iter().map(|comment| comment.comment_id).collect::<Vec<_>>(), next)
    };
    let [first, second, third] = [1, 2, 3].map(comment_id);
    assert_eq!(page(None, 2).await, (vec![first], Some(second)), "somebody looks at the second");
    assert_eq!(page(Some(second), 2).await, (vec![third], None));
    assert_eq!(page(None, 10).await, (vec![first, third], None));
}

#[tokio::test(start_paused = true)]
async fn the_first_of_two_nodes_decides() {
    let world = world(1).await;
    let scores = [("toxicity".into(), Score::new(0.5))].into();
    let evidence = Evidence { stage: "models".into(), scores, ..Evidence::default() };
    let text = ModeratedText { evidence: Some(evidence.clone()), ..ModeratedText::new("ann", "") };
    let flagged = CommentModerated { text: Some(text), ..decided(1, Decision::Flag, "link") };
    assert_eq!(decide(&world, flagged).await.unwrap(), Some(Decision::Flag));
    for (decision, reason) in [
        (Decision::Accept, ""),
        (Decision::Reject, "blocked_word"),
        (Decision::ShadowBan, "repeat"),
        (Decision::Flag, "caps"),
    ] {
        let made = decide(&world, decided(1, decision, reason)).await.unwrap();
        assert_eq!(made, None, "{decision:?}");
    }
    assert!(published(&world).is_empty());
    let queue = world.control.review_queue(&operator(), 10).await.unwrap();
    assert_eq!((&*queue[0].reason, &queue[0].evidence), ("link", &(&evidence).into()));
}

#[tokio::test(start_paused = true)]
async fn a_flag_as_unchecked_is_no_decision() {
    let world = world(1).await;
    let made = decide(&world, decided(1, Decision::Flag, UNCHECKED)).await.unwrap();
    assert_eq!(made, None);
}

#[tokio::test(start_paused = true)]
async fn a_release_survives_a_log_that_is_away() {
    let world = world(2).await;
    world.log.set_down(true);
    for (number, decision) in [(1, Decision::Accept), (2, Decision::ShadowBan)] {
        let made = decide(&world, decided(number, decision, "repeat")).await.unwrap();
        assert_eq!(made, Some(decision), "the checker counts it, as nobody decides it again");
    }
    assert!(world.control.is_stream_pending(STREAM).await.unwrap(), "the next one has to wait");
    assert!(!world.control.is_stream_pending(StreamId(2)).await.unwrap());
    assert!(unchecked(&world).await.is_empty(), "it is decided once");
    world.log.set_down(false);
    let stop = CancellationToken::new();
    tokio::spawn(world.control.clone().publish_pending(stop.clone()));
    tokio::time::sleep(Duration::from_secs(20)).await;
    stop.cancel();
    assert!(!world.control.is_stream_pending(STREAM).await.unwrap());
    let shown = [("text 1".to_owned(), false), ("text 2".to_owned(), true)];
    assert_eq!(published(&world), shown);
}

#[tokio::test(start_paused = true)]
async fn an_undone_rejection_is_left_to_a_person() {
    let world = world(1).await;
    decide(&world, decided(1, Decision::Reject, "blocked_word")).await.unwrap();
    let audit_id = world.control.audit_log(1).await.unwrap()[0].audit_id;
    world.control.undo(&operator(), &UndoRequest { audit_id, note: None }).await.unwrap();
    assert!(unchecked(&world).await.is_empty());
    let queue = world.control.review_queue(&operator(), 10).await.unwrap();
    assert_eq!(queue[0].reason, "blocked_word");
}

#[tokio::test(start_paused = true)]
async fn an_undone_decision_of_a_person_stays_with_people() {
    let world = world(1).await;
    let reject = ReviewRequest { comment_id: comment_id(1), reason: None, note: None };
    world.control.reject(&operator(), &reject).await.unwrap();
    let audit_id = world.control.audit_log(1).await.unwrap()[0].audit_id;
    world.control.undo(&operator(), &UndoRequest { audit_id, note: None }).await.unwrap();
    assert!(unchecked(&world).await.is_empty());
    let made = decide(&world, decided(1, Decision::Accept, "")).await.unwrap();
    assert_eq!(made, None);
    let queue = world.control.review_queue(&operator(), 10).await.unwrap();
    assert_eq!(queue[0].reason, REOPENED);
}

#[tokio::test(start_paused = true)]
async fn held_comments_expire_without_an_offence() {
    let world = world(3).await;
    let claim = ClaimRequest { comment_id: comment_id(2), release: false };
    world.control.claim(&operator(), &claim).await.unwrap();
    let expired = world.control.expire(STARTED_MS + 3, 10).await.unwrap();
    assert_eq!(expired, 1, "not the one that somebody looks at, and not the new one");
    let decisions = world.control.decisions(None, 10).await.unwrap();
    let made: Vec<_> =
        decisions.iter().map(|one| (one.comment_id, one.decision, &*one.reason)).collect();
    assert_eq!(made, [(comment_id(1), Decision::Reject, EXPIRED)]);
    assert!(world.control.offenders(10).await.unwrap().is_empty());
    assert_eq!(points(&world).await, 0.0);
    assert!(published(&world).is_empty());
    assert_eq!(world.log.events(Topic::ModerationEvents).len(), 0);
    let queue = world.control.review_queue(&operator(), 10).await.unwrap();
    assert_eq!(queue.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_undone_expiry_gives_the_same_time_again() {
    let world = world(1).await;
    assert_eq!(world.control.expire(STARTED_MS + 2, 10).await.unwrap(), 1);
    tokio::time::advance(Duration::from_secs(60)).await;
    let audit_id = world.control.audit_log(1).await.unwrap()[0].audit_id;
    world.control.undo(&operator(), &UndoRequest { audit_id, note: None }).await.unwrap();
    let queue = world.control.review_queue(&operator(), 10).await.unwrap();
    assert_eq!(queue[0].reason, REOPENED, "a person decides");
    assert_eq!(world.control.expire(STARTED_MS + 2, 10).await.unwrap(), 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    let reject = request(comment_id(1), "");
    world.control.reject(&operator(), &reject).await.unwrap();
    let offenders = world.control.offenders(10).await.unwrap();
    assert_eq!(offenders.len(), 1, "a person has rejected it");
}

#[tokio::test(start_paused = true)]
async fn a_reopened_comment_expires_once_it_has_waited() {
    let world = world(1).await;
    assert_eq!(world.control.expire(STARTED_MS + 2, 10).await.unwrap(), 1);
    let audit_id = world.control.audit_log(1).await.unwrap()[0].audit_id;
    tokio::time::advance(Duration::from_secs(60)).await;
    world.control.undo(&operator(), &UndoRequest { audit_id, note: None }).await.unwrap();
    assert_eq!(world.control.expire(STARTED_MS + 60_000, 10).await.unwrap(), 0);
    assert_eq!(world.control.expire(STARTED_MS + 60_001, 10).await.unwrap(), 1);
}
