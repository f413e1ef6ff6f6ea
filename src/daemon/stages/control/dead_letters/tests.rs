//! Dead letters in a world of doubles.

use super::*;
use crate::daemon::engines::comments::conformance::WriteRows as _;
use crate::daemon::engines::comments::{ArchivedComment, Tombstone};
use crate::daemon::engines::eventlog::{ConsumerGroup, Position};
use crate::daemon::stages::control::fakes::{STARTED_MS, World, operator, submitted};
use crate::protocol::events::HiddenFrom;

/// Puts a dead letter of a record at an offset of the comment topic into the log.
fn put(world: &World, group: ConsumerGroup, offset: u64, payload: Vec<u8>) {
    let position = Position { partition: 1, offset };
    let record = Record { position, key: 1, timestamp_ms: STARTED_MS, payload: payload.into() };
    let letter = DeadLetter::new(Topic::CommentEvents, group, &record, &"unknown variant");
    let letter = letter.record(1, STARTED_MS + offset);
    world.log.put(Topic::DeadLetters, 1, letter.timestamp_ms, letter.payload.to_vec());
}

fn readable() -> Vec<u8> {
    readable_at(5)
}

fn readable_at(number: u64) -> Vec<u8> {
    Event::CommentSubmitted(submitted(StreamId(1), number, "lost and found")).encode()
}

fn all() -> DeadLettersRequest {
    DeadLettersRequest { all: true, ..DeadLettersRequest::default() }
}

async fn states(world: &World) -> Vec<DeadLetterState> {
    let items = world.control.dead_letters(None, 100).await.unwrap();
    items.iter().map(|item| item.state).collect()
}

#[tokio::test]
async fn a_record_is_requeued_once_for_all_its_groups() {
    let world = World::new().await;
    put(&world, ConsumerGroup::Archiver, 7, readable());
    put(&world, ConsumerGroup::Moderator, 7, readable());
    put(&world, ConsumerGroup::Archiver, 9, b"\xC1".to_vec());
    let items = world.control.dead_letters(None, 2).await.unwrap();
    assert_eq!((items.len(), items[0].offset, items[1].group.as_str()), (2, 9, "moderator"));
    assert!(items[0].not_requeueable.as_ref().unwrap().contains("cannot read it either"));
    assert_eq!(items[1].message.as_deref(), Some("lost and found"));
    assert_eq!(world.control.dead_letters(Some(StreamId(2)), 9).await.unwrap(), []);
    assert_eq!(world.control.open_dead_letters().await.unwrap(), 3);

    for round in 0..2 {
        let outcome = world.control.requeue_dead_letters(&operator(), &all()).await.unwrap();
        let [failure] = &outcome.failed[..] else { panic!("{outcome:?}") };
        assert_eq!(failure.id, items[0].id);
        let done = if round == 0 { 2 } else { 0 };
        assert_eq!((outcome.done.len(), outcome.left), (done, 0), "{outcome:?}");
        assert_eq!(world.log.records(Topic::CommentEvents).len(), 1, "appended once");
    }
    let ids = vec![items[1].id.clone()];
    let again = DeadLettersRequest { ids: ids.clone(), ..DeadLettersRequest::default() };
    let outcome = world.control.requeue_dead_letters(&operator(), &again).await.unwrap();
    assert_eq!((outcome.audit_ids.len(), outcome.done), (0, ids));
    let requeued = DeadLetterState::Requeued;
    assert_eq!(states(&world).await, [DeadLetterState::Open, requeued, requeued]);
    assert_eq!(world.metadata.audits().len(), 1);
}

#[tokio::test]
async fn unreadable_letters_do_not_hold_up_others() {
    let world = World::new().await;
    let unreadable = MAX_DEAD_LETTERS as u64 + 20;
    for offset in 0..unreadable {
        put(&world, ConsumerGroup::Archiver, offset, b"\xC1".to_vec());
    }
    put(&world, ConsumerGroup::Archiver, 900, readable_at(5));
    let outcome = world.control.requeue_dead_letters(&operator(), &all()).await.unwrap();
    assert_eq!((outcome.done.len(), outcome.left), (1, 21), "the newest is the first");
    assert_eq!(outcome.failed.len(), MAX_DEAD_LETTERS - 1);
    let outcome = world.control.requeue_dead_letters(&operator(), &all()).await.unwrap();
    assert_eq!((outcome.done.len(), outcome.left), (0, 20));
    let outcome = world.control.acknowledge_dead_letters(&operator(), &all()).await.unwrap();
    assert_eq!((outcome.done.len(), outcome.left), (MAX_DEAD_LETTERS, 20));
}

#[tokio::test]
async fn every_letter_is_requeued_once() {
    let world = World::new().await;
    let total = MAX_LETTERS as u64 + 50;
    for number in 0..total {
        put(&world, ConsumerGroup::Archiver, number, readable_at(number + 1));
    }
    let mut done = 0;
    // One round more than it takes.
    for _ in 0..=MAX_LETTERS / MAX_DEAD_LETTERS {
        let outcome = world.control.requeue_dead_letters(&operator(), &all()).await.unwrap();
        done += outcome.done.len();
    }
    assert_eq!(done, MAX_LETTERS, "older ones count as dealt with");
    assert_eq!(world.log.records(Topic::CommentEvents).len(), MAX_LETTERS);
    assert_eq!(world.control.open_dead_letters().await.unwrap(), 0);
}

#[tokio::test]
async fn a_deleted_comment_is_not_requeued() {
    let world = World::new().await;
    put(&world, ConsumerGroup::Moderator, 7, readable());
    let comment = submitted(StreamId(1), 5, "lost and found").comment;
    let tombstone = Tombstone {
        stream_id: StreamId(1),
        comment_id: comment.comment_id,
        reason: "spam".into(),
        deleted_at: STARTED_MS,
        hidden_from: HiddenFrom::Everybody,
    };
    let archived = ArchivedComment { comment, seq: 0, shadow: false };
    world.comments.write_rows(&[archived], &[tombstone]).await.unwrap();
    let outcome = world.control.requeue_dead_letters(&operator(), &all()).await.unwrap();
    assert_eq!(outcome.failed[0].why, "the comment was deleted meanwhile");
    assert_eq!(world.log.records(Topic::CommentEvents).len(), 0);
}

#[tokio::test]
async fn an_acknowledged_dead_letter_is_not_open() {
    let world = World::new().await;
    put(&world, ConsumerGroup::Archiver, 9, b"\xC1".to_vec());
    let outcome = world.control.acknowledge_dead_letters(&operator(), &all()).await.unwrap();
    assert_eq!((outcome.audit_ids.len(), outcome.done.len()), (1, 1));
    assert_eq!(states(&world).await, [DeadLetterState::Acknowledged]);
    assert_eq!(world.control.open_dead_letters().await.unwrap(), 0);
    put(&world, ConsumerGroup::Archiver, 10, b"\xC1".to_vec());
    assert_eq!(world.control.open_dead_letters().await.unwrap(), 1, "a new one is");
}

#[tokio::test]
async fn open_ones_are_counted_again_after_a_change() {
    let world = World::new().await;
    let control = &world.control;
    let none = control.recount_dead_letters(&OpenDeadLetters::default()).await.unwrap();
    assert_eq!(none.open, 0);
    put(&world, ConsumerGroup::Archiver, 9, b"\xC1".to_vec());
    let one = control.recount_dead_letters(&none).await.unwrap();
    assert_eq!(one.open, 1);
    let wrong = OpenDeadLetters { open: 7, ..one.clone() };
    let same = control.recount_dead_letters(&wrong).await.unwrap();
    assert_eq!(same.open, 7, "nothing has changed, so nothing is read");
    control.acknowledge_dead_letters(&operator(), &all()).await.unwrap();
    let dealt = control.recount_dead_letters(&one).await.unwrap();
    assert_eq!(dealt.open, 0);
    put(&world, ConsumerGroup::Archiver, 10, b"\xC1".to_vec());
    assert_eq!(control.recount_dead_letters(&dealt).await.unwrap().open, 1);
}

#[tokio::test]
async fn wrong_requests_change_nothing() {
    let world = World::new().await;
    put(&world, ConsumerGroup::Archiver, 7, readable());
    let before = world.state();
    let ids = |ids: &[&str], all| DeadLettersRequest {
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        all,
        note: None,
    };
    let many = vec!["0-1"; MAX_DEAD_LETTERS + 1];
    for request in [ids(&[], false), ids(&["0-1"], true), ids(&["9-9"], false), ids(&many, false)] {
        let refused = world.control.requeue_dead_letters(&operator(), &request).await;
        assert!(refused.is_err(), "{request:?}");
    }
    assert_eq!(world.state(), before);
}

#[tokio::test]
async fn a_requeue_waits_for_a_log_that_is_away() {
    let world = World::new().await;
    put(&world, ConsumerGroup::Archiver, 7, readable());
    world.log.set_down(true);
    let outcome = world.control.requeue_dead_letters(&operator(), &all()).await.unwrap();
    assert_eq!(outcome.done.len(), 1);
    assert_eq!(states(&world).await, [DeadLetterState::Requeued]);
    assert_eq!(world.log.records(Topic::CommentEvents).len(), 0, "some node appends it later");
}
